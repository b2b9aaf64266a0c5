package checkout

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"doorbuster/app/inventory"
	"doorbuster/app/money"
	"doorbuster/app/payment"
)

// Config holds the time limits of a checkout. Zero values mean the defaults.
type Config struct {
	// PaymentTimeout bounds the gateway's answer to a charge, and again to the cancellation after it. Default 3 s.
	PaymentTimeout time.Duration
	// TimeLimit bounds the whole of a checkout: what remains of it bounds each
	// step. It counts from the call, and from before that where the context has
	// an earlier deadline. Default [TimeLimit].
	TimeLimit time.Duration
	// QueueTimeout bounds the wait for a batch that takes the request in. Default 15 s.
	QueueTimeout time.Duration
	// TransactionTimeout bounds Place and Settle each. A COMMIT whose answer is lost takes up to 2 s more to be looked
	// up. Default 5 s.
	TransactionTimeout time.Duration
	// LockPatience is how long an order waits for a row that somebody holds for long: its stock, its cart, its discount. Others
	// don't wait with it. Default 3 s.
	LockPatience time.Duration
	// ProviderPause is how long the worker waits, when the provider has
	// answered about none of three orders in a row, before it asks again about
	// one of them. It doubles while that is not answered either, up to five
	// times as long. Default 1 s.
	ProviderPause time.Duration
	// HoldTTL is how long an unpaid order keeps its units. Default 2 min; at
	// least PaymentTimeout and TransactionTimeout together.
	HoldTTL time.Duration
	// SoldOut is the memory of what is gone. Default: one of the Service's own.
	SoldOut *inventory.Hints
	// BatchSize is how many orders one transaction places, or settles, at the most. Default 128.
	BatchSize int
	// Reads are the connections that show orders to customers, and that look up
	// an order whose COMMIT has no answer. Default: those of the batches, which
	// then wait for readers, and need a second one for the look-up.
	Reads *pgxpool.Pool
	// Background are the connections that claim what a sweep settles and give
	// payment leases back. Default: those of the batches.
	Background *pgxpool.Pool
	// Plain places and settles each order in a transaction of its own, which locks its SKUs first of all: the way of most
	// shops, for comparison. BatchSize has no meaning then.
	Plain bool
}

// Service does checkouts. It is safe for concurrent use.
type Service struct {
	pool    *pgxpool.Pool // for the batches
	gateway payment.Gateway
	log     *slog.Logger
	cfg     Config

	placing  *batcher[Request, placed]
	settling *batcher[settlement, Order]
	// Where orders wait for a row that somebody holds for long.
	placingLate  *batcher[Request, placed]
	settlingLate *batcher[settlement, Order]
	suspects     suspects
	releasing    *batcher[heldLease, struct{}]
	held         heldUnits

	provider *breaker
	prober   *prober
	sweeps   sweepCounters
}

// New returns a Service on a pool for its batches and a gateway. It closes neither.
func New(pool *pgxpool.Pool, gateway payment.Gateway, log *slog.Logger, cfg Config) *Service {
	cfg.PaymentTimeout = cmp.Or(cfg.PaymentTimeout, 3*time.Second)
	cfg.TransactionTimeout = cmp.Or(cfg.TransactionTimeout, 5*time.Second)
	cfg.LockPatience = cmp.Or(cfg.LockPatience, 3*time.Second)
	cfg.ProviderPause = cmp.Or(cfg.ProviderPause, time.Second)
	cfg.HoldTTL = cmp.Or(cfg.HoldTTL, 2*time.Minute)
	cfg.QueueTimeout = cmp.Or(cfg.QueueTimeout, 15*time.Second)
	cfg.TimeLimit = cmp.Or(cfg.TimeLimit, TimeLimit)
	cfg.BatchSize = cmp.Or(cfg.BatchSize, 128)
	cfg.SoldOut = cmp.Or(cfg.SoldOut, new(inventory.Hints))
	cfg.Reads, cfg.Background = cmp.Or(cfg.Reads, pool), cmp.Or(cfg.Background, pool)
	s := &Service{pool: pool, gateway: gateway, log: log, cfg: cfg}
	s.provider = newBreaker(cfg.ProviderPause, 5*cfg.ProviderPause, s.lease())
	s.prober = &prober{breaker: s.provider, log: log.WarnContext, claim: s.claimUnknown, ask: s.probeOrder}
	s.prober.ctx, s.prober.cancel = context.WithCancel(context.Background())
	s.suspects.lasts = suspicion
	limits := batchLimits{queue: math.MaxInt, size: cfg.BatchSize, flights: 1, turn: new(sync.Mutex)}
	if cfg.Plain {
		limits.size, limits.flights, limits.turn = 1, math.MaxInt, noTurn{}
	}
	late := limits
	late.turn = new(sync.Mutex)
	s.placing = newBatcher(limits, s.placeBatch)
	s.placingLate = newBatcher(late, s.placeLate)
	s.placing.abandoned, s.placingLate.abandoned = s.leavePlaced, s.leavePlaced
	s.settling = newBatcher(limits, s.settleBatch)
	s.settlingLate = newBatcher(late, s.settleLate)
	s.releasing = newBatcher(batchLimits{queue: maxReleases, size: releaseSize, flights: 1, turn: noTurn{}}, s.releaseLeases)
	return s
}

