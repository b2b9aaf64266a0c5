package demo

var televisionsAndAudio = department{
	category: Category{Slug: "televisions-audio", Name: "Televisions & Audio"},
	brands: []brand{
		{"Brightholm", 90, []string{"Vista", "Meridian", "Halo", "Lantern"}},
		{"Tonquay", 105, []string{"Reef", "Cadence", "Drift", "Anthem"}},
		{"Solvane", 120, []string{"Prism", "Horizon", "Encore", "Nocturne"}},
		{"Ashgrove", 130, []string{"Parlor", "Chorus", "Alto", "Recital"}},
		{"Pellion", 100, []string{"Flux", "Orbit", "Vector", "Tempo"}},
		{"Harkness", 85, []string{"Parkside", "Everyday", "Fireside", "Matinee"}},
	},
	closings: []string{
		"Covered by a two-year warranty.",
		"Set up in minutes, with everything needed in the box.",
		"Packed in recycled cardboard, without a scrap of foam.",
		"A staff pick in its class.",
		"Free returns for thirty days if it does not suit you.",
		"Spare parts are stocked for seven years.",
		"Works straight out of the box, with no account to create.",
		"Reviewed by our customers, and well.",
	},
	kinds: []kind{
		{
			code: "TV", sizes: screenSizes, limit: 3,
			styles: []style{
				{"4K LED TV", 279, "A clear, even picture for the family room, with all the usual apps built in."},
				{"4K QLED TV", 449, "Quantum-dot color that stays vivid with the curtains open."},
				{"4K Mini-LED TV", 699, "Hundreds of dimming zones put bright highlights right beside deep shadow."},
				{"4K OLED TV", 949, "Every pixel lights itself, so black is black and night scenes keep their detail."},
				{"Frameless Smart TV", 529, "Hangs flush like a picture, and shows one when nobody is watching."},
			},
			details: []string{
				"A game mode cuts the delay to a few milliseconds for the console underneath.",
				"The remote has nine buttons and finds itself when the sofa has eaten it.",
				"Dialogue stays clear at low volume, so the children can sleep next door.",
				"Sports look sharp rather than smeared, thanks to honest motion handling.",
			},
		},
		{
			code: "SBAR",
			styles: []style{
				{"Compact Soundbar", 129, "A slim bar that makes film dialogue easy to follow in a small room."},
				{"Soundbar with Wireless Subwoofer", 249, "Clear voices from the bar and real weight from a subwoofer you can hide."},
				{"Surround Soundbar System", 549, "Upward-firing drivers and two rear speakers put the rain on your ceiling."},
				{"All-in-One Soundbar", 329, "Room-filling sound from a single box, with no subwoofer to find a corner for."},
				{"Bookshelf TV Speakers", 299, "A true stereo pair that plugs into the television and flatters music as well."},
			},
			details: []string{
				"One cable to the television, and its own remote takes over.",
				"A night mode tames explosions and leaves the whispers alone.",
				"A chirp measures the room, and hard walls are corrected for.",
				"Stream music from a phone over Wi-Fi while the screen stays dark.",
			},
		},
		{
			code: "HEAD", colours: []string{"Charcoal", "Sand", "Ivory", "Navy", "Forest Green"},
			styles: []style{
				{"Noise-Cancelling Headphones", 249, "Microphones inside and out turn an aircraft cabin into a quiet room."},
				{"On-Ear Wireless Headphones", 89, "Light on the ears and loud enough for the bus, with a fold-flat hinge."},
				{"Over-Ear Studio Headphones", 159, "An honest, even sound for people who edit, mix or simply listen closely."},
				{"Open-Back Headphones", 229, "Open cups let music breathe, for long evenings in a good chair."},
				{"Kids' Headphones", 39, "Limited to a safe volume, and tough enough for the bottom of a school bag."},
			},
			details: []string{
				"The cushions come off without tools and can be replaced.",
				"The headband adjusts in small steps and stays where you leave it.",
				"They fold into the supplied case, no larger than a paperback.",
				"The joints are metal where cheaper pairs crack.",
			},
		},
		{
			code: "BUD", colours: []string{"Black", "Pearl White", "Sage", "Coral", "Slate Blue"},
			styles: []style{
				{"True Wireless Earbuds", 79, "Small, light and quick to pair, with a case that disappears into a coin pocket."},
				{"Noise-Cancelling Earbuds", 159, "Shuts out the open-plan office, and lets voices back in with a tap."},
				{"Sport Earbuds", 99, "Soft hooks keep them in place through burpees, rain and the last mile."},
				{"Open-Fit Earbuds", 119, "They rest outside the ear, so you hear the traffic and the podcast."},
				{"Sleep Earbuds", 139, "Low enough to lie on, with gentle sounds that fade as you drift off."},
			},
			details: []string{
				"Four sizes of silicone tips are included, so one pair will fit.",
				"The case holds three more charges and tops up on any wireless pad.",
				"Ten minutes of charging gives two hours of listening.",
				"Lost one at home? The app makes it chirp.",
			},
		},
		{
			code: "SPKR", colours: []string{"Graphite", "Brick Red", "Mist Gray", "Teal", "Mustard"},
			styles: []style{
				{"Pocket Wireless Speaker", 39, "Surprisingly big sound from something the size of a bar of soap."},
				{"Waterproof Outdoor Speaker", 99, "Made for the pool, the beach and the occasional drop on the patio."},
				{"Party Speaker", 279, "Two woofers, a carrying handle and enough volume for the whole yard."},
				{"Multiroom Speaker", 199, "Place one in each room and the same song follows you around the house."},
				{"Smart Speaker with Clock", 89, "Music, timers and a soft amber clock for the bedside or the kitchen."},
			},
			details: []string{
				"Pair two of them for proper stereo.",
				"The fabric wipes clean and does not mind the sun.",
				"A single dial does everything, even with wet hands.",
				"Bass is felt as well as heard, and voices still come through.",
			},
		},
		{
			code: "HIFI",
			styles: []style{
				{"Belt-Drive Turntable", 249, "A heavy platter and a balanced arm, ready to play ten minutes after unpacking."},
				{"Stereo Amplifier", 399, "Fifty clean watts per channel, with inputs for the old deck and the new streamer."},
				{"Bookshelf Speakers, Pair", 329, "Real walnut veneer around a driver that makes small rooms sound large."},
				{"Floorstanding Speakers, Pair", 899, "Full-range towers with the scale of a concert and the manners for a living room."},
				{"Compact CD Stereo System", 219, "CDs, radio and streaming in one neat box, with speakers to match."},
			},
			details: []string{
				"Connections are solid, labeled and easy to reach.",
				"Handsome enough to be left in plain sight.",
				"The engineers spent the money inside, and you can hear where.",
				"A short guide in plain words helps with setting up.",
			},
		},
		{
			code: "PROJ",
			styles: []style{
				{"Mini Projector", 199, "A film night that fits in a tote bag, battery included."},
				{"Full HD Home Projector", 449, "A hundred-inch picture for the price of a small television."},
				{"4K Laser Projector", 1499, "Bright, quiet and ready in seconds, with a light source rated for decades of films."},
				{"Short-Throw Projector", 999, "Stands a hand's width from the wall, so nobody walks through the picture."},
				{"Outdoor Cinema Projector", 599, "Bright enough for dusk, with a rubber shell and a speaker that carries."},
			},
			details: []string{
				"It squares and focuses the picture by itself when you move it.",
				"The fan stays below a whisper, even in quiet scenes.",
				"Streaming apps are built in, so a socket is all it asks for.",
				"Color is set at the factory, not left to you and an evening of menus.",
			},
		},
		{
			code: "RADIO",
			styles: []style{
				{"Digital Kitchen Radio", 79, "Presets you can press with floury hands, and a timer for the eggs."},
				{"Portable Internet Radio", 119, "Stations from everywhere, sorted so that you will find the good ones."},
				{"Sunrise Alarm Clock", 69, "Wakes you with slow light first and birdsong second."},
				{"Retro Tabletop Radio", 139, "A wooden cabinet and a warm dial glow, with everything modern inside."},
				{"Shower Radio", 35, "Sticks to the tiles and sings along through the steam."},
			},
			details: []string{
				"The display dims at night until it is barely there.",
				"It remembers the volume you like in the morning.",
				"Moisture and dust stay out, so any shelf will do.",
				"Large, friendly buttons make the manual unnecessary.",
			},
		},
	},
}
