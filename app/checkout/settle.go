package checkout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"doorbuster/app/cart"
	"doorbuster/app/inventory"
	"doorbuster/app/money"
	"doorbuster/app/payment"
)

// settlement is how the payment of an order ended.
type settlement struct {
	order   uuid.UUID
	total   money.Money // of the order
	receipt payment.Receipt
	reason  CancelReason // where it was not paid
	// unasked is the end of the payment lease under which the provider was not asked at all. The order is left as it is where
	// somebody else has the lease now, who may be asking. The zero time: it was asked.
	unasked time.Time
	// uncharged says that nothing may be captured for the order: its address
	// has its limit.
	uncharged bool
}

// paid reports whether an order is confirmed by this: another amount than its total pays for nothing, and has to go back.
func (s *settlement) paid() bool {
	return s.receipt.Captured && s.receipt.Amount == s.total && !s.uncharged
}

// settled is the settlement that a receipt for an order stands for. Where the charge was cancelled, the caller knows why.
func settled(order uuid.UUID, total money.Money, receipt payment.Receipt, cancelled CancelReason) *settlement {
	if receipt.Declined {
		cancelled = ReasonDeclined
	}
	return &settlement{order: order, total: total, receipt: receipt, reason: cancelled}
}

var errSettleTimeout = errors.New("settling the order timed out")

// settle runs the third step for one order, together with others, and returns
// the order as it then is. Once a batch has the order, it is settled also where
// ctx ends before.
func (s *Service) settle(ctx context.Context, end settlement) (Order, error) {
	work, done := outlasting(ctx)
	defer done()
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.QueueTimeout, errQueueTimeout)
	defer cancel()
	return patiently(ctx, work, s.cfg.LockPatience, s.settling, s.settlingLate, end)
}

// settleBatch and settleLate settle orders together, each in its lane.
func (s *Service) settleBatch(ends []settlement) []answered[Order] {
	return s.settleTogether(ends, mainLane)
}

func (s *Service) settleLate(ends []settlement) []answered[Order] {
	return s.settleTogether(ends, patientLane)
}

// settleTogether answers each of the settlements.
func (s *Service) settleTogether(ends []settlement, l lane) []answered[Order] {
	ctx, cancel := context.WithTimeoutCause(context.Background(), s.cfg.TransactionTimeout, errSettleTimeout)
	defer cancel()
	out := make([]answered[Order], len(ends))
	err := inParts(ends, func(first int, ends []settlement) error {
		orders, putOff, err := s.settleAll(ctx, ends, l)
		if err == nil {
			for i, end := range ends {
				out[first+i].value = orders[end.order]
				if putOff[end.order] {
					out[first+i].err = errPutOff
				} else if _, ok := orders[end.order]; !ok { // nothing in the shop deletes one
					out[first+i].err = fmt.Errorf("settle order %s, for which %s was captured: %w", end.order, end.receipt.Amount, ErrNotFound)
				}
			}
		}
		return err
	}, func(i int, err error) { out[i].err = whyFailed(err) })
	if err != nil {
		s.log.Warn("orders are settled in parts", "orders", len(ends), "error", err)
	}
	return out
}

