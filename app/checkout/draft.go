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
	"doorbuster/app/money"
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
	var told []cart.Told
	for _, d := range drafts {
		err := d.price(skus, units, discounts[d.cart.Discount], *now)
		if changed, ok := errors.AsType[*PriceChanged](err); ok {
			told = append(told, cart.Told{Owner: d.request.Owner, Total: changed.Now, Key: d.request.Key})
		}
		if err != nil {
			out[d.slot].err = err
			continue
		}
		priced = append(priced, d)
	}
	if told == nil {
		return priced, nil
	}
	batch = new(pgx.Batch)
	cart.QueueTold(batch, told)
	return priced, tx.SendBatch(ctx, batch).Close()
}

// price fills in the order, or says why there can't be one. The units are what stood on the shelf a moment ago: enough
// to refuse a sold-out order without a lock, never enough to accept one.
func (d *draft) price(skus map[int64]*catalog.SKU, units map[int64]int, discount *pricing.Discount, now time.Time) error {
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
			short = append(short, ShortLine{SKU: l.SKU, Code: sku.Code, Requested: l.Quantity, Available: units[l.SKU]})
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
	if err := d.surprise(totals.Total); err != nil {
		return err
	}
	d.order.ID = uuid.Must(uuid.NewV7())
	d.order.Email = d.request.Email
	d.order.Status = Pending
	d.order.Subtotal, d.order.Discount, d.order.Total = totals.Subtotal, totals.Discount, totals.Total
	d.order.DiscountCode = d.cart.Discount
	d.demand.Customers = d.order.customers(d.request.Owner)
	return nil
}

// surprise refuses a total that is dearer than the customer expects: what the
// request says, or else what the shop has last shown. A cart whose total was
// never shown has no expectations. What this very request was told when it was
// refused before is no showing: the answer may have been lost.
func (d *draft) surprise(total money.Money) error {
	expected := total
	want, shown := d.request.ExpectedTotalMinor, d.cart.Shown
	switch {
	case want != nil:
		expected.Minor = *want
	case shown != nil:
		expected = *shown
	}
	unheard := want == nil && d.cart.RefusedKey == d.request.Key
	if total.Currency != expected.Currency || total.Minor > expected.Minor || unheard {
		return &PriceChanged{expected, total}
	}
	return nil
}

// take takes the draft's units, or says why it can't have them. Where the
// address has enough, and the owner has not, it takes them all the same, for an
// order that is never charged: whether the address has bought is told to nobody
// but who can pay.
func (d *draft) take(shelf *inventory.Shelf) error {
	err := shelf.Take(d.demand)
	limit, ok := errors.AsType[*inventory.LimitReached](err)
	if !ok || limit.Customer != ofAddress(d.request.Email) {
		return d.refusal(err)
	}
	d.order.OverLimit = d.code(limit.SKU)
	d.demand.Customers = d.order.customers(d.request.Owner)
	return d.refusal(shelf.Take(d.demand))
}

// code is what customers call a SKU of the order.
func (d *draft) code(sku int64) string {
	for _, l := range d.order.Lines {
		if l.SKU == sku {
			return l.Code
		}
	}
	return ""
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
	var shortage *inventory.Shortage
	var limit *inventory.LimitReached
	switch {
	case errors.As(err, &shortage):
		refusal := new(OutOfStock)
		for _, l := range shortage.Lines {
			refusal.Lines = append(refusal.Lines, ShortLine{SKU: l.SKU, Code: d.code(l.SKU), Requested: l.Requested, Available: l.Available})
		}
		return refusal
	case errors.As(err, &limit):
		return &LimitReached{Code: d.code(limit.SKU), Limit: limit.Limit, Left: limit.Left}
	}
	return err
}
