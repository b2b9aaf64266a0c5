package inventory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Order is what one order takes, or gives back.
type Order struct {
	// Customers are the names by which the buyer is known; a limited line counts against each of them.
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
	SKU   int64
	Limit int
	Left  int // units that the customer may still take
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
	takenChanges map[allowanceKey]int
}

// LockTx locks all that the orders mention: stock rows by id, then allowances by key.
func LockTx(ctx context.Context, tx pgx.Tx, orders []Order) (*Shelf, error) {
	s := &Shelf{unitChanges: map[int64]int{}, takenChanges: map[allowanceKey]int{}}
	var err error
	if s.units, err = lockStockTx(ctx, tx, orders); err != nil {
		return nil, err
	}
	if s.taken, err = lockAllowancesTx(ctx, tx, orders); err != nil {
		return nil, err
	}
	return s, nil
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
			s.takenChanges[key] += sign * l.Quantity
		}
	}
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
	if len(s.takenChanges) > 0 {
		skus, customers, changes := columns(s.takenChanges)
		batch.Queue(changeAllowances, skus, customers, changes)
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
			if taken[key]+l.Quantity > l.Limit {
				return &LimitReached{l.SKU, l.Limit, max(0, l.Limit-taken[key])}
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

const lockStock = `-- name: inventory.lock_stock
SELECT sku_id, available FROM stock WHERE sku_id = ANY ($1) ORDER BY sku_id FOR UPDATE`

func lockStockTx(ctx context.Context, tx pgx.Tx, orders []Order) (map[int64]int, error) {
	var skus []int64
	for _, o := range orders {
		for _, l := range o.Lines {
			skus = append(skus, l.SKU)
		}
	}
	slices.Sort(skus)
	rows, err := tx.Query(ctx, lockStock, slices.Compact(skus))
	if err != nil {
		return nil, fmt.Errorf("lock stock: %w", err)
	}
	return collectUnits(rows, "lock stock")
}

// A missing allowance is inserted first, so that two orders of a new customer meet on a row. ON CONFLICT DO NOTHING
// waits for another transaction's insert of the same key; the rows come sorted, so this too has one order.
const insertAllowances = `-- name: inventory.insert_allowances
INSERT INTO allowance (sku_id, customer, taken)
SELECT u.sku_id, u.customer, 0 FROM unnest($1::bigint[], $2::text[]) AS u (sku_id, customer)
 ORDER BY u.sku_id, u.customer COLLATE "C"
ON CONFLICT DO NOTHING`

const lockAllowances = `-- name: inventory.lock_allowances
SELECT a.sku_id, a.customer, a.taken
  FROM allowance a JOIN unnest($1::bigint[], $2::text[]) AS u (sku_id, customer) USING (sku_id, customer)
 ORDER BY a.sku_id, a.customer COLLATE "C" FOR UPDATE OF a`

func lockAllowancesTx(ctx context.Context, tx pgx.Tx, orders []Order) (map[allowanceKey]int, error) {
	taken := map[allowanceKey]int{}
	for _, o := range orders {
		for _, l := range o.Lines {
			for key := range o.keys(l) {
				taken[key] = 0
			}
		}
	}
	if len(taken) == 0 {
		return taken, nil
	}
	skus, customers, _ := columns(taken)
	if _, err := tx.Exec(ctx, insertAllowances, skus, customers); err != nil {
		return nil, fmt.Errorf("lock allowances: %w", err)
	}
	rows, err := tx.Query(ctx, lockAllowances, skus, customers)
	if err != nil {
		return nil, fmt.Errorf("lock allowances: %w", err)
	}
	var key allowanceKey
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&key.sku, &key.customer, &n}, func() error { taken[key] = n; return nil }); err != nil {
		return nil, fmt.Errorf("lock allowances: %w", err)
	}
	return taken, nil
}

const changeStock = `-- name: inventory.change_stock
UPDATE stock SET available = available + u.change FROM unnest($1::bigint[], $2::integer[]) AS u (sku_id, change)
 WHERE stock.sku_id = u.sku_id`

const changeAllowances = `-- name: inventory.change_allowances
UPDATE allowance a SET taken = a.taken + u.change FROM unnest($1::bigint[], $2::text[], $3::integer[]) AS u (sku_id, customer, change)
 WHERE a.sku_id = u.sku_id AND a.customer = u.customer`

// columns returns the keys, sorted, and their numbers as arrays for unnest.
func columns(m map[allowanceKey]int) (skus []int64, customers []string, numbers []int) {
	keys := make([]allowanceKey, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b allowanceKey) int {
		if a.sku != b.sku {
			return cmp.Compare(a.sku, b.sku)
		}
		return strings.Compare(a.customer, b.customer)
	})
	for _, key := range keys {
		skus, customers, numbers = append(skus, key.sku), append(customers, key.customer), append(numbers, m[key])
	}
	return skus, customers, numbers
}
