package catalog_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"doorbuster/app/catalog"
	"doorbuster/app/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// shop is a database with a catalogue in it.
type shop struct {
	*testing.T
	pool  *pgxpool.Pool
	store *catalog.Store
}

func open(t *testing.T) shop {
	t.Helper()
	pool := dbtest.Pool(t)
	return shop{t, pool, catalog.NewStore(pool)}
}

func (s shop) inTx(do func(tx pgx.Tx) error) {
	s.Helper()
	if err := pgx.BeginFunc(s.Context(), s.pool, do); err != nil {
		s.Fatal(err)
	}
}

func (s shop) put(categories []catalog.Category, products ...catalog.Product) {
	s.Helper()
	s.inTx(func(tx pgx.Tx) error { return catalog.PutTx(s.Context(), tx, categories, products) })
}

func (s shop) putSale(sale catalog.SaleWindow) {
	s.Helper()
	s.inTx(func(tx pgx.Tx) error { return catalog.PutSaleTx(s.Context(), tx, sale) })
}

func (s shop) product(slug string) (catalog.Product, time.Time) {
	s.Helper()
	p, now, err := s.store.Product(s.Context(), slug)
	if err != nil {
		s.Fatal(err)
	}
	return p, now
}

// category returns the id of a category.
func (s shop) category(slug string) int64 {
	s.Helper()
	categories, err := s.store.Categories(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	for _, c := range categories {
		if c.Slug == slug {
			return c.ID
		}
	}
	s.Fatalf("there is no category %q", slug)
	return 0
}

// find returns the slugs of all products that a search finds.
func (s shop) find(search string) []string {
	s.Helper()
	products, _, err := s.store.Products(s.Context(), catalog.Filter{Search: search, Limit: 100})
	if err != nil {
		s.Fatalf("search %q: %v", search, err)
	}
	return slugs(products)
}

func slugs(products []catalog.Product) []string {
	all := []string{}
	for _, p := range products {
		all = append(all, p.Slug)
	}
	return all
}

// now is the database's clock.
func (s shop) now() (now time.Time) {
	s.Helper()
	if err := s.pool.QueryRow(s.Context(), "SELECT clock_timestamp()").Scan(&now); err != nil {
		s.Fatal(err)
	}
	return now.UTC()
}

var (
	rooms  = []catalog.Category{{Slug: "kitchen", Name: "Kitchen"}, {Slug: "garden", Name: "Garden"}, {Slug: "attic", Name: "Attic"}}
	jumper = catalog.Product{Slug: "jumper", Name: "Fjord wool jumper", Description: "Warm.", Category: "attic", SKUs: []catalog.SKU{
		{Code: "JUMPER-S", Name: "Size S", List: usd(7999), MaxPerCustomer: 2},
		{Code: "JUMPER-M", Name: "Size M", List: usd(8999), SaleOnly: true},
	}}
)

// simple returns a product with one SKU.
func simple(slug, category, name, description string, list int64) catalog.Product {
	return catalog.Product{
		Slug: slug, Name: name, Description: description, Category: category,
		SKUs: []catalog.SKU{{Code: "CODE-" + fmt.Sprint(list), Name: "Standard", List: usd(list)}},
	}
}

// many returns products named from p<from> on, in categories by turns.
func many(from, n int) []catalog.Product {
	var products []catalog.Product
	for i := from; i < from+n; i++ {
		products = append(products, simple(fmt.Sprintf("p%d", i), rooms[i%2].Slug, "Thing", "", int64(i+1)))
	}
	return products
}

// E1: whoever walks the pages sees every product that was there at the beginning exactly once, whatever is added on
// the way, and what is added comes behind.
func TestPagesAreCompleteAndStable(t *testing.T) {
	t.Parallel()
	for _, category := range []string{"", "kitchen"} {
		t.Run("category="+category, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			s.put(rooms, many(0, 23)...)
			var want []string
			belongs := func(from, n int) {
				for i := from; i < from+n; i++ {
					if category == "" || i%2 == 0 {
						want = append(want, fmt.Sprintf("p%d", i))
					}
				}
			}
			belongs(0, 23)

			var got []string
			filter, added := catalog.Filter{Limit: 3}, 23
			if category != "" {
				filter.Category = s.category(category)
			}
			for page := 0; ; page++ {
				products, _, err := s.store.Products(t.Context(), filter)
				if err != nil {
					t.Fatal(err)
				}
				if len(products) > 3 {
					t.Fatalf("got a page of %d products, want 3 at most", len(products))
				}
				got = append(got, slugs(products)...)
				if len(products) == 0 || page > len(want) {
					break // or they would never end
				}
				filter.After = products[len(products)-1].ID
				if page < 4 { // a new one, and one that changes: neither may move the others
					s.put(nil, append(many(added, 1), many(page, 1)...)...)
					belongs(added, 1)
					added++
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("products of all pages (-want +got):\n%s", diff)
			}
		})
	}
}

// withoutID compares categories by what they say.
var withoutID = cmpopts.IgnoreFields(catalog.Category{}, "ID")

func TestCategories(t *testing.T) { // E1
	t.Parallel()
	s := open(t)
	s.put(rooms, many(0, 4)...)
	got, err := s.store.Categories(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(rooms, got, withoutID); diff != "" {
		t.Errorf("categories (-want +got):\n%s", diff)
	}

	empty, now, err := s.store.Products(t.Context(), catalog.Filter{Category: s.category("attic"), Limit: 10})
	if err != nil || len(empty) != 0 || now.IsZero() {
		t.Errorf("a category without products: got %v at %s, %v, want an empty page at the database's time", empty, now, err)
	}
}

func TestSearch(t *testing.T) { // E1
	t.Parallel()
	s := open(t)
	s.put(rooms,
		simple("kettle", "kitchen", "Copper kettle", "Boils quickly and whistles when it is done.", 1),
		simple("teapot", "kitchen", "Teapot", "Pours without a drip; goes well with a copper kettle.", 2),
		simple("spade", "garden", "Garden spade", "A copper blade that worms do not mind.", 3),
		simple("schnee", "garden", "Schneeschaufel für Löwen", "Ein Spaten, größer als üblich. 雪かき", 4),
	)
	for _, c := range []struct {
		search string
		want   []string
	}{
		{"", []string{"kettle", "teapot", "spade", "schnee"}},
		{"copper", []string{"kettle", "teapot", "spade"}},
		{"COPPER Kettles", []string{"kettle", "teapot"}}, // case and number do not matter, every word does
		{`"copper kettle"`, []string{"kettle", "teapot"}},
		{`"kettle copper"`, []string{}},
		{"copper -kettle", []string{"spade"}},
		{"whistle or worms", []string{"kettle", "spade"}},
		{"Löwen", []string{"schnee"}},
		{"雪かき", []string{"schnee"}},
		{"zeppelin", []string{}},
		{"the", []string{}}, // a stop word alone asks for nothing
		{"-", []string{}},
		{"or", []string{}},
		{`"`, []string{}},
		{`"copper`, []string{"kettle", "teapot", "spade"}}, // unbalanced
		{"copper or", []string{"kettle", "teapot", "spade"}},
		{"copper & | ! ( :* <-> '", []string{"kettle", "teapot", "spade"}}, // the operators of to_tsquery are none here
		{"'; DROP TABLE product --", []string{}},
		{"%", []string{}},
	} {
		if diff := cmp.Diff(c.want, s.find(c.search)); diff != "" {
			t.Errorf("search %q (-want +got):\n%s", c.search, diff)
		}
	}

	products, _, err := s.store.Products(t.Context(), catalog.Filter{Search: "copper", Category: s.category("garden"), Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"spade"}, slugs(products)); diff != "" {
		t.Errorf("search in a category (-want +got):\n%s", diff)
	}
}

// A SKU finds its product, and so does the beginning of one that has a digit or a hyphen, and a slug; the beginning of a
// word finds it where there is no such word. (FTS finds words only.)
func TestSearchByNamesAndBeginnings(t *testing.T) { // E1
	t.Parallel()
	s := open(t)
	tv := simple("aurora-55-oled-tv", "kitchen", "Aurora 55 OLED Television", "Black is black.", 1)
	tv.SKUs[0].Code = "AURORA-55-OLED"
	pan := simple("pan", "garden", "Iron pan", "For a fire outdoors.", 2)
	pan.SKUs[0].Code = "PAN-1"
	panel := simple("panel", "garden", "Fence panel", "Keeps neighbours apart.", 3)
	panel.SKUs[0].Code = "PANEL"
	s.put(rooms, tv, pan, panel)
	for search, want := range map[string][]string{
		"AURORA-55-OLED": {"aurora-55-oled-tv"}, "aurora-55-oled": {"aurora-55-oled-tv"}, "AURORA-55": {"aurora-55-oled-tv"}, "aurora-": {"aurora-55-oled-tv"},
		"aurora-55-oled-tv": {"aurora-55-oled-tv"}, "telev": {"aurora-55-oled-tv"}, "televisio": {"aurora-55-oled-tv"}, "TELEVIS": {"aurora-55-oled-tv"},
		"black telev": {"aurora-55-oled-tv"}, "garden telev": {}, "te": {}, "telex": {}, `"telev"`: {}, "fence or telev": {"panel"}, "telev -black": {},
		"pan": {"pan"}, "pane": {"panel"}, "PANEL": {"panel"}, "PAN-": {"pan"}, "neighbou": {"panel"}, "AURORA_55": {"aurora-55-oled-tv"}, "-55": {"pan", "panel"},
	} {
		if diff := cmp.Diff(want, s.find(search)); diff != "" {
			t.Errorf("search %q (-want +got):\n%s", search, diff)
		}
	}
	found, _, err := s.store.Products(t.Context(), catalog.Filter{Search: "aurora-55", Category: s.category("garden"), Limit: 10})
	if err != nil || len(found) != 0 {
		t.Errorf("a SKU in another category: got %v, %v", slugs(found), err)
	}
}

// Whatever the text, the pages of a search together are what one long page has, in the same order; also across the
// borders of blocks, and over ids that nothing has.
func TestPagesOfASearchAreComplete(t *testing.T) { // E1
	t.Parallel()
	s := open(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	words := []string{"copper", "kettle", "lamp", "wool", "iron"}
	for block := range 6 {
		if block > 0 { // as if thousands had been deleted
			if _, err := s.pool.Exec(t.Context(), "SELECT setval(pg_get_serial_sequence('product', 'id'), $1)", block*8192-10+random.IntN(20)); err != nil {
				t.Fatal(err)
			}
		}
		var products []catalog.Product
		for i := range 20 {
			name := words[random.IntN(len(words))] + " " + words[random.IntN(len(words))]
			products = append(products, simple(fmt.Sprintf("p%d-%d", block, i), []string{"kitchen", "garden"}[random.IntN(2)], name, "A thing.", int64(100*block+i+1)))
		}
		s.put(rooms, products...)
	}
	for _, category := range []int64{0, s.category("garden")} {
		for _, text := range []string{"copper", "copper kettle", "copper -kettle", "lamp or wool", "-iron", "iron iron", "wool copp", "p3-7", "nothing", "thing"} {
			all := func(limit int) (found []string) {
				f := catalog.Filter{Search: text, Category: category, Limit: limit}
				for {
					products, _, err := s.store.Products(t.Context(), f)
					if err != nil {
						t.Fatal(err)
					}
					if len(products) == 0 {
						return found
					}
					found, f.After = append(found, slugs(products)...), products[len(products)-1].ID
				}
			}
			var want []string
			rows, err := s.pool.Query(t.Context(), `SELECT slug FROM product WHERE (search @@ websearch_to_tsquery('english', $1) OR slug = $1
       OR $1 = 'wool copp' AND search @@ 'wool & copper') AND ($2 = 0 OR category_id = $2) ORDER BY id`, text, category)
			if err == nil {
				want, err = pgx.CollectRows(rows, pgx.RowTo[string])
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, limit := range []int{1, 7, 1000} {
				if diff := cmp.Diff(want, all(limit), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("%q in category %d by %d (-want +got):\n%s", text, category, limit, diff)
				}
			}
		}
	}
}

// What cannot be a search is an error of the statement, not a wrong answer: the HTTP edge refuses it before.
func TestSearchForWhatPostgresCannotHold(t *testing.T) { // E1
	t.Parallel()
	s := open(t)
	s.put(rooms, many(0, 1)...)
	for _, search := range []string{"a\x00b", "\xff\xfe"} {
		if products, _, err := s.store.Products(t.Context(), catalog.Filter{Search: search, Limit: 10}); err == nil {
			t.Errorf("search %q: got %v, want an error", search, slugs(products))
		}
	}
}

func TestSameThingByEveryPath(t *testing.T) { // E1
	t.Parallel()
	s := open(t)
	s.put(rooms, jumper)
	starts := s.now().Add(time.Hour).Truncate(time.Microsecond)
	s.putSale(catalog.SaleWindow{Slug: "late", Name: "Late", StartsAt: starts.Add(time.Hour), EndsAt: starts.Add(2 * time.Hour), PriceMinor: map[string]int64{"JUMPER-S": 10}})
	s.putSale(catalog.SaleWindow{Slug: "early", Name: "Early", StartsAt: starts, EndsAt: starts.Add(2 * time.Hour), PriceMinor: map[string]int64{"JUMPER-S": 20}})
	s.putSale(catalog.SaleWindow{Slug: "over", Name: "Over", StartsAt: starts.Add(-9 * time.Hour), EndsAt: starts.Add(-8 * time.Hour), PriceMinor: map[string]int64{"JUMPER-S": 5}})

	want := jumper
	want.SKUs = slices.Clone(jumper.SKUs)
	for i := range want.SKUs {
		want.SKUs[i].ProductSlug, want.SKUs[i].ProductName = jumper.Slug, jumper.Name
	}
	want.SKUs[0].Sales = []catalog.Sale{ // by start, without the one that is over
		{Name: "Early", Price: usd(20), StartsAt: starts, EndsAt: starts.Add(2 * time.Hour)},
		{Name: "Late", Price: usd(10), StartsAt: starts.Add(time.Hour), EndsAt: starts.Add(2 * time.Hour)},
	}
	ignoreIDs := cmp.Options{cmpopts.IgnoreFields(catalog.Product{}, "ID"), cmpopts.IgnoreFields(catalog.SKU{}, "ID")}
	one, _ := s.product("jumper")
	if diff := cmp.Diff(want, one, ignoreIDs); diff != "" {
		t.Errorf("product (-want +got):\n%s", diff)
	}
	list, _, err := s.store.Products(t.Context(), catalog.Filter{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]catalog.Product{one}, list); diff != "" {
		t.Errorf("list (-product +list):\n%s", diff)
	}

	const unknown = 1 << 40
	bySKU := map[int64]*catalog.SKU{}
	for i := range one.SKUs {
		bySKU[one.SKUs[i].ID] = &one.SKUs[i]
		if id, err := s.store.SKUID(t.Context(), one.SKUs[i].Code); err != nil || id != one.SKUs[i].ID {
			t.Errorf("id of %s: got %d, %v, want %d", one.SKUs[i].Code, id, err, one.SKUs[i].ID)
		}
	}
	ids := []int64{one.SKUs[0].ID, one.SKUs[1].ID, unknown}
	got, _, err := s.store.SKUs(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(bySKU, got); diff != "" {
		t.Errorf("SKUs (-product +SKUs):\n%s", diff)
	}
	s.inTx(func(tx pgx.Tx) error {
		var began time.Time
		if err := tx.QueryRow(t.Context(), "SELECT now()").Scan(&began); err != nil {
			return err
		}
		batch := new(pgx.Batch)
		got, now := catalog.QueueSKUs(batch, ids)
		err := tx.SendBatch(t.Context(), batch).Close()
		if diff := cmp.Diff(bySKU, got); diff != "" {
			t.Errorf("SKUs in a transaction (-product +SKUs):\n%s", diff)
		}
		if !now.Equal(began) {
			t.Errorf("time of prices: got %s, want the transaction's %s", now, began)
		}
		return err
	})

	if _, _, err := s.store.Product(t.Context(), "no-such"); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("unknown product: got %v, want ErrNotFound", err)
	}
	if _, err := s.store.SKUID(t.Context(), "NO-SUCH"); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("unknown SKU: got %v, want ErrNotFound", err)
	}
	if none, _, err := s.store.SKUs(t.Context(), nil); len(none) != 0 || err != nil {
		t.Errorf("no SKUs: got %v, %v, want none", none, err)
	}
}

// E1: at its start a sale opens by the database's clock. Nobody writes anything in between, and this process does not look
// at a clock: PostgreSQL waits, and says what time it is beside the price.
func TestPriceFlipsAtTheStart(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.put(rooms, jumper)
	offer := func() (catalog.Offer, catalog.Offer, time.Time) {
		p, now := s.product("jumper")
		return p.SKUs[0].At(now), p.SKUs[1].At(now), now
	}
	// A machine that is busy enough misses the moment before the start; then the sale moves further off.
	for ahead := 250 * time.Millisecond; ; ahead *= 2 {
		starts := s.now().Add(ahead)
		s.putSale(catalog.SaleWindow{
			Slug: "night", Name: "Night", StartsAt: starts, EndsAt: starts.Add(time.Hour),
			PriceMinor: map[string]int64{"JUMPER-S": 4999, "JUMPER-M": 5999},
		})
		cached, _ := s.product("jumper")
		before, doorbuster, now := offer()
		if !now.Before(starts) {
			continue
		}
		if before.Price != usd(7999) || before.Open || before.Sale == nil || !before.Sale.StartsAt.Equal(starts) {
			t.Errorf("before the start: got %v, want the list price and the sale announced", before)
		}
		if cached.SKUs[1].Buyable(doorbuster) {
			t.Error("before the start: got a doorbuster that can be bought, want none")
		}

		if _, err := s.pool.Exec(t.Context(), "SELECT pg_sleep_until($1)", starts); err != nil {
			t.Fatal(err)
		}
		after, doorbuster, now := offer()
		if after.Price != usd(4999) || !after.Open {
			t.Errorf("after the start: got %v, want the price of the sale", after)
		}
		if !cached.SKUs[1].Buyable(doorbuster) {
			t.Error("after the start: got a doorbuster that cannot be bought, want it on sale")
		}
		// What was read before the start is as good, given the database's time.
		if diff := cmp.Diff(after, cached.SKUs[0].At(now)); diff != "" {
			t.Errorf("offer of what was cached before the start (-fresh +cached):\n%s", diff)
		}
		return
	}
}
