package catalog_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doorbuster/app/catalog"
	"doorbuster/app/money"
)

var midnight = time.Date(2025, time.November, 28, 0, 0, 0, 0, time.UTC)

func usd(minor int64) money.Money { return money.Money{Minor: minor, Currency: "USD"} }

// window returns a sale from one number of minutes after midnight to another.
func window(name string, from, to int, price int64) catalog.Sale {
	at := func(minute int) time.Time { return midnight.Add(time.Duration(minute) * time.Minute) }
	return catalog.Sale{Name: name, Price: usd(price), StartsAt: at(from), EndsAt: at(to)}
}

func TestPriceAtTheEdgesOfASale(t *testing.T) { // E1
	t.Parallel()
	sale := window("night", 0, 60, 4999)
	sku := catalog.SKU{List: usd(7999), Sales: []catalog.Sale{sale}}
	doorbuster := sku
	doorbuster.SaleOnly = true
	for _, c := range []struct {
		name    string
		at      time.Time
		want    catalog.Offer
		buyable bool // also where it is for sale only
	}{
		{"a moment before", midnight.Add(-1), catalog.Offer{Price: usd(7999), Sale: &sale}, false},
		{"at the start", midnight, catalog.Offer{Price: usd(4999), Sale: &sale, Open: true}, true},
		{"a moment before the end", sale.EndsAt.Add(-1), catalog.Offer{Price: usd(4999), Sale: &sale, Open: true}, true},
		{"at the end", sale.EndsAt, catalog.Offer{Price: usd(7999)}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := sku.At(c.at)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("offer (-want +got):\n%s", diff)
			}
			if !sku.Buyable(got) {
				t.Error("got not buyable, want an ordinary SKU to be buyable always")
			}
			if doorbuster.Buyable(got) != c.buyable {
				t.Errorf("a doorbuster: got buyable %v, want %v", !c.buyable, c.buyable)
			}
		})
	}
}

// randomSales are windows that overlap, touch and coincide: few minutes to choose from, and few prices.
func randomSales(r *rand.Rand) []catalog.Sale {
	sales := make([]catalog.Sale, r.IntN(6))
	for i := range sales {
		from := r.IntN(10)
		sales[i] = window(string(rune('A'+i)), from, from+1+r.IntN(5), int64(1+r.IntN(4)))
	}
	slices.SortStableFunc(sales, func(a, b catalog.Sale) int { return a.StartsAt.Compare(b.StartsAt) })
	return sales
}

// instants are every minute that randomSales can name, with a moment before and after it.
func instants() []time.Time {
	var all []time.Time
	for minute := -1; minute <= 16; minute++ {
		at := midnight.Add(time.Duration(minute) * time.Minute)
		all = append(all, at.Add(-1), at, at.Add(1))
	}
	return all
}

// oracle says in one sentence each what [catalog.SKU.At] promises, without care for speed.
func oracle(s *catalog.SKU, now time.Time) (price money.Money, open bool, next time.Time) {
	var prices []int64
	var starts []time.Time
	for _, sale := range s.Sales {
		if now.Compare(sale.StartsAt) >= 0 && now.Compare(sale.EndsAt) < 0 {
			prices = append(prices, sale.Price.Minor)
		}
		if now.Compare(sale.StartsAt) < 0 {
			starts = append(starts, sale.StartsAt)
		}
	}
	if len(prices) > 0 {
		return usd(min(slices.Min(prices), s.List.Minor)), true, time.Time{}
	}
	if len(starts) > 0 {
		next = slices.MinFunc(starts, time.Time.Compare)
	}
	return s.List, false, next
}

// E1: whatever the windows, the price is the lowest open one, and never above the list, and the sale that is shown is the one that makes it or the
// next to come.
func TestOfferAgreesWithTheRules(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2000) {
		sku := catalog.SKU{List: usd(2), Sales: randomSales(rand.New(rand.NewPCG(seed, 0)))}
		for _, now := range instants() {
			got := sku.At(now)
			price, open, next := oracle(&sku, now)
			if got.Price != price || got.Open != open {
				t.Fatalf("seed %d at %s: got %s, open %v, want %s, open %v\n%v", seed, now, got.Price, got.Open, price, open, sku.Sales)
			}
			switch {
			case open && (got.Sale == nil || min(got.Sale.Price.Minor, sku.List.Minor) != price.Minor || now.Before(got.Sale.StartsAt) || !now.Before(got.Sale.EndsAt)):
				t.Fatalf("seed %d at %s: got sale %v, want an open one at %s", seed, now, got.Sale, price)
			case !open && next.IsZero() && got.Sale != nil:
				t.Fatalf("seed %d at %s: got sale %v, want none", seed, now, got.Sale)
			case !open && !next.IsZero() && (got.Sale == nil || !got.Sale.StartsAt.Equal(next)):
				t.Fatalf("seed %d at %s: got sale %v, want one from %s", seed, now, got.Sale, next)
			}
		}
	}
}

// E1, S3: until [catalog.Product.NextChange] a cached offer stays right, and NextChange is one of the edges, so that no
// cache forgets more often than it has to.
func TestOffersHoldUntilNextChange(t *testing.T) {
	t.Parallel()
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 1))
		p := catalog.Product{SKUs: []catalog.SKU{{List: usd(2), Sales: randomSales(r)}, {List: usd(3), Sales: randomSales(r)}}}
		for _, now := range instants() {
			next := p.NextChange(now)
			isEdge := next.IsZero()
			for i := range p.SKUs {
				for _, sale := range p.SKUs[i].Sales {
					isEdge = isEdge || next.Equal(sale.StartsAt) || next.Equal(sale.EndsAt)
				}
				before := p.SKUs[i].At(now)
				for _, later := range instants() {
					if later.Before(now) || !next.IsZero() && !later.Before(next) {
						continue
					}
					if got := p.SKUs[i].At(later); got != before {
						t.Fatalf("seed %d: at %s the next change is at %s, but at %s got %v, want %v still", seed, now, next, later, got, before)
					}
				}
			}
			if !isEdge || !next.IsZero() && !next.After(now) {
				t.Fatalf("seed %d at %s: got next change %s, want an edge of a sale that is still to come", seed, now, next)
			}
		}
	}
}

func TestTitle(t *testing.T) { // E1
	t.Parallel()
	for _, c := range []struct {
		sku  catalog.SKU
		want string
	}{
		{catalog.SKU{ProductName: "Fjord wool jumper", Name: "Size M"}, "Fjord wool jumper, Size M"},
		{catalog.SKU{ProductName: "Steam mop", Name: "Standard"}, "Steam mop"},
	} {
		if got := c.sku.Title(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