// Close waits until the orders that are being placed and settled are, or until ctx ends. Checkouts are refused from here on.
func (s *Service) Close(ctx context.Context) error {
	return errors.Join(s.prober.close(ctx), s.placing.close(ctx), s.placingLate.close(ctx), s.settling.close(ctx), s.settlingLate.close(ctx),
		s.releasing.close(ctx))
}

// Healthy says whether batches of orders go on. It fails only when one stands still
// that its own time limits should have ended long ago: no database that is away, or
// does not answer, is the reason then, and a new process is all that helps.
func (s *Service) Healthy() error {
	limit := batchLimit(s.cfg.TransactionTimeout)
	if d := max(s.placing.standstill(), s.placingLate.standstill()); d > limit {
		return fmt.Errorf("no batch of orders was placed for %v, and one has to end within %v", d.Round(time.Second), limit)
	}
	if d := max(s.settling.standstill(), s.settlingLate.standstill()); d > limit {
		return fmt.Errorf("no batch of orders was settled for %v, and one has to end within %v", d.Round(time.Second), limit)
	}
	return nil
}

// Stats are what a Service has counted so far.
type Stats struct {
	// Swept orders, by what became of them. Left ones could not be settled at that sweep.
	SweptConfirmed, SweptCancelled, SweptLeft int64
	// Expired is how many orders waited for a sweep after the last one of this Service.
	Expired int64
	// ProviderAway says that orders are refused since the provider does not answer; ProviderLost, how often that has begun.
	ProviderAway bool
	ProviderLost int64
}

// Stats returns what this Service has counted.
func (s *Service) Stats() Stats {
	lost, away := s.provider.times()
	return Stats{
		SweptConfirmed: s.sweeps.confirmed.Load(), SweptCancelled: s.sweeps.cancelled.Load(), SweptLeft: s.sweeps.left.Load(),
		Expired: s.sweeps.backlog.Load(), ProviderAway: away, ProviderLost: lost,
	}
}

// batchLimit is how long a batch may take. Twice the transaction is what it takes with
// the turn of the other batcher before it; the rest is for the look-up of a lost COMMIT,
// for the halves of a batch that is refused, and for a machine that is slow.
func batchLimit(transaction time.Duration) time.Duration { return 30*time.Second + 4*transaction }

// Request asks for the owner's cart to be ordered.
type Request struct {
	Owner              uuid.UUID
	Account            uuid.NullUUID // set when the owner is logged in
	Key                string        // the client's idempotency key, 1 to 255 bytes
	Email              string        // lower case
	OldEmail           string        // the form of Email by which an earlier release told requests apart; "": the same
	PaymentToken       string
	ExpectedTotalMinor *int64 // refuse a dearer total; nil: than the one that was last shown (see package cart)
}

// fingerprint tells two requests with one key apart.
func (r *Request) fingerprint() []byte {
	expected := "-"
	if r.ExpectedTotalMinor != nil {
		expected = strconv.FormatInt(*r.ExpectedTotalMinor, 10)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %s", r.Email, r.PaymentToken, expected))
	return sum[:]
}

// repeats reports whether a request with the same key, whose fingerprint this is, was
// the same one: also where an earlier release has taken it, before a deploy.
func (r *Request) repeats(fingerprint []byte) bool {
	if bytes.Equal(fingerprint, r.fingerprint()) {
		return true
	}
	old := *r
	old.Email = r.OldEmail
	return r.OldEmail != "" && bytes.Equal(fingerprint, old.fingerprint())
}

// Result is the order that a request made or, for a repeat, had made.
type Result struct {
	Order    Order // Cancelled only with ReasonDeclined
	Replayed bool
}

// Checkout orders the cart of the request's owner and pays for it. While the payment provider is away, no new order that costs
// something is placed: the error is a *[ProviderAway]. The other errors are those of this package and
// *[pricing.RefusedDiscount]. Any other means that the database could not be asked, or that the catalogue is broken (two
// currencies in one cart); a repeat with the same key is safe in all cases.
//
// ctx bounds the wait for a batch. Once one has taken the request in, it goes
// on when ctx is cancelled with the cause [context.Canceled], since a customer
// who hangs up in the middle of a payment still has an order. The time limit,
// and any other cause, such as that the worker leaves, end the waiting at once:
// an order that is placed is answered as pending, and a repeat or the sweeper
// goes on with it. How many may wait at once is up to the caller.
func (s *Service) Checkout(ctx context.Context, req Request) (Result, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.TimeLimit, errTimeLimit)
	defer cancel()
	work, done := outlasting(ctx)
	defer done()
	placed, err := s.place(ctx, work, req)
	if refusal, ok := errors.AsType[*OutOfStock](err); ok {
		s.tellHeld(ctx, refusal)
	}
	if err != nil {
		return Result{}, err
	}
	ctx = work
	if placed.order.Status != Pending || placed.waits {
		return Result{placed.order, true}, nil
	}
	defer s.provider.giveBack(placed.trial)
	outcome := s.pay(ctx, &placed, req.PaymentToken)
	if outcome == nil {
		// Not even the fence could be asked: the order stands as pending, and the sweeper goes on.
		s.log.WarnContext(ctx, "payment outcome unknown, order left pending", "order", placed.order.ID)
		s.releaseLease(ctx, placed.order.ID, placed.lease)
		return Result{placed.order, placed.resumed}, nil
	}
	order, err := s.settle(ctx, *outcome)
	if err != nil {
		// The order is placed, and perhaps paid. It is never answered with a failure; the sweeper will settle it.
		level := slog.LevelError
		if ctx.Err() != nil {
			level = slog.LevelWarn
		}
		s.log.Log(ctx, level, "settle failed, order left pending", "order", placed.order.ID, "error", err)
		s.releaseLease(ctx, placed.order.ID, placed.lease)
		return Result{placed.order, placed.resumed}, nil
	}
	if order.Status == Cancelled && order.CancelReason == ReasonLimit {
		return Result{}, &LimitReached{Code: order.OverLimit, ByAddress: true}
	}
	if order.Status == Cancelled && order.CancelReason != ReasonDeclined {
		return Result{}, ErrProvider
	}
	return Result{order, placed.resumed}, nil
}

