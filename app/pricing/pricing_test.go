package pricing_test

import (
	"errors"
	"math"
	"math/big"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doorbuster/app/money"
	"doorbuster/app/pricing"
)

var midnight = time.Date(2025, time.November, 28, 0, 0, 0, 0, time.UTC)

func usd(minor int64) money.Money { return money.Money{Minor: minor, Currency: "USD"} }

// open returns a discount whose window holds midnight.
func open(change func(*pricing.Discount)) *pricing.Discount {
	d := &pricing.Discount{Code: "SAVE", Amount: usd(0), MinSubtotal: usd(0), StartsAt: midnight, EndsAt: midnight.Add(time.Hour)}
	change(d)
	return d
}

func TestSum(t *testing.T) { // E3
	t.Parallel()
	percent := func(p int) *pricing.Discount { return open(func(d *pricing.Discount) { d.Percent = p }) }
	amount := func(minor int64) *pricing.Discount {
		return open(func(d *pricing.Discount) { d.Amount = usd(minor) })
	}
	for _, c := range []struct {
		name                    string
		lines                   []pricing.Line
		discount                *pricing.Discount
		subtotal, off, totalDue int64
	}{
		{"no discount", []pricing.Line{{usd(7999), 2}, {usd(1), 3}}, nil, 16001, 0, 16001},
		{"percent of the whole, rounded down once", []pricing.Line{{usd(199), 1}, {usd(199), 1}}, percent(15), 398, 59, 339},
		{"percent that rounds to nothing", []pricing.Line{{usd(9), 1}}, percent(10), 9, 0, 9},
		{"all of it by percent", []pricing.Line{{usd(333), 3}}, percent(100), 999, 999, 0},
		{"amount", []pricing.Line{{usd(5000), 1}}, amount(1500), 5000, 1500, 3500},
		{"amount above the subtotal", []pricing.Line{{usd(999), 1}}, amount(1500), 999, 999, 0},
		{"the largest cart there is", []pricing.Line{{usd(math.MaxInt64), 1}}, percent(99), math.MaxInt64, 9131138316486228048, 92233720368547759},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := pricing.Sum(c.lines, c.discount, midnight)
			if err != nil {
				t.Fatal(err)
			}
			want := pricing.Totals{Subtotal: usd(c.subtotal), Discount: usd(c.off), Total: usd(c.totalDue)}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("totals (-want +got):\n%s", diff)
			}
		})
	}
	if got, err := pricing.Sum(nil, percent(10), midnight); err != nil || got != (pricing.Totals{}) {
		t.Errorf("an empty cart: got %v, %v, want zero totals", got, err)
	}
}

// Each rule that refuses a code, on both sides of its edge.
func TestRefusals(t *testing.T) { // E3
	t.Parallel()
	const subtotal = 5000
	code := func(change func(*pricing.Discount)) *pricing.Discount {
		return open(func(d *pricing.Discount) { d.Amount = usd(500); change(d) })
	}
	same := func(*pricing.Discount) {}
	for _, c := range []struct {
		name     string
		discount *pricing.Discount
		now      time.Time
		reason   string // "": it applies
	}{
		{"a moment before the start", code(same), midnight.Add(-1), "is not valid yet"},
		{"at the start", code(same), midnight, ""},
		{"a moment before the end", code(same), midnight.Add(time.Hour - 1), ""},
		{"at the end", code(same), midnight.Add(time.Hour), "has expired"},
		{"last use", code(func(d *pricing.Discount) { d.MaxUses, d.Uses = 7, 6 }), midnight, ""},
		{"used up", code(func(d *pricing.Discount) { d.MaxUses, d.Uses = 7, 7 }), midnight, "has been used up"},
		{"unlimited", code(func(d *pricing.Discount) { d.Uses = 7 }), midnight, ""},
		{"at the minimum", code(func(d *pricing.Discount) { d.MinSubtotal = usd(subtotal) }), midnight, ""},
		{"below the minimum", code(func(d *pricing.Discount) { d.MinSubtotal = usd(subtotal + 1) }), midnight, "needs a subtotal of at least 50.01 USD"},
		{"another currency", code(func(d *pricing.Discount) { d.Amount.Currency, d.MinSubtotal.Currency = "EUR", "EUR" }), midnight, "is for another currency"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := pricing.Sum([]pricing.Line{{usd(subtotal), 1}}, c.discount, c.now)
			want := pricing.Totals{Subtotal: usd(subtotal), Discount: usd(500), Total: usd(subtotal - 500)}
			if c.reason != "" {
				want.Discount, want.Total = usd(0), usd(subtotal) // shown beside the refusal
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("totals (-want +got):\n%s", diff)
			}
			if c.reason == "" {
				if err != nil {
					t.Errorf("got %v, want the code to apply", err)
				}
				return
			}
			refused, ok := errors.AsType[*pricing.RefusedDiscount](err)
			if !ok || *refused != (pricing.RefusedDiscount{Code: "SAVE", Reason: c.reason}) {
				t.Errorf("got error %v, want SAVE refused: %s", err, c.reason)
			}
		})
	}
}

