package demo

var outdoors = department{
	category: Category{Slug: "outdoors", Name: "Outdoors & Sport"},
	brands: []brand{
		{"Cairnwood", 115, []string{"Traverse", "Col", "Waymark", "Bothy"}},
		{"Stonebeck", 105, []string{"Ford", "Gorge", "Torrent", "Shale"}},
		{"Pinehollow", 95, []string{"Clearing", "Ember", "Needle", "Timberline"}},
		{"Greywater", 125, []string{"Estuary", "Squall", "Skerry", "Heron"}},
		{"Larkspur", 90, []string{"Ramble", "Wander", "Daytrip", "Switchback"}},
		{"Ironfern", 100, []string{"Basalt", "Kinetic", "Anvil", "Steady"}},
	},
	closings: []string{
		"Repaired free of charge for as long as you own it.",
		"Used by our own staff most weekends.",
		"One percent of the price keeps a footpath open.",
		"No gimmicks, and no logo larger than a thumbnail.",
		"As good for a beginner as for an old hand.",
		"Honest gear at an honest price.",
		"Tested outdoors, by people who complain.",
		"Made to be scuffed.",
	},
	kinds: []kind{
		{
			code: "TENT", colours: []string{"Moss Green", "Sand", "Signal Orange"},
			styles: []style{
				{"1-Person Backpacking Tent", 199, "A kilogram and a half of shelter, pitched with two poles."},
				{"2-Person Trekking Tent", 279, "Two doors, two porches and nobody climbs over anybody."},
				{"4-Person Family Tent", 329, "Two bedrooms, a living space and windows against the morning."},
				{"6-Person Cabin Tent", 449, "Straight walls and a ceiling you can stand under."},
				{"Pop-Up Beach Shelter", 69, "Shade in three seconds, with pockets for sand."},
			},
			details: []string{
				"Seams are taped and the floor stands in a puddle without a murmur.",
				"Color-coded poles make sense in the dark.",
				"Mesh panels keep air moving and midges out.",
				"It has sat through a full gale in our test field.",
			},
		},
		{
			code: "SLEEP",
			styles: []style{
				{"Three-Season Sleeping Bag", 109, "Warm to freezing, with a hood that leaves room to breathe."},
				{"Down Mummy Sleeping Bag", 289, "Light, lofty down for cold nights a long way up."},
				{"Summer Sleeping Bag", 59, "Opens flat into a quilt when the night stays mild."},
				{"Self-Inflating Sleeping Mat", 79, "Open the valve, pitch the tent, and the bed is ready."},
				{"Insulated Air Mat", 139, "Eight centimeters of comfort in a roll the size of a bottle."},
				{"Camping Hammock", 55, "Two trees, two straps and the best seat in the forest."},
			},
			details: []string{
				"A stuff sack with compression straps is attached, so it cannot be lost.",
				"The fabric is soft on skin and does not rustle at every turn.",
				"Long enough for tall people without being drafty for others.",
				"A patch kit hides in a pocket.",
			},
		},
		{
			code: "PACK", colours: []string{"Black", "Pine", "Rust", "Slate"},
			styles: []style{
				{"20 L Daypack", 69, "Lunch, a shell and a map, close to the back and out of the way."},
				{"35 L Hiking Backpack", 129, "A sprung mesh back that keeps the shirt dry."},
				{"60 L Trekking Backpack", 219, "Loads of twenty kilos sit on the hips, where they belong."},
				{"Roll-Top Bike Pannier", 79, "Welded seams and a hook that lets go only when you ask."},
				{"50 L Travel Duffel", 99, "Throws in a trunk, carries as a backpack, takes any punishment."},
				{"Running Vest", 89, "Two soft flasks in front and room for a jacket behind."},
			},
			details: []string{
				"A rain cover is tucked into the base.",
				"The zippers have loops for gloved fingers.",
				"The pockets are where your hand expects them.",
				"The cloth shrugs off granite and baggage belts.",
			},
		},
		{
			code: "CAMP",
			styles: []style{
				{"Compact Gas Stove", 49, "Boils half a liter in three minutes and folds into its own pot."},
				{"Camp Cookset, 6-Piece", 55, "Two pots, a pan and three bowls that nest into one."},
				{"Folding Camp Chair", 59, "A cup holder, a high back and a frame that forgives rocks."},
				{"Folding Camp Table", 79, "A slatted aluminum top that rolls up like a blind."},
				{"Hard-Sided Cooler, 25 L", 149, "Ice on Friday, still ice on Sunday."},
				{"Portable Fire Pit", 119, "A ring of flame with very little smoke, and grass unharmed below."},
			},
			details: []string{
				"Sets up in the time it takes to argue about where.",
				"It wipes clean with a handful of grass.",
				"Strong where it bends and light where it does not.",
				"Carries in one hand, with a bag to keep the car clean.",
			},
		},
		{
			code: "FLASK", colours: []string{"Brushed Steel", "Midnight", "Clay", "Fern", "Glacier Blue"},
			styles: []style{
				{"750 ml Insulated Water Bottle", 35, "Cold for a day, and no puddle on the desk."},
				{"1 L Vacuum Flask", 42, "Soup that is still too hot at noon."},
				{"Insulated Travel Mug", 29, "A lid that opens with one thumb and never leaks in a bag."},
				{"Filter Bottle", 49, "Drink from the stream and leave the worry behind."},
				{"Insulated Food Jar", 34, "A wide mouth for a warm lunch, with a folding spoon in the lid."},
			},
			details: []string{
				"Double-walled steel with no taste of its own.",
				"The powder coat grips in wet hands and hides scratches.",
				"Every part comes off for the dishwasher.",
				"It fits a car's cup holder and a bicycle's cage.",
			},
		},
		{
			code: "GLOVE", sizes: glovesSizes, colours: []string{"Black", "Navy", "High-Vis Yellow"},
			styles: []style{
				{"Insulated Ski Gloves", 69, "A leather palm, a long cuff and a wipe for the nose."},
				{"Merino Liner Gloves", 29, "Thin enough for laces, warm enough for a quick photograph."},
				{"Padded Cycling Gloves", 35, "Gel where the bars press, mesh where they do not."},
				{"Winter Running Gloves", 32, "Light and windproof, with a fold-over mitten for bad miles."},
				{"Waterproof Trail Gloves", 49, "A sealed membrane that keeps hands dry on the wettest gate."},
			},
			details: []string{
				"Thumb and forefinger work on a touchscreen.",
				"A clip keeps the pair together in the drawer.",
				"The seams sit outside, away from the fingertips.",
				"The cuff closes over a jacket sleeve or under it.",
			},
		},
		{
			code: "FIT",
			styles: []style{
				{"Natural Rubber Yoga Mat", 65, "Grips when dry, grips when not, and rolls out flat."},
				{"Adjustable Dumbbells, Pair", 249, "Ten weights in the place of one, changed with a dial."},
				{"Cast-Iron Kettlebell, 12 kg", 49, "One solid casting with a smooth handle and a flat base."},
				{"Resistance Band Set", 29, "Five strengths and a door anchor: a gym in a drawer."},
				{"Foam Roller", 32, "Firm ridges for calves that have been up a mountain."},
				{"Folding Exercise Bike", 199, "A quiet flywheel and a frame that hides behind a door."},
			},
			details: []string{
				"A wall chart with twenty exercises is included.",
				"Kind to floors and to the neighbors below.",
				"It stays put when you start to push.",
				"Made for every day, not just for January.",
			},
		},
		{
			code: "TRAIL",
			styles: []style{
				{"Rechargeable Headlamp", 45, "A wide beam for camp and a long one for the path, on one charge for a week."},
				{"Folding Trekking Poles, Pair", 89, "Three sections that snap tight, with cork grips for hot days."},
				{"Compact 8x32 Binoculars", 129, "Bright glass in a body that fits a jacket pocket."},
				{"Bike Light Set", 49, "Seen from half a mile, front and back, rain or no rain."},
				{"Stainless Multi-Tool", 59, "Eleven tools that lock open, and none that you will never use."},
				{"Camping Lantern", 39, "Warm light that hangs, stands or floats."},
			},
			details: []string{
				"Works with gloves on and with cold thumbs.",
				"Sealed against rain, dust and the bottom of the bag.",
				"Light enough that leaving it at home makes no sense.",
				"A wrist loop and a pouch are included.",
			},
		},
	},
}
