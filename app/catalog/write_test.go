package catalog_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5"

	"doorbuster/app/catalog"
)

// E1: a catalogue that is put again is the same catalogue, with the same ids, since carts and orders remember those.
func TestPutTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	s := open(t)
	all := func() []catalog.Product {
		products, _, err := s.store.Products(t.Context(), catalog.Filter{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		return products
	}
	everything := append(many(0, 5), jumper)
	s.put(rooms, everything...)
	first := all()
	if len(first) != len(everything) {
		t.Fatalf("got %v, want %d products", slugs(first), len(everything))
	}
	slices.Reverse(everything)
	s.put(rooms, everything...)
	if diff := cmp.Diff(first, all()); diff != "" {
		t.Errorf("products put again (-first +second):\n%s", diff)
	}
}

func TestPutUpdates(t *testing.T) { // E1
	t.Parallel()
	s := open(t)
	s.put(rooms, jumper)
	before, _ := s.product("jumper")

	changed := catalog.Product{Slug: "jumper", Name: "Ocean linen jumper", Description: "Cool.", Category: "garden", SKUs: []catalog.SKU{
		{Code: "JUMPER-S", Name: "Small", List: usd(100), SaleOnly: true},
		{Code: "JUMPER-M", Name: "Medium", List: usd(200), MaxPerCustomer: 7},
		{Code: "JUMPER-L", Name: "Large", List: usd(300)},
	}}
	s.put([]catalog.Category{{Slug: "garden", Name: "Jardin"}}, changed)
	after, _ := s.product("jumper")

	want := changed
	want.ID = before.ID
	want.SKUs = slices.Clone(changed.SKUs)
	for i := range want.SKUs {
		want.SKUs[i].ProductSlug, want.SKUs[i].ProductName = want.Slug, want.Name
	}
	want.SKUs[0].ID, want.SKUs[1].ID = before.SKUs[0].ID, before.SKUs[1].ID
	newSKU := cmpopts.IgnoreFields(catalog.SKU{}, "ID")
	if diff := cmp.Diff(want, after, newSKU); diff != "" {
		t.Errorf("product (-want +got):\n%s", diff)
	}
	for i := range before.SKUs {
		if got := after.SKUs[i].ID; got != before.SKUs[i].ID {
			t.Errorf("id of %s: got %d, want %d as before", after.SKUs[i].Code, got, before.SKUs[i].ID)
		}
	}
	if got := s.find("ocean"); len(got) != 1 {
		t.Errorf("search for the new name: got %v, want the product", got)
	}
	if got := s.find("fjord"); len(got) != 0 {
		t.Errorf("search for the old name: got %v, want nothing", got)
	}
	categories, err := s.store.Categories(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]catalog.Category{rooms[0], {Slug: "garden", Name: "Jardin"}, rooms[2]}, categories, withoutID); diff != "" {
		t.Errorf("categories (-want +got):\n%s", diff)
	}
}

// E1: a sale that is put again moves, and its prices are those of the last time and no others.
func TestPutSaleMovesAndReplaces(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.put(rooms, jumper)
	start := s.now().Add(time.Hour)
	sale := catalog.SaleWindow{
		Slug: "night", Name: "Night", StartsAt: start, EndsAt: start.Add(time.Hour),
		PriceMinor: map[string]int64{"JUMPER-S": 4999},
	}
	other := catalog.SaleWindow{
		Slug: "other", Name: "Other", StartsAt: start.Add(4 * time.Hour), EndsAt: start.Add(5 * time.Hour),
		PriceMinor: map[string]int64{"JUMPER-S": 1},
	}
	s.putSale(sale)
	s.putSale(other)

	sale.Name, sale.StartsAt, sale.EndsAt = "Later night", start.Add(2*time.Hour), start.Add(3*time.Hour)
	sale.PriceMinor = map[string]int64{"JUMPER-M": 5999}
	for range 2 {
		s.putSale(sale)
		got, _ := s.product("jumper")
		for i, want := range [][]catalog.Sale{
			{{Name: other.Name, Price: usd(1), StartsAt: other.StartsAt, EndsAt: other.EndsAt}},
			{{Name: sale.Name, Price: usd(5999), StartsAt: sale.StartsAt, EndsAt: sale.EndsAt}},
		} {
			if diff := cmp.Diff(want, got.SKUs[i].Sales); diff != "" {
				t.Errorf("sales of %s (-want +got):\n%s", got.SKUs[i].Code, diff)
			}
		}
	}

	sale.PriceMinor = nil
	s.putSale(sale)
	if got, _ := s.product("jumper"); len(got.SKUs[1].Sales) != 0 {
		t.Errorf("sale without prices: got %v, want none", got.SKUs[1].Sales)
	}
}

func TestIDs(t *testing.T) { // E1
	t.Parallel()
	s := open(t)
	s.put(rooms, jumper)
	p, _ := s.product("jumper")
	s.inTx(func(tx pgx.Tx) error {
		got, err := catalog.IDsTx(t.Context(), tx, []string{"JUMPER-M", "NO-SUCH", "JUMPER-S"})
		if diff := cmp.Diff(map[string]int64{"JUMPER-S": p.SKUs[0].ID, "JUMPER-M": p.SKUs[1].ID}, got); diff != "" {
			t.Errorf("ids (-want +got):\n%s", diff)
		}
		return err
	})
}
