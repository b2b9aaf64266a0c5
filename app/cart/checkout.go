package cart

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

const lockCarts = `-- name: cart.lock
SELECT owner_id,` + cartColumns + ` FROM cart c WHERE owner_id = ANY ($1) ORDER BY owner_id FOR UPDATE`

// A statement of its own, so that its snapshot is taken after the locks were had: it sees what the last holder did.
const selectLines = `-- name: cart.lines
SELECT owner_id, sku_id, quantity FROM cart_line WHERE owner_id = ANY ($1) ORDER BY added_at, sku_id`

// LockTx locks the carts of owners, in the order of their ids, until the transaction ends, and returns them. An owner who
// has no cart is not in the map.
func LockTx(ctx context.Context, tx pgx.Tx, owners []uuid.UUID) (map[uuid.UUID]Cart, error) {
	batch := new(pgx.Batch)
	carts := QueueLock(batch, owners)
	return carts, tx.SendBatch(ctx, batch).Close()
}

// QueueLock adds the statements of [LockTx]. The map is filled in when the batch is read.
func QueueLock(batch *pgx.Batch, owners []uuid.UUID) map[uuid.UUID]Cart {
	carts := map[uuid.UUID]Cart{}
	batch.Queue(lockCarts, owners).Query(func(rows pgx.Rows) error {
		var owner uuid.UUID
		var row cartRow
		_, err := pgx.ForEachRow(rows, append([]any{&owner}, row.columns()...), func() error { carts[owner] = row.read(); return nil })
		if err != nil {
			return fmt.Errorf("lock carts: %w", err)
		}
		return nil
	})
	batch.Queue(selectLines, owners).Query(func(rows pgx.Rows) error {
		var owner uuid.UUID
		var l Line
		_, err := pgx.ForEachRow(rows, []any{&owner, &l.SKU, &l.Quantity}, func() error {
			// A cart that was made after the locks were had is not locked, so it is not ours.
			if c, locked := carts[owner]; locked {
				c.Lines = append(c.Lines, l)
				carts[owner] = c
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("read cart lines: %w", err)
		}
		return nil
	})
	return carts
}

// MakeTx gives owners who have no cart an empty one.
func MakeTx(ctx context.Context, tx pgx.Tx, owners []uuid.UUID) error {
	const makeCarts = `-- name: cart.make
INSERT INTO cart (owner_id, id) SELECT * FROM unnest($1::uuid[], $2::uuid[]) AS u (owner_id, id) ORDER BY owner_id ON CONFLICT DO NOTHING`
	if _, err := tx.Exec(ctx, makeCarts, owners, newIDs(len(owners))); err != nil {
		return fmt.Errorf("make carts: %w", err)
	}
	return nil
}

// newIDs returns ids of fillings, in the order of time: the unique index on
// orders.cart_id takes them side by side, and does not touch a page of its own
// for each.
func newIDs(n int) []uuid.UUID {
	ids := make([]uuid.UUID, n)
	for i := range ids {
		ids[i] = uuid.Must(uuid.NewV7())
	}
	return ids
}

const heldCarts = `-- name: cart.held
WITH free AS MATERIALIZED (SELECT owner_id FROM cart WHERE owner_id = ANY ($1) FOR UPDATE SKIP LOCKED)
SELECT owner_id FROM cart WHERE owner_id = ANY ($1) AND owner_id NOT IN (SELECT owner_id FROM free)`

// QueueHeld adds the statement that locks those of the owners' carts that nobody else holds. The map is filled in when the
// batch is read: whose carts somebody else holds now. It never waits.
func QueueHeld(batch *pgx.Batch, owners []uuid.UUID) map[uuid.UUID]bool {
	held := map[uuid.UUID]bool{}
	batch.Queue(heldCarts, owners).Query(func(rows pgx.Rows) error {
		var owner uuid.UUID
		if _, err := pgx.ForEachRow(rows, []any{&owner}, func() error { held[owner] = true; return nil }); err != nil {
			return fmt.Errorf("look for locked carts: %w", err)
		}
		return nil
	})
	return held
}

// QueueEmpty adds the statements that end this filling of the owners' carts: no
// lines, no discount, nothing shown, a new id. The transaction holds the locks
// of [LockTx].
func QueueEmpty(batch *pgx.Batch, owners []uuid.UUID) {
	batch.Queue(`-- name: cart.empty
DELETE FROM cart_line WHERE owner_id = ANY ($1)`, owners)
	batch.Queue(`-- name: cart.renew
UPDATE cart SET id = u.id, discount_code = NULL, shown_minor = NULL, shown_currency = NULL, refused_key = NULL, updated_at = now()
  FROM unnest($1::uuid[], $2::uuid[]) AS u (owner_id, id) WHERE cart.owner_id = u.owner_id`, owners, newIDs(len(owners)))
}

const refillLines = `-- name: cart.refill
INSERT INTO cart_line AS l (owner_id, sku_id, quantity)
SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::integer[]) AS u (owner_id, sku_id, quantity)
ON CONFLICT (owner_id, sku_id) DO UPDATE SET quantity = least(l.quantity + excluded.quantity, $4)`

const refillRest = `-- name: cart.refill_rest
UPDATE cart c SET discount_code = coalesce(c.discount_code, nullif(u.code, '')), updated_at = now(),
       shown_minor = coalesce(c.shown_minor, u.minor), shown_currency = coalesce(c.shown_currency, u.currency)
  FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[]) AS u (owner_id, code, minor, currency) WHERE c.owner_id = u.owner_id`

// QueueRefill adds the statements that put lines into the carts of owners, for
// a cancelled order or a login: quantities add up to [MaxQuantity] at most; a
// discount code, and the total that was shown, are put where there is none.
// [MaxLines] is not enforced, since nothing may get lost here. The transaction
// holds the locks of [LockTx].
func QueueRefill(batch *pgx.Batch, carts map[uuid.UUID]Cart) {
	var owners, lineOwners []uuid.UUID
	var codes []string
	var skus []int64
	var quantities []int
	var minors []*int64
	var currencies []*string
	for owner, c := range carts {
		owners, codes = append(owners, owner), append(codes, c.Discount)
		var minor *int64
		var currency *string
		if c.Shown != nil {
			minor, currency = &c.Shown.Minor, &c.Shown.Currency
		}
		minors, currencies = append(minors, minor), append(currencies, currency)
		for _, l := range c.Lines {
			lineOwners, skus, quantities = append(lineOwners, owner), append(skus, l.SKU), append(quantities, l.Quantity)
		}
	}
	batch.Queue(refillLines, lineOwners, skus, quantities, MaxQuantity)
	batch.Queue(refillRest, owners, codes, minors, currencies)
}
