package demo

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// productsPerKind makes 1,200 products of the 80 kinds in the tables.
const productsPerKind = 15

// A department is the table behind one category. The tables are never written to.
type department struct {
	category Category
	brands   []brand
	kinds    []kind
	closings []string // last sentences that suit everything in the department
}

// A brand sells all kinds of its department, in a few product lines.
type brand struct {
	name  string
	level int64 // its prices, in percent of a style's usual price
	lines []string
}

// A kind is a group of goods that the same details can be told of, such as kettles.
type kind struct {
	code    string // unique among all kinds; part of the SKU codes
	styles  []style
	details []string // second sentences that suit every style
	colours []string // optional; each colour is a product of its own
	sizes   []size   // optional; each size is a SKU
	limit   int      // most units per customer; 0: no limit
}

// A style is what stands after brand and line in the name, with its usual price in its smallest size.
type style struct {
	name    string
	dollars int64
	opening string // the first sentence of the description
}

// A size is one SKU of a product.
type size struct {
	name  string
	code  string // the end of the SKU's code; empty: nothing is added
	extra int64  // on top of the price of the smallest size, in percent
}

var oneSize = []size{{"Standard", "", 0}}

// products fills the department. It goes round the kinds, so that neighbours in a list are different things, and
// gives no two products the same description and no two neighbours the same closing.
func (d department) products(rng *rand.Rand) []Product {
	var ranges []productLine
	for _, b := range d.brands {
		for _, l := range b.lines {
			ranges = append(ranges, productLine{b, l})
		}
	}
	makers := make([]*maker, len(d.kinds))
	for i, k := range d.kinds {
		makers[i] = newMaker(rng, k, ranges)
	}

	var products []Product
	var closing string
	told := make(map[string]bool) // the descriptions so far
	for range productsPerKind {
		shuffle(rng, makers[:len(makers)-1]) // what came last in one round is not first in the next
		shuffle(rng, makers[1:])
		for _, m := range makers {
			p := m.next()
			p.Category = d.category.Slug
			closing = d.chooseClosing(rng, func(c string) bool {
				return c != closing && !told[p.Description+" "+c]
			})
			p.Description += " " + closing
			told[p.Description] = true
			products = append(products, p)
		}
	}
	return products
}

func (d department) chooseClosing(rng *rand.Rand, suits func(string) bool) string {
	for {
		if c := d.closings[rng.IntN(len(d.closings))]; suits(c) {
			return c
		}
	}
}

// A productLine is one line of one brand. Each makes at most one model of a kind, which keeps the names unique.
type productLine struct {
	brand brand
	line  string
}

// A maker makes the products of one kind: model by model, and each model in one to three of the kind's colours.
type maker struct {
	rng    *rand.Rand
	kind   kind
	lines  *deck[productLine]
	styles *deck[pitch]
	made   int

	model   model
	colours []string // in which the model is still to be made
}

// A pitch is a style and what to tell of it, so that a style is told differently each time.
type pitch struct {
	style
	details *deck[string]
}

// A model is what its products in different colours have in common.
type model struct {
	productLine
	pitch
	cents int64 // the price of the smallest size, before rounding
	under int64 // how many cents its prices stay under a round number
}

func newMaker(rng *rand.Rand, k kind, lines []productLine) *maker {
	if len(k.sizes) == 0 {
		k.sizes = oneSize
	}
	pitches := make([]pitch, len(k.styles))
	for i, s := range k.styles {
		pitches[i] = pitch{style: s, details: newDeck(rng, k.details)}
	}
	return &maker{
		rng:    rng,
		kind:   k,
		lines:  newDeck(rng, lines),
		styles: newDeck(rng, pitches),
	}
}

