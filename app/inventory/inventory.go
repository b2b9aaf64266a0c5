// Package inventory is the units on the shelf and who may still take how many of them. It owns the tables stock,
// stock_receipt and allowance.
//
// Taking is made for many orders in one transaction. [LockTx] locks the stock rows of all their SKUs in the order of the
// ids, so two transactions can't deadlock here; a SKU's row also stands for its allowances. [Shelf.Take] decides in memory,
// in the order in which it is called, so arrival decides who gets the last unit; [Shelf.Queue] writes once. An order that
// can't be served takes nothing and fails none of its neighbours. The CHECK constraint on stock is the second wall.
package inventory

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Store reads stock outside a transaction. It is safe for concurrent use.
type Store struct{ pool *pgxpool.Pool }

// NewStore returns a Store on a pool that it does not close.
func NewStore(pool *pgxpool.Pool) *Store { return &Store{pool} }

// Availability is how customers see a number of units.
type Availability string

// The availabilities, as the API spells them.
const (
	InStock Availability = "in_stock"
	Low     Availability = "low"
	SoldOut Availability = "sold_out"
)

// lowStock is the number of units from which down a SKU counts as low.
const lowStock = 10

// Level returns the availability of a number of units.
func Level(units int) Availability {
	switch {
	case units <= 0:
		return SoldOut
	case units <= lowStock:
		return Low
	default:
		return InStock
	}
}

const selectAvailable = `-- name: inventory.available
SELECT sku_id, available FROM stock WHERE sku_id = ANY ($1)`

// Available returns the units on the shelf by SKU id. A SKU that never had stock is not in the map.
func (s *Store) Available(ctx context.Context, skus []int64) (map[int64]int, error) {
	rows, err := s.pool.Query(ctx, selectAvailable, skus)
	if err != nil {
		return nil, fmt.Errorf("read stock: %w", err)
	}
	units := map[int64]int{}
	return units, collectUnits(rows, "read stock", units)
}

// AvailableTx is [Store.Available] in a transaction, without a lock: what it says may be old when the locks are taken.
func AvailableTx(ctx context.Context, tx pgx.Tx, skus []int64) (map[int64]int, error) {
	batch := new(pgx.Batch)
	units := QueueAvailable(batch, skus)
	return units, tx.SendBatch(ctx, batch).Close()
}

// QueueAvailable adds the statement of [AvailableTx]. The map is filled in when the batch is read.
func QueueAvailable(batch *pgx.Batch, skus []int64) map[int64]int {
	units := map[int64]int{}
	batch.Queue(selectAvailable, skus).Query(func(rows pgx.Rows) error { return collectUnits(rows, "read stock", units) })
	return units
}

func collectUnits(rows pgx.Rows, doing string, units map[int64]int) error {
	var sku int64
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&sku, &n}, func() error { units[sku] = n; return nil }); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

const receive = `-- name: inventory.receive
WITH delivery AS (
    SELECT * FROM unnest($1::bigint[], $2::integer[]) AS u (sku_id, quantity)
), receipt AS (
    INSERT INTO stock_receipt (sku_id, quantity, note) SELECT sku_id, quantity, $3 FROM delivery WHERE quantity <> 0
)
INSERT INTO stock (sku_id, available) SELECT sku_id, quantity FROM delivery ORDER BY sku_id
ON CONFLICT (sku_id) DO UPDATE SET available = stock.available + excluded.available`

// ReceiveTx puts delivered units on the shelf, by SKU id, and writes the receipt that the books are checked against.
func ReceiveTx(ctx context.Context, tx pgx.Tx, units map[int64]int, note string) error {
	skus, quantities := make([]int64, 0, len(units)), make([]int, 0, len(units))
	for sku, n := range units {
		skus, quantities = append(skus, sku), append(quantities, n)
	}
	if _, err := tx.Exec(ctx, receive, skus, quantities, note); err != nil {
		return fmt.Errorf("receive stock: %w", err)
	}
	return nil
}
