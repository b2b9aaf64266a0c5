// Package cart is what somebody means to buy. It owns the tables cart and cart_line.
//
// An owner, an account or a guest, has one cart for life. Every change locks the cart's row first, by way of an upsert
// that touches it, and changes lines after that; a checkout locks the same row. So concurrent adds add up, a checkout
// sells exactly the lines it read, and an add that comes a moment later starts the next filling of the cart.
//
// A cart remembers the total that its owner was last shown, so that a checkout
// can refuse a dearer one. Whoever shows a total stores it ([QueueShown]) where
// it is another than the last; a change of the cart does not touch it, so a
// change that nobody was shown the total of makes a checkout ask. A login takes
// over what the guest was shown, since that was last. An order that is
// cancelled brings back its lines, and its total as shown where the cart has
// none.
//
// Changes commit with synchronous_commit off: a crash of PostgreSQL may forget the last fraction of a second of
// carts (never a part of a change), which costs a click, and saves every add a wait for the disk. Checkout never does so.
// See https://www.postgresql.org/docs/current/wal-async-commit.html.
package cart

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"doorbuster/app/money"
)

// Limits of a cart. MaxQuantity is a CHECK constraint of the table as well.
const (
	MaxQuantity = 1000 // units of one SKU
	MaxLines    = 50   // different SKUs
)

var (
	// ErrTooMany says that a line would hold more than [MaxQuantity] units. Nothing was changed.
	ErrTooMany = fmt.Errorf("a cart holds at most %d units of one SKU", MaxQuantity)
	// ErrTooManyLines says that a cart would have more than [MaxLines] lines. Nothing was changed.
	ErrTooManyLines = fmt.Errorf("a cart holds at most %d different SKUs", MaxLines)
	// ErrNoCart says that there is no cart to put a discount on: nothing was ever added.
	ErrNoCart = errors.New("the cart is empty")
)

// Cart is one filling of an owner's cart. The zero value is an empty one.
type Cart struct {
	ID       uuid.UUID // changes when the cart is ordered
	Discount string    // code, "" for none
	Lines    []Line    // in the order in which they were added
	// Shown is the total that the owner was last shown; nil for none.
	Shown *money.Money
	// RefusedKey is the idempotency key of a checkout that was refused with
	// this total as its answer, which may have been lost on its way; "" where
	// somebody has looked at the cart since.
	RefusedKey string
	Changed    time.Time // by the database's clock
}

// Line is units of one SKU.
type Line struct {
	SKU      int64
	Quantity int // 1 to MaxQuantity
}

// Store keeps carts. It is safe for concurrent use.
type Store struct{ pool *pgxpool.Pool }

// NewStore returns a Store on a pool that it does not close.
func NewStore(pool *pgxpool.Pool) *Store { return &Store{pool} }

// cartColumns reads a cart without its lines; cartRow is its other half.
const cartColumns = `
       c.id, coalesce(c.discount_code, ''), c.shown_minor, coalesce(c.shown_currency, ''), coalesce(c.refused_key, ''), c.updated_at`

// cartRow is what cartColumns are scanned to.
type cartRow struct {
	cart     Cart
	minor    *int64
	currency string
}

func (r *cartRow) columns() []any {
	return []any{&r.cart.ID, &r.cart.Discount, &r.minor, &r.currency, &r.cart.RefusedKey, &r.cart.Changed}
}

// read returns the cart of the row that was scanned.
func (r *cartRow) read() Cart {
	c := r.cart
	if r.minor != nil {
		c.Shown = &money.Money{Minor: *r.minor, Currency: r.currency}
	}
	return c
}

const selectCart = `-- name: cart.get
SELECT` + cartColumns + `,
       coalesce(l.sku_id, 0), coalesce(l.quantity, 0)
  FROM cart c LEFT JOIN cart_line l USING (owner_id) WHERE c.owner_id = $1 ORDER BY l.added_at, l.sku_id`

// Get returns the owner's cart, an empty one where there is none.
func (s *Store) Get(ctx context.Context, owner uuid.UUID) (Cart, error) {
	rows, err := s.pool.Query(ctx, selectCart, owner)
	if err != nil {
		return Cart{}, fmt.Errorf("read cart: %w", err)
	}
	var row cartRow
	var lines []Line
	var l Line
	_, err = pgx.ForEachRow(rows, append(row.columns(), &l.SKU, &l.Quantity), func() error {
		if l.Quantity > 0 {
			lines = append(lines, l)
		}
		return nil
	})
	if err != nil {
		return Cart{}, fmt.Errorf("read cart: %w", err)
	}
	c := row.read()
	c.Lines = lines
	return c, nil
}

