package account

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// ByEmailTx returns the ids of the accounts with some spellings of an address, in
// their order. There may be more than one: an older release took another spelling for
// another address.
func ByEmailTx(ctx context.Context, tx pgx.Tx, spellings []string) ([]uuid.UUID, error) {
	const selectIDs = `-- name: account.id_by_email
SELECT id FROM account WHERE email = ANY ($1) ORDER BY id`
	rows, err := tx.Query(ctx, selectIDs, spellings)
	if err != nil {
		return nil, fmt.Errorf("look for the account: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("look for the account: %w", err)
	}
	return ids, nil
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
