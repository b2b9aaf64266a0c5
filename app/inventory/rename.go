package inventory

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// RenameTx gives what customers have taken to another name, under the locks of the
// SKUs that it is about. It returns how many allowances were renamed. It reads all of
// the table.
func RenameTx(ctx context.Context, tx pgx.Tx, names []string, to string) (int64, error) {
	const takenBy = `-- name: inventory.taken_by
SELECT sku_id FROM allowance WHERE customer = ANY ($1)`
	rows, err := tx.Query(ctx, takenBy, names)
	if err != nil {
		return 0, fmt.Errorf("look for allowances: %w", err)
	}
	skus, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return 0, fmt.Errorf("look for allowances: %w", err)
	}
	lines := make([]Line, len(skus))
	for i, sku := range skus {
		lines[i] = Line{SKU: sku}
	}
	if _, err := LockTx(ctx, tx, []Order{{Lines: lines}}); err != nil {
		return 0, err
	}
	// Several spellings become one name: what they have taken adds up.
	const rename = `-- name: inventory.rename
WITH old AS (DELETE FROM allowance WHERE customer = ANY ($1) AND sku_id = ANY ($3) RETURNING sku_id, taken)
INSERT INTO allowance (sku_id, customer, taken) SELECT sku_id, $2, sum(taken) FROM old GROUP BY sku_id`
	if _, err := tx.Exec(ctx, rename, names, to, skus); err != nil {
		return 0, fmt.Errorf("rename allowances: %w", err)
	}
	return int64(len(skus)), nil
}
