package checkout

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// desk answers questions, which are numbers, with their doubles, after a while. It keeps the batches it was given.
type desk struct {
	*batcher[int, int]
	takes   time.Duration
	mu      sync.Mutex
	batches [][]int
	busy    int
	busiest int
}

func newDesk(limits batchLimits, takes time.Duration) *desk {
	d := &desk{takes: takes}
	d.batcher = newBatcher(limits, func(questions []int) []answered[int] {
		d.mu.Lock()
		d.batches = append(d.batches, slices.Clone(questions))
		d.busy++
		d.busiest = max(d.busiest, d.busy)
		d.mu.Unlock()
		<-time.After(d.takes)
		out := make([]answered[int], len(questions))
		for i, q := range questions {
			out[i].value = 2 * q
			if q < 0 {
				out[i] = answered[int]{err: fmt.Errorf("%d is negative", q)}
			}
		}
		d.mu.Lock()
		d.busy--
		d.mu.Unlock()
		return out
	})
	return d
}

func (d *desk) answering() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.busy
}

// each asks the numbers from 1 to n, in this order, and waits for all answers.
func (d *desk) each(t *testing.T, n int) {
	var wg sync.WaitGroup
	for i := 1; i <= n; i++ {
		wg.Go(func() {
			if got, err := d.ask(t.Context(), context.Background(), i); err != nil || got != 2*i {
				t.Errorf("%d is answered %d, %v", i, got, err)
			}
		})
		synctest.Wait() // it is in the queue before the next one comes
	}
	wg.Wait()
}

// Package documentation: a batch takes all that came while the one before was being answered, in the order of their
// arrival, and nothing waits for a batch to fill.
func TestBatcherOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(batchLimits{queue: 100, size: 4, flights: 1, turn: noTurn{}}, time.Second)
		began := time.Now()
		d.each(t, 10)
		if want := [][]int{{1}, {2, 3, 4, 5}, {6, 7, 8, 9}, {10}}; !slices.EqualFunc(d.batches, want, slices.Equal) {
			t.Errorf("got the batches %v, want %v", d.batches, want)
		}
		if took := time.Since(began); took != 4*time.Second {
			t.Errorf("it took %v", took)
		}
		if _, err := d.ask(t.Context(), context.Background(), 1); err != nil || time.Since(began) != 5*time.Second {
			t.Errorf("an idle one answers after %v, %v", time.Since(began)-4*time.Second, err)
		}
	})
}

// One question's trouble is not its neighbour's.
func TestBatcherErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(batchLimits{queue: 100, size: 100, flights: 1, turn: noTurn{}}, time.Second)
		var wg sync.WaitGroup
		for i := -5; i <= 5; i++ {
			wg.Go(func() {
				got, err := d.ask(t.Context(), context.Background(), i)
				if i < 0 && (err == nil || err.Error() != fmt.Sprintf("%d is negative", i)) || i >= 0 && (err != nil || got != 2*i) {
					t.Errorf("%d is answered %d, %v", i, got, err)
				}
			})
		}
		wg.Wait()
	})
}

// As many batches at once as there may be, and no more.
func TestBatcherFlights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(batchLimits{queue: 100, size: 2, flights: 3, turn: noTurn{}}, time.Second)
		began := time.Now()
		d.each(t, 9)
		if took := time.Since(began); d.busiest != 3 || took != 2*time.Second {
			t.Errorf("%d batches at once, and it took %v", d.busiest, took)
		}
	})
}

// baton is a turn that synctest understands: a goroutine that waits for a mutex is not idle to it.
type baton chan struct{}

func (b baton) Lock()   { b <- struct{}{} }
func (b baton) Unlock() { <-b }

