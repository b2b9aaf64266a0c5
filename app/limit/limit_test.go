package limit

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"doorbuster/app/dbtest"
	"doorbuster/app/devstack"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// patient is the time limit where a test counts exactly, on a machine with too much
// to do.
const patient = 10 * time.Second

func client(t testing.TB, url string) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	options.MaxRetries, options.ContextTimeoutEnabled = -1, true
	c := redis.NewClient(options)
	t.Cleanup(func() { c.Close() })
	return c
}

// open returns a Limiter on the tests' Redis.
func open(t testing.TB, cfg Config) *Limiter {
	t.Helper()
	cfg.Log = slog.New(slog.DiscardHandler)
	l := New(client(t, dbtest.Redis(t)), cfg)
	t.Cleanup(l.Close)
	return l
}

// key returns one that no other test has.
func key(name string) string { return Key(name, uuid.NewString()) }

// random returns a source of numbers whose seed is told.
func random(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// history replays decisions at times of its own choice, and keeps what was let
// through.
type history struct {
	passed []event
}

type event struct{ at, units int64 }

// most is the largest excess of any stretch of time over what a quota lets through
// in it.
func (h *history) most(q Quota) (excess int64) {
	for i, first := range h.passed {
		sum := int64(0)
		for _, e := range h.passed[i:] {
			sum += e.units
			excess = max(excess, sum-q.Units-(e.at-first.at)/q.interval())
		}
	}
	return excess
}

// The property that the algorithm is for, and that script and memory agree on: in no
// stretch of time more than the burst and what has come back in it; and what may
// pass does.
func TestNeverMoreThanBurstAndRate(t *testing.T) {
	t.Parallel()
	r := random(t)
	l := open(t, Config{Timeout: patient})
	now := int64(1_800_000_000_000_000)
	l.now, l.slack = func() int64 { return now }, 600_000
	for range 25 {
		q := Quota{1 + r.Int64N(20), time.Duration(1+r.Int64N(60)) * time.Second}
		memory := newLocal()
		k := key("property")
		h := new(history)
		for range 120 {
			now += r.Int64N(2 * q.interval())
			if r.IntN(20) == 0 {
				now += r.Int64N(2 * q.Window.Microseconds())
			}
			charge := Take(k, q, 1+r.Int64N(3))
			got, err := l.call([]*question{{charges: []Charge{charge}}})
			if err != nil {
				t.Fatal(err)
			}
			if want := memory.decide([]Charge{charge}, now); got[0] != want {
				t.Fatalf("quota %v, %d units: Redis decides %+v, memory %+v", q, charge.Need, got[0], want)
			}
			if got[0].Allowed {
				h.passed = append(h.passed, event{now, charge.Need})
			} else { // exactly then, and not a microsecond before
				early := now + got[0].Wait.Microseconds() - 1
				if v := memory.decide([]Charge{{charge.Key, q, charge.Need, 0}}, early); v.Allowed {
					t.Fatalf("quota %v: it would have passed before the wait of %v was over", q, got[0].Wait)
				}
				if v := memory.decide([]Charge{{charge.Key, q, charge.Need, 0}}, early+1); !v.Allowed {
					t.Fatalf("quota %v: it does not pass after the wait of %v", q, got[0].Wait)
				}
			}
		}
		if excess := h.most(q); excess > 0 {
			t.Errorf("quota %v: %d units too many in some stretch of time", q, excess)
		}
		if len(h.passed) == 0 {
			t.Errorf("quota %v: nothing passed", q)
		}
	}
}

// Script and memory agree on groups of charges too: all or none, whatever is looked
// at, booked and given back.
func TestScriptAndMemoryAgree(t *testing.T) {
	t.Parallel()
	r := random(t)
	l := open(t, Config{Timeout: patient})
	now := int64(1_800_000_000_000_000)
	l.now, l.slack = func() int64 { return now }, 600_000
	memory := newLocal()
	keys := make([]string, 5)
	quotas := make([]Quota, len(keys))
	for i := range keys {
		keys[i], quotas[i] = key("agree"), Quota{1 + r.Int64N(10), time.Duration(1+r.Int64N(10)) * time.Second}
	}
	make1 := []func(string, Quota, int64) Charge{Take, Take, Take, Book, GiveBack, func(k string, q Quota, _ int64) Charge { return Look(k, q) }}
	refused, allowed := 0, 0
	for range 400 {
		now += r.Int64N(1_000_000)
		var batch []*question
		var want []Verdict
		for range 1 + r.IntN(4) {
			var charges []Charge
			for _, i := range r.Perm(len(keys))[:1+r.IntN(3)] {
				charges = append(charges, make1[r.IntN(len(make1))](keys[i], quotas[i], 1+r.Int64N(4)))
			}
			batch = append(batch, &question{charges: charges})
			v := memory.decide(charges, now)
			want = append(want, v)
			if v.Allowed {
				allowed++
			} else {
				refused++
			}
		}
		got, err := l.call(batch)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("at %d (-memory +Redis):\n%s", now, diff)
		}
	}
	if refused < 20 || allowed < 20 {
		t.Errorf("%d refused and %d allowed: this compared too little", refused, allowed)
	}
}

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

