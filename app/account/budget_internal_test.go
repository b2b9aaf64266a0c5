package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// These tests are inside the package because they work with hashes that take as
// long as they say, in virtual time: nothing else shows a budget without
// looking at a clock.

// hashing is a budget in a bubble.
type hashing struct {
	*budget
	mu   sync.Mutex
	work hashed
}

// hashed is what has come of the work.
type hashed struct {
	working, most int
	busyTime      time.Duration
	order         []string
}

// seen returns what has come of the work so far.
func (h *hashing) seen() hashed {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.work
}

// try asks for a turn, and works for so long.
func (h *hashing) try(ctx context.Context, caller Caller, name string, takes time.Duration) <-chan error {
	outcome := make(chan error, 1)
	go func() {
		outcome <- h.run(WithCaller(ctx, caller), 1, func() {
			h.mu.Lock()
			h.work.working++
			h.work.most = max(h.work.most, h.work.working)
			h.work.order = append(h.work.order, name)
			h.mu.Unlock()
			time.Sleep(takes)
			h.mu.Lock()
			defer h.mu.Unlock()
			h.work.working--
			h.work.busyTime += takes
		})
	}()
	synctest.Wait()
	return outcome
}

// pause lets time pass, and all that happens at its end.
func pause(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

const hashTime = 20 * time.Millisecond

// The budget's promise: whatever comes, hashes take their share of the time and
// one hash at most, one at a time for a worker with one processor.
func TestHashingStaysWithinItsShare(t *testing.T) {
	t.Parallel()
	state := uint64(1)
	below := func(n int) int { // a linear generator of Knuth's: nothing in this package may use math/rand
		state = state*6364136223846793005 + 1442695040888963407
		return int(state>>33) % n
	}
	for _, share := range []int{1, 10, 25, 60, 100} {
		synctest.Test(t, func(t *testing.T) {
			h := &hashing{budget: newBudget(Config{Share: share, Procs: 1})}
			began := time.Now()
			var outcomes []<-chan error
			for range 300 {
				caller := Caller{Known: below(4) == 0, From: fmt.Sprint(below(10))}
				outcomes = append(outcomes, h.try(t.Context(), caller, "", hashTime))
				pause(time.Duration(below(int(2 * hashTime))))
				if spent, most := h.seen().busyTime, time.Since(began)*time.Duration(share)/100+hashTime; spent > most {
					t.Fatalf("%d %%: %v spent in %v", share, spent, time.Since(began))
				}
			}
			for _, o := range outcomes {
				if err := <-o; err != nil && !errors.Is(err, ErrBusy) {
					t.Errorf("got %v", err)
				}
			}
			if h.seen().most != 1 {
				t.Errorf("%d hashes at once, want 1", h.seen().most)
			}
			// It is no lower either: a crowd gets all of the share.
			if spent, least := h.seen().busyTime, time.Since(began)*time.Duration(share)/100*8/10; spent < min(least, 60*hashTime) {
				t.Errorf("%d %%: only %v spent in %v", share, spent, time.Since(began))
			}
			pause(time.Hour) // the last rest
		})
	}
}

// More processors make more lanes.
func TestLanes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ procs, share, lanes int }{{1, 25, 1}, {1, 100, 1}, {2, 25, 1}, {4, 25, 1}, {8, 25, 2}, {16, 50, 8}, {3, 100, 3}} {
		if b := newBudget(Config{Procs: c.procs, Share: c.share}); b.lanes != c.lanes {
			t.Errorf("%d processors, %d %%: got %d lanes, want %d", c.procs, c.share, b.lanes, c.lanes)
		}
	}
}

// Known callers come before strangers, who are not shut out; and strangers take
// turns by where they come from.
func TestWhoHasTheNextTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := &hashing{budget: newBudget(Config{Procs: 1})}
		h.try(t.Context(), Caller{}, "first", hashTime)
		for range 3 {
			h.try(t.Context(), Caller{From: "attacker"}, "a", hashTime)
		}
		h.try(t.Context(), Caller{From: "visitor"}, "v", hashTime)
		for i := range 4 {
			h.try(t.Context(), Caller{Known: true, From: fmt.Sprint(i)}, "k", hashTime)
		}
		pause(time.Minute)
		if got, want := strings.Join(h.seen().order[1:], ""), "kkkakvaa"; got != want {
			t.Errorf("got the turns %s, want %s", got, want)
		}
	})
}

