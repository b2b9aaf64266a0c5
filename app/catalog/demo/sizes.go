package demo

var (
	apparelSizes = []size{
		{"Size XS", "XS", 0},
		{"Size S", "S", 0},
		{"Size M", "M", 0},
		{"Size L", "L", 0},
		{"Size XL", "XL", 0},
		{"Size XXL", "XXL", 0},
	}
	trouserSizes = []size{
		{"W28 L32", "W28", 0},
		{"W30 L32", "W30", 0},
		{"W32 L32", "W32", 0},
		{"W34 L32", "W34", 0},
		{"W36 L34", "W36", 0},
		{"W38 L34", "W38", 0},
	}
	womensShoeSizes = []size{
		{"36 EU", "36", 0},
		{"37 EU", "37", 0},
		{"38 EU", "38", 0},
		{"39 EU", "39", 0},
		{"40 EU", "40", 0},
		{"41 EU", "41", 0},
		{"42 EU", "42", 0},
	}
	mensShoeSizes = []size{
		{"40 EU", "40", 0},
		{"41 EU", "41", 0},
		{"42 EU", "42", 0},
		{"43 EU", "43", 0},
		{"44 EU", "44", 0},
		{"45 EU", "45", 0},
		{"46 EU", "46", 0},
	}
	unisexShoeSizes = []size{
		{"37 EU", "37", 0},
		{"38 EU", "38", 0},
		{"39 EU", "39", 0},
		{"40 EU", "40", 0},
		{"41 EU", "41", 0},
		{"42 EU", "42", 0},
		{"43 EU", "43", 0},
		{"44 EU", "44", 0},
		{"45 EU", "45", 0},
	}
	childrensShoeSizes = []size{
		{"28 EU", "28", 0},
		{"29 EU", "29", 0},
		{"30 EU", "30", 0},
		{"31 EU", "31", 0},
		{"32 EU", "32", 0},
		{"33 EU", "33", 0},
		{"34 EU", "34", 0},
		{"35 EU", "35", 0},
	}

	screenSizes   = []size{{"43 inch", "43", 0}, {"55 inch", "55", 35}, {"65 inch", "65", 80}, {"75 inch", "75", 150}}
	phoneStorage  = []size{{"128 GB", "128G", 0}, {"256 GB", "256G", 15}, {"512 GB", "512G", 40}}
	laptopStorage = []size{{"512 GB", "512G", 0}, {"1 TB", "1T", 15}, {"2 TB", "2T", 40}}
	driveCapacity = []size{{"1 TB", "1T", 0}, {"2 TB", "2T", 60}, {"4 TB", "4T", 160}}

	beddingSizes = []size{{"Twin", "TWIN", 0}, {"Full", "FULL", 20}, {"Queen", "QUEEN", 40}, {"King", "KING", 60}}
	rugSizes     = []size{{"3 x 5 ft", "3X5", 0}, {"5 x 8 ft", "5X8", 110}, {"8 x 10 ft", "8X10", 280}}
	bottleSizes  = []size{{"250 ml", "250", 0}, {"500 ml", "500", 60}}
	scentSizes   = []size{{"30 ml", "30", 0}, {"50 ml", "50", 40}, {"100 ml", "100", 110}}
	glovesSizes  = []size{{"Size S", "S", 0}, {"Size M", "M", 0}, {"Size L", "L", 0}, {"Size XL", "XL", 0}}
)
