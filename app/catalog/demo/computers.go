package demo

var computers = department{
	category: Category{Slug: "computers", Name: "Computers"},
	brands: []brand{
		{"Kestrane", 115, []string{"Summit", "Slate", "Strata", "Swift"}},
		{"Oakbyte", 95, []string{"Grove", "Canopy", "Sapling", "Timber"}},
		{"Vexley", 125, []string{"Arc", "Forge", "Apex", "Rogue"}},
		{"Lumenor", 105, []string{"Clear", "Beacon", "Daybreak", "Focus"}},
		{"Tarnwick", 85, []string{"Essential", "Campus", "Ledger", "Open"}},
		{"Polvara", 100, []string{"North", "Tundra", "Borealis", "Frost"}},
	},
	closings: []string{
		"Three-year warranty with collection from your door.",
		"Ships in plastic-free packaging.",
		"A favorite in our own offices.",
		"Telephone help from real people is included for a year.",
		"Try it at your own desk for thirty days.",
		"Tested for ten thousand hours before it earned its name.",
		"Priced for students, built for professionals.",
		"Buy it once and forget about it.",
	},
	kinds: []kind{
		{
			code: "LAP", sizes: laptopStorage, limit: 3,
			styles: []style{
				{"13-Inch Ultralight Laptop", 899, "Under a kilogram and thinner than the notebook beside it."},
				{"14-Inch Business Laptop", 999, "Built for trains, meetings and the third year of ownership."},
				{"15-Inch Everyday Laptop", 599, "A roomy screen and a full keyboard for homework, bills and films."},
				{"16-Inch Creator Laptop", 1699, "A calibrated display and a fast graphics chip for people who edit for a living."},
				{"17-Inch Gaming Laptop", 1499, "A desktop's frame rates in something that still fits a backpack."},
			},
			details: []string{
				"The battery lasts the working day with some left for the way home.",
				"Memory and drive sit behind a few screws, so you can upgrade later.",
				"The keys have real travel and a backlight that knows when it is dark.",
				"It charges over USB-C from the same brick as your phone.",
			},
		},
		{
			code: "DESK", sizes: laptopStorage, limit: 3,
			styles: []style{
				{"Mini PC", 449, "A complete computer the size of a lunch box, to forget behind the screen."},
				{"Tower Desktop", 699, "Plenty of power for the office and plenty of room inside for more."},
				{"All-in-One 24-Inch PC", 849, "Screen, speakers and computer on one foot, with a single cable to the wall."},
				{"Gaming Desktop", 1399, "Fast out of the box, quiet under load, and built from standard parts."},
				{"Creator Workstation", 2199, "Many cores and much memory, for renders that finish before lunch."},
			},
			details: []string{
				"Large slow fans keep it cool without being heard.",
				"Ports are where you need them: two in front, the rest behind.",
				"It wakes in a second and sips power when idle.",
				"No trial software: a clean system and nothing to remove.",
			},
		},
		{
			code: "MON",
			styles: []style{
				{"24-Inch Full HD Monitor", 149, "An honest everyday screen with a stand that actually rises."},
				{"27-Inch QHD Monitor", 279, "Room for two documents side by side, sharp enough to read all day."},
				{"27-Inch 4K Monitor", 399, "Text like print, and color accurate enough for photographs."},
				{"32-Inch Curved Gaming Monitor", 449, "A gentle curve and 165 frames a second pull you into the scene."},
				{"34-Inch Ultrawide Monitor", 599, "One wide desk of pixels where two screens and a gap used to be."},
			},
			details: []string{
				"One USB-C cable carries picture, data and power to the laptop.",
				"The matte surface keeps the window behind you out of sight.",
				"The stand tilts, turns and pivots, and leaves the desk free.",
				"It is free of flicker and easy on the eyes after dinner.",
			},
		},
		{
			code: "KEYB", colours: []string{"Black", "White", "Stone", "Midnight Blue"},
			styles: []style{
				{"Mechanical Keyboard", 119, "Crisp switches, an aluminum plate and a sound you will grow fond of."},
				{"Compact Wireless Keyboard", 59, "Leaves out the number pad and gives the mouse its space back."},
				{"Ergonomic Split Keyboard", 139, "Two halves set at the angle of your shoulders, for wrists that ache no more."},
				{"Low-Profile Keyboard", 89, "Laptop-like keys with a longer, calmer stroke."},
				{"Gaming Keyboard", 129, "Fast linear switches, lights for every key and a wheel for the volume."},
			},
			details: []string{
				"Switches between three devices at the press of a key.",
				"The legends are molded through, so they never wear off.",
				"A braided cable is included for those who trust wires.",
				"Rubber feet and a solid base keep it where it belongs.",
			},
		},
		{
			code: "MOUSE", colours: []string{"Black", "White", "Graphite", "Moss"},
			styles: []style{
				{"Wireless Mouse", 29, "A comfortable shape, a precise sensor and a battery you forget about."},
				{"Vertical Mouse", 49, "Holds your hand as if in a handshake, which your forearm will notice by evening."},
				{"Silent Travel Mouse", 25, "Flat, light and free of clicks, for libraries and sleeping neighbors."},
				{"Gaming Mouse", 69, "A feather-light shell over a sensor that misses nothing."},
				{"Trackball", 79, "The hand stays still and only the thumb travels."},
			},
			details: []string{
				"Works on wood, fabric and the arm of a sofa.",
				"The wheel spins freely through long pages and stops where you want.",
				"Side buttons can be set differently for every program.",
				"One charge lasts about two months.",
			},
		},
		{
			code: "DRIVE", sizes: driveCapacity,
			styles: []style{
				{"Portable SSD", 89, "Carries a year of photographs in a shell the size of a cracker."},
				{"Rugged Portable SSD", 109, "Rubber-edged and sealed against dust and rain, for work outdoors."},
				{"Internal NVMe SSD", 79, "The upgrade that makes an old computer feel new."},
				{"Desktop Backup Drive", 69, "A quiet box that copies everything at night, so you never have to remember."},
				{"Network Storage Drive", 99, "Made to run day and night in a home server."},
			},
			details: []string{
				"Everything on it is encrypted once you set a password.",
				"It keeps its speed on long copies instead of slowing down halfway.",
				"Includes one free attempt at data recovery, should the worst happen.",
				"Comes with a simple backup program that does one thing well.",
			},
		},
		{
			code: "NET",
			styles: []style{
				{"Wi-Fi 6 Router", 99, "Quick and steady in a busy apartment building."},
				{"Mesh Wi-Fi System, 3-Pack", 249, "Three small towers carry one network from cellar to attic."},
				{"Wi-Fi 7 Router", 279, "Headroom for fast lines, large households and whatever comes next."},
				{"Wi-Fi Extender", 39, "Brings the signal to the one room that never had it."},
				{"Travel Router", 45, "A private network for hotel rooms, from one shared password."},
			},
			details: []string{
				"Setup takes five minutes on the phone, and the old passwords can stay.",
				"Security updates install themselves at night.",
				"Status lights are small, calm and can be switched off.",
				"It can lie flat, stand up or hang on the wall.",
			},
		},
		{
			code: "OFFICE",
			styles: []style{
				{"Full HD Webcam", 59, "Natural faces in bad light, and a shutter for when the meeting is over."},
				{"USB Microphone", 99, "A warm, close voice for calls, lessons and the podcast you keep planning."},
				{"Compact Laser Printer", 169, "Twenty crisp pages a minute, and it starts even after a month off."},
				{"Refillable Ink Printer", 229, "Bottles instead of cartridges: two years of printing are in the box."},
				{"USB-C Docking Station", 149, "One plug turns the laptop into a workplace with two screens."},
			},
			details: []string{
				"Plug it in and it works, with nothing to install.",
				"Small enough to share the desk with a cup of coffee.",
				"Cable and quick guide are included.",
				"It works with everything made in the last ten years.",
			},
		},
	},
}
