package demo_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"doorbuster/app/catalog/demo"
)

const doorbusters = "doorbusters"

var (
	slugPattern     = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	skuPattern      = regexp.MustCompile(`^[A-Z0-9]+(-[A-Z0-9]+)*$`)
	discountPattern = regexp.MustCompile(`^[A-Z0-9]{3,32}$`)
	spacePattern    = regexp.MustCompile(`^ | $|  `)
)

func TestMakeIsDeterministic(t *testing.T) {
	if diff := cmp.Diff(demo.Make(7), demo.Make(7)); diff != "" {
		t.Errorf("two catalogues of one seed differ (-first +second):\n%s", diff)
	}
}

func TestMakeDependsOnTheSeed(t *testing.T) {
	one, two := demo.Make(1), demo.Make(2)
	if cmp.Equal(one.Products, two.Products) {
		t.Error("two seeds made the same products")
	}
	if diff := cmp.Diff(inCategory(one, doorbusters), inCategory(two, doorbusters)); diff != "" {
		t.Errorf("doorbusters depend on the seed (-1 +2):\n%s", diff)
	}
	if diff := cmp.Diff(one.Categories, two.Categories); diff != "" {
		t.Errorf("categories depend on the seed (-1 +2):\n%s", diff)
	}
	if diff := cmp.Diff(one.Discounts, two.Discounts); diff != "" {
		t.Errorf("discounts depend on the seed (-1 +2):\n%s", diff)
	}
}

// A caller may do with a catalogue what it likes.
func TestMakeSharesNothing(t *testing.T) {
	want := demo.Make(1)
	spoiled := demo.Make(1)
	for i := range spoiled.Products {
		clear(spoiled.Products[i].SKUs)
	}
	clear(spoiled.Categories)
	clear(spoiled.Products)
	clear(spoiled.Discounts)
	if diff := cmp.Diff(want, demo.Make(1)); diff != "" {
		t.Errorf("a catalogue changed with an earlier one (-want +got):\n%s", diff)
	}
}

