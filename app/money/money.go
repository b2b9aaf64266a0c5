// Package money is an amount in integer minor units of an ISO 4217 currency. There are no floats and no implicit
// rounding: every operation that could overflow or mix currencies says so.
package money

import (
	"errors"
	"fmt"
	"math/bits"
)

// Money is an amount in the minor unit of its currency: {7999, "USD"} is 79.99 US dollars, {500, "JPY"} is 500 yen.
// Its JSON form is {"amount_minor": 7999, "currency": "USD"}. The zero value has no currency and is not an amount.
type Money struct {
	Minor    int64  `json:"amount_minor" doc:"Amount in minor units of the currency (cents for USD)" example:"79999"`
	Currency string `json:"currency" doc:"ISO 4217 code" example:"USD" minLength:"3" maxLength:"3"`
}

// ErrOverflow says that a result does not fit in 64 bits.
var ErrOverflow = errors.New("amount is too large")

// ErrCurrency says that two currencies were mixed.
var ErrCurrency = errors.New("currencies differ")

// Plus returns m + o. It fails with [ErrCurrency] or [ErrOverflow].
func (m Money) Plus(o Money) (Money, error) {
	if m.Currency != o.Currency {
		return Money{}, fmt.Errorf("add %s to %s: %w", o.Currency, m.Currency, ErrCurrency)
	}
	sum := m.Minor + o.Minor
	if (m.Minor > 0 && o.Minor > 0 && sum < 0) || (m.Minor < 0 && o.Minor < 0 && sum >= 0) {
		return Money{}, ErrOverflow
	}
	return Money{sum, m.Currency}, nil
}

// Times returns m * n for n >= 0 and an amount >= 0. It fails with [ErrOverflow], also for what is negative.
func (m Money) Times(n int) (Money, error) {
	if m.Minor < 0 || n < 0 {
		return Money{}, ErrOverflow
	}
	high, low := bits.Mul64(uint64(m.Minor), uint64(n))
	if high != 0 || int64(low) < 0 {
		return Money{}, ErrOverflow
	}
	return Money{int64(low), m.Currency}, nil
}

// Percent returns the given whole percentage (0 to 100) of an amount >= 0, rounded down to a minor unit, so that
// a discount never gives away more than it says. It cannot overflow.
func (m Money) Percent(p int) Money {
	whole, rest := m.Minor/100, m.Minor%100
	return Money{whole*int64(p) + rest*int64(p)/100, m.Currency}
}

// String formats for people, as "79.99 USD". Currencies with another number of decimals than two are listed in
// minorDigits.
func (m Money) String() string {
	digits, ok := minorDigits[m.Currency]
	if !ok {
		digits = 2
	}
	sign, abs := "", uint64(m.Minor)
	if m.Minor < 0 {
		sign, abs = "-", -abs
	}
	if digits == 0 {
		return fmt.Sprintf("%s%d %s", sign, abs, m.Currency)
	}
	unit := uint64(1)
	for range digits {
		unit *= 10
	}
	return fmt.Sprintf("%s%d.%0*d %s", sign, abs/unit, digits, abs%unit, m.Currency)
}

// minorDigits holds the exponents of ISO 4217 that are not 2 (list one of the maintenance agency, SIX).
var minorDigits = map[string]int{
	"BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "ISK": 0, "JPY": 0, "KMF": 0, "KRW": 0, "PYG": 0, "RWF": 0, "UGX": 0,
	"VND": 0, "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0, "BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "LYD": 3, "OMR": 3, "TND": 3,
}
