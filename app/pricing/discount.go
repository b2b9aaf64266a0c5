package pricing

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Store reads discounts outside a transaction. It is safe for concurrent use.
type Store struct{ pool *pgxpool.Pool }

// NewStore returns a Store on a pool that it does not close.
func NewStore(pool *pgxpool.Pool) *Store { return &Store{pool} }

const selectDiscounts = `-- name: pricing.discounts
SELECT code, coalesce(percent, 0), coalesce(amount_minor, 0), min_subtotal_minor, currency, starts_at, ends_at,
       coalesce(max_uses, 0), uses
  FROM discount WHERE code = ANY ($1)`

// Discount returns the discount with this code, or nil when there is none.
func (s *Store) Discount(ctx context.Context, code string) (*Discount, error) {
	rows, err := s.pool.Query(ctx, selectDiscounts, []string{code})
	if err != nil {
		return nil, fmt.Errorf("read discount: %w", err)
	}
	found := map[string]*Discount{}
	if err := collect(rows, found); err != nil {
		return nil, err
	}
	return found[code], nil
}

// QueueDiscounts adds the statement that reads those of the codes that exist, if there are codes. The map is filled in
// when the batch is read.
func QueueDiscounts(batch *pgx.Batch, codes []string) map[string]*Discount {
	found := map[string]*Discount{}
	if len(codes) > 0 {
		batch.Queue(selectDiscounts, codes).Query(func(rows pgx.Rows) error { return collect(rows, found) })
	}
	return found
}

func collect(rows pgx.Rows, found map[string]*Discount) error {
	_, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		var d Discount
		err := row.Scan(&d.Code, &d.Percent, &d.Amount.Minor, &d.MinSubtotal.Minor, &d.Amount.Currency,
			&d.StartsAt, &d.EndsAt, &d.MaxUses, &d.Uses)
		d.MinSubtotal.Currency = d.Amount.Currency
		found[d.Code] = &d
		return struct{}{}, err
	})
	if err != nil {
		return fmt.Errorf("read discounts: %w", err)
	}
	return nil
}

const lockLimitedDiscounts = `-- name: pricing.lock
SELECT code, max_uses - uses FROM discount WHERE code = ANY ($1) AND max_uses IS NOT NULL ORDER BY code FOR UPDATE`

// QueueLock adds the statement that locks those of the codes whose uses are limited, in the order of their codes, if there
// are codes. The map is filled in when the batch is read: how many uses each has left. A code that is not in it has no
// limit.
func QueueLock(batch *pgx.Batch, codes []string) map[string]int {
	left := map[string]int{}
	if len(codes) == 0 {
		return left
	}
	batch.Queue(lockLimitedDiscounts, codes).Query(func(rows pgx.Rows) error {
		var code string
		var n int
		if _, err := pgx.ForEachRow(rows, []any{&code, &n}, func() error { left[code] = n; return nil }); err != nil {
			return fmt.Errorf("lock discounts: %w", err)
		}
		return nil
	})
	return left
}

const heldDiscounts = `-- name: pricing.held
WITH free AS MATERIALIZED (SELECT code FROM discount WHERE code = ANY ($1) AND max_uses IS NOT NULL FOR UPDATE SKIP LOCKED)
SELECT code FROM discount WHERE code = ANY ($1) AND max_uses IS NOT NULL AND code NOT IN (SELECT code FROM free)`

// QueueHeld adds the statement that locks those of the limited codes that nobody else holds. The map is filled in when the
// batch is read: which codes somebody else holds now. It never waits.
func QueueHeld(batch *pgx.Batch, codes []string) map[string]bool {
	held := map[string]bool{}
	batch.Queue(heldDiscounts, codes).Query(func(rows pgx.Rows) error {
		var code string
		if _, err := pgx.ForEachRow(rows, []any{&code}, func() error { held[code] = true; return nil }); err != nil {
			return fmt.Errorf("look for locked discounts: %w", err)
		}
		return nil
	})
	return held
}

// greatest, since a use that is given back may not have been counted, in an order that does not say so. A code that is not
// limited any more gets back what was counted while it was.
const addUses = `-- name: pricing.add_uses
UPDATE discount d SET uses = greatest(d.uses + u.n, 0) FROM unnest($1::text[], $2::integer[]) AS u (code, n)
 WHERE d.code = u.code AND (d.max_uses IS NOT NULL OR u.n < 0)`

// QueueUses adds the statement that counts uses of limited codes, or gives them back where the number is negative. The
// transaction holds the locks of [QueueLock].
func QueueUses(batch *pgx.Batch, uses map[string]int) {
	if len(uses) == 0 {
		return
	}
	codes, counts := make([]string, 0, len(uses)), make([]int, 0, len(uses))
	for code, n := range uses {
		codes, counts = append(codes, code), append(counts, n)
	}
	batch.Queue(addUses, codes, counts)
}

const putDiscount = `-- name: pricing.put
INSERT INTO discount (code, percent, amount_minor, min_subtotal_minor, currency, starts_at, ends_at, max_uses)
VALUES ($1, nullif($2, 0), nullif($3::bigint, 0), $4, $5, $6, $7, nullif($8, 0))
ON CONFLICT (code) DO UPDATE SET percent = excluded.percent, amount_minor = excluded.amount_minor,
       min_subtotal_minor = excluded.min_subtotal_minor, currency = excluded.currency,
       starts_at = excluded.starts_at, ends_at = excluded.ends_at, max_uses = excluded.max_uses`

// PutTx creates or changes discounts; their uses are kept.
func PutTx(ctx context.Context, tx pgx.Tx, discounts []Discount) error {
	for _, d := range slices.SortedFunc(slices.Values(discounts), func(a, b Discount) int { return strings.Compare(a.Code, b.Code) }) {
		_, err := tx.Exec(ctx, putDiscount, d.Code, d.Percent, d.Amount.Minor, d.MinSubtotal.Minor, d.Amount.Currency,
			d.StartsAt, d.EndsAt, d.MaxUses)
		if err != nil {
			return fmt.Errorf("put discount %s: %w", d.Code, err)
		}
	}
	return nil
}