func TestSumRejectsWhatCannotBeAdded(t *testing.T) { // E3
	t.Parallel()
	eur := money.Money{Minor: 1, Currency: "EUR"}
	for _, c := range []struct {
		name  string
		lines []pricing.Line
		want  error
	}{
		{"one line too large", []pricing.Line{{usd(math.MaxInt64), 2}}, money.ErrOverflow},
		{"sum too large", []pricing.Line{{usd(math.MaxInt64), 1}, {usd(1), 1}}, money.ErrOverflow},
		{"negative quantity", []pricing.Line{{usd(1), -1}}, money.ErrOverflow},
		{"negative price", []pricing.Line{{usd(-1), 1}}, money.ErrOverflow},
		{"two currencies", []pricing.Line{{usd(1), 1}, {eur, 1}}, money.ErrCurrency},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got, err := pricing.Sum(c.lines, nil, midnight); !errors.Is(err, c.want) || got != (pricing.Totals{}) {
				t.Errorf("got %v, %v, want no totals and %v", got, err, c.want)
			}
		})
	}
}

// FuzzSum holds Sum against the same rules in arbitrary precision: E3, nobody pays a wrong amount. Beyond 64 bits there is
// an error, never a number.
func FuzzSum(f *testing.F) {
	f.Add(int64(7999), 2, int64(1), 3, 15, int64(0), int64(0))
	f.Add(int64(199), 1, int64(199), 1, 0, int64(1000), int64(398))
	f.Add(int64(math.MaxInt64), 1, int64(math.MaxInt64), 1, 100, int64(0), int64(0))
	f.Add(int64(math.MaxInt64/3), 3, int64(1), 1, 99, int64(0), int64(1))
	f.Add(int64(1), 0, int64(-1), 1, 1, int64(0), int64(0))
	f.Fuzz(func(t *testing.T, unit1 int64, n1 int, unit2 int64, n2, percent int, amount, minimum int64) {
		if percent < 0 || percent > 100 || amount < 0 || minimum < 0 {
			t.Skip("the table's constraints forbid it")
		}
		d := open(func(d *pricing.Discount) { d.Percent, d.Amount, d.MinSubtotal = percent, usd(amount), usd(minimum) })
		got, err := pricing.Sum([]pricing.Line{{usd(unit1), n1}, {usd(unit2), n2}}, d, midnight)

		product := func(unit int64, n int) *big.Int { return new(big.Int).Mul(big.NewInt(unit), big.NewInt(int64(n))) }
		subtotal := new(big.Int).Add(product(unit1, n1), product(unit2, n2))
		if unit1 < 0 || unit2 < 0 || n1 < 0 || n2 < 0 || !subtotal.IsInt64() {
			if !errors.Is(err, money.ErrOverflow) {
				t.Errorf("got %v, %v, want ErrOverflow", got, err)
			}
			return
		}
		off := new(big.Int)
		_, refused := errors.AsType[*pricing.RefusedDiscount](err)
		switch below := subtotal.Int64() < minimum; {
		case err != nil && !refused:
			t.Fatalf("got error %v, want totals", err)
		case refused != below:
			t.Fatalf("subtotal %s, minimum %d: got %v", subtotal, minimum, err)
		case below:
		case percent > 0:
			off.Div(off.Mul(subtotal, big.NewInt(int64(percent))), big.NewInt(100))
		default:
			off.SetInt64(min(amount, subtotal.Int64()))
		}
		want := pricing.Totals{Subtotal: usd(subtotal.Int64()), Discount: usd(off.Int64()), Total: usd(subtotal.Int64() - off.Int64())}
		if got != want {
			t.Errorf("got %v, want %v", got, want)
		}
		if got.Total.Minor < 0 || got.Discount.Minor < 0 {
			t.Errorf("got %v, want nothing negative", got)
		}
	})
}
