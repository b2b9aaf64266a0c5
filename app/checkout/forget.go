package checkout

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"doorbuster/app/inventory"
)

// ErrPending says that an order is not settled yet.
var ErrPending = errors.New("an order is pending")

// Forgotten is what stands in the orders of somebody.
type Forgotten struct {
	Orders     int64 // with the e-mail address
	Others     int64 // of the account, with another address
	Allowances int64 // counted under the address
}

// ForgetTx puts a pseudonym in the place of an e-mail address, in orders and in what
// is counted against limits, and takes accounts off their orders.
// The books are as they were: orders, lines and payments stay, and the limits of the
// address count for the pseudonym. Keys go, and so do the hashes of requests, by which
// who guesses an address could find it. It fails with [ErrPending], and changes nothing,
// while an order of the address or of an account is pending: a settlement may be
// under way that knows the address. It reads all orders.
func ForgetTx(ctx context.Context, tx pgx.Tx, spellings []string, accounts []uuid.UUID, pseudonym string) (f Forgotten, err error) {
	// By the orders' ids, as everybody locks them.
	const lockOrders = `-- name: checkout.forget_lock
SELECT id, status = 'pending', email = ANY ($1) FROM orders WHERE email = ANY ($1) OR account_id = ANY ($2) OR owner_id = ANY ($2) ORDER BY id FOR UPDATE`
	rows, err := tx.Query(ctx, lockOrders, spellings, accounts)
	if err != nil {
		return f, fmt.Errorf("look for orders: %w", err)
	}
	var ids []uuid.UUID
	var id uuid.UUID
	var pending, named, anyPending bool
	_, err = pgx.ForEachRow(rows, []any{&id, &pending, &named}, func() error {
		ids, anyPending = append(ids, id), anyPending || pending
		if named {
			f.Orders++
		} else {
			f.Others++
		}
		return nil
	})
	switch {
	case err != nil:
		return f, fmt.Errorf("look for orders: %w", err)
	case anyPending:
		return f, ErrPending
	}
	const forget = `-- name: checkout.forget
UPDATE orders SET email = CASE WHEN email = ANY ($2) THEN $4 ELSE email END, account_id = CASE WHEN account_id <> ALL ($3) THEN account_id END,
       fingerprint = sha256(uuid_send(gen_random_uuid())), idempotency_key = NULL
 WHERE id = ANY ($1)`
	if _, err := tx.Exec(ctx, forget, ids, spellings, accounts, pseudonym); err != nil {
		return f, fmt.Errorf("forget the address of orders: %w", err)
	}
	names := make([]string, len(spellings))
	for i, s := range spellings {
		names[i] = ofAddress(s)
	}
	f.Allowances, err = inventory.RenameTx(ctx, tx, names, ofAddress(pseudonym))
	return f, err
}
