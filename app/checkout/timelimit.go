package checkout

import (
	"context"
	"errors"
	"time"
)

// TimeLimit is the time that a checkout may take, from the arrival of its
// request to the answer. Proxies commonly wait for 60 s, and some for 30. The
// package documentation has the table of what it bounds.
const TimeLimit = 25 * time.Second

// lookupTimeout bounds the question, on another connection, whether a lost COMMIT has happened.
const lookupTimeout = 2 * time.Second

var (
	errTimeLimit    = errors.New("the checkout's time is over")
	errQueueTimeout = errors.New("too many orders came before this one")
)

// lastPlace is when a request goes that no batch of Place has taken in: what
// such a batch takes at the longest ends before the checkout's time does, but
// for limits so short that half of it is all that is left.
func (s *Service) lastPlace(work context.Context, now time.Time) time.Time {
	last := now.Add(s.cfg.QueueTimeout)
	if end, ok := work.Deadline(); ok {
		end = end.Add(-min(s.cfg.TransactionTimeout+lookupTimeout, s.cfg.TimeLimit/2))
		if end.Before(last) {
			last = end
		}
	}
	return last
}

// outlasting returns a context for what goes on when a customer hangs up: it
// has ctx's deadline, and it ends with ctx, unless the cause of that is
// [context.Canceled].
func outlasting(ctx context.Context) (context.Context, context.CancelFunc) {
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
			cancel(cause)
		}
	})
	timer := func() {}
	if end, ok := ctx.Deadline(); ok {
		work, timer = context.WithDeadlineCause(work, end, errTimeLimit)
	}
	return work, func() {
		stop()
		timer()
		cancel(context.Canceled)
	}
}

// leavePlaced is told of an order that was placed when its request had been
// answered already. It is nobody's: a repeat resumes it, or the sweeper settles
// it when its hold ends.
func (s *Service) leavePlaced(_ Request, a answered[placed]) {
	p := a.value
	s.provider.giveBack(p.trial)
	if a.err == nil && p.order.Status == Pending && !p.waits {
		s.log.Warn("order placed too late for its request, left pending", "order", p.order.ID)
		s.releaseLease(context.Background(), p.order.ID, p.lease)
	}
}
