package payment_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"doorbuster/app/dbtest"
	"doorbuster/app/money"
	"doorbuster/app/payment"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// redisClient returns a client of the Redis that all tests share: orders are new in every test, and so are their keys.
func redisClient(t *testing.T) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(dbtest.Redis(t))
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(options)
	t.Cleanup(func() {
		if err := client.Close(); err != nil && !errors.Is(err, redis.ErrClosed) {
			t.Error(err)
		}
	})
	return client
}

func charge(order uuid.UUID, token string) payment.Charge {
	return payment.Charge{Order: order, Amount: money.Money{Minor: 7999, Currency: "USD"}, Token: token}
}

// captured returns the receipt of a captured order, of which there is only one.
func captured(order uuid.UUID) payment.Receipt {
	return payment.Receipt{
		Captured: true, Amount: money.Money{Minor: 7999, Currency: "USD"}, Reference: "ch_" + strings.ReplaceAll(order.String(), "-", ""),
	}
}

var (
	declined  = payment.Receipt{Declined: true, Reason: "the card was declined"}
	cancelled = payment.Receipt{Reason: "the charge was cancelled"}
)

// wantBooks asks the provider whether an order was captured, and how much.
func wantBooks(t *testing.T, s *payment.Simulator, order uuid.UUID, want bool) {
	t.Helper()
	amounts := map[uuid.UUID]int64{}
	if want {
		amounts[order] = 7999
	}
	if got, err := s.Captured(t.Context(), []uuid.UUID{uuid.New(), order}); !maps.Equal(got, amounts) || err != nil {
		t.Errorf("books: got %v, %v, want %v", got, err, amounts)
	}
}

func wantReceipt(t *testing.T, what string, want, got payment.Receipt, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: got %v, want an answer", what, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: receipt (-want +got):\n%s", what, diff)
	}
}

func wantUnavailable(t *testing.T, what string, got payment.Receipt, err error) {
	t.Helper()
	if !errors.Is(err, payment.ErrUnavailable) || got != (payment.Receipt{}) {
		t.Errorf("%s: got %v, %v, want no receipt and ErrUnavailable", what, got, err)
	}
}

// E3: each token has one outcome, and asking again, with whatever token, does not change it.
func TestTokens(t *testing.T) {
	t.Parallel()
	s := payment.NewSimulator(redisClient(t), payment.SimulatorConfig{SlowLatency: time.Millisecond})
	for token, captures := range map[string]bool{
		payment.TokenOK: true, payment.TokenSlow: true, payment.TokenDeclined: false, "tok_unknown": false, "": false,
	} {
		t.Run("token="+token, func(t *testing.T) {
			t.Parallel()
			order := uuid.New()
			want := declined
			if captures {
				want = captured(order)
			}
			wantBooks(t, s, order, false)
			for _, again := range []string{token, token, payment.TokenOK, payment.TokenDeclined, payment.TokenTimeout} {
				got, err := s.Charge(t.Context(), charge(order, again))
				wantReceipt(t, "charge with "+again, want, got, err)
				wantBooks(t, s, order, captures)
			}
			got, err := s.Cancel(t.Context(), order)
			wantReceipt(t, "cancel, too late", want, got, err)
			wantBooks(t, s, order, captures)
		})
	}
}

// E3: what is captured is the amount that was asked for first.
func TestRepeatDoesNotChangeTheAmount(t *testing.T) {
	t.Parallel()
	s := payment.NewSimulator(redisClient(t), payment.SimulatorConfig{})
	order := uuid.New()
	for _, minor := range []int64{7999, 1, 1 << 53} {
		c := charge(order, payment.TokenOK)
		c.Amount.Minor = minor
		got, err := s.Charge(t.Context(), c)
		wantReceipt(t, "charge", captured(order), got, err)
	}
	wantBooks(t, s, order, true)
}

// E3: the provider fails before it has done anything, so nothing is in its books, and another try is a first one.
func TestErrorBeforeTheCapture(t *testing.T) {
	t.Parallel()
	s := payment.NewSimulator(redisClient(t), payment.SimulatorConfig{})
	order := uuid.New()
	got, err := s.Charge(t.Context(), charge(order, payment.TokenError))
	wantUnavailable(t, "tok_error", got, err)
	wantBooks(t, s, order, false)
	got, err = s.Charge(t.Context(), charge(order, payment.TokenOK))
	wantReceipt(t, "another try", captured(order), got, err)
}

