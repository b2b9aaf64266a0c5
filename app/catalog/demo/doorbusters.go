package demo

var doorbusterCategory = Category{Slug: "doorbusters", Name: "Doorbusters"}

// doorbusters returns what people queue for. The slugs and codes are well known: the README and the load tests buy
// the television.
func doorbusters() []Product {
	return []Product{
		doorbuster("aurora-55-oled-tv", "Aurora 55-Inch OLED 4K TV",
			"The television of the night: perfect blacks, a 120 Hz panel and a frame as thin as a picture's. "+
				"One hundred sets at this price, one per customer, and then it is over.",
			deal{499_00, 1_499_00, 1}, unit{"AURORA-55-OLED", "Standard", 100}),
		doorbuster("kestrane-featherlight-14-laptop", "Kestrane Featherlight 14-Inch Laptop",
			"A full day's work in a kilogram of magnesium, with 16 GB of memory "+
				"and a keyboard you will want to write on.",
			deal{399_00, 899_00, 1}, unit{"KESTRANE-FL14", "Standard", 150}),
		doorbuster("quillon-pulse-pro-smartphone", "Quillon Pulse Pro Smartphone",
			"Quillon's best camera in its best phone: three lenses, a screen you can read at noon "+
				"and two days of battery. Unlocked, with 256 GB.",
			deal{449_00, 999_00, 1}, unit{"QUILLON-PULSE-PRO", "256 GB", 200}),
		doorbuster("tonquay-hush-headphones", "Tonquay Hush Noise-Cancelling Headphones",
			"Put them on and the train goes quiet. Forty hours on one charge, "+
				"and cushions soft enough for all of them.",
			deal{129_00, 349_00, 2}, unit{"TONQUAY-HUSH", "Standard", 400}),
		doorbuster("vexley-arcade-one-console", "Vexley Arcade One Game Console",
			"Smooth 4K play, a 1 TB drive and two wireless controllers in the box. "+
				"The one they have been hinting at since June.",
			deal{249_00, 499_00, 1}, unit{"VEXLEY-ARCADE-1", "Standard", 120}),
		doorbuster("quillon-sketch-11-tablet", "Quillon Sketch 11-Inch Tablet",
			"A bright laminated screen and a pen that keeps up with your hand. "+
				"For drawing, notes, and films on the sofa.",
			deal{199_00, 449_00, 1}, unit{"QUILLON-SKETCH-11", "128 GB", 300}),
		doorbuster("nimbrook-tempo-smartwatch", "Nimbrook Tempo Smartwatch",
			"Heart rate, sleep, routes and messages at a glance, and a week between charges. "+
				"Swim-proof, with a second strap.",
			deal{99_00, 279_00, 2}, unit{"NIMBROOK-TEMPO", "Standard", 500}),
		doorbuster("lindenhall-rover-robot-vacuum", "Lindenhall Rover Robot Vacuum and Mop",
			"It maps the house, knows the rug from the tiles and empties its own bin for two months. "+
				"All you do is lift your feet.",
			deal{199_00, 599_00, 1}, unit{"LINDENHALL-ROVER", "Standard", 250}),
		doorbuster("fennimore-barista-espresso-machine", "Fennimore Barista Espresso Machine",
			"Grinder, pump and steam wand behind one brushed-steel front. "+
				"Café espresso in under a minute, every morning.",
			deal{279_00, 699_00, 1}, unit{"FENNIMORE-BARISTA", "Standard", 150}),
		doorbuster("hearthwell-baker-stand-mixer", "Hearthwell Baker Stand Mixer",
			"A die-cast mixer that kneads two loaves without walking off the counter. "+
				"Whisk, paddle and dough hook included.",
			deal{179_00, 399_00, 1}, unit{"HEARTHWELL-BAKER", "Standard", 300}),
		doorbuster("copperleigh-crisp-air-fryer", "Copperleigh Crisp 6-Quart Air Fryer",
			"Crisp fries and a whole chicken with a spoonful of oil, "+
				"in a basket that goes straight in the dishwasher.",
			deal{59_00, 179_00, 2}, unit{"COPPERLEIGH-CRISP", "Standard", 1000}),
		doorbuster("northbrae-glacier-down-parka", "Northbrae Glacier Down Parka",
			"Responsibly sourced down, a storm hood and pockets lined in fleece. "+
				"Last winter's waiting list, at this winter's best price.",
			deal{128_00, 320_00, 1},
			unit{"NORTHBRAE-GLACIER-S", "Size S", 60},
			unit{"NORTHBRAE-GLACIER-M", "Size M", 100},
			unit{"NORTHBRAE-GLACIER-L", "Size L", 100},
			unit{"NORTHBRAE-GLACIER-XL", "Size XL", 60}),
		doorbuster("strideway-velocity-running-shoes", "Strideway Velocity Running Shoes",
			"A springy plate in a cushion of foam: "+
				"the shoe of this fall's marathons, for less than the entry fee.",
			deal{59_00, 149_00, 2},
			unit{"STRIDEWAY-VELOCITY-40", "40 EU", 60},
			unit{"STRIDEWAY-VELOCITY-41", "41 EU", 80},
			unit{"STRIDEWAY-VELOCITY-42", "42 EU", 100},
			unit{"STRIDEWAY-VELOCITY-43", "43 EU", 100},
			unit{"STRIDEWAY-VELOCITY-44", "44 EU", 80},
			unit{"STRIDEWAY-VELOCITY-45", "45 EU", 60}),
		doorbuster("wobblewood-grand-junction-train-set", "Wobblewood Grand Junction Train Set",
			"One hundred and twenty pieces of beech: tracks, bridges, a turntable and three engines. "+
				"It fills a whole rug.",
			deal{49_00, 129_00, 2}, unit{"WOBBLEWOOD-JUNCTION", "Standard", 600}),
		doorbuster("cairnwood-basecamp-4-tent", "Cairnwood Basecamp 4-Person Tent",
			"Up in five minutes, dry in a downpour, and tall enough to stand in "+
				"while you look for your other boot.",
			deal{139_00, 349_00, 1}, unit{"CAIRNWOOD-BASECAMP-4", "Standard", 200}),
		doorbuster("stonebeck-commuter-electric-bike", "Stonebeck Commuter Electric Bike",
			"Sixty miles on a charge, hydraulic brakes, lights and a rack. "+
				"Fifty bikes, and the hill on the way home is gone.",
			deal{899_00, 1_899_00, 1}, unit{"STONEBECK-COMMUTER", "Standard", 50}),
	}
}

// A deal is what all sizes of a doorbuster have in common.
type deal struct {
	sale, list     int64 // cents
	maxPerCustomer int
}

// A unit is one size of a doorbuster.
type unit struct {
	code, name string
	stock      int
}

func doorbuster(slug, name, description string, d deal, units ...unit) Product {
	p := Product{Category: doorbusterCategory.Slug, Slug: slug, Name: name, Description: description}
	for _, u := range units {
		p.SKUs = append(p.SKUs, SKU{
			Code:           u.code,
			Name:           u.name,
			ListPriceMinor: d.list,
			SalePriceMinor: d.sale,
			Stock:          u.stock,
			MaxPerCustomer: d.maxPerCustomer,
			SaleOnly:       true,
		})
	}
	return p
}