// next makes a product, all but its category and the last sentence of its description.
func (m *maker) next() Product {
	if len(m.colours) == 0 {
		m.model, m.colours = m.newModel(), m.chooseColours()
	}
	colour := m.colours[0]
	m.colours = m.colours[1:]
	m.made++

	name := m.model.brand.name + " " + m.model.line + " " + m.model.name
	if colour != "" {
		name += " in " + colour
	}
	return Product{
		Slug:        slug(name),
		Name:        name,
		Description: m.model.opening + " " + m.model.details.deal(),
		SKUs:        m.skus(),
	}
}

func (m *maker) newModel() model {
	l, s := m.lines.deal(), m.styles.deal()
	return model{
		productLine: l,
		pitch:       s,
		cents:       s.dollars * l.brand.level * (95 + m.rng.Int64N(11)) / 100, // dollars by percent are cents
		under:       []int64{1, 1, 1, 5, 100}[m.rng.IntN(5)],
	}
}

// chooseColours returns one colour without a name for a kind that has no colours.
func (m *maker) chooseColours() []string {
	if len(m.kind.colours) == 0 {
		return []string{""}
	}
	colours := slices.Clone(m.kind.colours)
	shuffle(m.rng, colours)
	return colours[:1+m.rng.IntN(3)]
}

func (m *maker) skus() []SKU {
	var off int64 // percent; about a third of the products are in the sale
	if m.rng.IntN(3) == 0 {
		off = 15 + 5*m.rng.Int64N(6)
	}
	brandCode := strings.ToUpper(m.model.brand.name[:3])
	skus := make([]SKU, len(m.kind.sizes))
	for i, s := range m.kind.sizes {
		code := fmt.Sprintf("%s-%s%02d", brandCode, m.kind.code, m.made)
		if s.code != "" {
			code += "-" + s.code
		}
		list := pricePoint(m.model.cents*(100+s.extra)/100, m.model.under)
		var sale int64
		if off > 0 {
			sale = pricePoint(list*(100-off)/100, m.model.under)
		}
		skus[i] = SKU{
			Code:           code,
			Name:           s.name,
			ListPriceMinor: list,
			SalePriceMinor: sale,
			Stock:          stock(m.rng),
			MaxPerCustomer: m.kind.limit,
		}
	}
	return skus
}

// stock is mostly ample, low for one SKU in twenty, and nothing for one in a hundred.
func stock(rng *rand.Rand) int {
	switch n := rng.IntN(100); {
	case n == 0:
		return 0
	case n <= 5:
		return 1 + rng.IntN(5)
	default:
		return 10 + rng.IntN(491)
	}
}

// pricePoint returns the price near cents that a shop would print: 7.50, 24.95, 149.00 or 1,299.99. It stays under a
// round number by the given cents; small prices are round themselves.
func pricePoint(cents, under int64) int64 {
	var step int64
	switch {
	case cents < 10_00:
		step, under = 50, 0
	case cents < 50_00:
		step = 1_00
	case cents < 200_00:
		step = 5_00
	case cents < 1_000_00:
		step = 10_00
	default:
		step = 50_00
	}
	return (cents+under+step/2)/step*step - under
}

// respell replaces what our names are written with and a slug is not.
var respell = strings.NewReplacer("'", "", "é", "e", "è", "e", "&", "and")

// slug spells a name in lower-case letters, digits and single hyphens.
func slug(name string) string {
	name = respell.Replace(strings.ToLower(name))
	words := strings.FieldsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
	return strings.Join(words, "-")
}

// A deck deals its cards in random order. When all are dealt it shuffles them and goes on.
type deck[T any] struct {
	rng   *rand.Rand
	cards []T
	dealt int
}

func newDeck[T any](rng *rand.Rand, cards []T) *deck[T] {
	d := &deck[T]{rng: rng, cards: slices.Clone(cards)}
	shuffle(rng, d.cards)
	return d
}

func (d *deck[T]) deal() T {
	if d.dealt == len(d.cards) {
		shuffle(d.rng, d.cards)
		d.dealt = 0
	}
	d.dealt++
	return d.cards[d.dealt-1]
}

func shuffle[T any](rng *rand.Rand, s []T) {
	rng.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
}
