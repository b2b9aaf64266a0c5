package checkout

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// A prober makes the trials of a breaker: while the provider is away it asks
// about orders whose outcome is unknown, one after each pause, until it is
// answered or there is none left. It has a goroutine only for that time.
type prober struct {
	breaker *breaker
	log     func(ctx context.Context, msg string, args ...any)
	// claim takes the payment lease of one of the orders. It returns those of
	// them that are settled. Claiming none is no error: somebody else may be
	// asking about each.
	claim func(ctx context.Context, orders []uuid.UUID) (claims []claimed, settled []uuid.UUID, err error)
	// ask asks the provider about a claimed order, and tells the breaker what came of it.
	ask func(ctx context.Context, c claimed, trial int64)

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
	ctx     context.Context // of all that it asks; it ends with the prober
	cancel  context.CancelFunc
}

// start has the prober begin, where there is something to do for it.
func (p *prober) start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed && p.breaker.employ() {
		p.running.Go(p.run)
	}
}

// run makes trials until none is to be made.
func (p *prober) run() {
	for {
		next := p.breaker.probe(time.Now())
		switch {
		case next.over:
			return
		case next.trial != 0:
			p.try(next)
		default:
			pause := time.NewTimer(next.wait)
			select {
			case <-pause.C:
			case <-p.breaker.changed:
			case <-p.ctx.Done():
			}
			pause.Stop()
		}
		if p.ctx.Err() != nil {
			return
		}
	}
}

// try makes one trial.
func (p *prober) try(next probe) {
	claims, settled, err := p.claim(p.ctx, next.orders)
	if err != nil {
		p.log(p.ctx, "can't claim an order to ask the payment provider about", "error", err)
	}
	p.breaker.forget(settled...)
	if len(settled) == len(next.orders) {
		p.breaker.giveBack(next.trial) // an order may find out, and now
		return
	}
	if len(claims) > 0 {
		if err := recovered(func() error { p.ask(p.ctx, claims[0], next.trial); return nil }); err != nil {
			p.log(p.ctx, "asking the payment provider about an order panicked", "order", claims[0].id, "error", err)
		}
	}
	p.breaker.postpone(time.Now(), next.trial) // unless it has an outcome
}

// close ends the prober, and waits for it until ctx ends.
func (p *prober) close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	ended := make(chan struct{})
	go func() {
		p.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// A lease that somebody has is left to them; so is a locked order.
const (
	claimUnknown = `-- name: checkout.claim_unknown
WITH claim AS (
    SELECT id FROM orders WHERE id = ANY ($2) AND status = 'pending' AND paying_until < clock_timestamp()
     ORDER BY array_position($2, id) LIMIT 1 FOR UPDATE SKIP LOCKED
)
UPDATE orders SET paying_until = clock_timestamp() + $1 FROM claim WHERE orders.id = claim.id
RETURNING orders.id, paying_until, total_minor, currency, over_limit IS NOT NULL`
	selectSettled = `-- name: checkout.settled
SELECT u FROM unnest($1::uuid[]) AS u WHERE NOT EXISTS (SELECT FROM orders WHERE id = u AND status = 'pending')`
)

// claimUnknown is the prober's claim.
func (s *Service) claimUnknown(ctx context.Context, orders []uuid.UUID) (claims []claimed, settled []uuid.UUID, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.TransactionTimeout, errSweepTimeout)
	defer cancel()
	batch := new(pgx.Batch)
	batch.Queue(selectSettled, orders).Query(func(rows pgx.Rows) (err error) {
		settled, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		return err
	})
	batch.Queue(claimUnknown, s.lease(), orders).Query(func(rows pgx.Rows) (err error) {
		claims, err = pgx.CollectRows(rows, scanClaim)
		return err
	})
	return claims, settled, s.cfg.Background.SendBatch(ctx, batch).Close()
}

// probeOrder asks about an order, and settles it where the provider answers.
func (s *Service) probeOrder(ctx context.Context, c claimed, trial int64) {
	_, err := s.sweepOne(ctx, c, ReasonFailed, trial)
	if err != nil && !errors.Is(err, context.Canceled) {
		s.log.WarnContext(ctx, "settle failed, order left pending", "order", c.id, "error", err)
	}
}
