package inventory

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// Order is what one order takes, or gives back.
type Order struct {
	// Customers are the names by which the buyer is known; a limited line
	// counts against each of them, and a refusal names the first of them that
	// has enough.
	Customers []string
	Lines     []Line // at most one per SKU
}

// Line is units of one SKU.
type Line struct {
	SKU      int64
	Quantity int
	Limit    int // units that a customer may have of it, 0: no limit
}

// A Shortage says that units are missing for an order. Nothing was taken.
type Shortage struct {
	Lines []Short // only those that are short
}

// Short is one line of a [Shortage].
type Short struct {
	SKU       int64
	Requested int
	Available int
}

func (e *Shortage) Error() string { return fmt.Sprintf("%d lines are short of stock", len(e.Lines)) }

// LimitReached says that a customer has, or would have, too many of a SKU. Nothing was taken.
type LimitReached struct {
	SKU      int64
	Limit    int
	Left     int    // units that the customer may still take
	Customer string // by which of the order's names
}

func (e *LimitReached) Error() string {
	return fmt.Sprintf("limit of %d per customer reached", e.Limit)
}

// Shelf is stock and allowances under lock, until the transaction ends. Take and Put change it in memory; [Shelf.Queue]
// writes what changed. It belongs to one goroutine.
type Shelf struct {
	units map[int64]int        // on the shelf now
	taken map[allowanceKey]int // by customers now
	// What has to be written.
	unitChanges  map[int64]int
	takenChanged map[allowanceKey]int // the new values
}

// LockTx locks the stock rows of all SKUs that the orders mention, in the order of their ids. A SKU's row stands for its
// allowances too.
func LockTx(ctx context.Context, tx pgx.Tx, orders []Order) (*Shelf, error) {
	batch := new(pgx.Batch)
	s := QueueLock(batch, orders)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return nil, err
	}
	return s, nil
}

// QueueLock adds the statements of [LockTx]. The Shelf can be used when the batch has been read.
func QueueLock(batch *pgx.Batch, orders []Order) *Shelf {
	s := &Shelf{
		units: map[int64]int{}, taken: map[allowanceKey]int{},
		unitChanges: map[int64]int{}, takenChanged: map[allowanceKey]int{},
	}
	s.queueStock(batch, orders)
	s.queueAllowances(batch, orders)
	return s
}

const heldStock = `-- name: inventory.held
WITH free AS MATERIALIZED (SELECT sku_id FROM stock WHERE sku_id = ANY ($1) FOR UPDATE SKIP LOCKED)
SELECT sku_id FROM stock WHERE sku_id = ANY ($1) AND sku_id NOT IN (SELECT sku_id FROM free)`

// QueueHeld adds the statement that locks those of the SKUs' stock rows that nobody else holds. The map is filled in when
// the batch is read: which SKUs somebody else holds now. It never waits.
func QueueHeld(batch *pgx.Batch, skus []int64) map[int64]bool {
	held := map[int64]bool{}
	batch.Queue(heldStock, skus).Query(func(rows pgx.Rows) error {
		var sku int64
		if _, err := pgx.ForEachRow(rows, []any{&sku}, func() error { held[sku] = true; return nil }); err != nil {
			return fmt.Errorf("look for locked stock: %w", err)
		}
		return nil
	})
	return held
}

// Take takes all units of an order, or none: then it returns a *[Shortage] or a *[LimitReached].
func (s *Shelf) Take(o Order) error {
	if err := o.check(s.units, s.taken); err != nil {
		return err
	}
	s.move(o, 1)
	return nil
}

// Put puts all units of an order back. A line counts against the customers where its Limit is not 0.
func (s *Shelf) Put(o Order) { s.move(o, -1) }

func (s *Shelf) move(o Order, sign int) {
	for _, l := range o.Lines {
		s.units[l.SKU] -= sign * l.Quantity
		s.unitChanges[l.SKU] -= sign * l.Quantity
		for key := range o.keys(l) {
			s.taken[key] += sign * l.Quantity
			s.takenChanged[key] = s.taken[key]
		}
	}
}

// News returns the SKUs of which nothing is left, and those of which there is something again. It is news only once the
// transaction is committed.
func (s *Shelf) News() (gone, back []int64) {
	for sku, units := range s.units {
		switch before := units - s.unitChanges[sku]; {
		case units == 0:
			gone = append(gone, sku)
		case before == 0:
			back = append(back, sku)
		}
	}
	return gone, back
}

// Queue adds the statements that write what was taken and put.
func (s *Shelf) Queue(batch *pgx.Batch) {
	if len(s.unitChanges) > 0 {
		skus, changes := make([]int64, 0, len(s.unitChanges)), make([]int, 0, len(s.unitChanges))
		for sku, change := range s.unitChanges {
			skus, changes = append(skus, sku), append(changes, change)
		}
		batch.Queue(changeStock, skus, changes)
	}
	if len(s.takenChanged) > 0 {
		skus, customers, taken := columns(s.takenChanged)
		batch.Queue(setAllowances, skus, customers, taken)
	}
}

