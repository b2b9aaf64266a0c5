package money_test

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"testing"

	"doorbuster/app/money"
)

func usd(minor int64) money.Money { return money.Money{Minor: minor, Currency: "USD"} }

// FuzzArithmetic compares every operation with arbitrary precision: a result is exact or it is ErrOverflow (E3).
func FuzzArithmetic(f *testing.F) {
	for _, seed := range [][2]int64{{0, 0}, {1, -1}, {math.MaxInt64, 1}, {math.MinInt64, math.MinInt64}, {7999, 99}, {0, math.MinInt64}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, a, b int64) {
		check := func(op string, got money.Money, err error, want *big.Int) {
			t.Helper()
			if !want.IsInt64() {
				if !errors.Is(err, money.ErrOverflow) {
					t.Errorf("%d %s %d: got %v, %v, want ErrOverflow", a, op, b, got, err)
				}
				return
			}
			if err == nil && got.Minor != want.Int64() {
				t.Errorf("%d %s %d: got %d, want %s", a, op, b, got.Minor, want)
			}
			if err != nil && (op != "*" || (a >= 0 && b >= 0)) {
				t.Errorf("%d %s %d: got error %v, want %s", a, op, b, err, want)
			}
		}
		x, y := big.NewInt(a), big.NewInt(b)
		sum, err := usd(a).Plus(usd(b))
		check("+", sum, err, new(big.Int).Add(x, y))
		product, err := usd(a).Times(int(b))
		check("*", product, err, new(big.Int).Mul(x, y))

		if p := b % 101; a >= 0 && p >= 0 {
			want := new(big.Int).Div(new(big.Int).Mul(x, big.NewInt(p)), big.NewInt(100))
			if got := usd(a).Percent(int(p)); got.Minor != want.Int64() {
				t.Errorf("%d %% of %d: got %d, want %s", p, a, got.Minor, want)
			}
		}
	})
}

func TestCurrenciesDoNotMix(t *testing.T) { // E3
	t.Parallel()
	eur := money.Money{Minor: 1, Currency: "EUR"}
	if _, err := usd(1).Plus(eur); !errors.Is(err, money.ErrCurrency) {
		t.Errorf("Plus: got %v, want ErrCurrency", err)
	}
}

func TestForms(t *testing.T) { // E1
	t.Parallel()
	for _, c := range []struct {
		m    money.Money
		text string
	}{
		{usd(7999), "79.99 USD"},
		{usd(5), "0.05 USD"},
		{usd(-5), "-0.05 USD"},
		{money.Money{Minor: 500, Currency: "JPY"}, "500 JPY"},
		{money.Money{Minor: 12345, Currency: "KWD"}, "12.345 KWD"},
		{money.Money{Minor: -5, Currency: "KWD"}, "-0.005 KWD"},
		{usd(math.MinInt64), "-92233720368547758.08 USD"},
	} {
		if got := c.m.String(); got != c.text {
			t.Errorf("%#v: got %q, want %q", c.m, got, c.text)
		}
	}
	raw, err := json.Marshal(usd(7999))
	if err != nil || string(raw) != `{"amount_minor":7999,"currency":"USD"}` {
		t.Errorf("JSON: got %s, %v", raw, err)
	}
}
