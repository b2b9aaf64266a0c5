package checkout

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// sweepBatch bounds how many orders one sweep claims.
const sweepBatch = 100

var errSweepTimeout = errors.New("sweep timed out")

// A sweeper claims one order at a time and takes its payment lease, so that other sweepers and the customer's repeats keep
// away while it asks the provider; a claim of many would outlast its leases where the provider is slow. Pushing the hold on
// puts an order that can't be settled now behind those that nobody has asked about yet. statement_timestamp in the conditions,
// since it is stable and so bounds the scan of orders_pending, where the volatile clock_timestamp would read all of it.
const claimExpired = `-- name: checkout.claim_expired
UPDATE orders SET paying_until = clock_timestamp() + $1, hold_expires_at = clock_timestamp() + $1
 WHERE id = (SELECT id FROM orders WHERE status = 'pending' AND hold_expires_at < statement_timestamp() AND paying_until < statement_timestamp()
              ORDER BY hold_expires_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, paying_until`

// Sweep settles pending orders whose hold has expired: it asks the provider to cancel each charge and confirms the order
// if it was captured all the same. It returns how many orders it settled; an order that it can't settle is left for a later
// sweep and keeps it from none of the others. Sweeping on every worker at once is safe.
func (s *Service) Sweep(ctx context.Context) (int, error) {
	var errs []error
	n := 0
	for range sweepBatch {
		id, lease, err := s.claimExpired(ctx)
		if errors.Is(err, pgx.ErrNoRows) {
			break
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("claim an expired order: %w", err))
			break
		}
		outcome := s.fence(ctx, id, ReasonExpired)
		if outcome == nil {
			if err := s.endTurn(ctx, id, lease); err != nil {
				errs = append(errs, err)
			}
			continue
		}
		if _, err := s.settle(ctx, *outcome); err != nil {
			errs = append(errs, fmt.Errorf("sweep order %s: %w", id, err))
			continue
		}
		n++
	}
	return n, errors.Join(errs...)
}

// claimExpired returns an order and the end of the lease on it, or [pgx.ErrNoRows] where there is none to claim.
func (s *Service) claimExpired(ctx context.Context) (id uuid.UUID, lease time.Time, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.TransactionTimeout, errSweepTimeout)
	defer cancel()
	err = s.cfg.Background.QueryRow(ctx, claimExpired, s.lease()).Scan(&id, &lease)
	return id, lease, err
}

// sweepSafely is Sweep with a panic as an error: every worker's sweeper meets the same order, and would end its worker.
func (s *Service) sweepSafely(ctx context.Context) (n int, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			s.log.ErrorContext(ctx, "sweep panicked", "panic", cause, "stack", string(debug.Stack()))
			err = fmt.Errorf("sweep panicked: %v", cause)
		}
	}()
	return s.Sweep(ctx)
}

// RunSweeper sweeps every interval, and again at once where there was more than one sweep takes, until ctx ends. A sweep that
// fails is logged and tried again at the next interval.
func (s *Service) RunSweeper(ctx context.Context, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for more := true; more; { // what an outage has left is not spread over many intervals
			n, err := s.sweepSafely(ctx)
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				s.log.WarnContext(ctx, "sweep failed", "settled", n, "error", err)
			case n > 0:
				s.log.InfoContext(ctx, "sweep settled orders", "settled", n)
			}
			more = err == nil && n == sweepBatch
		}
	}
}