// check decides one order on what the orders before it have left.
func (o Order) check(shelf map[int64]int, taken map[allowanceKey]int) error {
	var short []Short
	for _, l := range o.Lines {
		if shelf[l.SKU] < l.Quantity {
			short = append(short, Short{l.SKU, l.Quantity, shelf[l.SKU]})
		}
	}
	if short != nil {
		return &Shortage{short}
	}
	for _, l := range o.Lines {
		for key := range o.keys(l) {
			if left := l.Limit - taken[key]; left < l.Quantity {
				return &LimitReached{l.SKU, l.Limit, max(0, left), key.customer}
			}
		}
	}
	return nil
}

type allowanceKey struct {
	sku      int64
	customer string
}

// keys yields the allowances that a line counts against.
func (o Order) keys(l Line) func(func(allowanceKey) bool) {
	return func(yield func(allowanceKey) bool) {
		for _, customer := range o.Customers {
			if l.Limit > 0 && !yield(allowanceKey{l.SKU, customer}) {
				return
			}
		}
	}
}

// MoveTx makes what one customer has of SKUs count for another from now on. It
// locks their stock rows. The sum may be more than the other is allowed: then
// it only refuses more.
func MoveTx(ctx context.Context, tx pgx.Tx, from, to string, skus []int64) error {
	batch := new(pgx.Batch)
	batch.Queue(lockStock, skus)
	batch.Queue(moveAllowances, skus, from, to)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("move allowances: %w", err)
	}
	return nil
}

const moveAllowances = `-- name: inventory.move_allowances
WITH moved AS (DELETE FROM allowance WHERE sku_id = ANY ($1) AND customer = $2 RETURNING sku_id, taken)
INSERT INTO allowance AS a (sku_id, customer, taken) SELECT sku_id, $3, taken FROM moved
ON CONFLICT (sku_id, customer) DO UPDATE SET taken = a.taken + excluded.taken`

const lockStock = `-- name: inventory.lock_stock
SELECT sku_id, available FROM stock WHERE sku_id = ANY ($1) ORDER BY sku_id FOR UPDATE`

func (s *Shelf) queueStock(batch *pgx.Batch, orders []Order) {
	var skus []int64
	for _, o := range orders {
		for _, l := range o.Lines {
			skus = append(skus, l.SKU)
		}
	}
	slices.Sort(skus)
	batch.Queue(lockStock, slices.Compact(skus)).Query(func(rows pgx.Rows) error { return collectUnits(rows, "lock stock", s.units) })
}

// No lock of its own: the stock row of the SKU is locked, and who changes an allowance has to hold that. The snapshot is
// taken after the lock was had.
const selectAllowances = `-- name: inventory.allowances
SELECT a.sku_id, a.customer, a.taken
  FROM allowance a JOIN unnest($1::bigint[], $2::text[]) AS u (sku_id, customer) USING (sku_id, customer)`

func (s *Shelf) queueAllowances(batch *pgx.Batch, orders []Order) {
	for _, o := range orders {
		for _, l := range o.Lines {
			for key := range o.keys(l) {
				s.taken[key] = 0
			}
		}
	}
	if len(s.taken) == 0 {
		return
	}
	skus, customers, _ := columns(s.taken)
	batch.Queue(selectAllowances, skus, customers).Query(func(rows pgx.Rows) error {
		var key allowanceKey
		var n int
		if _, err := pgx.ForEachRow(rows, []any{&key.sku, &key.customer, &n}, func() error { s.taken[key] = n; return nil }); err != nil {
			return fmt.Errorf("read allowances: %w", err)
		}
		return nil
	})
}

const changeStock = `-- name: inventory.change_stock
UPDATE stock SET available = available + u.change FROM unnest($1::bigint[], $2::integer[]) AS u (sku_id, change)
 WHERE stock.sku_id = u.sku_id`

const setAllowances = `-- name: inventory.set_allowances
INSERT INTO allowance (sku_id, customer, taken)
SELECT * FROM unnest($1::bigint[], $2::text[], $3::integer[]) AS u (sku_id, customer, taken)
ON CONFLICT (sku_id, customer) DO UPDATE SET taken = excluded.taken`

// columns returns keys and numbers as arrays for unnest.
func columns(m map[allowanceKey]int) (skus []int64, customers []string, numbers []int) {
	for key, n := range m {
		skus, customers, numbers = append(skus, key.sku), append(customers, key.customer), append(numbers, n)
	}
	return skus, customers, numbers
}
