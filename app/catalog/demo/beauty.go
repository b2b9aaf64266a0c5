package demo

var beauty = department{
	category: Category{Slug: "beauty", Name: "Beauty & Care"},
	brands: []brand{
		{"Fernessa", 100, []string{"Dew", "Frond", "Mist", "Canopy"}},
		{"Saltbloom", 110, []string{"Shoreline", "Spray", "Samphire", "Low Tide"}},
		{"Maison Orlaine", 140, []string{"Velours", "Minuit", "Jardin", "Lumière"}},
		{"Kindling", 90, []string{"Glow", "Hush", "Warmth", "Spark"}},
		{"Halden Grove", 120, []string{"Amber", "Thicket", "Moss", "Juniper"}},
		{"Soapwort", 80, []string{"Plain", "Honest", "Daily", "Clear"}},
	},
	closings: []string{
		"Comes in a box pretty enough to give away.",
		"Tried for a month by our whole beauty floor.",
		"If it is not for you, bring it back, even opened.",
		"Winner of our readers' vote two years in a row.",
		"Slim enough for a wash bag.",
		"A small luxury at a sensible price.",
		"Packed in paper, never in plastic.",
		"Recommended by more customers than we can name.",
	},
	kinds: []kind{
		{
			code: "HAIRT", colours: []string{"Matte Black", "Pearl", "Rose Gold"},
			styles: []style{
				{"Ionic Hair Dryer", 79, "Fast, quiet drying that leaves a smooth finish instead of a halo."},
				{"Ceramic Hair Straightener", 69, "Floating plates that glide once and do not need to again."},
				{"Curling Wand", 59, "A tapered barrel for loose waves or tight curls, with a glove to match."},
				{"Hot Air Brush", 65, "Dries and styles in one pass, for mornings without a plan."},
				{"Folding Travel Dryer", 39, "Full power at half the size, with a handle that tucks away."},
			},
			details: []string{
				"It heats in fifteen seconds and switches itself off if you forget.",
				"The swivel cord is three meters long and does not kink.",
				"Three heats and a cool shot cover fine hair and thick.",
				"Light enough to hold above your head for as long as it takes.",
			},
		},
		{
			code: "DENTAL", colours: []string{"White", "Black", "Mint"},
			styles: []style{
				{"Sonic Toothbrush", 69, "Thirty thousand gentle strokes a minute and a timer that counts the quarters."},
				{"Travel Sonic Toothbrush", 49, "The same clean in a slim case that charges the brush."},
				{"Rotating Toothbrush", 59, "A small round head that reaches behind the last molar."},
				{"Cordless Water Flosser", 65, "A fine jet for the places that bristles miss."},
				{"Kids' Sonic Toothbrush", 35, "Soft bristles, a two-minute tune and stickers to earn."},
			},
			details: []string{
				"One charge lasts three weeks.",
				"It warns you when you press too hard.",
				"A year's worth of replacement heads is in the box.",
				"Fully sealed, so it can live in the shower.",
			},
		},
		{
			code: "SHAVE",
			styles: []style{
				{"Foil Shaver", 119, "Three foils that follow the jaw and leave nothing for the evening."},
				{"Rotary Shaver", 99, "Five heads that float over whatever shape a face is."},
				{"Beard Trimmer", 49, "Forty lengths, half a millimeter apart, and a tidy edge."},
				{"Brass Safety Razor", 55, "Weighty, simple and cheap to run for the rest of your life."},
				{"Grooming Kit", 65, "Trimmer, clipper and precision heads in one roll-up case."},
				{"Facial Hair Remover", 39, "Small, painless and discreet, with a light that shows everything."},
			},
			details: []string{
				"Rinse it under the tap and it is clean.",
				"It is gentle enough for daily use on fussy skin.",
				"The grip is knurled, so wet hands keep hold.",
				"Comes with a stand and a brush.",
			},
		},
		{
			code: "FACE",
			styles: []style{
				{"Light Face Moisturizer", 28, "A thin cream that sinks in before the coffee is ready."},
				{"Vitamin C Serum", 38, "A brightening serum in dark glass, for skin that has had a long year."},
				{"Gentle Foaming Cleanser", 19, "Takes off the day and leaves the skin its own oils."},
				{"Overnight Repair Cream", 45, "A rich cream that works while you do not."},
				{"Mineral Sunscreen SPF 50", 26, "Sheer, dry to the touch and kind to reefs."},
				{"Clay Face Mask", 24, "Ten minutes of mud for a week of calm."},
			},
			details: []string{
				"Free of perfume, and suitable for sensitive skin.",
				"A little goes a long way: expect three months from it.",
				"Sits well under makeup and on its own.",
				"Packed so that air and fingers stay out.",
			},
		},
		{
			code: "BODY", sizes: bottleSizes,
			styles: []style{
				{"Sea Salt Body Scrub", 22, "Coarse salt in almond oil, for elbows, heels and Sundays."},
				{"Shea Body Butter", 24, "Thick, quickly absorbed and quietly nutty."},
				{"Lavender Bath Oil", 26, "A capful turns the tub into a small holiday."},
				{"Citrus Body Wash", 14, "Grapefruit and bergamot to start the day a little sharper."},
				{"Oat Hand Lotion", 16, "For hands that garden, wash up and type."},
			},
			details: []string{
				"The scent stays close and never fills the room.",
				"Made with cold-pressed oils and no silicones.",
				"The bottle is recycled and can be refilled in our stores.",
				"Leaves the skin soft without a film.",
			},
		},
		{
			code: "SCENT", sizes: scentSizes,
			styles: []style{
				{"Bergamot & Vetiver Eau de Parfum", 59, "Bright at the collar, dry and earthy by evening."},
				{"Rose & Pepper Eau de Parfum", 64, "A rose that answers back."},
				{"Cedar & Smoke Eau de Parfum", 62, "Cold air, split wood and someone else's bonfire."},
				{"Neroli Eau de Toilette", 45, "Orange blossom after rain, easy to wear and hard to place."},
				{"Fig & Sea Salt Eau de Toilette", 48, "Green leaves and warm stone, like lunch by a harbor."},
			},
			details: []string{
				"It lasts from morning to the end of dinner.",
				"The glass is heavy and the cap closes with a click.",
				"Blended in a small house by one patient nose.",
				"Unisex, as good scents have always been.",
			},
		},
		{
			code: "MAKEUP",
			styles: []style{
				{"Velvet Matte Lipstick", 22, "One coat of deep color that survives coffee."},
				{"Lengthening Mascara", 24, "Separates, lifts and comes off with warm water."},
				{"12-Shade Eyeshadow Palette", 42, "Nine you will wear daily and three for the party."},
				{"Skin Tint Foundation", 36, "Evens things out and lets the freckles through."},
				{"Cream Blush Stick", 21, "Warm it with a finger, tap it in, look awake."},
				{"8-Piece Makeup Brush Set", 45, "Soft synthetic bristles and balanced beech handles."},
			},
			details: []string{
				"Looks the same at midnight as it did at eight.",
				"Tested on every skin tone, by people who have them.",
				"Quick enough for the back seat of a taxi.",
				"The finish is natural in daylight and flattering after dark.",
			},
		},
		{
			code: "HAIRC", sizes: bottleSizes,
			styles: []style{
				{"Repair Shampoo", 18, "Washes gently and puts back what the dryer took."},
				{"Hydrating Conditioner", 18, "Untangles on contact and rinses clean."},
				{"Curl Defining Cream", 22, "Holds the curl, loses the frizz, skips the crunch."},
				{"Scalp Scrub", 24, "Sea salt and mint for a head that feels new."},
				{"Argan Hair Oil", 28, "Two drops tame the ends and make them shine."},
			},
			details: []string{
				"Safe for colored hair, and free of sulfates.",
				"It smells of rosemary, and only until it dries.",
				"The cap stays shut in a suitcase.",
				"Works in hard water as well as in soft.",
			},
		},
	},
}