// E3: a cancelled order is never charged, whatever is still on its way, and cancelling again says the same.
func TestCancelFences(t *testing.T) {
	t.Parallel()
	s := payment.NewSimulator(redisClient(t), payment.SimulatorConfig{SlowLatency: time.Millisecond})
	order := uuid.New()
	got, err := s.Cancel(t.Context(), order)
	wantReceipt(t, "cancel", cancelled, got, err)
	for _, token := range []string{payment.TokenOK, payment.TokenSlow, payment.TokenTimeout, payment.TokenDeclined} {
		got, err := s.Charge(t.Context(), charge(order, token))
		wantReceipt(t, "charge with "+token, cancelled, got, err)
	}
	got, err = s.Cancel(t.Context(), order)
	wantReceipt(t, "cancel again", cancelled, got, err)
	wantBooks(t, s, order, false)
}

// E3: charges and cancels of one order at once, from several workers, have one outcome, and all of them are told it.
func TestOneOutcomeForAll(t *testing.T) {
	t.Parallel()
	first, second := redisClient(t), redisClient(t)
	for round := range 20 {
		order := uuid.New()
		receipts := make([]payment.Receipt, 20)
		var wg sync.WaitGroup
		start := make(chan struct{})
		for i := range receipts {
			s := payment.NewSimulator([]*redis.Client{first, second}[i%2], payment.SimulatorConfig{})
			wg.Go(func() {
				<-start
				var err error
				if (i+round)%2 == 0 {
					receipts[i], err = s.Charge(t.Context(), charge(order, payment.TokenOK))
				} else {
					receipts[i], err = s.Cancel(t.Context(), order)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		close(start)
		wg.Wait()
		want := cancelled
		if receipts[0].Captured {
			want = captured(order)
		}
		for i, got := range receipts {
			if got != want {
				t.Errorf("round %d, caller %d: got %v, want %v like the first", round, i, got, want)
			}
		}
		wantBooks(t, payment.NewSimulator(first, payment.SimulatorConfig{}), order, want.Captured)
	}
}

// E3: tok_timeout is the worst of providers: it captures and does not say so in time. Whoever asks again is told.
func TestCapturedButTheAnswerIsLost(t *testing.T) {
	t.Parallel()
	client := redisClient(t)
	s := payment.NewSimulator(client, payment.SimulatorConfig{})
	for name, ask := range map[string]func(order uuid.UUID) (payment.Receipt, error){
		"charge again": func(order uuid.UUID) (payment.Receipt, error) {
			return s.Charge(t.Context(), charge(order, payment.TokenTimeout))
		},
		"cancel": func(order uuid.UUID) (payment.Receipt, error) { return s.Cancel(t.Context(), order) },
	} {
		order := uuid.New()
		ctx, giveUp := context.WithCancelCause(t.Context())
		type answer struct {
			receipt payment.Receipt
			err     error
		}
		answers := make(chan answer, 1)
		go func() {
			receipt, err := s.Charge(ctx, charge(order, payment.TokenTimeout))
			answers <- answer{receipt, err}
		}()
		for is := false; !is; { // Redis says when the money is gone; each question takes its time
			select {
			case got := <-answers:
				t.Fatalf("%s: got the answer %v, %v, want none before the deadline", name, got.receipt, got.err)
			default:
			}
			captured, err := s.Captured(t.Context(), []uuid.UUID{order})
			if err != nil {
				t.Fatal(err)
			}
			_, is = captured[order]
		}
		deadline := errors.New("the deadline")
		giveUp(deadline)
		got := <-answers
		wantUnavailable(t, name, got.receipt, got.err)
		if !errors.Is(got.err, deadline) {
			t.Errorf("%s: got %v, want it to name its cause", name, got.err)
		}
		wantBooks(t, s, order, true)
		receipt, err := ask(order)
		wantReceipt(t, name, captured(order), receipt, err)
	}
}

// S4: a provider that is away fails at once, one that hangs by the caller's deadline; neither does anything.
func TestOutageAndHang(t *testing.T) {
	t.Parallel()
	client := redisClient(t)
	order := uuid.New()
	out := payment.NewSimulator(client, payment.SimulatorConfig{Outage: true, Hang: true})
	got, err := out.Charge(t.Context(), charge(order, payment.TokenOK))
	wantUnavailable(t, "charge in an outage", got, err)
	got, err = out.Cancel(t.Context(), order)
	wantUnavailable(t, "cancel in an outage", got, err)
	wantBooks(t, out, order, false)

	gone := errors.New("the customer is gone")
	ctx, leave := context.WithCancelCause(t.Context())
	leave(gone)
	hung := payment.NewSimulator(client, payment.SimulatorConfig{Hang: true})
	got, err = hung.Charge(ctx, charge(order, payment.TokenOK))
	wantUnavailable(t, "charge that hangs", got, err)
	if !errors.Is(err, gone) {
		t.Errorf("charge that hangs: got %v, want it to name its cause", err)
	}
	got, err = hung.Cancel(ctx, order)
	wantUnavailable(t, "cancel that hangs", got, err)
	wantBooks(t, out, order, false)
}

// E3: where the deadline comes before the provider's answer, nothing was captured: there is not even a Redis to ask. Time is
// virtual.
func TestWaitingEndsByTheDeadline(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cfg   payment.SimulatorConfig
		token string
	}{
		"slow token, by default": {payment.SimulatorConfig{}, payment.TokenSlow},
		"slow token":             {payment.SimulatorConfig{SlowLatency: 2 * time.Second}, payment.TokenSlow},
		"slow provider":          {payment.SimulatorConfig{Latency: 2 * time.Second}, payment.TokenOK},
		"provider that hangs":    {payment.SimulatorConfig{Hang: true}, payment.TokenOK},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := payment.NewSimulator(nil, c.cfg)
				ctx, cancel := context.WithTimeout(t.Context(), 1999*time.Millisecond)
				defer cancel()
				got, err := s.Charge(ctx, charge(uuid.New(), c.token))
				wantUnavailable(t, "charge", got, err)
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v, want it to name the deadline", err)
				}
			})
		})
	}
}