// What was refused is refused from memory for a second at most, and not longer than
// it has to be.
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

// A quota lower than what something costs is passed all the same, once it is full:
// no setting closes the shop.
func TestNoQuotaIsTooLow(t *testing.T) {
	t.Parallel()
	memory := newLocal()
	q := Quota{3, time.Minute}
	if v := memory.decide([]Charge{Take("low", q, 10)}, 1); !v.Allowed {
		t.Errorf("10 units of 3: got %+v, want to pass", v)
	}
	if v := memory.decide([]Charge{Take("low", q, 1)}, 2); v.Allowed {
		t.Errorf("after all units are gone: got %+v", v)
	}
	if v := memory.decide([]Charge{Take("low", q, 10)}, 1+time.Minute.Microseconds()); !v.Allowed {
		t.Errorf("a minute later: got %+v, want to pass again", v)
	}
}

// Debts end: what was booked keeps a key waiting for a window at most.
func TestDebtIsBounded(t *testing.T) {
	t.Parallel()
	memory := newLocal()
	q := Quota{5, time.Minute}
	for range 1000 {
		memory.decide([]Charge{Book("debt", q, 1)}, 1)
	}
	v := memory.decide([]Charge{Look("debt", q)}, 1)
	if most := time.Minute + time.Duration(q.interval())*time.Microsecond; v.Allowed || v.Wait > most {
		t.Errorf("got %+v, want to wait for %v at most", v, most)
	}
	// What is given back can't make more than there is.
	memory.decide([]Charge{GiveBack("rich", q, 5)}, 1)
	if v := memory.decide([]Charge{Take("rich", q, 5)}, 1); !v.Allowed || v.Remaining != 0 {
		t.Errorf("got %+v, want to pass, with nothing left", v)
	}
}

// The units of unlimited quotas are nobody's business, and the others keep their places.
func TestUnlimited(t *testing.T) {
	t.Parallel()
	l := open(t, Config{Timeout: patient})
	off, err := ParseQuota("off")
	if err != nil {
		t.Fatal(err)
	}
	if v := l.Decide(Take(key("off"), off, 1)); !v.Allowed || l.Stats().Trips != 0 {
		t.Errorf("got %+v after %d calls, want none", v, l.Stats().Trips)
	}
	k := key("on")
	on := func() Verdict { return l.Decide(Take(key("off"), off, 7), Take(k, Quota{1, time.Hour}, 1)) }
	if v := on(); !v.Allowed || v.Charge != 1 {
		t.Errorf("got %+v, want the second to have decided", v)
	}
	if v := on(); v.Allowed || v.Charge != 1 {
		t.Errorf("got %+v, want to be refused by the second", v)
	}
}

func TestParseQuota(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Quota{
		"30/1m": {30, time.Minute}, "1/1s": {1, time.Second}, "10/15m": {10, 15 * time.Minute}, "5/1h": {5, time.Hour},
		"7/1m30s": {7, 90 * time.Second}, "3/1h1m": {3, 61 * time.Minute}, "off": {},
	} {
		got, err := ParseQuota(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "30", "30/", "/1m", "0/1m", "-1/1m", "1/0s", "1/-1m", "1/1ms", "1000001/1m", "1/1000h", "1/m", "x/1m", "1/1m/1m", "Off", " 1/1m"} {
		if got, err := ParseQuota(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
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

// frozen is a Redis that accepts connections and never says a word.
func frozen(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return "redis://" + listener.Addr().String()
}

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

// Whatever Redis says, and however often it goes, nobody is refused for it: with a
// fresh key each time, all pass.
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

// liar is a Redis that answers everything with the same.
func liar(t *testing.T, reply string) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buf := make([]byte, 4096)
				for {
					if _, err := conn.Read(buf); err != nil || reply == "" {
						return
					}
					fmt.Fprint(conn, reply)
				}
			}()
		}
	}()
	return "redis://" + listener.Addr().String()
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
