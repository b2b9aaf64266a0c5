package checkout

import (
	"math/rand/v2"
	"testing"
	"time"
)

func newTestBreaker() *breaker {
	return newBreaker(time.Second, 5*time.Second, 20*time.Second)
}

// Whatever happens in whatever order: only outcomes that nobody knows, in a row,
// open the breaker; an answer closes it; one order at a time finds out; and it
// never keeps orders away for longer than its longest pause without a trial.
func TestBreakerInAnyOrder(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 2_000 {
		b, now := newTestBreaker(), time.Unix(0, 0)
		inARow := 0
		var trial int64
		var since time.Time // of the trial
		asked := now        // when the breaker last let somebody through, or opened, or had its trial given back
		for range 60 {
			now = now.Add(time.Duration(random.IntN(3_000)) * time.Millisecond)
			wasClosed := b.closed()
			switch random.IntN(5) {
			case 0:
				b.answered()
				if inARow, trial = 0, 0; !b.closed() {
					t.Fatal("an answer does not close it")
				}
			case 1: // of one that was on its way
				b.unknown(now, 0)
				if wasClosed {
					inARow++
				}
				if wasClosed && b.closed() != (inARow < breakerMisses) {
					t.Fatalf("closed %t after %d in a row", b.closed(), inARow)
				}
				if wasClosed && !b.closed() {
					asked = now
				}
			case 2:
				if trial == 0 {
					continue
				}
				current := trial == b.trial
				if b.unknown(now, trial); b.closed() {
					t.Fatal("closed by a trial that nobody answered")
				}
				if trial = 0; current {
					asked = now
				}
			case 3:
				if trial != 0 && trial == b.trial {
					asked = since
				}
				b.giveBack(trial)
				trial = 0
			case 4:
				p := b.admit(now)
				switch {
				case p.all != b.closed():
					t.Fatalf("all may go: %t, closed: %t", p.all, b.closed())
				case p.all:
				case p.wait <= 0 || p.wait > b.longest:
					t.Fatalf("they shall come back in %v", p.wait)
				case p.trial != 0 && trial != 0 && now.Sub(since) < b.trialTimeout:
					t.Fatal("two trials at once")
				case p.trial != 0:
					trial, since = p.trial, now
				case trial == 0 && now.Sub(asked) >= b.longest:
					t.Fatalf("nobody may go, %v after the last", now.Sub(asked))
				}
			}
		}
	}
}

// A trial that never ends is given up: a gateway that does not keep its promise
// to return by its deadline does not close the shop.
func TestTrialThatNeverEnds(t *testing.T) {
	t.Parallel()
	b, now := newTestBreaker(), time.Unix(0, 0)
	for range breakerMisses {
		b.unknown(now, 0)
	}
	now = now.Add(b.shortest)
	lost := b.admit(now)
	if lost.trial == 0 || b.admit(now.Add(b.trialTimeout-1)).trial != 0 {
		t.Fatalf("got %+v and another, want one trial", lost)
	}
	now = now.Add(b.trialTimeout)
	next := b.admit(now)
	if next.trial == 0 {
		t.Fatal("the next trial never comes")
	}
	b.giveBack(lost.trial) // it was not the current one any more
	if b.admit(now).trial != 0 {
		t.Error("a trial that was given up ended another")
	}
	b.unknown(now, lost.trial)
	if b.trial != next.trial || b.pause != b.shortest {
		t.Error("the outcome of a trial that was given up counted")
	}
}

// The pause doubles from trial to trial, up to the longest.
func TestBreakerPauses(t *testing.T) {
	t.Parallel()
	b, now := newTestBreaker(), time.Unix(0, 0)
	for range breakerMisses {
		b.unknown(now, 0)
	}
	for _, seconds := range []int{1, 2, 4, 5, 5} {
		want := time.Duration(seconds) * time.Second
		if p := b.admit(now); p.wait != want {
			t.Fatalf("got %v, want %v", p.wait, want)
		}
		now = now.Add(want)
		b.unknown(now, b.admit(now).trial)
	}
}
