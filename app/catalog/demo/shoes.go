package demo

var shoes = department{
	category: Category{Slug: "shoes", Name: "Shoes"},
	brands: []brand{
		{"Strideway", 100, []string{"Metro", "Circuit", "Boulevard", "Relay"}},
		{"Cobble & Last", 130, []string{"Guild", "Chapel", "Barrow", "Warden"}},
		{"Fernhill", 95, []string{"Bracken", "Copse", "Glade", "Stile"}},
		{"Merrow", 110, []string{"Coral", "Lagoon", "Pebble", "Regatta"}},
		{"Kilbrae", 115, []string{"Moor", "Summit", "Burn", "Drover"}},
		{"Tumbledown", 80, []string{"Amble", "Saunter", "Stroll", "Ramble"}},
	},
	closings: []string{
		"Between sizes? Take the larger one.",
		"Wear them at home for two weeks and still return them.",
		"Comfortable from the first hour.",
		"Made with vegetable dyes and water-based glue.",
		"Shipped in a box sturdy enough to keep.",
		"A pair our own staff buy twice.",
		"Good value per mile.",
		"Cared for, they will see many seasons.",
	},
	kinds: []kind{
		{
			code: "SNKR", sizes: unisexShoeSizes, colours: []string{"White", "Black", "Navy", "Bone", "Forest"},
			styles: []style{
				{"Leather Court Sneakers", 99, "Clean lines in smooth leather that go with everything but black tie."},
				{"Canvas Low-Top Sneakers", 55, "Sturdy canvas on a vulcanized sole, happiest slightly scuffed."},
				{"Suede Retro Runners", 89, "Soft suede panels over a sole borrowed from a better decade."},
				{"Knit Slip-On Sneakers", 69, "A sock that became a shoe, ready by the door."},
				{"High-Top Canvas Sneakers", 65, "Ankle-high canvas with metal eyelets and a stitched toe."},
			},
			details: []string{
				"The insole comes out to air, to wash or to swap.",
				"A padded collar ends the blister before it begins.",
				"The rubber is soft, quiet and grips wet stone.",
				"Half of every sole is recycled rubber.",
			},
		},
		{
			code: "RUN", sizes: unisexShoeSizes, colours: []string{"Black", "Volt Yellow", "Ice Blue", "Sunset Orange"},
			styles: []style{
				{"Daily Running Shoes", 119, "A balanced trainer for most miles of most weeks."},
				{"Cushioned Running Shoes", 139, "Tall, soft foam that takes the sting out of long roads."},
				{"Lightweight Racing Shoes", 169, "A stiff plate under quick foam, for the day with a number on your chest."},
				{"Trail Running Shoes", 129, "Deep lugs and a rock guard for paths that are hardly paths."},
				{"Stability Running Shoes", 135, "A firmer edge steadies the foot without correcting it."},
			},
			details: []string{
				"The mesh breathes where you sweat and holds where you push.",
				"The heel is sculpted to stay put downhill.",
				"Tested over five hundred miles by our own running club.",
				"Bright details catch the headlights.",
			},
		},
		{
			code: "BOOTM", sizes: mensShoeSizes, colours: []string{"Dark Brown", "Black", "Tan"},
			styles: []style{
				{"Men's Chelsea Boots", 159, "Elastic sides and a pull tab, on in a second and sharp all day."},
				{"Men's Leather Work Boots", 189, "Oiled leather over a stitched welt, for jobs and for Saturdays."},
				{"Men's Suede Desert Boots", 119, "Two eyelets, a crepe sole and nothing to prove."},
				{"Men's Lace-Up Dress Boots", 199, "A slim last and a polished toe that lift a plain suit."},
				{"Men's Lined Winter Boots", 149, "Shearling-style lining and a lugged sole for honest snow."},
			},
			details: []string{
				"The leather comes from one tannery and ages to a deep shine.",
				"A steel shank keeps the arch from tiring.",
				"Stitched, not glued, so they can be repaired.",
				"They break in within a week and break down much later.",
			},
		},
		{
			code: "BOOTW", sizes: womensShoeSizes, colours: []string{"Black", "Chestnut", "Taupe", "Oxblood"},
			styles: []style{
				{"Women's Ankle Boots", 129, "A block heel and a side zipper, made for city sidewalks."},
				{"Women's Knee-High Boots", 199, "A clean leather shaft with a hidden stretch panel."},
				{"Women's Lace-Up Combat Boots", 139, "A chunky sole under soft leather, tough only to look at."},
				{"Women's Chelsea Boots", 135, "Neat, waterproof, and as good with dresses as with denim."},
				{"Women's Suede Western Boots", 169, "Stitched shafts and an angled heel with a bit of swagger."},
			},
			details: []string{
				"A cushioned footbed makes the heel feel lower than it looks.",
				"The lining is leather too, so they breathe.",
				"The sole is grooved for wet leaves and station stairs.",
				"Treated against rain before they leave the workshop.",
			},
		},
		{
			code: "DRESSY", sizes: womensShoeSizes, colours: []string{"Black", "Nude", "Red", "Gold", "Navy"},
			styles: []style{
				{"Women's Ballet Flats", 79, "Soft leather, a low vamp and a sole that bends in half."},
				{"Women's Block-Heel Pumps", 109, "A steady heel for weddings with dancing."},
				{"Women's Penny Loafers", 119, "A neat saddle strap and a stacked heel, from desk to dinner."},
				{"Women's Slingback Heels", 115, "A pointed toe and a small heel that clicks with purpose."},
				{"Women's Espadrille Wedges", 89, "Braided jute and ribbons, for terraces and late trains."},
			},
			details: []string{
				"Memory foam hides under the leather insole.",
				"They are lined at the heel so that nothing slips.",
				"The toe box is wider than it looks.",
				"They fit in a handbag for the walk home.",
			},
		},
		{
			code: "HIKE", sizes: unisexShoeSizes, colours: []string{"Earth Brown", "Graphite", "Moss", "Slate Blue"},
			styles: []style{
				{"Waterproof Hiking Boots", 169, "High, stiff and dry, for packs with a tent in them."},
				{"Low Hiking Shoes", 129, "Sneaker comfort with a sole that trusts wet rock."},
				{"Leather Mountain Boots", 229, "One-piece nubuck with a full rubber rand."},
				{"Lightweight Trail Boots", 149, "A synthetic upper that weighs little and dries overnight."},
				{"Approach Shoes", 139, "Sticky at the toe for scrambles, kind at the heel for the walk in."},
			},
			details: []string{
				"The tongue is sewn shut against grit and puddles.",
				"The laces lock at the ankle, so downhill toes are spared.",
				"The lugs are spaced to drop their mud.",
				"Our guides wore them for a full season.",
			},
		},
		{
			code: "SANDAL", sizes: unisexShoeSizes, colours: []string{"Cognac", "Black", "Sand", "Denim Blue"},
			styles: []style{
				{"Cork Footbed Sandals", 79, "Two buckles and a bed of cork that learns your foot."},
				{"Trekking Sandals", 89, "Quick-drying straps on a sole made for streams."},
				{"Woven Leather Sandals", 95, "Hand-woven strips on a flat sole, cool through August."},
				{"Leather Slides", 65, "One wide strap, one soft sole, and summer has started."},
				{"Fisherman Sandals", 85, "A closed toe and a T-bar buckle, for rocks, towns and terraces."},
			},
			details: []string{
				"Easy on, easy off, and secure in between.",
				"The arch is supported where it should be.",
				"The edges are rolled, so the straps never cut.",
				"Light enough for the corner of a suitcase.",
			},
		},
		{
			code: "KIDSHOE", sizes: childrensShoeSizes, colours: []string{"Navy", "Berry", "Yellow", "Dinosaur Green"},
			styles: []style{
				{"Kids' Hook-and-Loop Sneakers", 45, "Two straps that small fingers manage by themselves."},
				{"Kids' Rain Boots", 32, "Natural rubber, pull-on handles and puddles without regret."},
				{"Kids' School Shoes", 55, "Leather that takes a polish and a toe that takes a beating."},
				{"Kids' Snow Boots", 59, "A warm felt liner that comes out to dry by the stove."},
				{"Kids' Light-Up Sneakers", 42, "Every step glows, which makes the way to school faster."},
			},
			details: []string{
				"The insole has a line that shows when they are outgrown.",
				"A reinforced toe cap survives scooters and stairs.",
				"Wide, flexible and light, as growing feet need.",
				"There is a place inside for a name.",
			},
		},
	},
}
