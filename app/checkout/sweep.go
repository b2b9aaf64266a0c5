package checkout

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"doorbuster/app/money"
)

// sweepAtOnce is how many orders a sweeper claims, and asks the provider about, at once: 1,000 orders and a provider that takes
// 100 ms are 3.2 s. It is a few of the places that checkouts have, so that a sweep is no crowd for the provider.
const sweepAtOnce = 32

// sweepMost bounds how many orders one sweep settles.
const sweepMost = 1024

var errSweepTimeout = errors.New("sweep timed out")

// A sweeper takes the payment leases of the orders that it claims, so that other sweepers and the customers' repeats keep
// away while it asks the provider. It asks about all of a claim at once, or the claim would outlast its leases where the
// provider is slow. Pushing the hold on puts an order that can't be settled now behind those that nobody has asked about yet.
// statement_timestamp in the conditions, since it is stable and so bounds the scan of orders_pending, where the volatile
// clock_timestamp would read all of it.
const claimExpired = `-- name: checkout.claim_expired
UPDATE orders SET paying_until = clock_timestamp() + $1, hold_expires_at = clock_timestamp() + $1
 WHERE id IN (SELECT id FROM orders WHERE status = 'pending' AND hold_expires_at < statement_timestamp() AND paying_until < statement_timestamp()
              ORDER BY hold_expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)
RETURNING id, paying_until, total_minor, currency, over_limit IS NOT NULL`

// claimed is an order on which a sweeper has the payment lease.
type claimed struct {
	id    uuid.UUID
	lease time.Time
	total money.Money
	// uncharged: see settlement.
	uncharged bool
}

// Sweep settles pending orders whose hold has expired: it asks the provider to
// cancel each charge and confirms the order if it was captured all the same. It
// returns how many orders it settled; an order that it can't settle is left for
// a later sweep and keeps it from none of the others. While the provider is
// away, it asks about none: it leaves them to the prober. Sweeping on every
// worker at once is safe.
func (s *Service) Sweep(ctx context.Context) (int, error) {
	var errs []error
	n := 0
	for n < sweepMost {
		if !s.provider.closed() {
			errs = append(errs, s.leaveToProber(ctx))
			break
		}
		claims, err := s.claimExpired(ctx, sweepAtOnce)
		settled, problems := s.sweepClaims(ctx, claims)
		n += settled
		errs = append(errs, problems...)
		if err != nil {
			errs = append(errs, fmt.Errorf("claim expired orders: %w", err))
		}
		if err != nil || settled == 0 || len(claims) < sweepAtOnce {
			break
		}
	}
	return n, errors.Join(errs...)
}

const selectExpired = `-- name: checkout.expired
SELECT id FROM orders WHERE status = 'pending' AND hold_expires_at < statement_timestamp() AND paying_until < statement_timestamp()
 ORDER BY hold_expires_at LIMIT $1`

// leaveToProber has the prober ask about expired orders where it knows of no
// other: better about one of these than about a new one, which would take its
// units.
func (s *Service) leaveToProber(ctx context.Context) error {
	if s.provider.remembers() {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.TransactionTimeout, errSweepTimeout)
	defer cancel()
	rows, err := s.cfg.Background.Query(ctx, selectExpired, sweepAtOnce)
	if err != nil {
		return fmt.Errorf("look for expired orders: %w", err)
	}
	expired, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return fmt.Errorf("look for expired orders: %w", err)
	}
	s.provider.remember(expired...)
	s.prober.start()
	return nil
}

// sweepClaims asks about all orders of a claim at once and settles them.
func (s *Service) sweepClaims(ctx context.Context, claims []claimed) (settled int, problems []error) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, c := range claims {
		all.Go(func() {
			done, err := s.sweepOne(ctx, c, ReasonExpired, 0)
			mu.Lock()
			defer mu.Unlock()
			if done {
				settled++
			}
			if err != nil {
				problems = append(problems, err)
			}
		})
	}
	all.Wait()
	return settled, problems
}

// sweepOne reports whether it has settled an order. That it could not ask the provider is no error.
func (s *Service) sweepOne(ctx context.Context, c claimed, reason CancelReason, trial int64) (bool, error) {
	outcome := s.fence(ctx, c.id, c.total, reason, trial)
	if outcome == nil {
		s.sweeps.left.Add(1)
		s.releaseLease(ctx, c.id, c.lease)
		return false, nil
	}
	outcome.uncharged = c.uncharged
	order, err := s.settle(ctx, *outcome)
	if err != nil {
		s.sweeps.left.Add(1)
		return false, fmt.Errorf("sweep order %s: %w", c.id, err)
	}
	if order.Status == Confirmed {
		s.sweeps.confirmed.Add(1)
	} else {
		s.sweeps.cancelled.Add(1)
	}
	return true, nil
}

// claimExpired claims up to so many expired orders.
func (s *Service) claimExpired(ctx context.Context, atMost int) ([]claimed, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.TransactionTimeout, errSweepTimeout)
	defer cancel()
	rows, err := s.cfg.Background.Query(ctx, claimExpired, s.lease(), atMost)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanClaim)
}

func scanClaim(row pgx.CollectableRow) (c claimed, err error) {
	err = row.Scan(&c.id, &c.lease, &c.total.Minor, &c.total.Currency, &c.uncharged)
	return c, err
}

// sweepCounters count what sweeps have come to.
type sweepCounters struct {
	confirmed, cancelled, left atomic.Int64
	backlog                    atomic.Int64
}

// backlogMost bounds the count of orders that wait for a sweep: it is made at every sweep.
const backlogMost = 100_000

const countExpired = `-- name: checkout.count_expired
SELECT count(*) FROM (SELECT FROM orders WHERE status = 'pending' AND hold_expires_at < statement_timestamp() LIMIT $1) AS expired`

// lookBehind counts the orders that wait for a sweep.
func (s *Service) lookBehind(ctx context.Context) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.TransactionTimeout, errSweepTimeout)
	defer cancel()
	var n int64
	if err := s.cfg.Background.QueryRow(ctx, countExpired, backlogMost).Scan(&n); err != nil {
		s.log.DebugContext(ctx, "can't count expired orders", "error", err)
		return
	}
	s.sweeps.backlog.Store(n)
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
			more = n >= sweepMost
		}
		s.lookBehind(ctx)
	}
}
