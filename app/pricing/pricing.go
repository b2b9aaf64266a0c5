// Package pricing adds up a cart and applies its discount code. The rules are pure functions; the discount table is
// owned here too.
//
// Rules. A subtotal is the sum of unit price times quantity. A discount is a whole percentage of the subtotal, rounded
// down to a minor unit, or a fixed amount, and never more than the subtotal. It applies from its minimum subtotal on
// and inside its window by the database's clock. A code with a limited number of uses is redeemed in the transaction
// that places the order and given back when that order is cancelled.
package pricing

import (
	"fmt"
	"time"

	"doorbuster/app/money"
)

// Line is a number of units at a price.
type Line struct {
	Unit     money.Money
	Quantity int
}

// Totals is what a cart costs.
type Totals struct {
	Subtotal, Discount, Total money.Money
}

// Discount is a code that lowers the price of a whole cart by a percentage or by an amount.
type Discount struct {
	Code        string
	Percent     int         // 1 to 100, or 0 when Amount is set
	Amount      money.Money // its currency is the code's currency for a percentage too
	MinSubtotal money.Money
	StartsAt    time.Time
	EndsAt      time.Time
	MaxUses     int // 0: no limit
	Uses        int // counted only where MaxUses > 0
}

// RefusedDiscount says why a code does not apply. Its text is for the customer.
type RefusedDiscount struct {
	Code   string
	Reason string
}

func (e *RefusedDiscount) Error() string { return fmt.Sprintf("discount %s %s", e.Code, e.Reason) }

// Sum adds up lines, all of one currency, and applies d, which may be nil. A code that does not apply at the time now
// is a *[RefusedDiscount], and the totals without it are returned beside the error. Other errors are [money.ErrOverflow]
// and [money.ErrCurrency].
func Sum(lines []Line, d *Discount, now time.Time) (Totals, error) {
	if len(lines) == 0 {
		return Totals{}, nil
	}
	subtotal := money.Money{Currency: lines[0].Unit.Currency}
	for _, l := range lines {
		part, err := l.Unit.Times(l.Quantity)
		if err != nil {
			return Totals{}, fmt.Errorf("price %d units: %w", l.Quantity, err)
		}
		if subtotal, err = subtotal.Plus(part); err != nil {
			return Totals{}, fmt.Errorf("add up the cart: %w", err)
		}
	}
	full := Totals{subtotal, money.Money{Currency: subtotal.Currency}, subtotal}
	if d == nil {
		return full, nil
	}
	if err := d.applies(subtotal, now); err != nil {
		return full, err
	}
	off := subtotal.Percent(d.Percent)
	if d.Percent == 0 {
		off.Minor = min(d.Amount.Minor, subtotal.Minor)
	}
	return Totals{subtotal, off, money.Money{Minor: subtotal.Minor - off.Minor, Currency: subtotal.Currency}}, nil
}

func (d *Discount) applies(subtotal money.Money, now time.Time) error {
	refuse := func(reason string) error { return &RefusedDiscount{d.Code, reason} }
	switch {
	case now.Before(d.StartsAt):
		return refuse("is not valid yet")
	case !now.Before(d.EndsAt):
		return refuse("has expired")
	case d.MaxUses > 0 && d.Uses >= d.MaxUses:
		return refuse("has been used up")
	case subtotal.Currency != d.MinSubtotal.Currency:
		return refuse("is for another currency")
	case subtotal.Minor < d.MinSubtotal.Minor:
		return refuse("needs a subtotal of at least " + d.MinSubtotal.String())
	}
	return nil
}
