package limit

import (
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// A refusal charges nobody: who is refused by one key can't use up another.
func TestRefusedChargesNobody(t *testing.T) {
	t.Parallel()
	l := open(t, Config{Timeout: patient})
	q := Quota{3, time.Hour}
	own, shared := key("own"), key("shared")
	for i := range 10 {
		l.memory.forget([]Charge{{Key: own}})
		v := l.Decide(Take(own, Quota{2, time.Hour}, 1), Take(shared, q, 1))
		if want := i < 2; v.Allowed != want {
			t.Fatalf("attempt %d: got %+v, want allowed: %v", i+1, v, want)
		}
		if !v.Allowed && v.Charge != 0 {
			t.Errorf("attempt %d: refused by charge %d, want that of its own", i+1, v.Charge)
		}
	}
	if v := l.Decide(Take(shared, q, 1)); !v.Allowed {
		t.Errorf("the shared key was used up by who was refused: %+v", v)
	}
	if v := l.Decide(Take(shared, q, 1)); v.Allowed {
		t.Errorf("the shared key has more than 3 units: %+v", v)
	}
}

// S2: N workers do not allow N times the limit, whoever asks at the same time.
func TestWorkersShareOneLimit(t *testing.T) {
	t.Parallel()
	const workers, each = 4, 40
	q := Quota{25, time.Hour}
	k := key("workers")
	var mu sync.Mutex
	var wg sync.WaitGroup
	passed := 0
	for range workers {
		l := open(t, Config{Workers: workers, Timeout: patient})
		for range each {
			wg.Go(func() {
				if l.Decide(Take(k, q, 1)).Allowed {
					mu.Lock()
					passed++
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	if passed != 25 {
		t.Errorf("got %d through, want 25", passed)
	}
}

// Decisions that come while Redis is at work share the next call.
func TestCrowdSharesCalls(t *testing.T) {
	t.Parallel()
	l := open(t, Config{Timeout: patient})
	l.Decide(Take(key("warm"), Quota{1, time.Second}, 1)) // the script is loaded
	before := l.Stats().Trips
	l.mu.Lock()
	l.flying = true // as if a call were in Redis
	l.mu.Unlock()
	var wg sync.WaitGroup
	const crowd = 2 * mostTogether
	k := key("crowd")
	for range crowd {
		wg.Go(func() { l.Decide(Take(k, Quota{10, time.Hour}, 1)) })
	}
	for waiting := 0; waiting < crowd; { // until all of them are there
		l.mu.Lock()
		waiting = len(l.waiting)
		l.mu.Unlock()
	}
	l.fly()
	wg.Wait()
	if trips := l.Stats().Trips - before; trips != 2 {
		t.Errorf("%d decisions took %d calls, want 2", crowd, trips)
	}
}

// What was refused is refused from memory for a second at most, and not longer
// than it has to be.
func TestFloodIsRefusedFromMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRefusals()
		long, short := Take("long", Quota{1, time.Hour}, 1), Take("short", Quota{1, time.Second}, 1)
		if _, known := r.refusal([]Charge{long}, time.Now()); known {
			t.Error("a refusal is known before there was one")
		}
		r.note([]Charge{long}, Verdict{Charge: 0, Wait: time.Hour}, time.Now())
		r.note([]Charge{short}, Verdict{Charge: 0, Wait: 300 * time.Millisecond}, time.Now())
		time.Sleep(299 * time.Millisecond)
		if v, known := r.refusal([]Charge{long, short}, time.Now()); !known || v.Wait != time.Hour-299*time.Millisecond || v.Charge != 0 {
			t.Errorf("got %+v, %v, want the rest of the hour", v, known)
		}
		if _, known := r.refusal([]Charge{Look("long", long.Quota)}, time.Now()); !known {
			t.Error("a look needs a unit as well")
		}
		if _, known := r.refusal([]Charge{Book("long", long.Quota, 1)}, time.Now()); known {
			t.Error("a booking is never refused")
		}
		if _, known := r.refusal([]Charge{Take("long", Quota{2, time.Hour}, 1)}, time.Now()); known {
			t.Error("a quota that was raised is still judged as before")
		}
		time.Sleep(2 * time.Millisecond)
		if _, known := r.refusal([]Charge{short}, time.Now()); known {
			t.Error("refused for longer than it has to wait")
		}
		time.Sleep(time.Second)
		if _, known := r.refusal([]Charge{long}, time.Now()); known {
			t.Error("refused from memory for more than a second")
		}
		if r.some.Load() {
			t.Error("there is nothing left to look for")
		}
	})
}

// Keys expire when all units are there, so that strangers leave nothing behind.
func TestKeysExpire(t *testing.T) {
	t.Parallel()
	l := open(t, Config{Timeout: patient})
	k := key("expire")
	l.Decide(Take(k, Quota{10, time.Minute}, 3))
	ttl, err := l.client.PTTL(t.Context(), k).Result()
	if err != nil || ttl <= 0 || ttl > 18*time.Second {
		t.Errorf("got %v, %v, want 18 s at most", ttl, err)
	}
	l.Decide(GiveBack(k, Quota{10, time.Minute}, 3))
	if n := l.client.Exists(t.Context(), k).Val(); n != 0 {
		t.Error("a full bucket is kept")
	}
}

// The script runs on what stands in for Redis where there is none.
func TestOnMiniredis(t *testing.T) {
	t.Parallel()
	r := miniredis.RunT(t)
	l := New(client(t, "redis://"+r.Addr()), Config{Timeout: patient, Log: slog.New(slog.DiscardHandler)})
	defer l.Close()
	k := key("mini")
	for i := range 4 {
		if v := l.Decide(Take(k, Quota{3, time.Hour}, 1)); v.Allowed != (i < 3) {
			t.Errorf("attempt %d: got %+v", i+1, v)
		}
	}
	if s := l.Stats(); s.Locally != 0 {
		t.Errorf("%d decisions were not Redis's", s.Locally)
	}
}

func BenchmarkDecide(b *testing.B) {
	l := open(b, Config{Timeout: patient})
	quota := Quota{1_000_000, time.Second}
	b.Run("alone", func(b *testing.B) {
		k, m := key("bench"), key("bench")
		b.ReportAllocs()
		for b.Loop() {
			l.Decide(Take(k, quota, 1), Take(m, quota, 1))
		}
	})
	b.Run("crowd", func(b *testing.B) {
		b.SetParallelism(32)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			k, m := key("bench"), key("bench")
			for pb.Next() {
				l.Decide(Take(k, quota, 1), Take(m, quota, 1))
			}
		})
	})
}