// set_config with is_local lasts until the end of the transaction, which is the batch of [Store.change].
const touchCart = `-- name: cart.touch
WITH settings AS (SELECT set_config('synchronous_commit', 'off', true))
INSERT INTO cart (owner_id, id) SELECT $1, $2 FROM settings ON CONFLICT (owner_id) DO UPDATE SET updated_at = now()
RETURNING coalesce(merged_into, owner_id)`

// change runs one statement on the lines of the owner's cart. A guest's request that was under way while the guest logged in
// finds that the cart was merged; it is then made on the account's. Each try locks one cart only, so it can't get in the way
// of those who lock several in order.
func (s *Store) change(ctx context.Context, owner uuid.UUID, sql string, args ...any) (changed, error) {
	for {
		whose, done, err := s.changeOne(ctx, owner, sql, args)
		if err != nil || whose == owner {
			return done, err
		}
		owner = whose // Merge makes no circles, so this ends
	}
}

// changed is what became of a statement on lines: how many it has written, and whether the line is new.
type changed struct {
	lines int
	isNew bool
}

// changeOne locks the owner's cart and then runs the statement, in one transaction and one round trip. The lines need a
// statement of their own: its snapshot is taken after the lock was had, so it sees what the last holder did. It returns whose
// cart it is now; where that is somebody else's, the statement finds nothing to do.
func (s *Store) changeOne(ctx context.Context, owner uuid.UUID, sql string, args []any) (whose uuid.UUID, done changed, err error) {
	batch := new(pgx.Batch)
	batch.Queue(touchCart, owner, newIDs(1)[0]).QueryRow(func(row pgx.Row) error { return row.Scan(&whose) })
	batch.Queue(sql, append([]any{owner}, args...)...).Query(func(rows pgx.Rows) error {
		_, err := pgx.ForEachRow(rows, []any{&done.isNew}, func() error { done.lines++; return nil })
		return err
	})
	err = s.pool.SendBatch(ctx, batch).Close()
	return whose, done, err
}

const insertLine = `
INSERT INTO cart_line AS l (owner_id, sku_id, quantity)
SELECT owner_id, $2, $3 FROM cart
 WHERE owner_id = $1 AND merged_into IS NULL
   AND ((SELECT count(*) FROM cart_line o WHERE o.owner_id = $1) < $4
        OR EXISTS (SELECT FROM cart_line o WHERE o.owner_id = $1 AND o.sku_id = $2))
ON CONFLICT (owner_id, sku_id) DO UPDATE SET quantity = `

// A row that was inserted, and not changed, has no transaction that ended it:
// https://www.postgresql.org/docs/current/ddl-system-columns.html.
const isNew = `
RETURNING l.xmax = 0`

const addLine = `-- name: cart.add` + insertLine + `l.quantity + excluded.quantity WHERE l.quantity + excluded.quantity <= $5` + isNew

// A line that is there can always be changed: a login may have made the cart longer than [MaxLines].

// Add puts quantity more units of a SKU into the owner's cart, atomically. It fails with [ErrTooMany] or
// [ErrTooManyLines], and reports whether the line is new.
func (s *Store) Add(ctx context.Context, owner uuid.UUID, sku int64, quantity int) (isNew bool, err error) {
	if quantity > MaxQuantity {
		return false, ErrTooMany
	}
	done, err := s.change(ctx, owner, addLine, sku, quantity, MaxLines, MaxQuantity)
	if err != nil {
		return false, fmt.Errorf("add to cart: %w", err)
	}
	if done.lines == 1 {
		return done.isNew, nil
	}
	const hasLine = `-- name: cart.has_line
SELECT EXISTS (SELECT FROM cart_line WHERE owner_id = $1 AND sku_id = $2)`
	var has bool
	if err := s.pool.QueryRow(ctx, hasLine, owner, sku).Scan(&has); err != nil {
		return false, fmt.Errorf("add to cart: %w", err)
	}
	if has {
		return false, ErrTooMany
	}
	return false, ErrTooManyLines
}

const setLine = `-- name: cart.set` + insertLine + `excluded.quantity` + isNew

// Set makes the owner's cart hold exactly quantity units of a SKU (1 to [MaxQuantity]). It fails with [ErrTooMany] or
// [ErrTooManyLines], and reports whether the line is new.
func (s *Store) Set(ctx context.Context, owner uuid.UUID, sku int64, quantity int) (isNew bool, err error) {
	if quantity > MaxQuantity {
		return false, ErrTooMany
	}
	done, err := s.change(ctx, owner, setLine, sku, quantity, MaxLines)
	if err != nil {
		return false, fmt.Errorf("set cart line: %w", err)
	}
	if done.lines == 0 {
		return false, ErrTooManyLines
	}
	return done.isNew, nil
}

