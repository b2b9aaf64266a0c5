package demo

var home = department{
	category: Category{Slug: "home", Name: "Home"},
	brands: []brand{
		{"Lindenhall", 110, []string{"Avenue", "Gallery", "Terrace", "Conservatory"}},
		{"Thistledown", 100, []string{"Dune", "Haze", "Willow", "Linnet"}},
		{"Eastmoor", 90, []string{"Loft", "Quay", "Foundry", "Corner"}},
		{"Woolcote", 120, []string{"Fold", "Shepherd", "Dale", "Byre"}},
		{"Marlow Finch", 135, []string{"Salon", "Regent", "Belmont", "Orangery"}},
		{"Plainsong", 85, []string{"Simple", "Daily", "Quiet", "Morning"}},
	},
	closings: []string{
		"Live with it for thirty days before you decide.",
		"Delivered in packaging that we take back.",
		"Five-year guarantee, no receipt needed.",
		"Pairs easily with what you already own.",
		"Often bought a second time, for a friend.",
		"Understated, well made and fairly priced.",
		"Chosen by our buyers for looks that last.",
		"Good for a first apartment and for the house after it.",
	},
	kinds: []kind{
		{
			code: "BED", sizes: beddingSizes, colours: []string{"White", "Oatmeal", "Dusty Blue", "Sage", "Charcoal"},
			styles: []style{
				{"Washed Linen Duvet Set", 129, "European flax, washed until it is as soft as a shirt you have owned for years."},
				{"Cotton Percale Sheet Set", 69, "Crisp and cool, like a good hotel at half past ten."},
				{"Sateen Sheet Set", 79, "A tight weave with a gentle sheen and a heavy drape."},
				{"Brushed Flannel Sheet Set", 59, "Takes the cold out of the first minute in bed."},
				{"Quilted Cotton Coverlet", 89, "Light in summer, a good second layer in winter."},
			},
			details: []string{
				"It gets softer with every wash and holds its color.",
				"Certified free of anything you would not want near your face.",
				"Long fibers mean no pilling, even after a year.",
				"Cut generously, so it stays tucked in.",
			},
		},
		{
			code: "SOFT", colours: []string{"Ivory", "Rust", "Forest Green", "Ink Blue", "Ocher"},
			styles: []style{
				{"Merino Throw", 99, "Fine wool with a fringed edge, warm without weight."},
				{"Chunky Knit Blanket", 79, "Knitted from thick yarn, and impossible to leave on the sofa unused."},
				{"Velvet Cushion", 35, "Dense velvet on both sides around a plump feather-and-down fill."},
				{"Pair of Linen Cushion Covers", 32, "Stonewashed linen with hidden zippers."},
				{"Bouclé Floor Pouf", 119, "A seat, a footrest and, with a tray, a table."},
			},
			details: []string{
				"Its color is dyed in the yarn, so the sun will not find it.",
				"Spot-cleans easily, and forgives a dog.",
				"One is an accent and three are a decision.",
				"It turns a hard corner into the place where everyone reads.",
			},
		},
		{
			code: "LIGHT",
			styles: []style{
				{"Brass Table Lamp", 89, "A solid base and a linen shade that turns the evening gold."},
				{"Arc Floor Lamp", 179, "Reaches over the sofa from a marble foot."},
				{"Pleated Pendant Light", 119, "Folded by hand, with light that falls softly on the table."},
				{"Adjustable Desk Lamp", 69, "Balanced joints stay where you leave them, and a dial sets the warmth."},
				{"Plug-In Wall Light", 79, "A globe of opal glass on a brass arm, with no electrician to wait for."},
				{"Ceramic Bedside Lamp", 59, "A small glazed base, a small pool of light, one more chapter."},
			},
			details: []string{
				"Dims smoothly to almost nothing.",
				"A warm, efficient bulb is included and can be replaced.",
				"The cord is wrapped in cotton and long enough to reach.",
				"It looks right even when it is off.",
			},
		},
		{
			code: "RUG", sizes: rugSizes,
			styles: []style{
				{"Hand-Tufted Wool Rug", 119, "Deep pile with a low border, soft under bare feet."},
				{"Flatweave Cotton Rug", 59, "Reversible and light enough to shake out of the window."},
				{"Natural Jute Rug", 69, "Braided jute that brings a little of the beach indoors."},
				{"Washable Hallway Rug", 49, "Survives boots and dogs, then goes in the machine."},
				{"Vintage-Style Patterned Rug", 89, "Faded on purpose, and forgiving of crumbs."},
			},
			details: []string{
				"A non-slip pad is included in every size.",
				"It hides a day's traffic and vacuums clean.",
				"Corners lie flat from the first day.",
				"The colors are muted, so it goes with the chairs you have.",
			},
		},
		{
			code: "CLEAN",
			styles: []style{
				{"Cordless Stick Vacuum", 279, "Strong enough for carpet, light enough for the stairs."},
				{"Robot Vacuum", 299, "Learns the rooms, minds the cables and is home before you are."},
				{"Canister Vacuum", 199, "A long hose, a quiet motor and a bag that holds a month of dust."},
				{"Steam Mop", 99, "Hot steam, clean tiles, no chemicals."},
				{"Air Purifier", 179, "Clears a bedroom of pollen and smoke in twenty minutes."},
				{"Evaporative Humidifier", 89, "Takes the crackle out of winter air without wetting the sill."},
			},
			details: []string{
				"Filters rinse under the tap and last for years.",
				"It reports what it is doing on one plain display.",
				"Quiet enough to run during a telephone call.",
				"It takes up less room than the box suggests.",
			},
		},
		{
			code: "BATH", colours: []string{"White", "Stone", "Eucalyptus", "Blush", "Slate"},
			styles: []style{
				{"Pair of Turkish Cotton Bath Towels", 49, "Long loops that dry you at once and dry themselves by evening."},
				{"Pair of Waffle Bath Towels", 42, "Light, quick and pleasantly rough."},
				{"Set of 4 Organic Cotton Hand Towels", 35, "A stack for guests, and for pretending you expected them."},
				{"Tufted Bath Mat", 29, "A thick place to stand on cold tiles."},
				{"Hooded Terry Bathrobe", 79, "Full length, deep pockets, Sunday included."},
			},
			details: []string{
				"The edges stay straight through a hundred washes.",
				"Woven on old, slow looms that make a denser cloth.",
				"Dries overnight, even in a bathroom without a window.",
				"Absorbs from the very first wash.",
			},
		},
		{
			code: "FURN",
			styles: []style{
				{"Oak Side Table", 129, "Three legs, a turned edge and just enough room for tea and a book."},
				{"Walnut Bookshelf", 349, "Five open shelves with no visible screws."},
				{"Rattan Lounge Chair", 249, "A woven seat that gives a little and a frame that does not."},
				{"Upholstered Storage Bench", 199, "Sit to tie your shoes, lift the lid to hide them."},
				{"Solid Ash Dining Chairs, Set of 2", 279, "Curved backs you can lean into through a long dessert."},
				{"Adjustable Standing Desk", 449, "Rises in silence and remembers two heights."},
			},
			details: []string{
				"Assembly takes ten minutes and one supplied key.",
				"Every material is certified, down to the glue.",
				"Felt pads protect the floor from the start.",
				"It carries far more than its light lines suggest.",
			},
		},
		{
			code: "DECOR",
			styles: []style{
				{"Scented Soy Candle", 28, "Fig leaf and cedar in a glass you will keep for pencils."},
				{"Stoneware Vase", 39, "A narrow neck that makes three stems look arranged."},
				{"Round Wall Mirror", 129, "A thin metal rim and a clear view of the window opposite."},
				{"Oak Picture Frames, Set of 3", 45, "Solid oak, real glass, and hooks for both directions."},
				{"Woven Storage Baskets, Set of 3", 49, "Seagrass with sturdy handles, for toys, logs and laundry."},
				{"Wooden Wall Clock", 59, "A silent movement behind a plain wooden face."},
			},
			details: []string{
				"It makes a shelf look finished.",
				"Small differences show that someone made it.",
				"Wrap it up and the housewarming is taken care of.",
				"Equally at home in a hallway or by the bath.",
			},
		},
	},
}
