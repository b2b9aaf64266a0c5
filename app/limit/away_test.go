package limit

import (
	"log/slog"
	"strconv"
	"testing"
	"time"

	"doorbuster/app/devstack"
)

// A Redis that hangs costs those who ask at that moment the time-out, once, and
// nobody after them. Their limit is the worker's share.
func TestHangingRedis(t *testing.T) {
	t.Parallel()
	const workers = 4
	l := New(client(t, frozen(t)), Config{Workers: workers, Timeout: 20 * time.Millisecond, Log: slog.New(slog.DiscardHandler)})
	defer l.Close()
	q := Quota{12, time.Hour}
	k := key("hang")
	passed := 0
	for range 100 {
		if l.Decide(Take(k, q, 1)).Allowed {
			passed++
		}
	}
	if passed != 12/workers {
		t.Errorf("got %d through, want the share of %d", passed, 12/workers)
	}
	// Each probe is a call of the background's; those who decide made one.
	if s := l.Stats(); !s.Local || s.Locally != 100 {
		t.Errorf("got %+v, want all to be decided here", s)
	}
}

// Redis away and back, with a real one: decisions go on, and are Redis's again.
func TestRedisAwayAndBack(t *testing.T) {
	t.Parallel()
	server, err := devstack.StartRedis(t.Context(), devstack.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	l := New(client(t, server.URL()), Config{Workers: 2, Log: slog.New(slog.DiscardHandler)})
	defer l.Close()
	q := Quota{1000, time.Hour}
	k := key("away")
	until := func(what string, local bool) {
		t.Helper()
		for l.Stats().Local != local { // the test's time limit bounds it
			if v := l.Decide(Take(key(what), q, 1)); !v.Allowed {
				t.Fatalf("%s: got %+v, want to be let through", what, v)
			}
		}
	}
	until("at first", false)
	if v := l.Decide(Take(k, q, 10)); !v.Allowed {
		t.Fatalf("got %+v", v)
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	until("away", true)
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	until("back", false)
}

// Whatever Redis says, and however often it goes, nobody is refused for it:
// with a fresh key each time, all pass.
func TestNeverClosesTheShop(t *testing.T) {
	t.Parallel()
	for name, reply := range map[string]string{
		"an error":      "-READONLY You can't write against a read only replica.\r\n",
		"out of memory": "-OOM command not allowed when used memory > 'maxmemory'.\r\n",
		"nonsense":      "*1\r\n$3\r\nfoo\r\n",
		"too little":    "*0\r\n",
		"hangs up":      "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := New(client(t, liar(t, reply)), Config{Workers: 3, Log: slog.New(slog.DiscardHandler)})
			defer l.Close()
			for i := range 50 {
				if v := l.Decide(Take(key("fresh"+strconv.Itoa(i)), Quota{1, time.Hour}, 1)); !v.Allowed {
					t.Fatalf("got %+v, want to be let through", v)
				}
			}
			if s := l.Stats(); s.Locally != 50 {
				t.Errorf("got %+v, want 50 decisions here", s)
			}
		})
	}
}

// While Redis is away, a worker lets through its part of a quota and no less
// than the floor; all workers together no more than the parts, or the floors
// where those are more; and one worker alone, or four with a floor of a
// quarter, no more than Redis would.
func TestShareHasAFloor(t *testing.T) {
	t.Parallel()
	r := random(t)
	for range 200 {
		workers, q := 1+r.Int64N(64), Quota{1 + r.Int64N(700), time.Hour}
		floor := r.Int64N(2 * q.Units)
		own := Take("one person", q, 1)
		own.Floor = floor
		together := int64(0)
		for range workers {
			memory, passed := newLocal(), int64(0)
			for memory.decide([]Charge{own.share(workers)}, 1).Allowed {
				passed++
			}
			if part := (q.Units + workers - 1) / workers; passed < part || passed < min(floor, q.Units) || passed > max(part, floor) {
				t.Fatalf("%d workers, quota %v, floor %d: one lets %d units through", workers, q, floor, passed)
			}
			together += passed
		}
		if most := max(q.Units+workers-1, workers*min(floor, q.Units)); together > most || together < q.Units {
			t.Fatalf("%d workers, quota %v, floor %d: %d units passed, want %d to %d", workers, q, floor, together, q.Units, most)
		}
		if quarter := (q.Units + 3) / 4; workers <= 4 && floor <= quarter && together > q.Units+workers-1 {
			t.Fatalf("%d workers, quota %v: a floor of %d has let %d units through", workers, q, floor, together)
		}
	}
}

// Who takes more at once than a share has, passes when all of it is there.
func TestShareIsNeverTooLow(t *testing.T) {
	t.Parallel()
	memory := newLocal()
	for _, c := range []Charge{Take("a", Quota{20, time.Minute}, 10), Look("b", Quota{20, time.Minute}), Book("c", Quota{20, time.Minute}, 20), GiveBack("d", Quota{20, time.Minute}, 20)} {
		if v := memory.decide([]Charge{c.share(64)}, 1); !v.Allowed {
			t.Errorf("%s: got %+v, want to pass", c.Key, v)
		}
	}
}
