package checkout

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
)

// leaseSlack is what a payment lease lasts beyond the time limits of what it
// covers: for scheduling, not for waiting.
const leaseSlack = 2 * time.Second

// lease is how long a request may be at work on an order's payment: charge,
// cancel, settle, after a batch of orders that are placed had its turn.
func (s *Service) lease() time.Duration {
	return 2*s.cfg.PaymentTimeout + 2*s.cfg.TransactionTimeout + lookupTimeout + leaseSlack
}

// heldLease is the payment lease that somebody has on an order.
type heldLease struct {
	order uuid.UUID
	until time.Time
}

// An outage ends hundreds of leases at once. Their requests do not wait for it,
// and the sweeper, which shares the connection, waits for one statement at the
// most.
const (
	releaseSize = 1024   // leases that one statement gives back
	maxReleases = 10_000 // that wait; those beyond end by themselves
)

var errReleaseTimeout = errors.New("giving payment leases back timed out")

// releaseLease gives a payment lease back, soon, so that a repeat can resume the order.
func (s *Service) releaseLease(ctx context.Context, order uuid.UUID, until time.Time) {
	if err := s.releasing.post(context.WithoutCancel(ctx), heldLease{order, until}); err != nil {
		s.log.WarnContext(ctx, "order keeps its payment lease until it ends", "order", order, "error", err)
	}
}

// releaseLeases gives leases back of orders that are pending and that nobody has taken over.
func (s *Service) releaseLeases(leases []heldLease) []answered[struct{}] {
	ctx, cancel := context.WithTimeoutCause(context.Background(), s.cfg.TransactionTimeout, errReleaseTimeout)
	defer cancel()
	orders, until := make([]uuid.UUID, len(leases)), make([]time.Time, len(leases))
	for i, l := range leases {
		orders[i], until[i] = l.order, l.until
	}
	const releaseLeases = `-- name: checkout.release_leases
WITH free AS (
    SELECT o.id FROM orders o JOIN unnest($1::uuid[], $2::timestamptz[]) AS u (id, until) USING (id)
     WHERE o.status = 'pending' AND o.paying_until = u.until ORDER BY o.id FOR UPDATE OF o SKIP LOCKED
)
UPDATE orders SET paying_until = '-infinity' FROM free WHERE orders.id = free.id`
	if _, err := s.cfg.Background.Exec(ctx, releaseLeases, orders, until); err != nil {
		s.log.Warn("orders keep their payment leases until they end", "orders", len(leases), "error", err)
	}
	return make([]answered[struct{}], len(leases))
}