// One address can't use the budget up: it has few places, and others wait for
// its next turn at the most.
func TestOneAddressCannotUseTheBudgetUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := &hashing{budget: newBudget(Config{Procs: 1})}
		var refused, waiting int
		for range 1000 {
			if o := h.try(t.Context(), Caller{From: "attacker"}, "a", hashTime); len(o) > 0 && errors.Is(<-o, ErrBusy) {
				refused++
			} else {
				waiting++
			}
		}
		if waiting != 1+perCaller {
			t.Errorf("%d of one address are at work or wait, want %d; %d were refused", waiting, 1+perCaller, refused)
		}
		began := time.Now()
		if err := <-h.try(t.Context(), Caller{From: "visitor"}, "v", hashTime); err != nil {
			t.Fatalf("a visitor: got %v, want a turn", err)
		}
		if took, most := time.Since(began), 4*hashTime*3; took > most {
			t.Errorf("a visitor waited for %v, want %v at most", took, most)
		}
		pause(time.Minute)
	})
}

// So many wait and not one more, and who would wait for too long is told at
// once, and when to come back.
func TestHashesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const queue = 3
		h := &hashing{budget: newBudget(Config{Procs: 1, Queue: queue})}
		h.try(t.Context(), Caller{}, "first", hashTime)
		impatient, lose := context.WithCancelCause(t.Context())
		last := h.try(impatient, Caller{}, "", hashTime)
		for range queue - 1 {
			h.try(t.Context(), Caller{}, "", hashTime)
		}
		if err := <-h.try(t.Context(), Caller{}, "", hashTime); !errors.Is(err, ErrBusy) {
			t.Errorf("one too many: got %v, want ErrBusy at once", err)
		}
		// Who waits no longer makes room for another.
		patience := errors.New("out of patience")
		lose(patience)
		if err := <-last; !errors.Is(err, ErrBusy) || !errors.Is(err, patience) {
			t.Errorf("whose context ended: got %v, want ErrBusy with the cause", err)
		}
		next := h.try(t.Context(), Caller{}, "", hashTime)
		if len(next) != 0 {
			t.Errorf("after one has left: got %v, want a place", <-next)
		}
		pause(hashTime + time.Millisecond) // now a turn is known to take 80 ms
		hurried, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		began := time.Now()
		err := <-h.try(hurried, Caller{Known: false, From: "x"}, "", hashTime)
		busy := new(BusyError)
		if !errors.As(err, &busy) || busy.Wait <= 100*time.Millisecond || time.Since(began) != 0 {
			t.Errorf("with a deadline before its turn: got %v after %v, want to be told at once", err, time.Since(began))
		}
		pause(time.Minute)
		if s := h.snapshot(); s.Waiting != 0 || h.busy != 0 {
			t.Errorf("at the end: got %+v, %d lanes taken, want none", s, h.busy)
		}
	})
}

// A turn that comes in the moment in which somebody gives up is not lost.
func TestTurnIsNotLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := &hashing{budget: newBudget(Config{Procs: 1})}
		for range 50 {
			ctx, cancel := context.WithTimeout(t.Context(), 4*hashTime)
			outcomes := []<-chan error{
				h.try(t.Context(), Caller{}, "", hashTime), h.try(ctx, Caller{}, "", hashTime), h.try(t.Context(), Caller{}, "", hashTime),
			}
			for _, o := range outcomes {
				<-o
			}
			cancel()
		}
		pause(time.Minute)
		if h.busy != 0 || h.known.n+h.unknown.n != 0 {
			t.Errorf("%d lanes taken and %d waiting at the end, want none", h.busy, h.unknown.n)
		}
	})
}

// A share that is raised counts from now on.
func TestShareChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := &hashing{budget: newBudget(Config{Procs: 4, Share: 25})}
		for range 12 {
			h.try(t.Context(), Caller{}, "", hashTime)
		}
		if h.seen().working != 1 {
			t.Errorf("got %d at once, want 1", h.seen().working)
		}
		h.setShare(75)
		synctest.Wait()
		if h.seen().working != 3 {
			t.Errorf("after the share was raised: got %d at once, want 3", h.seen().working)
		}
		h.setShare(25)
		pause(hashTime + time.Millisecond)
		if h.seen().working > 1 {
			t.Errorf("after it was lowered: got %d at once, want 1", h.seen().working)
		}
		pause(time.Minute)
		if len(h.seen().order) != 12 || h.busy != 0 {
			t.Errorf("got %d hashes and %d lanes taken, want 12 and none", len(h.seen().order), h.busy)
		}
	})
	for _, percent := range []int{-1, 0, 101} {
		if CheckShare(percent) == nil {
			t.Errorf("%d %% is taken", percent)
		}
	}
	if !slices.ContainsFunc([]int{1, 25, 100}, func(p int) bool { return CheckShare(p) == nil }) {
		t.Error("no share is taken")
	}
}

