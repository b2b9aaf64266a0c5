package cart

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// RemoveTx removes an owner's cart with its lines, and returns the number of lines.
// Who is told by it where things belong that were added to a cart of before login is
// told no more.
func RemoveTx(ctx context.Context, tx pgx.Tx, owner uuid.UUID) (lines int64, err error) {
	if _, err := LockTx(ctx, tx, []uuid.UUID{owner}); err != nil {
		return 0, err
	}
	const unmark = `-- name: cart.unmark
UPDATE cart SET merged_into = NULL WHERE merged_into = $1`
	if _, err := tx.Exec(ctx, unmark, owner); err != nil {
		return 0, fmt.Errorf("remove the cart: %w", err)
	}
	owners := []uuid.UUID{owner}
	gone, err := tx.Exec(ctx, expireLines, owners)
	if err == nil {
		lines = gone.RowsAffected()
		_, err = tx.Exec(ctx, expireCarts, owners)
	}
	if err != nil {
		return 0, fmt.Errorf("remove the cart: %w", err)
	}
	return lines, nil
}
