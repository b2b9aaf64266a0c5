// Package catalog is what the shop sells and what it costs at an instant. It owns the tables category, product, sku,
// sale, sale_price and search_word.
//
// A price is a function of time: [SKU.At] picks the sale that is open at an instant, and the instant is always one
// that the database's clock gave ([Store] returns it beside what it read). So nothing has to run when a sale starts, and
// a worker whose own clock is wrong is wrong about nothing: it only ever adds elapsed time to the database's answer.
package catalog

import (
	"errors"
	"time"

	"doorbuster/app/money"
)

// ErrNotFound says that there is no such product, SKU or category.
var ErrNotFound = errors.New("not in the catalogue")

// Category groups products.
type Category struct {
	ID         int64 // 0 before it is written
	Slug, Name string
}

// Product is one page of the catalogue: at least one SKU, in the order to show them.
type Product struct {
	ID          int64 // also its place in the listing order
	Slug        string
	Name        string
	Description string
	Category    string // slug
	SKUs        []SKU
}

// SKU is one thing that can be bought: a product in one size.
type SKU struct {
	ID             int64
	Code           string
	Name           string // "Size M"; "Standard" where there is only one
	ProductSlug    string
	ProductName    string
	List           money.Money // the price outside any sale
	MaxPerCustomer int         // 0: no limit
	SaleOnly       bool        // a doorbuster: for sale only while a sale is open
	Sales          []Sale      // not yet over when read, by start
}

// onlySize is the name of the SKU of a product that has just one.
const onlySize = "Standard"

// Title is how a SKU is called outside its product's page: "Fjord wool jumper, Size M".
func (s *SKU) Title() string {
	if s.Name == onlySize {
		return s.ProductName
	}
	return s.ProductName + ", " + s.Name
}

// Sale is a window of time in which a SKU has another price.
type Sale struct {
	Name     string
	Price    money.Money
	StartsAt time.Time // inclusive
	EndsAt   time.Time // exclusive
}

func (s Sale) openAt(t time.Time) bool { return !t.Before(s.StartsAt) && t.Before(s.EndsAt) }

// Offer is what a SKU costs at an instant.
type Offer struct {
	Price money.Money
	Sale  *Sale // the one that is open, else the next one, else nil
	Open  bool  // whether Sale is open
}

// Buyable reports whether the SKU may be ordered under this offer, whatever its stock: a doorbuster needs an open sale.
func (s *SKU) Buyable(o Offer) bool { return o.Open || !s.SaleOnly }

// At returns the offer at an instant of the database's clock: the lowest price among the sales that are open and the list. An
// owner who lowers the list price below that of a sale does not mean the sale to be dearer.
func (s *SKU) At(now time.Time) Offer {
	offer := Offer{Price: s.List}
	for i := range s.Sales {
		sale := &s.Sales[i]
		switch {
		case sale.openAt(now):
			if !offer.Open || sale.Price.Minor < offer.Price.Minor {
				offer = Offer{sale.Price, sale, true}
				offer.Price.Minor = min(sale.Price.Minor, s.List.Minor)
			}
		case now.Before(sale.StartsAt) && !offer.Open && (offer.Sale == nil || sale.StartsAt.Before(offer.Sale.StartsAt)):
			offer.Sale = sale
		}
	}
	return offer
}

// NextChange returns the first instant after now at which any of the product's offers can change, or the zero time
// when there is none.
func (p *Product) NextChange(now time.Time) time.Time {
	var next time.Time
	for i := range p.SKUs {
		for _, sale := range p.SKUs[i].Sales {
			for _, edge := range [2]time.Time{sale.StartsAt, sale.EndsAt} {
				if edge.After(now) && (next.IsZero() || edge.Before(next)) {
					next = edge
				}
			}
		}
	}
	return next
}
