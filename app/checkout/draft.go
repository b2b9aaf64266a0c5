package checkout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"doorbuster/app/cart"
	"doorbuster/app/catalog"
	"doorbuster/app/inventory"
	"doorbuster/app/pricing"
)

// draft is a request on its way to an order.
type draft struct {
	request Request
	slot    int // of the request
	cart    cart.Cart
	order   Order
	lease   time.Time
	trial   int64 // the breaker's
	counted bool  // the use of its code
	demand  inventory.Order
}

// priceTx prices drafts by the transaction's time and returns those that can go on; the others are refused in out.
func (s *Service) priceTx(ctx context.Context, tx pgx.Tx, drafts []*draft, out []placed) ([]*draft, error) {
	var ids []int64
	var codes []string
	for _, d := range drafts {
		for _, l := range d.cart.Lines {
			ids = append(ids, l.SKU)
		}
		if d.cart.Discount != "" {
			codes = append(codes, d.cart.Discount)
		}
	}
	batch := new(pgx.Batch)
	skus, now := catalog.QueueSKUs(batch, ids)
	units := inventory.QueueAvailable(batch, ids)
	discounts := pricing.QueueDiscounts(batch, codes)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return nil, err
	}
	s.cfg.SoldOut.Found(noneOf(units), nil) // read from what is committed, so it is true whatever becomes of this transaction
	var priced []*draft
	for _, d := range drafts {
		if err := d.price(skus, units, discounts[d.cart.Discount], *now); err != nil {
			out[d.slot].err = err
			continue
		}
		priced = append(priced, d)
	}
	return priced, nil
}

// price fills in the order, or says why there can't be one. The units are what stood on the shelf a moment ago: enough
// to refuse a sold-out order without a lock, never enough to accept one.
func (d *draft) price(skus map[int64]*catalog.SKU, units map[int64]int, discount *pricing.Discount, now time.Time) error {
	d.demand.Customers = parties(d.request.Owner, d.request.Email)
	var lines []pricing.Line
	var short []ShortLine
	for _, l := range d.cart.Lines {
		sku, ok := skus[l.SKU]
		if !ok {
			return fmt.Errorf("SKU %d: %w", l.SKU, ErrGone)
		}
		offer := sku.At(now)
		if !sku.Buyable(offer) {
			return notForSale(sku.Code, offer, now)
		}
		if units[l.SKU] < l.Quantity {
			short = append(short, ShortLine{sku.Code, l.Quantity, units[l.SKU]})
		}
		lines = append(lines, pricing.Line{Unit: offer.Price, Quantity: l.Quantity})
		d.order.Lines = append(d.order.Lines, OrderLine{
			l.SKU, sku.Code, sku.Title(), l.Quantity, offer.Price, sku.MaxPerCustomer > 0, sku.MaxPerCustomer,
		})
		d.demand.Lines = append(d.demand.Lines, inventory.Line{SKU: l.SKU, Quantity: l.Quantity, Limit: sku.MaxPerCustomer})
	}
	if short != nil {
		return &OutOfStock{short}
	}
	// As it will be read: a repeat is answered with the same order, line by line.
	slices.SortFunc(d.order.Lines, func(a, b OrderLine) int { return cmp.Compare(a.SKU, b.SKU) })
	totals, err := pricing.Sum(lines, discount, now)
	if err != nil {
		return err
	}
	if d.cart.Discount != "" && discount == nil {
		return &pricing.RefusedDiscount{Code: d.cart.Discount, Reason: "does not exist"}
	}
	if want := d.request.ExpectedTotalMinor; want != nil && *want != totals.Total.Minor {
		expected := totals.Total
		expected.Minor = *want
		return &PriceChanged{expected, totals.Total}
	}
	d.order.ID = uuid.Must(uuid.NewV7())
	d.order.Email = d.request.Email
	d.order.Status = Pending
	d.order.Subtotal, d.order.Discount, d.order.Total = totals.Subtotal, totals.Discount, totals.Total
	d.order.DiscountCode = d.cart.Discount
	return nil
}

func notForSale(code string, offer catalog.Offer, now time.Time) error {
	refusal := &NotForSale{Code: code}
	if offer.Sale != nil {
		refusal.StartsAt, refusal.StartsIn = offer.Sale.StartsAt, offer.Sale.StartsAt.Sub(now)
	}
	return refusal
}

// refusal names the SKUs of inventory's refusal as customers know them.
func (d *draft) refusal(err error) error {
	code := func(sku int64) string {
		for _, l := range d.order.Lines {
			if l.SKU == sku {
				return l.Code
			}
		}
		return ""
	}
	var shortage *inventory.Shortage
	var limit *inventory.LimitReached
	switch {
	case errors.As(err, &shortage):
		refusal := new(OutOfStock)
		for _, l := range shortage.Lines {
			refusal.Lines = append(refusal.Lines, ShortLine{code(l.SKU), l.Requested, l.Available})
		}
		return refusal
	case errors.As(err, &limit):
		return &LimitReached{code(limit.SKU), limit.Limit, limit.Left}
	}
	return err
}
