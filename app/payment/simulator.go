package payment

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"doorbuster/app/money"
)

// Test tokens of the [Simulator]. Any other token is declined.
const (
	TokenOK       = "tok_ok"       // captured
	TokenDeclined = "tok_declined" // declined by the bank
	TokenTimeout  = "tok_timeout"  // captured, or verified, but the answer comes after the deadline
	TokenError    = "tok_error"    // the provider fails before it has done anything
	TokenSlow     = "tok_slow"     // captured, after SlowLatency
)

// SimulatorConfig makes the provider as good or as bad as a test needs it.
type SimulatorConfig struct {
	Latency     time.Duration // of every answer; 0: none
	SlowLatency time.Duration // of TokenSlow; 0: 2 s
	Outage      bool          // nothing is answered: each call fails at once
	Hang        bool          // nothing is answered: each call waits for its deadline
}

// Simulator is a payment provider for demonstrations and tests. It keeps its books in Redis, not in the shop's
// database: all workers need to see the same provider, and a real one does not share a transaction with its
// customers either. A book entry is one hash per order, written by a script and so atomically. It is kept for good: a provider
// that has forgotten a charge would say of a captured one that it is cancelled, and let an audit find fault with every order.
type Simulator struct {
	redis *redis.Client
	cfg   SimulatorConfig
}

// NewSimulator returns a simulated provider that keeps its books in a Redis that it does not close.
func NewSimulator(client *redis.Client, cfg SimulatorConfig) *Simulator {
	if cfg.SlowLatency == 0 {
		cfg.SlowLatency = 2 * time.Second
	}
	return &Simulator{client, cfg}
}

// enter writes the first entry about an order, and returns the entry that stands.
// (HSETNX decides.)
var enter = redis.NewScript(`
if redis.call('HSETNX', KEYS[1], 'state', ARGV[1]) == 1 then
    redis.call('HSET', KEYS[1], 'reason', ARGV[2], 'amount', ARGV[3], 'currency', ARGV[4])
end
return redis.call('HMGET', KEYS[1], 'state', 'reason', 'amount', 'currency')`)

const (
	stateCaptured  = "captured"
	stateDeclined  = "declined"
	stateCancelled = "cancelled"
)

// Charge implements [Gateway]. A cancelled context after the capture leaves it captured, as it would be in the world.
func (s *Simulator) Charge(ctx context.Context, c Charge) (Receipt, error) {
	return s.process(ctx, c, stateCaptured, "", c.Amount)
}

// Verify implements [Gateway]. What was verified stands in the books as
// cancelled: no charge can be captured after it.
func (s *Simulator) Verify(ctx context.Context, c Charge) (Receipt, error) {
	return s.process(ctx, c, stateCancelled, "the payment method was verified alone", money.Money{})
}

// process does what the token says, and enters a charge that the bank lets pass
// as said.
func (s *Simulator) process(ctx context.Context, c Charge, state, reason string, amount money.Money) (Receipt, error) {
	if err := s.answer(ctx, s.cfg.Latency); err != nil {
		return Receipt{}, err
	}
	switch c.Token {
	case TokenError:
		return Receipt{}, fmt.Errorf("%w: internal error of the provider", ErrUnavailable)
	case TokenSlow:
		if err := wait(ctx, s.cfg.SlowLatency); err != nil {
			return Receipt{}, err
		}
		fallthrough
	case TokenOK:
		return s.enter(ctx, c.Order, state, reason, amount)
	case TokenTimeout:
		before, err := s.redis.Exists(ctx, bookKey(c.Order)).Result()
		if err != nil {
			return Receipt{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		receipt, err := s.enter(ctx, c.Order, state, reason, amount)
		if err != nil || before == 1 {
			return receipt, err // a repeat is answered from the books
		}
		<-ctx.Done()
		return Receipt{}, fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
	default:
		return s.enter(ctx, c.Order, stateDeclined, "the card was declined", money.Money{})
	}
}

// Cancel implements [Gateway].
func (s *Simulator) Cancel(ctx context.Context, order uuid.UUID) (Receipt, error) {
	if err := s.answer(ctx, s.cfg.Latency); err != nil {
		return Receipt{}, err
	}
	return s.enter(ctx, order, stateCancelled, "the charge was cancelled", money.Money{})
}

// Captured returns the amounts, in minor units, of those of the orders for which a charge was captured, for tests and
// audits. It asks for all of them in one round trip.
func (s *Simulator) Captured(ctx context.Context, orders []uuid.UUID) (map[uuid.UUID]int64, error) {
	replies := make([]*redis.SliceCmd, len(orders))
	if _, err := s.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, order := range orders {
			replies[i] = pipe.HMGet(ctx, bookKey(order), "state", "amount")
		}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("read the provider's books: %w", err)
	}
	captured := map[uuid.UUID]int64{}
	for i, order := range orders {
		var entry struct {
			State  string `redis:"state"`
			Amount int64  `redis:"amount"`
		}
		if err := replies[i].Scan(&entry); err != nil {
			return nil, fmt.Errorf("read the provider's books: %w", err)
		}
		if entry.State == stateCaptured {
			captured[order] = entry.Amount
		}
	}
	return captured, nil
}

func bookKey(order uuid.UUID) string { return "payment-simulator:" + order.String() }

func (s *Simulator) enter(ctx context.Context, order uuid.UUID, state, reason string, amount money.Money) (Receipt, error) {
	reply, err := enter.Run(ctx, s.redis, []string{bookKey(order)}, state, reason, amount.Minor, amount.Currency).StringSlice()
	if err != nil {
		return Receipt{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if len(reply) != 4 {
		return Receipt{}, fmt.Errorf("%w: its books are unreadable: %q", ErrUnavailable, reply)
	}
	if reply[0] != stateCaptured {
		return Receipt{Declined: reply[0] == stateDeclined, Reason: reply[1]}, nil
	}
	minor, err := strconv.ParseInt(reply[2], 10, 64)
	if err != nil {
		return Receipt{}, fmt.Errorf("%w: its books are unreadable: %w", ErrUnavailable, err)
	}
	return Receipt{
		Captured: true, Amount: money.Money{Minor: minor, Currency: reply[3]},
		Reference: "ch_" + strings.ReplaceAll(order.String(), "-", ""),
	}, nil
}

// answer waits as long as the provider takes to answer, or fails as it fails.
func (s *Simulator) answer(ctx context.Context, latency time.Duration) error {
	switch {
	case s.cfg.Outage:
		return fmt.Errorf("%w: connection refused", ErrUnavailable)
	case s.cfg.Hang:
		<-ctx.Done()
		return fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
	}
	return wait(ctx, latency)
}

func wait(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
	}
}