func TestFlagship(t *testing.T) {
	got := demo.Make(1).Products[0]
	got.Description = ""
	want := demo.Product{
		Category: doorbusters,
		Slug:     "aurora-55-oled-tv",
		Name:     "Aurora 55-Inch OLED 4K TV",
		SKUs: []demo.SKU{{
			Code:           "AURORA-55-OLED",
			Name:           "Standard",
			ListPriceMinor: 1_499_00,
			SalePriceMinor: 499_00,
			Stock:          100,
			MaxPerCustomer: 1,
			SaleOnly:       true,
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("flagship (-want +got):\n%s", diff)
	}
}

func TestDiscounts(t *testing.T) {
	got := demo.Make(1).Discounts
	want := []demo.Discount{
		{Code: "WELCOME10", Percent: 10},
		{Code: "MIDNIGHT20", Percent: 20, MinSubtotalMinor: 100_00, MaxUses: 500},
		{Code: "TAKE15", AmountMinor: 15_00, MinSubtotalMinor: 75_00},
		{Code: "LASTCALL", Percent: 25, MaxUses: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("discounts (-want +got):\n%s", diff)
	}
	for _, d := range got {
		if !discountPattern.MatchString(d.Code) {
			t.Errorf("discount code %q is malformed", d.Code)
		}
	}
}

// everySeed runs a test of what holds for every catalogue on a few of them.
func everySeed(t *testing.T, test func(t *testing.T, c demo.Catalogue)) {
	t.Helper()
	for seed := range uint64(10) {
		test(t, demo.Make(seed))
		if t.Failed() {
			t.Fatalf("the catalogue of seed %d is wrong", seed)
		}
	}
}

func TestCategories(t *testing.T) {
	everySeed(t, func(t *testing.T, c demo.Catalogue) {
		if want := (demo.Category{Slug: doorbusters, Name: "Doorbusters"}); c.Categories[0] != want {
			t.Errorf("the first category is %v, want %v", c.Categories[0], want)
		}
		if n := len(c.Categories); n < 9 {
			t.Errorf("%d categories, want at least 9", n)
		}
		if n := len(c.Products); n < 1000 {
			t.Errorf("%d products, want at least 1,000", n)
		}

		seen := make(map[string]bool)
		for _, category := range c.Categories {
			if seen[category.Slug] {
				t.Errorf("category %q comes twice", category.Slug)
			}
			seen[category.Slug] = true
			if !slugPattern.MatchString(category.Slug) {
				t.Errorf("category slug %q is malformed", category.Slug)
			}
			products := len(inCategory(c, category.Slug))
			switch {
			case category.Slug == doorbusters && products != 16:
				t.Errorf("%d doorbusters, want 16", products)
			case category.Slug != doorbusters && products < 50:
				t.Errorf("%d products in %s, want at least 50", products, category.Slug)
			}
		}
		for _, p := range c.Products {
			if !seen[p.Category] {
				t.Errorf("%s is in the unknown category %q", p.Slug, p.Category)
			}
		}
	})
}

func TestTexts(t *testing.T) {
	everySeed(t, func(t *testing.T, c demo.Catalogue) {
		unique := make(map[string]bool)
		for i, p := range c.Products {
			if !slugPattern.MatchString(p.Slug) {
				t.Errorf("slug %q is malformed", p.Slug)
			}
			if n := utf8.RuneCountInString(p.Name); n == 0 || n > 80 {
				t.Errorf("the name %q has %d characters", p.Name, n)
			}
			if n := utf8.RuneCountInString(p.Description); n < 60 || n > 400 {
				t.Errorf("the description of %s has %d characters: %q", p.Slug, n, p.Description)
			}
			if word, found := repeatedWord(p.Name); found {
				t.Errorf("the name %q says %q twice", p.Name, word)
			}
			if _, tail, _ := strings.Cut(p.Name, ", "); strings.Contains(tail, " in ") {
				t.Errorf("the name %q has its colour after a comma", p.Name)
			}
			if !strings.HasSuffix(p.Description, ".") {
				t.Errorf("the description of %s does not end in a full stop: %q", p.Slug, p.Description)
			}
			if spacePattern.MatchString(p.Name) || spacePattern.MatchString(p.Description) {
				t.Errorf("%s has stray spaces: %q, %q", p.Slug, p.Name, p.Description)
			}
			for _, s := range []string{p.Slug, p.Name, p.Description} {
				if unique[s] {
					t.Errorf("%q comes twice", s)
				}
				unique[s] = true
			}
			if i > 0 && shareSentence(p, c.Products[i-1]) {
				t.Errorf("neighbours read alike:\n%s\n%s", p.Description, c.Products[i-1].Description)
			}
		}
	})
}

func TestSKUs(t *testing.T) {
	everySeed(t, func(t *testing.T, c demo.Catalogue) {
		codes := make(map[string]bool)
		for _, p := range c.Products {
			if len(p.SKUs) == 0 {
				t.Errorf("%s has no SKU", p.Slug)
			}
			names := make(map[string]bool)
			for i, s := range p.SKUs {
				if !skuPattern.MatchString(s.Code) || len(s.Code) > 32 {
					t.Errorf("SKU code %q is malformed", s.Code)
				}
				if codes[s.Code] {
					t.Errorf("SKU code %s comes twice", s.Code)
				}
				codes[s.Code] = true
				if s.Name == "" || names[s.Name] {
					t.Errorf("the name %q of %s is empty or comes twice", s.Name, s.Code)
				}
				names[s.Name] = true
				if s.ListPriceMinor <= 0 || s.SalePriceMinor < 0 || s.SalePriceMinor >= s.ListPriceMinor {
					t.Errorf("%s costs %d, in the sale %d", s.Code, s.ListPriceMinor, s.SalePriceMinor)
				}
				if i > 0 && s.ListPriceMinor < p.SKUs[i-1].ListPriceMinor {
					t.Errorf("%s costs less than the smaller size", s.Code)
				}
				if i > 0 && strings.HasSuffix(s.Name, "B") && s.ListPriceMinor == p.SKUs[i-1].ListPriceMinor {
					t.Errorf("%s costs the same as with less storage", s.Code)
				}
				if s.MaxPerCustomer < 0 {
					t.Errorf("%s is limited to %d per customer", s.Code, s.MaxPerCustomer)
				}
			}
		}
	})
}

func TestDoorbusters(t *testing.T) {
	for _, p := range inCategory(demo.Make(1), doorbusters) {
		for _, s := range p.SKUs {
			if off := percentOff(s); off < 40 || off > 80 {
				t.Errorf("%s is %.1f %% off, want 40 to 80", s.Code, off)
			}
			if s.Stock < 50 || s.Stock > 1000 {
				t.Errorf("%s has %d units, want 50 to 1,000", s.Code, s.Stock)
			}
			if s.MaxPerCustomer != 1 && s.MaxPerCustomer != 2 {
				t.Errorf("%s is limited to %d per customer, want 1 or 2", s.Code, s.MaxPerCustomer)
			}
			if !s.SaleOnly {
				t.Errorf("%s can be bought outside the sale", s.Code)
			}
		}
	}
}

func TestOrdinaryProducts(t *testing.T) {
	everySeed(t, func(t *testing.T, c demo.Catalogue) {
		var products, inSale, skus, soldOut, low int
		for _, p := range c.Products {
			if p.Category == doorbusters {
				continue
			}
			products++
			if p.SKUs[0].SalePriceMinor > 0 {
				inSale++
			}
			for _, s := range p.SKUs {
				skus++
				if s.SaleOnly {
					t.Errorf("%s can be bought only in the sale", s.Code)
				}
				for _, price := range []int64{s.ListPriceMinor, s.SalePriceMinor} {
					if !slices.Contains([]int64{0, 50, 95, 99}, price%100) {
						t.Errorf("%s costs %d cents, not what a shop would print", s.Code, price)
					}
				}
				if (s.SalePriceMinor > 0) != (p.SKUs[0].SalePriceMinor > 0) {
					t.Errorf("%s is only partly in the sale", p.Slug)
				}
				if off := percentOff(s); s.SalePriceMinor > 0 && (off < 10 || off > 45) {
					t.Errorf("%s is %.1f %% off, want 10 to 45", s.Code, off)
				}
				switch {
				case s.Stock < 0 || s.Stock > 500:
					t.Errorf("%s has %d units, want 0 to 500", s.Code, s.Stock)
				case s.Stock == 0:
					soldOut++
				case s.Stock <= 5:
					low++
				}
			}
		}
		checkShare(t, "products in the sale", inSale, products, 0.25, 0.42)
		checkShare(t, "SKUs sold out", soldOut, skus, 0.003, 0.02)
		checkShare(t, "SKUs low in stock", low, skus, 0.02, 0.1)
	})
}

func inCategory(c demo.Catalogue, slug string) []demo.Product {
	var products []demo.Product
	for _, p := range c.Products {
		if p.Category == slug {
			products = append(products, p)
		}
	}
	return products
}

func shareSentence(a, b demo.Product) bool {
	for sentence := range strings.SplitAfterSeq(a.Description, ". ") {
		if strings.Contains(b.Description, strings.TrimSpace(sentence)) {
			return true
		}
	}
	return false
}

// repeatedWord returns a word that comes twice in a name, as in "Trail Boots Trail".
func repeatedWord(name string) (word string, found bool) {
	words := strings.Fields(strings.ToLower(name))
	slices.Sort(words)
	for i := range len(words) - 1 {
		if words[i] == words[i+1] {
			return words[i], true
		}
	}
	return "", false
}

func percentOff(s demo.SKU) float64 {
	return 100 - 100*float64(s.SalePriceMinor)/float64(s.ListPriceMinor)
}

func checkShare(t *testing.T, what string, part, whole int, low, high float64) {
	t.Helper()
	if share := float64(part) / float64(whole); share < low || share > high {
		t.Errorf("%s: %d of %d, want a share of %.3f to %.3f", what, part, whole, low, high)
	}
}