const removeLine = `-- name: cart.remove
DELETE FROM cart_line WHERE owner_id = $1 AND sku_id = $2`

// Remove takes a SKU out of the owner's cart. Removing what is not there is no error.
func (s *Store) Remove(ctx context.Context, owner uuid.UUID, sku int64) error {
	if _, err := s.change(ctx, owner, removeLine, sku); err != nil {
		return fmt.Errorf("remove from cart: %w", err)
	}
	return nil
}

const setDiscount = `-- name: cart.set_discount
UPDATE cart SET discount_code = nullif($2, ''), updated_at = now()
 WHERE owner_id = (SELECT coalesce(merged_into, owner_id) FROM cart WHERE owner_id = $1) AND set_config('synchronous_commit', 'off', true) IS NOT NULL`

// SetDiscount puts a code on the owner's cart, or takes it off where code is "". It does not judge the code. It fails
// with [ErrNoCart] for an owner who has no cart.
func (s *Store) SetDiscount(ctx context.Context, owner uuid.UUID, code string) error {
	tag, err := s.pool.Exec(ctx, setDiscount, owner, code)
	if err != nil {
		return fmt.Errorf("set discount: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return ErrNoCart
	}
	return nil
}

const clearCart = `-- name: cart.clear
WITH gone AS (DELETE FROM cart_line WHERE owner_id = $1)
UPDATE cart SET discount_code = NULL, shown_minor = NULL, shown_currency = NULL, refused_key = NULL WHERE owner_id = $1`

// Empty takes everything out of the owner's cart, the discount code too.
// Emptying what is empty is no error.
func (s *Store) Empty(ctx context.Context, owner uuid.UUID) error {
	if _, err := s.change(ctx, owner, clearCart); err != nil {
		return fmt.Errorf("empty cart: %w", err)
	}
	return nil
}

// maxMerged bounds the lines of a cart that was merged: twice [MaxLines], since neither the guest's nor the account's should
// get lost, and no more, since anybody can log in any number of times.
const maxMerged = 2 * MaxLines

// Merge moves the lines of one owner's cart into another's, for a guest who
// logs in. Quantities of the same SKU add up, to [MaxQuantity] at most; of SKUs
// that are new to the receiving cart it takes as many as twice [MaxLines]
// leaves room for. What does not fit is returned, and is in no cart any more.
// The receiving cart keeps its discount code where it has one. Repeating it
// changes nothing. What is added to the first cart afterwards goes to the
// second, which is its owner's own from now on, whatever it was before: so the
// marks that say so never make a circle.
func (s *Store) Merge(ctx context.Context, from, into uuid.UUID) (left []Line, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if err := MakeTx(ctx, tx, []uuid.UUID{into}); err != nil {
			return err
		}
		carts, err := LockTx(ctx, tx, []uuid.UUID{from, into})
		if err != nil {
			return err
		}
		guest, ok := carts[from]
		if !ok {
			return nil
		}
		guest.Lines, left = fitting(guest.Lines, carts[into].Lines)
		batch := new(pgx.Batch)
		batch.Queue(`-- name: cart.merged
UPDATE cart SET merged_into = CASE WHEN owner_id = $1 AND $1 <> $2 THEN $2::uuid END WHERE owner_id IN ($1, $2)`, from, into)
		QueueEmpty(batch, []uuid.UUID{from})
		QueueRefill(batch, map[uuid.UUID]Cart{into: guest})
		if len(guest.Lines) > 0 && guest.Shown != nil {
			QueueTold(batch, []Told{{into, *guest.Shown, guest.RefusedKey}})
		}
		return tx.SendBatch(ctx, batch).Close()
	})
	if err != nil {
		return nil, fmt.Errorf("merge carts: %w", err)
	}
	return left, nil
}

// fitting divides lines into those that a cart can take, up to maxMerged, and
// what is left over.
func fitting(lines, present []Line) (fit, left []Line) {
	has := map[int64]int{}
	for _, l := range present {
		has[l.SKU] = l.Quantity
	}
	for _, l := range lines {
		there, ok := has[l.SKU]
		if !ok && len(has) >= maxMerged {
			left = append(left, l)
			continue
		}
		has[l.SKU] = there + l.Quantity
		if over := there + l.Quantity - MaxQuantity; over > 0 {
			left = append(left, Line{l.SKU, over})
			l.Quantity -= over
		}
		if l.Quantity > 0 {
			fit = append(fit, l)
		}
	}
	return fit, left
}