// settleAll settles many orders in one transaction and returns them as they are afterwards, and which were put off. Orders that
// are settled already stay as they are, so it is repeated whatever went wrong, a lost COMMIT too: an order that was paid for
// should not have to wait for the sweeper.
func (s *Service) settleAll(ctx context.Context, ends []settlement, l lane) (map[uuid.UUID]Order, map[uuid.UUID]bool, error) {
	var t *settling
	var shelf *inventory.Shelf
	err := s.around(ctx, l, untilDone, func(tx pgx.Tx, around bool) (err error) {
		t = &settling{Service: s, tx: tx, lane: l, around: around, orders: map[uuid.UUID]Order{}, putOff: map[uuid.UUID]bool{}}
		shelf, err = t.settle(ctx, ends)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("settle orders: %w", err)
	}
	if shelf != nil {
		s.cfg.SoldOut.Found(shelf.News())
	}
	for _, r := range t.refunds.all {
		s.log.ErrorContext(ctx, "the provider broke its promise: money has to go back", "order", r.order, "reference", r.receipt.Reference,
			"captured", r.receipt.Amount.String(), "reason", r.reason)
	}
	return t.orders, t.putOff, nil
}

// settling is one run of the transaction of Settle.
type settling struct {
	*Service
	tx      pgx.Tx
	lane    lane
	around  bool                // what is held by others is put off, and not waited for
	orders  map[uuid.UUID]Order // as they then are
	putOff  map[uuid.UUID]bool  // orders that wait for a row
	refunds refunds
}

// settle returns the shelf, nil where nothing was put back.
func (t *settling) settle(ctx context.Context, ends []settlement) (*inventory.Shelf, error) {
	ends, owners, locked, err := t.lock(ctx, ends)
	if err != nil {
		return nil, err
	}
	paidBy, err := referencesTx(ctx, t.tx, ends, locked)
	if err != nil {
		return nil, err
	}
	confirmed, cancelled := new(confirmations), new(cancellations)
	for _, end := range ends {
		o, ok := locked[end.order]
		if !ok || t.putOff[end.order] {
			continue
		}
		switch { // where it is not pending, it was settled before, perhaps by another in this batch
		case o.order.Status == Cancelled && end.receipt.Captured:
			t.refunds.add(end, capturedAfterCancel)
		case o.order.Status == Confirmed && end.receipt.Captured && end.receipt.Reference != paidBy[end.order]:
			t.refunds.add(end, chargedTwice)
		case o.order.Status == Pending && end.paid():
			confirmed.add(o.order, end.receipt)
			paidBy[end.order] = end.receipt.Reference
			o.order.Status = Confirmed
		case o.order.Status == Pending && !end.unasked.IsZero() && !end.unasked.Equal(o.lease):
		case o.order.Status == Pending:
			if o.cart != owners[end.order] {
				return nil, errAdopted
			}
			switch {
			case end.receipt.Captured && end.uncharged:
				t.refunds.add(end, capturedAfterCancel)
			case end.receipt.Captured:
				t.refunds.add(end, wrongAmount)
			}
			cancelled.add(o, end.reason)
			o.order.Status, o.order.CancelReason = Cancelled, end.reason
		}
		locked[end.order], t.orders[end.order] = o, o.order
	}
	batch := new(pgx.Batch)
	confirmed.queue(batch)
	t.refunds.queue(batch)
	shelf, err := cancelled.queueTx(ctx, t.tx, batch)
	if err != nil {
		return nil, err
	}
	if err := t.tx.SendBatch(ctx, batch).Close(); err != nil {
		return nil, fmt.Errorf("write settlements: %w", err)
	}
	return shelf, nil
}

// lock locks the carts and the orders of settlements, and puts off those that need a row that is held: an order that is
// confirmed needs its own row alone. It returns the others, and whose carts are locked for the orders that may be cancelled.
func (t *settling) lock(ctx context.Context, ends []settlement) ([]settlement, map[uuid.UUID]uuid.UUID, map[uuid.UUID]lockedOrder, error) {
	var ids, cancelling []uuid.UUID
	for _, end := range ends {
		if t.lane == mainLane && t.suspects.any(orderOf(end.order)) {
			t.putOff[end.order] = true
			continue
		}
		ids = append(ids, end.order)
		if !end.paid() {
			cancelling = append(cancelling, end.order)
		}
	}
	owners, err := cartOwnersTx(ctx, t.tx, cancelling)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := t.lookAtCarts(ctx, owners); err != nil {
		return nil, nil, nil, err
	}
	if t.around {
		held, err := heldOrdersTx(ctx, t.tx, ids)
		if err != nil {
			return nil, nil, nil, err
		}
		t.suspect(held)
		maps.Copy(t.putOff, held.orders)
	}
	isPutOff := func(id uuid.UUID) bool { return t.putOff[id] }
	ids = slices.DeleteFunc(ids, isPutOff)
	var free []uuid.UUID
	for order, owner := range owners {
		if !t.putOff[order] {
			free = append(free, owner)
		}
	}
	slices.SortFunc(free, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	if _, err := cart.LockTx(ctx, t.tx, slices.Compact(free)); err != nil {
		return nil, nil, nil, err
	}
	locked, err := lockOrdersTx(ctx, t.tx, ids)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := t.lookAtGoods(ctx, ends, locked); err != nil {
		return nil, nil, nil, err
	}
	return slices.DeleteFunc(slices.Clone(ends), func(end settlement) bool { return t.putOff[end.order] }), owners, locked, nil
}

// suspect remembers what was found held.
func (t *settling) suspect(held rows) {
	if t.lane == mainLane {
		t.suspects.found(held)
	}
}

// lookAtCarts puts off the orders whose carts are held.
func (t *settling) lookAtCarts(ctx context.Context, owners map[uuid.UUID]uuid.UUID) error {
	var held rows
	if t.around && len(owners) > 0 {
		var err error
		if held, err = heldCartsTx(ctx, t.tx, slices.Collect(maps.Values(owners))); err != nil {
			return err
		}
		t.suspect(held)
	}
	for order, owner := range owners {
		if held.carts[owner] || t.lane == mainLane && t.suspects.any(cartOf(owner)) {
			t.putOff[order] = true
		}
	}
	return nil
}

// lookAtGoods puts off the orders that would give something back to a row that is held.
func (t *settling) lookAtGoods(ctx context.Context, ends []settlement, locked map[uuid.UUID]lockedOrder) error {
	var returning []*Order
	for _, end := range ends {
		if o, ok := locked[end.order]; ok && !end.paid() && o.order.Status == Pending && !t.putOff[end.order] {
			returning = append(returning, &o.order)
		}
	}
	var held rows
	if t.around && len(returning) > 0 {
		var err error
		if held, err = heldGoodsTx(ctx, t.tx, returning); err != nil {
			return err
		}
		t.suspect(held)
	}
	for _, o := range returning {
		if held.holds(o.Lines, o.DiscountCode) || t.lane == mainLane && t.suspects.goods(o.Lines, o.DiscountCode) {
			t.putOff[o.ID] = true
		}
	}
	return nil
}

// lockedOrder is an order under lock.
type lockedOrder struct {
	order Order
	owner uuid.UUID // whose allowance it counts against
	cart  uuid.UUID // the owner of the cart that its lines would go back to
	lease time.Time // the end of the payment lease; the zero time for one that was given back
	// counted says that the use of the code was. Where a release wrote the order that did not note it, the code of today decides.
	counted bool
}

// errAdopted says that a guest logged in between the look at whose cart it is and its lock. The next try finds the right cart.
var errAdopted = errors.New("the order's customer logged in at this moment")

// cartOwner is whose cart an order's lines go back to: the account's, where the guest has logged in, since nobody sees the
// guest's cart any more. A login merges the carts first, and hands the orders over in a transaction after that.
const cartOwner = `coalesce(o.account_id, c.merged_into, o.owner_id)`

// cartOwnersTx returns, by order, whose carts the lines of cancelled orders go back to. Carts come before orders in the order of
// locks, so their owners are read first, without one. An owner whose cart is gone, as after a clean-up, gets one.
func cartOwnersTx(ctx context.Context, tx pgx.Tx, orders []uuid.UUID) (map[uuid.UUID]uuid.UUID, error) {
	owners := map[uuid.UUID]uuid.UUID{}
	if len(orders) == 0 {
		return owners, nil
	}
	const selectOwners = `-- name: checkout.cart_owners
SELECT o.id, ` + cartOwner + `, EXISTS (SELECT FROM cart WHERE owner_id = ` + cartOwner + `)
  FROM orders o LEFT JOIN cart c ON c.owner_id = o.owner_id WHERE o.id = ANY ($1)`
	rows, err := tx.Query(ctx, selectOwners, orders)
	if err != nil {
		return nil, fmt.Errorf("read owners: %w", err)
	}
	var order, owner uuid.UUID
	var there bool
	var without []uuid.UUID
	_, err = pgx.ForEachRow(rows, []any{&order, &owner, &there}, func() error {
		owners[order] = owner
		if !there {
			without = append(without, owner)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read owners: %w", err)
	}
	if without == nil {
		return owners, nil
	}
	return owners, cart.MakeTx(ctx, tx, without)
}

const lockOrders = `-- name: checkout.lock_orders
SELECT` + orderColumns + `, coalesce(o.counted_for, o.owner_id), ` + cartOwner + `, nullif(o.paying_until, '-infinity'),
       coalesce(o.discount_counted, EXISTS (SELECT FROM discount d WHERE d.code = o.discount_code AND d.max_uses IS NOT NULL))
  FROM orders o LEFT JOIN cart c ON c.owner_id = o.owner_id WHERE o.id = ANY ($1) ORDER BY o.id FOR UPDATE OF o`

func lockOrdersTx(ctx context.Context, tx pgx.Tx, ids []uuid.UUID) (map[uuid.UUID]lockedOrder, error) {
	rows, err := tx.Query(ctx, lockOrders, ids)
	if err != nil {
		return nil, fmt.Errorf("lock orders: %w", err)
	}
	locked := map[uuid.UUID]lockedOrder{}
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (_ struct{}, err error) {
		var o lockedOrder
		var lease *time.Time
		o.order, err = scanOrder(row, &o.owner, &o.cart, &lease, &o.counted)
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
