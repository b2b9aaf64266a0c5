package checkout

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
)

// night is a provider that comes and goes, with the orders of one worker. It runs in virtual time.
type night struct {
	t       *testing.T
	random  *rand.Rand
	breaker *breaker
	prober  *prober
	calls   time.Duration // a call takes this at the longest
	late    bool          // the prober's call does not return

	mu      sync.Mutex
	away    bool
	pending map[uuid.UUID]bool // orders without an outcome; true: somebody else has the lease
	placed  int
}

func newNight(t *testing.T, random *rand.Rand) *night {
	n := &night{t: t, random: random, breaker: newTestBreaker(), calls: 3 * time.Second, pending: map[uuid.UUID]bool{}}
	n.prober = &prober{breaker: n.breaker, log: func(context.Context, string, ...any) {}, claim: n.claim, ask: n.ask}
	n.prober.ctx, n.prober.cancel = context.WithCancel(context.Background())
	return n
}

func (n *night) chance(of, in int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.random.IntN(in) < of
}

// pass is the time that something takes.
func (n *night) pass(longest time.Duration) {
	n.mu.Lock()
	d := time.Duration(n.random.Int64N(int64(longest)))
	n.mu.Unlock()
	<-time.After(d)
}

func (n *night) claim(_ context.Context, orders []uuid.UUID) (claims []claimed, settled []uuid.UUID, err error) {
	if n.chance(1, 10) {
		return nil, nil, errors.New("the database is away")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, o := range orders {
		leased, pending := n.pending[o]
		if !pending {
			settled = append(settled, o)
		} else if !leased && claims == nil {
			claims = []claimed{{id: o}}
		}
	}
	return claims, settled, nil
}

// ask is a call of the provider about an order: of the prober, or of an order's own request.
func (n *night) ask(_ context.Context, c claimed, trial int64) {
	n.pass(n.calls)
	n.mu.Lock()
	away := n.away
	if !away {
		delete(n.pending, c.id)
	}
	n.mu.Unlock()
	if !away {
		n.breaker.answered()
		return
	}
	n.breaker.remember(c.id)
	n.breaker.unknown(time.Now(), trial)
	n.prober.start()
}

// order is a customer who comes. It reports whether a new order was placed.
func (n *night) order() bool {
	n.mu.Lock()
	unknown := !n.breaker.closed() && n.breaker.remembers()
	admitted := n.breaker.admit(time.Now())
	trial, ok := admitted.take()
	if !ok {
		n.mu.Unlock()
		return false
	}
	if unknown && n.breaker.remembers() && !n.late {
		n.t.Error("an order was placed where another could be asked about")
	}
	id := uuid.New()
	n.pending[id] = false
	n.placed++
	n.mu.Unlock()
	n.ask(context.Background(), claimed{id: id}, trial)
	n.breaker.giveBack(trial)
	return true
}

// others settle what others have found out about, or take a lease for a while.
func (n *night) others() {
	n.mu.Lock()
	defer n.mu.Unlock()
	ids := slices.SortedFunc(maps.Keys(n.pending), func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	if len(ids) == 0 {
		return
	}
	id := ids[n.random.IntN(len(ids))]
	if !n.away && n.random.IntN(2) == 0 {
		delete(n.pending, id)
		return
	}
	n.pending[id] = !n.pending[id]
}

// Whatever outages there are: no new order is placed while the provider is away
// and there is an unknown one to ask about; and when it is back, the breaker
// closes within the longest pause and a call.
func TestOutagesCostNoOrders(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			n := newNight(t, rand.New(rand.NewPCG(random.Uint64(), 0)))
			var customers sync.WaitGroup
			for range 60 {
				switch {
				case n.chance(1, 5):
					n.mu.Lock()
					n.away = !n.away
					n.mu.Unlock()
				case n.chance(1, 4):
					n.others()
				default:
					customers.Go(func() { n.order() })
				}
				n.pass(2 * time.Second)
			}
			n.mu.Lock()
			n.away = false
			for id := range n.pending {
				n.pending[id] = false // all leases end
			}
			n.mu.Unlock()
			customers.Wait()
			back := time.Now()
			// The database may be away for the prober; each time costs a pause. Customers come all the time.
			for !n.breaker.closed() {
				if waited := time.Since(back); waited > 10*n.breaker.longest {
					t.Fatalf("seed %d: still open after %v", seed, waited)
				}
				customers.Go(func() { n.order() })
				<-time.After(100 * time.Millisecond)
			}
			customers.Wait()
			if err := n.prober.close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// openWith opens the breaker with orders to ask about.
func (n *night) openWith(orders int) {
	n.away = true
	for range orders {
		id := uuid.New()
		n.pending[id] = false
		n.breaker.remember(id)
	}
	for range breakerMisses {
		n.breaker.unknown(time.Now(), 0)
	}
	n.prober.start()
}

// The prober closes the breaker within one pause after the provider is back,
// however long it was away, and nobody has to order for that.
func TestProberClosesTheBreaker(t *testing.T) {
	t.Parallel()
	for _, outage := range []time.Duration{time.Millisecond, time.Second, 10 * time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			n := newNight(t, rand.New(rand.NewPCG(1, 1)))
			n.calls = 1 // a nanosecond
			n.prober.claim = func(_ context.Context, orders []uuid.UUID) ([]claimed, []uuid.UUID, error) {
				return []claimed{{id: orders[0]}}, nil, nil
			}
			n.openWith(5)
			<-time.After(outage)
			for range 10 {
				if n.order() {
					t.Fatal("an order was placed")
				}
			}
			n.mu.Lock()
			n.away = false
			n.mu.Unlock()
			<-time.After(n.breaker.longest + time.Millisecond)
			if !n.breaker.closed() {
				t.Errorf("after an outage of %v it is still open", outage)
			}
			n.prober.running.Wait() // it ends by itself
		})
	}
}

// Where all that was unknown is settled by others, and the provider is still
// away to this worker, one order finds out at a time, and is asked about next.
func TestOrderIsATrialWhereNothingIsUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNight(t, rand.New(rand.NewPCG(1, 2)))
		n.prober.claim = func(_ context.Context, orders []uuid.UUID) ([]claimed, []uuid.UUID, error) {
			n.mu.Lock()
			defer n.mu.Unlock()
			if len(n.pending) == 0 {
				return nil, orders, nil
			}
			return []claimed{{id: orders[0]}}, nil, nil
		}
		n.openWith(3)
		n.mu.Lock()
		clear(n.pending)
		n.mu.Unlock()
		<-time.After(n.breaker.shortest + time.Millisecond)
		if !n.order() {
			t.Error("nobody finds out")
		}
		for range 100 {
			if n.order() {
				t.Error("a second order was placed")
			}
			<-time.After(time.Second)
		}
		n.prober.cancel()
		n.prober.running.Wait()
	})
}

// A prober whose call never returns does not keep the shop closed, and ends at
// the latest with its call.
func TestProberThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNight(t, rand.New(rand.NewPCG(1, 3)))
		hangs := make(chan struct{})
		n.prober.claim = func(_ context.Context, orders []uuid.UUID) ([]claimed, []uuid.UUID, error) {
			return []claimed{{id: orders[0]}}, nil, nil
		}
		n.prober.ask = func(context.Context, claimed, int64) { <-hangs }
		n.openWith(1)
		<-time.After(n.breaker.shortest + n.breaker.trialTimeout - time.Millisecond)
		if n.order() {
			t.Error("an order was placed before the prober is late")
		}
		<-time.After(2 * time.Millisecond)
		n.late = true
		if !n.order() {
			t.Error("nobody may find out")
		}
		close(hangs)
		n.prober.cancel()
		n.prober.running.Wait()
	})
}