// pay charges for an order and returns what to settle, or nil when the outcome
// can't be known now. Where the order's address has its limit, it only finds
// out whether the customer could pay.
func (s *Service) pay(ctx context.Context, p *placed, token string) *settlement {
	outcome := s.askToPay(ctx, p, token)
	if outcome != nil {
		outcome.uncharged = p.order.OverLimit != ""
	}
	return outcome
}

func (s *Service) askToPay(ctx context.Context, p *placed, token string) *settlement {
	o := p.order
	call, otherwise := s.gateway.Charge, ReasonFailed // why it is cancelled that was neither captured nor declined
	if o.OverLimit != "" {
		call, otherwise = s.gateway.Verify, ReasonLimit
	}
	if o.Total.Minor == 0 && o.OverLimit != "" {
		return settled(o.ID, o.Total, payment.Receipt{}, otherwise)
	}
	if o.Total.Minor == 0 { // providers refuse to charge nothing
		return settled(o.ID, o.Total, payment.Receipt{Captured: true, Amount: o.Total, Reference: "free_" + o.ID.String()}, ReasonFailed)
	}
	if p.trial == 0 && !p.resumed && !s.provider.closed() {
		// The provider went away after this order was let in. Nobody has asked it about this order yet, and nobody else may while
		// the lease is ours: the units go back at once.
		return &settlement{order: o.ID, reason: ReasonFailed, unasked: p.lease}
	}
	if ctx.Err() != nil { // there is no time to charge
		return nil
	}
	receipt, err := s.ask(ctx, func(ctx context.Context) (payment.Receipt, error) {
		return call(ctx, payment.Charge{Order: o.ID, Amount: o.Total, Token: token})
	})
	if err == nil {
		s.provider.answered()
		return settled(o.ID, o.Total, receipt, otherwise)
	}
	s.log.WarnContext(ctx, "charge failed, cancelling it", "order", o.ID, "error", err)
	return s.fence(ctx, o.ID, o.Total, ReasonFailed, p.trial)
}

// fence makes the outcome of a charge known by cancelling it, or returns nil when the provider does not answer. The trial is the
// breaker's, or 0.
func (s *Service) fence(ctx context.Context, order uuid.UUID, total money.Money, reason CancelReason, trial int64) *settlement {
	receipt, err := s.ask(ctx, func(ctx context.Context) (payment.Receipt, error) { return s.gateway.Cancel(ctx, order) })
	if err != nil {
		s.log.WarnContext(ctx, "cancelling a charge failed", "order", order, "error", err)
		// Who is called off, as a sweep at the end of its worker, has not learned anything.
		if ctx.Err() == nil {
			s.provider.remember(order)
			if s.provider.unknown(time.Now(), trial) {
				s.log.ErrorContext(ctx, "the payment provider is away: orders are refused until it answers one again", "error", err)
			}
			s.prober.start()
		}
		return nil
	}
	s.provider.answered()
	return settled(order, total, receipt, reason)
}

var errPaymentTimeout = errors.New("payment provider timed out")

// ask calls the gateway. One that panics has not answered either: the outcome is as unknown, and the sweeper, which no
// request's recovery covers, will meet the same order.
func (s *Service) ask(ctx context.Context, call func(context.Context) (payment.Receipt, error)) (_ payment.Receipt, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.PaymentTimeout, errPaymentTimeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			s.log.ErrorContext(ctx, "the payment gateway panicked", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("%w: it panicked: %v", payment.ErrUnavailable, p)
		}
	}()
	return call(ctx)
}
