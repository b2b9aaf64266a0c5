// Package demo makes a believable shop to look at, to develop against and to load with traffic: some 1,200 products
// in eleven categories, and four discount codes. It is for whoever wants to try the shop, for load tests and for
// tests that need a full catalogue; a real shop would import its own.
//
// A catalogue depends on nothing but a number, so two machines given the same number sell the same goods at the same
// prices. The doorbusters and the discount codes do not depend even on that: their slugs and codes are well known
// and may be written into documentation and test scripts.
//
// The words are in the tables, one file for each department, and the rules are in make.go. Everything that could
// come out as nonsense is written as a whole by hand (a style such as "Glass Kettle" with its price and a sentence
// about it); chance only combines what fits together.
package demo

import "math/rand/v2"

// A Catalogue is all that the shop sells. Categories and products are in the order in which to show them.
type Catalogue struct {
	Categories []Category
	Products   []Product
	Discounts  []Discount
}

// A Category is a department of the shop.
type Category struct {
	Slug string
	Name string
}

// A Product is what has a page of its own; what goes in the cart is one of its SKUs.
type Product struct {
	Category    string // the category's slug
	Slug        string
	Name        string
	Description string
	SKUs        []SKU // in the order of their sizes, at least one
}

// A SKU is a product in one size.
type SKU struct {
	Code           string
	Name           string // the size, such as "Size M" or "256 GB", or "Standard" when there is only one
	ListPriceMinor int64  // US cents
	SalePriceMinor int64  // US cents; 0: not in the sale
	Stock          int
	MaxPerCustomer int  // 0: no limit
	SaleOnly       bool // a doorbuster: for sale only while the sale is open
}

// A Discount is a code that takes either a percentage or an amount off an order.
type Discount struct {
	Code             string
	Percent          int   // 0: takes AmountMinor off instead
	AmountMinor      int64 // US cents; 0: takes Percent off instead
	MinSubtotalMinor int64 // US cents
	MaxUses          int   // 0: no limit
}

// Make returns the catalogue for a seed number: the same number, the same catalogue, byte for byte.
func Make(seed uint64) Catalogue {
	rng := rand.New(rand.NewPCG(seed, 0))
	c := Catalogue{
		Categories: []Category{doorbusterCategory},
		Products:   doorbusters(),
		Discounts:  discounts(),
	}
	for _, d := range departments() {
		c.Categories = append(c.Categories, d.category)
		c.Products = append(c.Products, d.products(rng)...)
	}
	return c
}

func departments() []department {
	return []department{
		televisionsAndAudio,
		computers,
		phonesAndWearables,
		kitchen,
		home,
		clothing,
		shoes,
		beauty,
		toys,
		outdoors,
	}
}

func discounts() []Discount {
	return []Discount{
		{Code: "WELCOME10", Percent: 10},
		{Code: "MIDNIGHT20", Percent: 20, MinSubtotalMinor: 100_00, MaxUses: 500},
		{Code: "TAKE15", AmountMinor: 15_00, MinSubtotalMinor: 75_00},
		{Code: "LASTCALL", Percent: 25, MaxUses: 1}, // to see a code run out
	}
}
