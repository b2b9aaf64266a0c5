package demo

var phonesAndWearables = department{
	category: Category{Slug: "phones-wearables", Name: "Phones & Wearables"},
	brands: []brand{
		{"Quillon", 120, []string{"Pulse", "Aria", "Script", "Signet"}},
		{"Wrenfield", 95, []string{"Chirp", "Meadow", "Thicket", "Plume"}},
		{"Nimbrook", 105, []string{"Stream", "Cloud", "Ripple", "Rapid"}},
		{"Maravane", 130, []string{"Luna", "Serein", "Opal", "Vesper"}},
		{"Tidewell", 85, []string{"Shore", "Dock", "Pier", "Current"}},
		{"Osprenna", 100, []string{"Wing", "Aerie", "Glide", "Talon"}},
	},
	closings: []string{
		"Two-year warranty, and no fuss if you need it.",
		"Comes without a needless plastic tray.",
		"Made to be kept, not replaced next year.",
		"Chosen by our staff for their own families.",
		"Order tonight and we ship tomorrow.",
		"Trade in your old one and we recycle it.",
		"Among our best reviewed this year.",
		"Change your mind within thirty days.",
	},
	kinds: []kind{
		{
			code: "PHONE", sizes: phoneStorage, limit: 2, colours: []string{"Midnight", "Silver", "Lavender", "Pine Green"},
			styles: []style{
				{"5.9-Inch Compact Smartphone", 449, "A flagship for people with normal hands and normal pockets."},
				{"6.1-Inch Smartphone", 529, "Fast, slim and bright, with a camera that gets it right the first time."},
				{"6.7-Inch Camera Smartphone", 899, "Three glass lenses, from a sweeping view to the far side of the stadium."},
				{"Rugged Smartphone", 399, "Survives concrete, dust and dishwater, and still fits a holster."},
				{"Folding Smartphone", 1199, "Opens into a small tablet and closes with a satisfying snap."},
			},
			details: []string{
				"The battery carries on into a second day.",
				"Seven years of system updates are promised, not hoped for.",
				"Half a charge takes twenty minutes on the supplied cable.",
				"The screen is readable in full sun and gentle in the dark.",
			},
		},
		{
			code: "TAB", sizes: phoneStorage, limit: 3, colours: []string{"Space Black", "Silver", "Rose"},
			styles: []style{
				{"8-Inch Tablet", 179, "Held in one hand like a paperback, with room for every series you follow."},
				{"10-Inch Tablet", 279, "The one for the kitchen counter, the sofa and the back seat."},
				{"12-Inch Pen Tablet", 649, "A paper-like surface and a pen without delay, for notes that look like yours."},
				{"9-Inch Travel Tablet", 219, "Slim enough for a seat pocket, with films for the whole flight."},
				{"11-Inch Tablet with Keyboard", 429, "A tablet on the sofa and, once it clicks into its keys, a laptop on the train."},
			},
			details: []string{
				"Each member of the family gets a separate profile.",
				"The glass shrugs off fingerprints and most keys.",
				"It weighs less than the magazine it replaces.",
				"A cover clicks on by magnets and doubles as a stand.",
			},
		},
		{
			code: "WATCH", colours: []string{"Black", "Champagne", "Storm Gray", "Olive"},
			styles: []style{
				{"Fitness Smartwatch", 179, "Follows your runs, your sleep and your heart, and keeps the rest of the phone quiet."},
				{"Hybrid Smartwatch", 199, "Real hands over a hidden display, and a month between charges."},
				{"GPS Running Watch", 249, "Exact pace under trees and between towers, with maps for the way back."},
				{"LTE Smartwatch", 329, "Leave the phone at home: calls, music and payments stay on the wrist."},
				{"Dress Smartwatch", 279, "A sapphire crystal and a slim case that slips under a cuff."},
			},
			details: []string{
				"Swim with it, shower with it, forget that it is there.",
				"Standard straps fit, so it can change with your clothes.",
				"It nudges you to stand, breathe or go to bed, if you let it.",
				"The always-on screen answers the oldest question at a glance.",
			},
		},
		{
			code: "BAND", colours: []string{"Black", "Blush", "Sky Blue", "Lime"},
			styles: []style{
				{"Fitness Band", 49, "Steps, sleep and heart rate in a band you stop noticing by lunch."},
				{"Slim Activity Tracker", 69, "Looks like a bracelet, counts like a coach."},
				{"Kids' Activity Band", 39, "Rewards for running about, and a bedtime that is not up for debate."},
				{"Swim Tracker Band", 79, "Counts laps and strokes, so you can count sheep instead."},
				{"Sleep Tracker Band", 59, "Soft enough for the night, and honest about it in the morning."},
			},
			details: []string{
				"A week on one charge, and two hours to fill up.",
				"Waterproof to fifty meters.",
				"A silent buzz wakes you and nobody else.",
				"Your figures stay on your phone unless you choose to share them.",
			},
		},
		{
			code: "CASE", colours: []string{"Cognac", "Black", "Forest Green", "Clay", "Navy"},
			styles: []style{
				{"Leather Phone Case", 39, "Full-grain leather that darkens where your fingers hold it."},
				{"Silicone Phone Case", 19, "Soft to hold, hard to drop, easy to wash."},
				{"Wallet Phone Case", 35, "Three cards and a folded bill behind a magnetic flap."},
				{"Canvas Tablet Sleeve", 29, "Waxed canvas outside, brushed lining inside, and a pocket for the pen."},
				{"Recycled Felt Laptop Sleeve", 34, "Thick felt spun from old bottles, cut in one piece and stitched twice."},
			},
			details: []string{
				"The corners are reinforced, because that is where it lands.",
				"Cut for the sizes most people own; check the chart before you order.",
				"It adds grip without adding bulk.",
				"The color goes all the way through, so scuffs stay quiet.",
			},
		},
		{
			code: "CHRG",
			styles: []style{
				{"30 W Wall Charger", 25, "A plug no larger than a walnut that fills a phone over breakfast."},
				{"65 W Dual Charger", 45, "Laptop and phone from one small block, both at full speed."},
				{"Wireless Charging Pad", 29, "Put the phone down, pick it up full."},
				{"3-in-1 Charging Stand", 69, "Phone, watch and earbuds side by side, and one cable for the three."},
				{"100 W Desktop Charger", 79, "Four ports on the desk, and an end to crawling under it."},
			},
			details: []string{
				"It stays cool and stops when the battery is full.",
				"Tested with every recent phone we sell.",
				"Travels well, and adapts to the voltage anywhere.",
				"A soft light tells you that it is working, then goes out.",
			},
		},
		{
			code: "POWER", colours: []string{"Black", "White", "Sea Green"},
			styles: []style{
				{"5,000 mAh Pocket Power Bank", 29, "One more charge in the space of a lipstick."},
				{"10,000 mAh Power Bank", 39, "Two days of phone in a slab that shares a pocket with it."},
				{"20,000 mAh Laptop Power Bank", 79, "Enough for a laptop on a long flight, and allowed on board."},
				{"Magnetic Power Bank", 49, "Snaps to the back of the phone and needs no cable."},
				{"Solar Power Bank", 59, "Fills up from a wall at home and from the sun on the trail."},
			},
			details: []string{
				"Four dots show what is left, to the nearest quarter.",
				"It charges itself and your phone at the same time.",
				"The shell is ribbed, so it does not slip out of a cold hand.",
				"A short cable is built in and folds away.",
			},
		},
		{
			code: "GADGET",
			styles: []style{
				{"Item Tracker, 4-Pack", 69, "One each for keys, bag, bicycle and the suitcase with a mind of its own."},
				{"Magnetic Car Phone Mount", 29, "Holds through potholes and lets go with one hand."},
				{"Folding Desk Phone Stand", 22, "Turned from one piece of aluminum, and flat in a bag when you leave."},
				{"Clip-On Ring Light", 24, "Soft, even light for calls after dark."},
				{"Phone Tripod with Remote", 35, "Group photographs with everyone in them, for once."},
			},
			details: []string{
				"Simple, sturdy and better than its price.",
				"Small enough for a glove box or a coat pocket.",
				"Put together by hand and checked before it is packed.",
				"Nothing to install, nothing to subscribe to.",
			},
		},
	},
}
