package checkout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// sweepBatch bounds how many orders one sweep claims.
const sweepBatch = 100

var errSweepTimeout = errors.New("sweep timed out")

// A sweeper claims orders by pushing their hold on, so that others pass them by while it asks the provider.
const claimExpired = `-- name: checkout.claim_expired
UPDATE orders SET hold_expires_at = clock_timestamp() + $2
 WHERE id IN (SELECT id FROM orders WHERE status = 'pending' AND hold_expires_at < clock_timestamp() AND paying_until < clock_timestamp()
               ORDER BY hold_expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)
RETURNING id`

// Sweep settles pending orders whose hold has expired: it asks the provider to cancel each charge and confirms the order
// if it was captured all the same. It returns how many orders it settled. Sweeping on every worker at once is safe.
func (s *Service) Sweep(ctx context.Context) (int, error) {
	ids, err := s.claimExpired(ctx)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, id := range ids {
		outcome := s.fence(ctx, id, ReasonExpired)
		if outcome == nil {
			continue // claimed again when the pushed hold ends
		}
		if _, err := s.settle(ctx, *outcome); err != nil {
			return n, fmt.Errorf("sweep order %s: %w", id, err)
		}
		n++
	}
	return n, nil
}

func (s *Service) claimExpired(ctx context.Context) ([]uuid.UUID, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.TransactionTimeout, errSweepTimeout)
	defer cancel()
	rows, err := s.pool.Query(ctx, claimExpired, sweepBatch, s.lease())
	if err != nil {
		return nil, fmt.Errorf("claim expired orders: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("claim expired orders: %w", err)
	}
	return ids, nil
}

// RunSweeper sweeps every interval until ctx ends. A sweep that fails is logged and tried again.
func (s *Service) RunSweeper(ctx context.Context, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		switch n, err := s.Sweep(ctx); {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.log.WarnContext(ctx, "sweep failed", "settled", n, "error", err)
		case n > 0:
			s.log.InfoContext(ctx, "sweep settled orders", "settled", n)
		}
	}
}
