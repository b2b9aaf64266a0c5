package account

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// ByEmailTx returns the id of the account with one of some spellings of an address. It
// fails with [ErrNotFound].
func ByEmailTx(ctx context.Context, tx pgx.Tx, spellings []string) (uuid.UUID, error) {
	const selectID = `-- name: account.id_by_email
SELECT id FROM account WHERE email = ANY ($1)`
	var id uuid.UUID
	err := tx.QueryRow(ctx, selectID, spellings).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return uuid.Nil, ErrNotFound
	}
	if err != nil {
		return uuid.Nil, fmt.Errorf("look for the account: %w", err)
	}
	return id, nil
}

// RemoveTx removes an account. No order may name it any more.
func RemoveTx(ctx context.Context, tx pgx.Tx, id uuid.UUID) error {
	const remove = `-- name: account.remove
DELETE FROM account WHERE id = $1`
	if _, err := tx.Exec(ctx, remove, id); err != nil {
		return fmt.Errorf("remove the account: %w", err)
	}
	return nil
}
