package checkout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"doorbuster/app/cart"
	"doorbuster/app/inventory"
	"doorbuster/app/payment"
	"doorbuster/app/pricing"
)

// settlement is how the payment of an order ended.
type settlement struct {
	order   uuid.UUID
	receipt payment.Receipt
	reason  CancelReason // where nothing was captured
	// unasked is the end of the payment lease under which the provider was not asked at all. The order is left as it is where
	// somebody else has the lease now, who may be asking. The zero time: it was asked.
	unasked time.Time
}

// settled is the settlement that a receipt stands for. Where the charge was cancelled, the caller knows why.
func settled(order uuid.UUID, receipt payment.Receipt, cancelled CancelReason) *settlement {
	if receipt.Declined {
		cancelled = ReasonDeclined
	}
	return &settlement{order: order, receipt: receipt, reason: cancelled}
}

var errSettleTimeout = errors.New("settling the order timed out")

// settle runs the third step for one order, together with others, and returns the order as it then is.
func (s *Service) settle(ctx context.Context, end settlement) (Order, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.QueueTimeout, errQueueTimeout)
	defer cancel()
	return s.settling.ask(ctx, end)
}

// settleBatch settles orders together, and answers each.
func (s *Service) settleBatch(ends []settlement) []answered[Order] {
	ctx, cancel := context.WithTimeoutCause(context.Background(), s.cfg.TransactionTimeout, errSettleTimeout)
	defer cancel()
	out := make([]answered[Order], len(ends))
	err := inParts(ends, func(first int, ends []settlement) error {
		orders, err := s.settleAll(ctx, ends)
		if err == nil {
			for i, end := range ends {
				out[first+i].value = orders[end.order]
			}
		}
		return err
	}, func(i int, err error) { out[i].err = err })
	if err != nil {
		s.log.Warn("orders are settled in parts", "orders", len(ends), "error", err)
	}
	return out
}

// settleAll settles many orders in one transaction and returns them as they are afterwards. Orders that are settled
// already stay as they are, so it is repeated whatever went wrong, a lost COMMIT too: an order that was paid for should not
// have to wait for the sweeper.
func (s *Service) settleAll(ctx context.Context, ends []settlement) (map[uuid.UUID]Order, error) {
	var orders map[uuid.UUID]Order
	var shelf *inventory.Shelf
	err := s.transact(ctx, untilDone, func(tx pgx.Tx) (err error) {
		orders, shelf, err = settleTx(ctx, tx, ends)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("settle orders: %w", err)
	}
	if shelf != nil {
		s.cfg.SoldOut.Found(shelf.News())
	}
	for _, end := range ends {
		if end.receipt.Captured && orders[end.order].Status == Cancelled {
			s.log.ErrorContext(ctx, "the provider broke its promise", "order", end.order, "error", errFenceBroken)
		}
	}
	return orders, nil
}

// settleTx returns the orders as they then are, and the shelf, nil where nothing was put back.
func settleTx(ctx context.Context, tx pgx.Tx, ends []settlement) (map[uuid.UUID]Order, *inventory.Shelf, error) {
	ids := make([]uuid.UUID, len(ends))
	var cancelling []uuid.UUID
	for i, end := range ends {
		ids[i] = end.order
		if !end.receipt.Captured {
			cancelling = append(cancelling, end.order)
		}
	}
	carts, err := lockCartsTx(ctx, tx, cancelling)
	if err != nil {
		return nil, nil, err
	}
	locked, err := lockOrdersTx(ctx, tx, ids)
	if err != nil {
		return nil, nil, err
	}
	confirmed, cancelled := new(confirmations), new(cancellations)
	orders := map[uuid.UUID]Order{}
	for _, end := range ends {
		o, ok := locked[end.order]
		if !ok {
			continue
		}
		switch { // where it is not pending, it was settled before, perhaps by another in this batch
		case o.order.Status == Pending && end.receipt.Captured:
			confirmed.add(o.order, end.receipt)
			o.order.Status = Confirmed
		case o.order.Status == Pending && !end.unasked.IsZero() && !end.unasked.Equal(o.lease):
		case o.order.Status == Pending:
			if _, ours := carts[o.cart]; !ours {
				return nil, nil, errAdopted
			}
			cancelled.add(o, end.reason)
			o.order.Status, o.order.CancelReason = Cancelled, end.reason
		}
		locked[end.order], orders[end.order] = o, o.order
	}
	batch := new(pgx.Batch)
	confirmed.queue(batch)
	shelf, err := cancelled.queueTx(ctx, tx, batch)
	if err != nil {
		return nil, nil, err
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return nil, nil, fmt.Errorf("write settlements: %w", err)
	}
	return orders, shelf, nil
}

// lockedOrder is an order under lock.
type lockedOrder struct {
	order Order
	owner uuid.UUID
	cart  uuid.UUID // the owner of the cart that its lines would go back to
	lease time.Time // the end of the payment lease; the zero time for one that was given back
}

// errAdopted says that an order got an account between the lock of its cart and its own. The next try finds the right cart.
var errAdopted = errors.New("the order was adopted by an account in this moment")

// lockCartsTx locks the carts that the lines of cancelled orders go back to: the account's, where the order has one, since a
// guest who has logged in does not see the guest's cart any more. Carts come before orders in the order of locks, so their
// owners are read first, without one.
func lockCartsTx(ctx context.Context, tx pgx.Tx, orders []uuid.UUID) (map[uuid.UUID]cart.Cart, error) {
	if len(orders) == 0 {
		return nil, nil
	}
	const selectOwners = `-- name: checkout.cart_owners
SELECT DISTINCT coalesce(account_id, owner_id) FROM orders WHERE id = ANY ($1)`
	rows, err := tx.Query(ctx, selectOwners, orders)
	if err != nil {
		return nil, fmt.Errorf("read owners: %w", err)
	}
	owners, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("read owners: %w", err)
	}
	return cart.LockTx(ctx, tx, owners)
}

const lockOrders = `-- name: checkout.lock_orders
SELECT` + orderColumns + `, o.owner_id, coalesce(o.account_id, o.owner_id), nullif(o.paying_until, '-infinity')
  FROM orders o WHERE o.id = ANY ($1) ORDER BY o.id FOR UPDATE OF o`

func lockOrdersTx(ctx context.Context, tx pgx.Tx, ids []uuid.UUID) (map[uuid.UUID]lockedOrder, error) {
	rows, err := tx.Query(ctx, lockOrders, ids)
	if err != nil {
		return nil, fmt.Errorf("lock orders: %w", err)
	}
	locked := map[uuid.UUID]lockedOrder{}
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (_ struct{}, err error) {
		var o lockedOrder
		var lease *time.Time
		o.order, err = scanOrder(row, &o.owner, &o.cart, &lease)
		if lease != nil {
			o.lease = *lease
		}
		locked[o.order.ID] = o
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("lock orders: %w", err)
	}
	return locked, nil
}

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
	if code := p.order.DiscountCode; code != "" {
		c.codes = append(c.codes, code)
		c.uses[code]--
	}
	back := c.carts[p.cart]
	back.Discount = cmp.Or(back.Discount, p.order.DiscountCode)
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
