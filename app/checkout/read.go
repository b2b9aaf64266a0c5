package checkout

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"doorbuster/app/inventory"
)

// A Reader is somebody who may see orders: those of a cart's owner and, when logged in, those of the account.
type Reader struct {
	Owner   uuid.UUID
	Account uuid.NullUUID
}

// Order returns one order of the reader's. Any other is [ErrNotFound], whether it exists or not.
func (s *Service) Order(ctx context.Context, reader Reader, id uuid.UUID) (Order, error) {
	const selectOne = `-- name: checkout.order
SELECT` + orderColumns + ` FROM orders o WHERE o.id = $1 AND (o.owner_id = $2 OR o.account_id = $3)`
	rows, err := s.cfg.Reads.Query(ctx, selectOne, id, reader.Owner, reader.Account)
	if err != nil {
		return Order{}, fmt.Errorf("read order: %w", err)
	}
	orders, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Order, error) { return scanOrder(row) })
	if err != nil {
		return Order{}, fmt.Errorf("read order: %w", err)
	}
	if len(orders) == 0 {
		return Order{}, ErrNotFound
	}
	return orders[0], nil
}

// A Page is a part of the reader's orders: at most Limit of those before an id,
// where [uuid.Max] starts at the newest, and only those with a status, "" for
// all.
type Page struct {
	Before uuid.UUID
	Limit  int
	Status Status
}

// Orders returns a page of the reader's orders, the newest first.
func (s *Service) Orders(ctx context.Context, reader Reader, page Page) ([]Order, error) {
	// Two index scans (orders_owner, orders_account), each of at most limit rows; UNION drops what is in both.
	const selectPage = `-- name: checkout.page
WITH page AS (
    (SELECT id FROM orders WHERE owner_id = $1 AND id < $3 AND ($5 = '' OR status = $5) ORDER BY id DESC LIMIT $4)
    UNION
    (SELECT id FROM orders WHERE account_id = $2 AND id < $3 AND ($5 = '' OR status = $5) ORDER BY id DESC LIMIT $4)
)
SELECT` + orderColumns + ` FROM orders o JOIN page USING (id) ORDER BY o.id DESC LIMIT $4`
	rows, err := s.cfg.Reads.Query(ctx, selectPage, reader.Owner, reader.Account, page.Before, page.Limit, page.Status)
	if err != nil {
		return nil, fmt.Errorf("list orders: %w", err)
	}
	orders, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Order, error) { return scanOrder(row) })
	if err != nil {
		return nil, fmt.Errorf("list orders: %w", err)
	}
	return orders, nil
}

const adopt = `-- name: checkout.adopt
WITH adopted AS (
    UPDATE orders SET account_id = $2, counted_for = $2
     WHERE id IN (SELECT id FROM orders WHERE owner_id = $1 AND account_id IS NULL ORDER BY id FOR UPDATE)
    RETURNING id
)
SELECT DISTINCT l.sku_id FROM adopted JOIN order_line l ON l.order_id = adopted.id WHERE l.limited`

// Adopt lets an account see the orders that a guest placed before logging in,
// whose units count against the account's allowance from then on: the two are
// one customer. Their owner stays the guest, whose keys they hold. Repeating it
// changes nothing. Where units of a limited SKU are among them it waits for the
// SKU's stock row, as long as the connection says.
func (s *Service) Adopt(ctx context.Context, guest, account uuid.UUID) error {
	err := pgx.BeginFunc(ctx, s.cfg.Reads, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, adopt, guest, account)
		if err != nil {
			return err
		}
		limited, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil || len(limited) == 0 {
			return err
		}
		return inventory.MoveTx(ctx, tx, ofOwner(guest), ofOwner(account), limited)
	})
	if err != nil {
		return fmt.Errorf("adopt orders: %w", err)
	}
	return nil
}