// One caller, with any number of browsers and whatever it shares with itself,
// never refuses another's log-in: an account, an address, and strangers at one
// address.
func TestOneCallerRefusesNobodyElse(t *testing.T) {
	t.Parallel()
	const requestTime = 3 * time.Second // what a log-in has
	for name, crowd := range map[string]func(i int) Caller{
		"browsers of one account": func(int) Caller { return Caller{Known: true, From: "one", Account: "one"} },
		"one account everywhere": func(i int) Caller {
			return Caller{Known: true, From: fmt.Sprint("address ", i), Account: "one"}
		},
		"accounts at one address": func(i int) Caller {
			return Caller{Known: true, From: "one", Account: fmt.Sprint("account ", i)}
		},
		"few accounts at one address": func(i int) Caller {
			return Caller{Known: true, From: "one", Account: fmt.Sprint("account ", i%20)}
		},
		"strangers at one address": func(int) Caller { return Caller{From: "one"} },
	} {
		for other, caller := range map[string]Caller{
			"customer": {Known: true, From: "home", Account: "ann"}, "stranger": {From: "home"},
		} {
			t.Run(name+", "+other, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					h := &hashing{budget: newBudget(Config{Procs: 1})}
					h.try(t.Context(), Caller{}, "first", hashTime)
					pause(time.Minute) // now a turn is known to take 80 ms
					var all []<-chan error
					for i := range 1000 {
						all = append(all, h.try(t.Context(), crowd(i), "c", hashTime))
					}
					ctx, cancel := context.WithTimeout(t.Context(), requestTime)
					defer cancel()
					if err := <-h.try(ctx, caller, "other", hashTime); err != nil {
						t.Errorf("got %v, want a turn within %v", err, requestTime)
					}
					pause(time.Hour)
					for _, outcome := range all {
						if err := <-outcome; err != nil && !errors.Is(err, ErrBusy) {
							t.Errorf("got %v", err)
						}
					}
				})
			})
		}
	}
}

// Whoever comes, no more wait than there is room for, nobody waits for ever,
// and who has a place loses it only to somebody with fewer.
func TestPlacesAreTakenFromWhoHasMost(t *testing.T) {
	t.Parallel()
	state := uint64(2)
	below := func(n int) int { // as above
		state = state*6364136223846793005 + 1442695040888963407
		return int(state>>33) % n
	}
	synctest.Test(t, func(t *testing.T) {
		const queue = 12
		h := &hashing{budget: newBudget(Config{Procs: 1, Queue: queue})}
		places := func() map[string]int {
			h.budget.mu.Lock()
			defer h.budget.mu.Unlock()
			n := map[string]int{}
			for from, waiting := range h.known.waiting {
				n[from] = len(waiting)
			}
			if h.known.n > queue {
				t.Fatalf("%d wait, want %d at most", h.known.n, queue)
			}
			return n
		}
		var all []<-chan error
		displaced := 0
		for i := range 2000 {
			from := fmt.Sprint(min(below(8), below(8)))
			before := places()
			ctx, cancel := context.WithCancel(t.Context())
			outcome := h.try(ctx, Caller{Known: true, From: from, Account: fmt.Sprint(i)}, "", hashTime)
			all = append(all, outcome)
			after := places()
			for other, n := range before {
				if after[other] < n {
					displaced++
					if after[other] < after[from] {
						t.Fatalf("%s has %d places after it took one of %s, which has %d", from, after[from], other, after[other])
					}
				}
			}
			most := 0
			for _, n := range before {
				most = max(most, n)
			}
			if len(outcome) > 0 && before[from]+1 < most {
				t.Fatalf("refused with %d places where another has %d", before[from], most)
			}
			if below(5) == 0 {
				cancel()
				synctest.Wait()
			}
			t.Cleanup(cancel)
			if below(3) == 0 {
				pause(time.Duration(below(int(4 * hashTime))))
			}
		}
		pause(time.Hour)
		for _, outcome := range all {
			if err := <-outcome; err != nil && !errors.Is(err, ErrBusy) {
				t.Errorf("got %v", err)
			}
		}
		if h.busy != 0 || h.known.n != 0 || len(h.known.places) != 0 || len(h.known.callers) != 0 {
			t.Errorf("at the end: %d lanes taken, %d waiting, places %v", h.busy, h.known.n, h.known.places)
		}
		if displaced < 100 {
			t.Errorf("a place was taken only %d times: this tried too little", displaced)
		}
		if s := h.snapshot(); s.Hashes+s.Refused != 2000 {
			t.Errorf("%d hashes and %d refused, want 2000 together", s.Hashes, s.Refused)
		}
	})
}
