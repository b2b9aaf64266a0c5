package checkout

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
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

// Orders returns a page of the reader's orders, the newest first: at most limit of those before the given id, where
// [uuid.Max] starts at the newest.
func (s *Service) Orders(ctx context.Context, reader Reader, before uuid.UUID, limit int) ([]Order, error) {
	// Two index scans (orders_owner, orders_account), each of at most limit rows; UNION drops what is in both.
	const selectPage = `-- name: checkout.page
WITH page AS (
    (SELECT id FROM orders WHERE owner_id = $1 AND id < $3 ORDER BY id DESC LIMIT $4)
    UNION
    (SELECT id FROM orders WHERE account_id = $2 AND id < $3 ORDER BY id DESC LIMIT $4)
)
SELECT` + orderColumns + ` FROM orders o JOIN page USING (id) ORDER BY o.id DESC LIMIT $4`
	rows, err := s.cfg.Reads.Query(ctx, selectPage, reader.Owner, reader.Account, before, limit)
	if err != nil {
		return nil, fmt.Errorf("list orders: %w", err)
	}
	orders, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Order, error) { return scanOrder(row) })
	if err != nil {
		return nil, fmt.Errorf("list orders: %w", err)
	}
	return orders, nil
}

// Adopt lets an account see the orders that a guest placed before logging in. Their owner stays the guest, whose keys and
// allowances they hold. Repeating it changes nothing.
func (s *Service) Adopt(ctx context.Context, guest, account uuid.UUID) error {
	const adopt = `-- name: checkout.adopt
UPDATE orders SET account_id = $2
 WHERE id IN (SELECT id FROM orders WHERE owner_id = $1 AND account_id IS NULL ORDER BY id FOR UPDATE)`
	if _, err := s.cfg.Reads.Exec(ctx, adopt, guest, account); err != nil {
		return fmt.Errorf("adopt orders: %w", err)
	}
	return nil
}
