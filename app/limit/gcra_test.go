package limit

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// history replays decisions at times of its own choice, and keeps what was let
// through.
type history struct {
	passed []event
}

type event struct{ at, units int64 }

// most is the largest excess of any stretch of time over what a quota lets
// through in it.
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

// The property that the algorithm is for, and that script and memory agree on:
// in no stretch of time more than the burst and what has come back in it; and
// what may pass does.
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
				if v := memory.decide([]Charge{{Key: charge.Key, Quota: q, Need: charge.Need}}, early); v.Allowed {
					t.Fatalf("quota %v: it would have passed before the wait of %v was over", q, got[0].Wait)
				}
				if v := memory.decide([]Charge{{Key: charge.Key, Quota: q, Need: charge.Need}}, early+1); !v.Allowed {
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

// Script and memory agree on groups of charges too: all or none, whatever is
// looked at, booked and given back.
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

// A quota lower than what something costs is passed all the same, once it is
// full: no setting closes the shop.
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
