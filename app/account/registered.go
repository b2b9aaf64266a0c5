package account

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Registered returns those of the ids that are accounts'. Others are guests'.
func Registered(ctx context.Context, pool *pgxpool.Pool, ids []uuid.UUID) (map[uuid.UUID]bool, error) {
	const selectRegistered = `-- name: account.registered
SELECT id FROM account WHERE id = ANY ($1)`
	rows, err := pool.Query(ctx, selectRegistered, ids)
	if err != nil {
		return nil, fmt.Errorf("look accounts up: %w", err)
	}
	registered := map[uuid.UUID]bool{}
	var id uuid.UUID
	if _, err := pgx.ForEachRow(rows, []any{&id}, func() error { registered[id] = true; return nil }); err != nil {
		return nil, fmt.Errorf("look accounts up: %w", err)
	}
	return registered, nil
}
