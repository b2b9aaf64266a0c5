package demo

var clothing = department{
	category: Category{Slug: "clothing", Name: "Clothing"},
	brands: []brand{
		{"Fairlowe", 100, []string{"Harbor", "Linden", "Weekend", "Ferry"}},
		{"Northbrae", 115, []string{"Fell", "Tarn", "Lowland", "Hearth"}},
		{"Sable & Rye", 130, []string{"Monroe", "Gallery", "Sonnet", "Rue"}},
		{"Calder Mill", 110, []string{"Weaver", "Bobbin", "Foreman", "Selvedge"}},
		{"Wexcombe", 90, []string{"Village", "Common", "Orchard", "Lane"}},
		{"Plain Tuesday", 80, []string{"Basic", "Regular", "Staple", "Morning"}},
	},
	closings: []string{
		"Free alterations in our stores.",
		"Fits true to size.",
		"Sewn by people who are paid properly.",
		"Easy to pack and easy to like.",
		"Send it back within sixty days if the mirror disagrees.",
		"Made to outlast the trend.",
		"Comes with a card of matching thread.",
		"Wear it twice this week and nobody will mind.",
	},
	kinds: []kind{
		{
			code: "TEE", sizes: apparelSizes, colours: []string{"White", "Black", "Heather Gray", "Navy", "Rust", "Sage"},
			styles: []style{
				{"Organic Cotton T-Shirt", 24, "A mid-weight crew neck that keeps its shape and its collar."},
				{"Heavyweight Pocket T-Shirt", 32, "Thick, boxy and better with every wash."},
				{"Striped Long-Sleeve Tee", 36, "Sailor stripes on soft jersey, with cuffs that stay pushed up."},
				{"Slub Cotton V-Neck", 28, "A light, textured knit for warm days and under blazers."},
				{"Pique Polo Shirt", 44, "Two buttons, a soft collar and a hem for tucking or not."},
			},
			details: []string{
				"Pre-washed, so it will not shrink.",
				"The shoulder seams are taped and the hem is sewn twice.",
				"No label in the neck to scratch.",
				"The cotton is grown without pesticides.",
			},
		},
		{
			code: "KNIT", sizes: apparelSizes, colours: []string{"Charcoal", "Camel", "Oatmeal", "Bottle Green", "Burgundy", "Navy"},
			styles: []style{
				{"Merino Crewneck Sweater", 79, "Fine merino that goes from the office to the fireside unaided."},
				{"Lambswool Cardigan", 89, "Horn-style buttons, two pockets and the warmth of a good secret."},
				{"Cable-Knit Fisherman Sweater", 109, "Dense cables and a high collar, made for weather."},
				{"Cashmere-Blend Turtleneck", 129, "A soft roll neck that sits flat under a coat."},
				{"Cotton Quarter-Zip Pullover", 65, "A smart layer for cool mornings and open windows."},
			},
			details: []string{
				"Fully fashioned, which means knitted to shape rather than cut.",
				"It breathes, so you can keep it on indoors.",
				"Ribbed cuffs that do not bag.",
				"Wash it cold, dry it flat, keep it for ten winters.",
			},
		},
		{
			code: "JKT", sizes: apparelSizes, colours: []string{"Black", "Olive", "Navy", "Sand"},
			styles: []style{
				{"Waxed Cotton Jacket", 169, "A corduroy collar, big pockets and a cloth that laughs at drizzle."},
				{"Quilted Liner Jacket", 99, "Light diamond quilting to wear alone or under a coat."},
				{"Wool-Blend Overcoat", 219, "A long, clean line with a warm lining and a deep back vent."},
				{"Lightweight Rain Shell", 119, "Taped seams, a peaked hood and a pouch that it packs into."},
				{"Down Puffer Jacket", 159, "Responsibly sourced down in narrow baffles, warm and not bulky."},
				{"Denim Trucker Jacket", 89, "Rigid denim that creases into something of your own."},
			},
			details: []string{
				"An inner pocket takes a phone or a paperback.",
				"The hardware is metal and can be replaced.",
				"Cut with room for a sweater beneath.",
				"Underarm gussets let you reach the top shelf.",
			},
		},
		{
			code: "PANT", sizes: trouserSizes, colours: []string{"Indigo", "Stone", "Black", "Olive", "Washed Gray"},
			styles: []style{
				{"Straight-Leg Jeans", 79, "Thirteen-ounce denim with a touch of give and an honest straight leg."},
				{"Slim Chinos", 59, "Brushed twill that holds a crease and forgives a long lunch."},
				{"Relaxed Cargo Pants", 69, "Roomy through the thigh, with pockets that lie flat."},
				{"Corduroy Pants", 75, "Fine-wale cord, soft from the first day."},
				{"Tapered Travel Pants", 85, "They stretch, shed water and look pressed after a flight."},
			},
			details: []string{
				"A high back rise keeps everything covered when you sit.",
				"The pocket bags are as strong as the cloth.",
				"The color fades gracefully instead of all at once.",
				"The waistband is curved to follow you instead of gaping.",
			},
		},
		{
			code: "DRESS", sizes: apparelSizes, colours: []string{"Black", "Emerald", "Terracotta", "Navy", "Ditsy Floral"},
			styles: []style{
				{"Linen Midi Dress", 99, "An easy waist, a button front and pockets you can use."},
				{"Wrap Dress", 89, "Ties where you want it and moves when you do."},
				{"Knitted Sweater Dress", 95, "As warm as a blanket and rather better cut."},
				{"Cotton Shirt Dress", 79, "A crisp collar above, a full skirt below, and a belt in between."},
				{"Satin Slip Dress", 85, "Cut on the bias, for parties or under a sweater."},
				{"Pleated Midi Skirt", 69, "Fine permanent pleats that fall back into place."},
			},
			details: []string{
				"Fully lined where it matters.",
				"It needs no ironing if you hang it in the steam.",
				"Wear it with boots now and sandals later.",
				"The length was tested on women from five foot to six.",
			},
		},
		{
			code: "SHIRT", sizes: apparelSizes, colours: []string{"White", "Sky Blue", "Pale Pink", "Navy Check", "Olive"},
			styles: []style{
				{"Oxford Button-Down Shirt", 65, "A proper roll in the collar and a cloth that softens for years."},
				{"Brushed Flannel Shirt", 59, "Woven thick, brushed twice, ready for the woodpile or the bar."},
				{"Easy-Iron Poplin Shirt", 55, "Smooth by breakfast, smooth at dinner."},
				{"Linen Camp-Collar Shirt", 69, "An open neck and a straight hem for hot evenings."},
				{"Silk Blouse", 99, "Sand-washed silk with covered buttons and a fluid drape."},
				{"Corduroy Overshirt", 85, "Half shirt, half jacket, with two chest pockets."},
			},
			details: []string{
				"The buttons are thick, and sewn on to stay.",
				"Side gussets strengthen the place where shirts usually tear.",
				"The back pleat gives your shoulders some room.",
				"Cut with a little ease across the chest.",
			},
		},
		{
			code: "SPORT", sizes: apparelSizes, colours: []string{"Black", "Petrol", "Plum", "Storm Gray"},
			styles: []style{
				{"High-Waist Leggings", 55, "Firm, opaque and squat-proof, with a pocket for the phone."},
				{"Running Shorts", 39, "A light shell over a soft liner that does not chafe."},
				{"Training Tank", 29, "Wide armholes and a fabric that dries before you reach the car."},
				{"Fleece Hoodie", 65, "Brushed inside, a three-panel hood and a cord that stays even."},
				{"Tapered Joggers", 55, "Soft enough for the sofa, quick enough for the park."},
				{"Merino Base Layer Top", 69, "Warm when wet and fresh on the third day."},
			},
			details: []string{
				"Flat seams, so nothing rubs on the long days.",
				"Reflective trim shows at night and hides by day.",
				"The fabric moves with you and springs back.",
				"Made mostly of yarn that used to be something else.",
			},
		},
		{
			code: "NIGHT", sizes: apparelSizes, colours: []string{"Ivory", "Navy Stripe", "Dusty Rose", "Tartan"},
			styles: []style{
				{"Brushed Cotton Pajama Set", 59, "Piped edges, a breast pocket and permission to stay in until noon."},
				{"Jersey Lounge Set", 52, "A matching top and bottom that pass for clothes at the front door."},
				{"Modal Nightshirt", 39, "Cool, soft and long enough to find the coffee in."},
				{"Flannel Robe", 69, "Wraps twice, ties once, pockets for both hands."},
				{"Linen Sleep Shorts", 32, "Airy linen with a soft waistband for warm nights."},
			},
			details: []string{
				"It washes at forty degrees and comes back softer.",
				"The waist and cuffs never pinch.",
				"Cut generously, because nobody is looking.",
				"Arrives in a cotton bag that travels well.",
			},
		},
	},
}
