package catalog

import (
	"context"
	"fmt"
	"time"
)

// SaleBegan reports whether a sale has begun within a time before now, by the
// database's clock.
func (s *Store) SaleBegan(ctx context.Context, within time.Duration) (bool, error) {
	const saleBegan = `-- name: catalog.sale_began
SELECT EXISTS (SELECT FROM sale WHERE starts_at BETWEEN now() - $1::interval AND now())`
	var began bool
	if err := s.pool.QueryRow(ctx, saleBegan, within).Scan(&began); err != nil {
		return false, fmt.Errorf("look for a sale: %w", err)
	}
	return began, nil
}