// S4: without its books the provider answers nothing, and every call says so in the one way that checkout knows.
func TestBooksAway(t *testing.T) {
	t.Parallel()
	client := redisClient(t)
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	s := payment.NewSimulator(client, payment.SimulatorConfig{SlowLatency: time.Millisecond})
	for _, token := range []string{payment.TokenOK, payment.TokenSlow, payment.TokenTimeout, payment.TokenError, payment.TokenDeclined} {
		got, err := s.Charge(t.Context(), charge(uuid.New(), token))
		wantUnavailable(t, "charge with "+token, got, err)
	}
	got, err := s.Cancel(t.Context(), uuid.New())
	wantUnavailable(t, "cancel", got, err)
	if captured, err := s.Captured(t.Context(), []uuid.UUID{uuid.New()}); captured != nil || err == nil {
		t.Errorf("captured: got %v, %v, want an error", captured, err)
	}
}

// E3: an outcome is remembered for good: a provider that has forgotten a charge would call a captured one cancelled, and an audit
// would find fault with every order.
func TestBooksAreKept(t *testing.T) {
	t.Parallel()
	client := redisClient(t)
	s := payment.NewSimulator(client, payment.SimulatorConfig{})
	order := uuid.New()
	if _, err := s.Charge(t.Context(), charge(order, payment.TokenOK)); err != nil {
		t.Fatal(err)
	}
	keys, err := client.Keys(t.Context(), "*"+order.String()+"*").Result()
	if err != nil || len(keys) != 1 {
		t.Fatalf("keys of the order: got %v, %v, want one", keys, err)
	}
	ttl, err := client.PTTL(t.Context(), keys[0]).Result()
	if err != nil || ttl != -1 { // https://redis.io/docs/latest/commands/pttl/
		t.Errorf("time to live: got %s, %v, want none", ttl, err)
	}
}