// Batchers that share turns never answer at once, each gets its turn, and a batch takes in all who have come before its
// turn has.
func TestBatchersTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := batchLimits{queue: 100, size: 100, flights: 1, turn: make(baton, 1)}
		first, second := newDesk(limits, time.Second), newDesk(limits, time.Second)
		began := time.Now()
		var wg sync.WaitGroup
		for _, d := range []*desk{first, second, first, second, second, first} {
			wg.Go(func() {
				if _, err := d.ask(t.Context(), context.Background(), 1); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
			if first.answering()+second.answering() != 1 {
				t.Errorf("%d batches are being answered by one, %d by the other", first.answering(), second.answering())
			}
		}
		wg.Wait()
		want := [][]int{{1}, {1, 1}}
		if !slices.EqualFunc(first.batches, want, slices.Equal) || len(second.batches) != 1 || len(second.batches[0]) != 3 {
			t.Errorf("got the batches %v and %v", first.batches, second.batches)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// Place and Settle of a Service share one turn; plain checkouts wait for nobody's.
func TestPlaceAndSettleTakeTurns(t *testing.T) {
	t.Parallel()
	s := New(nil, nil, nil, Config{})
	if s.placing.limits.turn != s.settling.limits.turn || s.placing.limits.turn == (noTurn{}) {
		t.Errorf("the turns are %v and %v, want one", s.placing.limits.turn, s.settling.limits.turn)
	}
	if s = New(nil, nil, nil, Config{Plain: true}); s.placing.limits.turn != (noTurn{}) || s.settling.limits.turn != (noTurn{}) {
		t.Error("plain checkouts wait for a turn")
	}
}

// Who finds too many waiting, or does not want to wait any longer, is busy; it was never asked then. Who is being answered
// gets the answer, whether they still want it or not (E3).
func TestBatcherGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(batchLimits{queue: 3, size: 10, flights: 1, turn: noTurn{}}, time.Second)
		cause := errors.New("hung up")
		ctx, hangUp := context.WithCancelCause(t.Context())
		answers := make([]error, 5)
		var wg sync.WaitGroup
		for i := range answers {
			wg.Go(func() {
				of := t.Context()
				if i == 0 || i == 2 {
					of = ctx
				}
				_, answers[i] = d.ask(of, context.Background(), i)
			})
			synctest.Wait()
		}
		hangUp(cause)
		wg.Wait()
		if answers[0] != nil || answers[1] != nil || answers[3] != nil {
			t.Errorf("those who waited are answered %v", answers)
		}
		if err := answers[2]; !errors.Is(err, ErrBusy) || !errors.Is(err, cause) {
			t.Errorf("who hung up is answered %v", err)
		}
		if err := answers[4]; !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "3 requests are waiting") {
			t.Errorf("the one too many is answered %v", err)
		}
		if _, err := d.ask(ctx, context.Background(), 5); !errors.Is(err, ErrBusy) {
			t.Errorf("who comes after hanging up is answered %v", err)
		}
		if want := [][]int{{0}, {1, 3}}; !slices.EqualFunc(d.batches, want, slices.Equal) {
			t.Errorf("got the batches %v, want %v", d.batches, want)
		}
	})
}

// W8: a panic is the answer to one batch, and gives the turn back.
func TestBatcherPanics(t *testing.T) {
	b := newBatcher(batchLimits{queue: 1, size: 1, flights: 1, turn: make(baton, 1)}, func(q []int) []answered[int] {
		if q[0] == 13 {
			panic("bad luck")
		}
		return make([]answered[int], 1)
	})
	_, err := b.ask(t.Context(), context.Background(), 13)
	if p, ok := errors.AsType[*panicked](err); !ok || p.cause != "bad luck" || !strings.Contains(p.Error(), "TestBatcherPanics") {
		t.Errorf("got %v", err)
	}
	if _, err := b.ask(t.Context(), context.Background(), 1); err != nil {
		t.Errorf("the next one: %v", err)
	}
}

// A worker that leaves answers all who wait, takes nothing more, and is told when that is done.
func TestBatcherCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(batchLimits{queue: 10, size: 1, flights: 2, turn: noTurn{}}, time.Second)
		began := time.Now()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if _, err := d.ask(t.Context(), context.Background(), 1); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		if err := d.close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("closed too early: %v", err)
		}
		if _, err := d.ask(t.Context(), context.Background(), 1); !errors.Is(err, ErrBusy) {
			t.Errorf("it takes more: %v", err)
		}
		if err := d.close(t.Context()); err != nil || time.Since(began) != 2*time.Second {
			t.Errorf("closed after %v, %v", time.Since(began), err)
		}
		wg.Wait()
		idle := newDesk(batchLimits{queue: 1, size: 1, flights: 1, turn: noTurn{}}, 0)
		if err := errors.Join(idle.close(t.Context()), idle.close(t.Context())); err != nil {
			t.Error(err)
		}
	})
}

