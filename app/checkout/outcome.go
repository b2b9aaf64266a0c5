package checkout

import (
	"cmp"
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"doorbuster/app/cart"
	"doorbuster/app/inventory"
	"doorbuster/app/payment"
	"doorbuster/app/pricing"
)

// confirmations are the rows to write for paid orders.
type confirmations struct {
	ids                    []uuid.UUID
	references, currencies []string
	amounts                []int64
}

func (c *confirmations) add(o Order, r payment.Receipt) {
	c.ids, c.references = append(c.ids, o.ID), append(c.references, r.Reference)
	c.currencies, c.amounts = append(c.currencies, o.Total.Currency), append(c.amounts, o.Total.Minor)
}

func (c *confirmations) queue(batch *pgx.Batch) {
	if len(c.ids) == 0 {
		return
	}
	batch.Queue(`-- name: checkout.confirm
UPDATE orders SET status = 'confirmed', settled_at = clock_timestamp() WHERE id = ANY ($1) AND status = 'pending'`, c.ids)
	batch.Queue(`-- name: checkout.insert_payments
INSERT INTO payment (order_id, provider_reference, amount_minor, currency)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[])`, c.ids, c.references, c.amounts, c.currencies)
}

// refundReason says why money has to go back.
type refundReason string

const (
	wrongAmount         refundReason = "wrong_amount"          // captured, but not what the order costs
	capturedAfterCancel refundReason = "captured_after_cancel" // captured for an order that is cancelled
	chargedTwice        refundReason = "charged_twice"         // captured once more for an order that is confirmed
)

// refunds are captured charges that nobody owes: a provider has broken its promise. They are kept for people to pay back, and
// an audit finds them until somebody has.
type refunds struct{ all []refund }

type refund struct {
	order   uuid.UUID
	receipt payment.Receipt
	reason  refundReason
}

func (r *refunds) add(end settlement, reason refundReason) {
	if end.receipt.Amount.Minor > 0 {
		r.all = append(r.all, refund{end.order, end.receipt, reason})
	}
}

func (r *refunds) queue(batch *pgx.Batch) {
	for _, due := range r.all { // never many
		batch.Queue(`-- name: checkout.refund_due
INSERT INTO refund_due (order_id, provider_reference, amount_minor, currency, reason) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (order_id, provider_reference) DO NOTHING`,
			due.order, due.receipt.Reference, due.receipt.Amount.Minor, due.receipt.Amount.Currency, string(due.reason))
	}
}

// referencesTx returns, by order, the reference of the payment that confirmed
// it, for settlements that find it confirmed already.
func referencesTx(ctx context.Context, tx pgx.Tx, ends []settlement, locked map[uuid.UUID]lockedOrder) (map[uuid.UUID]string, error) {
	paidBy := map[uuid.UUID]string{}
	var again []uuid.UUID
	for _, end := range ends {
		if end.receipt.Captured && locked[end.order].order.Status == Confirmed {
			again = append(again, end.order)
		}
	}
	if again == nil {
		return paidBy, nil
	}
	const selectReferences = `-- name: checkout.references
SELECT order_id, provider_reference FROM payment WHERE order_id = ANY ($1)`
	rows, err := tx.Query(ctx, selectReferences, again)
	if err != nil {
		return nil, fmt.Errorf("read payments: %w", err)
	}
	var order uuid.UUID
	var reference string
	if _, err := pgx.ForEachRow(rows, []any{&order, &reference}, func() error { paidBy[order] = reference; return nil }); err != nil {
		return nil, fmt.Errorf("read payments: %w", err)
	}
	return paidBy, nil
}

// cancellations are what has to be undone for unpaid orders.
type cancellations struct {
	ids     []uuid.UUID
	reasons []string
	codes   []string
	units   []inventory.Order
	carts   map[uuid.UUID]cart.Cart // by owner
	uses    map[string]int
}

func (c *cancellations) add(p lockedOrder, reason CancelReason) {
	if c.carts == nil {
		c.carts, c.uses = map[uuid.UUID]cart.Cart{}, map[string]int{}
	}
	c.ids, c.reasons = append(c.ids, p.order.ID), append(c.reasons, string(reason))
	c.units = append(c.units, p.order.onShelf(p.owner))
	if code := p.order.DiscountCode; code != "" && p.counted {
		c.codes = append(c.codes, code)
		c.uses[code]--
	}
	back := c.carts[p.cart]
	back.Discount = cmp.Or(back.Discount, p.order.DiscountCode)
	back.Shown = cmp.Or(back.Shown, &p.order.Total)
	for _, l := range p.order.Lines {
		back.Lines = addLine(back.Lines, cart.Line{SKU: l.SKU, Quantity: l.Quantity})
	}
	c.carts[p.cart] = back
}

// addLine keeps one line per SKU: an upsert can't touch a row twice.
func addLine(lines []cart.Line, l cart.Line) []cart.Line {
	for i := range lines {
		if lines[i].SKU == l.SKU {
			lines[i].Quantity = min(lines[i].Quantity+l.Quantity, cart.MaxQuantity)
			return lines
		}
	}
	return append(lines, l)
}

// queueTx takes the remaining locks and adds the statements that cancel. A key whose attempt was neither paid nor declined
// becomes free again.
func (c *cancellations) queueTx(ctx context.Context, tx pgx.Tx, batch *pgx.Batch) (*inventory.Shelf, error) {
	if len(c.ids) == 0 {
		return nil, nil
	}
	locks := new(pgx.Batch)
	pricing.QueueLock(locks, c.codes)
	shelf := inventory.QueueLock(locks, c.units)
	if err := tx.SendBatch(ctx, locks).Close(); err != nil {
		return nil, err
	}
	for _, units := range c.units {
		shelf.Put(units)
	}
	batch.Queue(`-- name: checkout.cancel
UPDATE orders SET status = 'cancelled', cancel_reason = u.reason, settled_at = clock_timestamp(),
       idempotency_key = CASE WHEN u.reason = 'declined' THEN idempotency_key END
  FROM unnest($1::uuid[], $2::text[]) AS u (id, reason) WHERE orders.id = u.id AND status = 'pending'`, c.ids, c.reasons)
	shelf.Queue(batch)
	pricing.QueueUses(batch, c.uses)
	cart.QueueRefill(batch, c.carts)
	return shelf, nil
}
