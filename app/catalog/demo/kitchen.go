package demo

var kitchen = department{
	category: Category{Slug: "kitchen", Name: "Kitchen"},
	brands: []brand{
		{"Hearthwell", 105, []string{"Ember", "Homestead", "Larder", "Cottage"}},
		{"Fennimore", 130, []string{"Bistro", "Atelier", "Brasserie", "Maison"}},
		{"Copperleigh", 115, []string{"Heritage", "Manor", "Orchard", "Mill Lane"}},
		{"Saltmarsh & Co", 95, []string{"Harbor", "Tideline", "Lighthouse", "Cove"}},
		{"Brambleware", 85, []string{"Hedgerow", "Meadow", "Picnic", "Everyday"}},
		{"Tavish", 100, []string{"Glen", "Croft", "Loch", "Heath"}},
	},
	closings: []string{
		"A present that will be used.",
		"Our test kitchen used it for a month and kept it.",
		"Five-year guarantee in daily use.",
		"As good to look at as it is to use.",
		"Boxed for gifting, with no plastic inside.",
		"Part of a range, so you can match it later.",
		"A favorite of weeknight cooks and weekend hosts.",
		"Ours has been going for eleven years.",
	},
	kinds: []kind{
		{
			code: "KET", colours: []string{"Cream", "Matte Black", "Sage", "Brushed Steel"},
			styles: []style{
				{"1.7 L Electric Kettle", 49, "Boils a full pot in under four minutes and says so with a quiet click."},
				{"Gooseneck Kettle", 79, "A slender spout that pours exactly where the coffee is."},
				{"Variable-Temperature Kettle", 89, "Cooler for green tea, hotter for coffee, and it holds either for half an hour."},
				{"Stovetop Whistling Kettle", 45, "Heavy-bottomed steel and a two-note whistle that carries to the garden."},
				{"Travel Kettle", 35, "Half a liter, folding handle, any voltage."},
			},
			details: []string{
				"The lid opens wide for cleaning and stays put when you pour.",
				"The handle keeps cool and balances a full load.",
				"No drip down the spout, and none on the table.",
				"Nothing but steel touches the water.",
			},
		},
		{
			code: "COFFEE",
			styles: []style{
				{"Drip Coffee Maker", 89, "Ten cups at the right temperature, ready when the alarm goes."},
				{"Espresso Machine", 449, "Fifteen bars, a proper steam wand and a portafilter with some weight to it."},
				{"Burr Coffee Grinder", 129, "Steel burrs and thirty settings, from espresso to French press."},
				{"Double-Wall French Press", 55, "Keeps a liter of coffee hot through the second cup."},
				{"Pour-Over Coffee Set", 45, "A glass carafe, a ceramic dripper and three unhurried minutes."},
			},
			details: []string{
				"Takes apart without tools and rinses clean.",
				"Small enough to live under a wall cabinet.",
				"Made with people who train baristas.",
				"It makes good beans taste like what you paid for.",
			},
		},
		{
			code: "APPL", colours: []string{"Cream", "Matte Black", "Red", "Stainless"},
			styles: []style{
				{"2-Slice Toaster", 49, "Wide slots, even browning and a setting for bagels."},
				{"Countertop Blender", 119, "Crushes ice, purées soup and stops before it turns hot."},
				{"6-Quart Air Fryer", 129, "Crisp outside, tender inside, and a spoonful of oil for the lot."},
				{"Stand Mixer", 299, "A quiet motor and a deep steel bowl for bread, cream and birthday cakes."},
				{"Immersion Blender", 59, "Straight into the pot for soup, straight into the drawer afterwards."},
				{"Slow Cooker", 69, "Fill it before work and come home to dinner."},
				{"12-Cup Food Processor", 179, "Slices, shreds and kneads faster than you can find the grater."},
			},
			details: []string{
				"The loose parts go in the dishwasher.",
				"The cord is long enough for a kitchen with one socket.",
				"Controls are large, few and clearly marked.",
				"It keeps its looks, with nothing to chip and nothing to fade.",
			},
		},
		{
			code: "PAN",
			styles: []style{
				{"Cast-Iron Skillet, 10-Inch", 45, "Seasoned in flaxseed oil, and better with every steak."},
				{"Enameled Dutch Oven, 5.5-Quart", 169, "Thick iron under glossy enamel, for stews on Sunday and bread on Monday."},
				{"Stainless Steel Saucepan with Lid", 69, "Three layers of metal spread the heat and keep milk from catching."},
				{"Nonstick Frying Pan, 11-Inch", 59, "Eggs slide, pancakes flip, and a cloth is enough afterwards."},
				{"Carbon Steel Wok", 55, "Light enough to toss and hot in seconds."},
				{"Copper Sauté Pan", 229, "Answers the flame at once, and shines on the hook between meals."},
			},
			details: []string{
				"Heats evenly from the middle to the rim.",
				"The grip stays secure under a full load.",
				"Goes from stove to oven to table.",
				"A poured rim keeps the drips off the outside.",
			},
		},
		{
			code: "KNIFE",
			styles: []style{
				{"Chef's Knife, 8-Inch", 79, "A forged blade with enough belly to rock through a heap of parsley."},
				{"Santoku Knife, 7-Inch", 85, "Flat, thin and nimble, with dimples that let potato slices go."},
				{"Bread Knife, 9-Inch", 59, "Long teeth that enter a crust without crushing the crumb."},
				{"Paring Knife", 29, "For strawberries, shallots and everything else you do in the hand."},
				{"6-Piece Knife Block Set", 199, "The five blades you need, a steel, and a beech block to keep them in."},
			},
			details: []string{
				"Hardened twice, so the edge lasts and still takes a stone.",
				"The handle is shaped for a pinch grip and never slips.",
				"Free sharpening in our stores for life.",
				"Full tang, brass rivets, no nonsense.",
			},
		},
		{
			code: "BAKE",
			styles: []style{
				{"Loaf Pan", 22, "Heavy steel with folded corners, for crusts that brown on every side."},
				{"Half-Sheet Baking Trays, 2-Pack", 32, "Flat on day one and flat after a hundred roasts."},
				{"Springform Cake Pan, 9-Inch", 28, "A buckle that closes with a snap and a rim that does not leak."},
				{"12-Cup Muffin Pan", 25, "Deep cups, wide edges, and a coating that lets go."},
				{"Stoneware Pie Dish", 35, "Even heat under the pastry and a fluted edge for the photograph."},
				{"Bread Proofing Basket Set", 29, "Two rattan baskets, two linen liners and a blade for the pattern on top."},
			},
			details: []string{
				"Cleans up with warm water and a soft brush.",
				"Sized to the recipes people really bake.",
				"It turns a beginner's batch into something for the neighbors.",
				"Stacks neatly with the rest of the set.",
			},
		},
		{
			code: "TABLE", colours: []string{"White", "Speckled Oat", "Ocean Blue", "Moss", "Terracotta"},
			styles: []style{
				{"16-Piece Stoneware Dinner Set", 119, "Plates, bowls and mugs for four, glazed by hand so that no two match exactly."},
				{"Set of 4 Porcelain Cereal Bowls", 35, "Deep enough for soup, light enough for bed."},
				{"Set of 4 Ceramic Mugs", 32, "A generous handle and a base that warms the hands."},
				{"Serving Platter", 39, "Long enough for a whole fish or forty canapés."},
				{"Set of 4 Stoneware Pasta Bowls", 45, "Wide rims and a shallow well that keeps the sauce where it should be."},
			},
			details: []string{
				"Safe in the dishwasher, the microwave and a warm oven.",
				"Fired twice, so it chips later than the cheap ones.",
				"The glaze pools a little darker at the rim.",
				"Single pieces can be bought again when one breaks.",
			},
		},
		{
			code: "TOOL",
			styles: []style{
				{"Acacia Cutting Board", 39, "A thick board with a groove for juices and a grip at both ends."},
				{"Glass Storage Containers, 10-Piece", 45, "Five sizes with lids that seal, and you can see what is inside."},
				{"Stainless Mixing Bowls, Set of 5", 42, "From one egg to a wedding salad, nested in the space of one."},
				{"Digital Kitchen Scale", 25, "Grams or ounces, to the gram, on a plate that wipes clean."},
				{"Olive Wood Utensil Set", 34, "Four spoons and a spatula, each from a single piece of olive wood."},
				{"Marble Mortar and Pestle", 38, "Heavy enough to stay put and rough enough to grind pepper."},
			},
			details: []string{
				"The sort of thing you reach for three times a day.",
				"Made plainly, of the right material, at the right weight.",
				"It earns its place in a small kitchen.",
				"Kind to hands, knives and countertops.",
			},
		},
	},
}