// A crowd that comes, waits, hangs up and comes again is answered, each once, and nobody is left over.
func TestBatcherInACrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		d := newDesk(batchLimits{queue: 50, size: 7, flights: 2, turn: noTurn{}}, 10*time.Millisecond)
		var answeredOnce, busy int
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range 5000 {
			patience := time.Duration(random.IntN(40)) * time.Millisecond
			arrival := time.Duration(random.IntN(3000)) * time.Millisecond
			wg.Go(func() {
				<-time.After(arrival)
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				got, err := d.ask(ctx, context.Background(), i)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil && got == 2*i:
					answeredOnce++
				case errors.Is(err, ErrBusy):
					busy++
				default:
					t.Errorf("%d is answered %d, %v", i, got, err)
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		asked := slices.Concat(d.batches...)
		slices.Sort(asked)
		if len(slices.Compact(asked)) != answeredOnce || answeredOnce+busy != 5000 || busy == 0 {
			t.Errorf("%d were asked, %d answered, %d refused", len(asked), answeredOnce, busy)
		}
		if len(d.queue) > 0 || d.flying > 0 {
			t.Errorf("%d are left, %d fly", len(d.queue), d.flying)
		}
	})
}

// A batcher stands still while a batch is not answered, and not while batches are, or while there is nothing to do.
func TestStandstill(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(batchLimits{queue: 10, size: 1, flights: 1, turn: new(sync.Mutex)}, time.Minute)
		still := func(want time.Duration) {
			t.Helper()
			synctest.Wait()
			if got := d.standstill(); got != want {
				t.Errorf("it stands still for %v, want %v", got, want)
			}
		}
		time.Sleep(time.Hour)
		still(0)
		for range 2 {
			go d.ask(t.Context(), context.Background(), 1)
		}
		still(0)
		time.Sleep(59 * time.Second)
		still(59 * time.Second)
		time.Sleep(31 * time.Second)
		still(30 * time.Second) // the second batch
		time.Sleep(time.Minute)
		still(0)
	})
}

// The checkout is unhealthy when a batch does not end that its own time limits should have ended, and not before.
func TestServiceHealthy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const transaction = 5 * time.Second
		s := &Service{cfg: Config{TransactionTimeout: transaction}}
		hold := make(chan struct{})
		limits := batchLimits{queue: 10, size: 1, flights: 1, turn: noTurn{}}
		s.placing = newBatcher(limits, func(all []Request) []answered[placed] { <-hold; return make([]answered[placed], len(all)) })
		s.settling = newBatcher(limits, func(all []settlement) []answered[Order] { <-hold; return make([]answered[Order], len(all)) })
		s.placingLate = newBatcher(limits, func(all []Request) []answered[placed] { return nil })
		s.settlingLate = newBatcher(limits, func(all []settlement) []answered[Order] { return nil })
		if err := s.Healthy(); err != nil {
			t.Error(err)
		}
		go s.settling.ask(t.Context(), context.Background(), settlement{})
		time.Sleep(batchLimit(transaction))
		if err := s.Healthy(); err != nil {
			t.Error(err)
		}
		go s.placing.ask(t.Context(), context.Background(), Request{})
		time.Sleep(time.Second)
		if err := s.Healthy(); err == nil || !strings.Contains(err.Error(), "no batch of orders was settled for 51s") {
			t.Errorf("got %v", err)
		}
		time.Sleep(batchLimit(transaction))
		if err := s.Healthy(); err == nil || !strings.Contains(err.Error(), "no batch of orders was placed for 51s") {
			t.Errorf("got %v", err)
		}
		close(hold)
		synctest.Wait()
		if err := s.Healthy(); err != nil {
			t.Error(err)
		}
	})
}

// Who can wait no longer goes without the answer; the answering goes on, and
// somebody is told of what nobody waits for.
func TestBatcherIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(batchLimits{queue: 100, size: 10, flights: 1, turn: noTurn{}}, time.Hour)
		var left []int
		d.abandoned = func(q int, a answered[int]) { left = append(left, q, a.value) }
		cause := errors.New("the worker leaves")
		until, leave := context.WithCancelCause(t.Context())
		var wg sync.WaitGroup
		for _, n := range []int{1, 2} {
			wg.Go(func() {
				_, err := d.ask(until, until, n)
				if !errors.Is(err, ErrBusy) || !errors.Is(err, cause) {
					t.Errorf("%d is answered %v", n, err)
				}
			})
			synctest.Wait()
		}
		leave(cause)
		wg.Wait()
		if d.answering() != 1 || left != nil {
			t.Errorf("%d batches are at work, and %v are left", d.answering(), left)
		}
		if err := d.close(t.Context()); err != nil {
			t.Error(err)
		}
		if !slices.Equal(left, []int{1, 2}) { // the second was never asked
			t.Errorf("got %v", left)
		}
	})
}
