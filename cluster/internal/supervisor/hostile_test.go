package supervisor_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	. "doorbuster/cluster/internal/supervisor"
)

// hostile is a cluster of a release that can serve: whoever is started is ready
// after spawn, unless somebody ends it. The choices are those of somebody who wants
// to see nobody ready for as long as possible, and may end whom he likes when he
// likes. What the kernel is told to kill is gone at once.
type hostile struct {
	choose  chooser
	s       *State
	now     time.Duration
	bad     map[Release]nature
	newest  Release
	pending []happening
	since   time.Duration // nobody is ready, or somebody ended who was to be; -1: somebody is ready
	stands  bool
	record  []moment
}

const (
	spawn     = 3 * second
	darkLimit = spawn + 2*second
)

func newHostile(choose chooser) *hostile {
	cfg := defaults(1 + choose.pick(6))
	cfg.AnswerAfter, cfg.AnswerTimeout = 250*time.Millisecond, 2*second
	cfg.Seed = uint64(choose.pick(256))
	return &hostile{choose: choose, s: New(cfg, 1, 0), bad: map[Release]nature{}, newest: 1, since: -1}
}

func (h *hostile) later(d time.Duration, e Event) {
	at := h.now + d
	i, _ := slices.BinarySearchFunc(h.pending, at+1, func(p happening, at time.Duration) int { return int(p.at - at) })
	h.pending = slices.Insert(h.pending, i, happening{at: at, event: e})
}

// run lets somebody be hostile for a while, and returns what was wrong.
func (h *hostile) run() error {
	err := h.step(Begin{})
	for range 4 + h.choose.pick(40) {
		if err == nil {
			err = h.until(h.now + []time.Duration{0, 250 * time.Millisecond, second, spawn, 10 * second, 45 * second}[h.choose.pick(6)])
		}
		if err == nil && h.s.EverReady {
			err = h.strike()
		}
	}
	return err
}

// strike ends some, or makes the operator do what may help.
func (h *hostile) strike() error {
	end := func(p *Process) error {
		reason := []string{"exited with code 0", "exited with code 3", "crashed by SIGSEGV"}[h.choose.pick(3)]
		return h.step(Exited{ID: p.ID, Reason: reason, Outside: h.choose.pick(2) == 1})
	}
	switch what := h.choose.pick(10); what {
	case 0, 1, 2, 3, 4: // one of them; those that serve; all
		for _, p := range slices.Clone(h.s.Processes) {
			if what < 2 && h.choose.pick(3) > 0 || what == 4 && p.Phase != Ready || h.s.Process(p.ID) == nil {
				continue
			}
			if err := end(p); err != nil {
				return err
			}
		}
	case 5, 6:
		h.newest++
		h.bad[h.newest] = []nature{healthy, neverReady, crashesEarly, crashesAtOnce}[h.choose.pick(4)]
		return h.step(Reload{Ticket: Ticket(h.newest), Release: h.newest})
	case 7:
		return h.step(Scale{Workers: 1 + h.choose.pick(8)})
	case 8:
		return h.step(Scale{Ticket: 1000, Workers: 1 + h.choose.pick(8)})
	case 9:
		return h.step([]Event{Restart{Slot: 1}, Leave{Slot: 1}, Reset{}}[h.choose.pick(3)])
	}
	return nil
}

func (h *hostile) until(end time.Duration) error {
	for h.now < end {
		next := min(end, h.s.Next())
		if len(h.pending) > 0 && h.pending[0].at <= next {
			e := h.pending[0]
			h.pending = h.pending[1:]
			h.now = max(h.now, e.at)
			if err := h.step(e.event); err != nil {
				return err
			}
			continue
		}
		h.now = max(h.now, next)
		if err := h.step(Tick{}); err != nil {
			return err
		}
	}
	return nil
}

func (h *hostile) step(e Event) error {
	switch e := e.(type) {
	case Beat:
		if h.s.Process(e.ID) != nil {
			h.later(10*second, e)
		}
	case Exited, Scale: // not even the operator wants to kill the only one that starts
		if h.since >= 0 {
			h.since = h.now
		}
	}
	m := moment{now: h.now, event: e, actions: slices.Clone(h.s.Step(h.now, e))}
	h.record = append(h.record, m)
	for _, a := range m.actions {
		switch a := a.(type) {
		case Fork:
			h.fork(a)
		case Kill:
			h.later(0, Exited{ID: a.ID, Reason: "killed by SIGKILL"})
		case Drain:
			h.later(spawn, Exited{ID: a.ID, Reason: "exited with code 0"})
		case Ask:
			h.later(0, Beat{ID: a.ID})
		case Stand:
			h.stands = true
		case StandDown:
			h.later(2*second-1, AnswererEnded{})
		}
		if _, ended := e.(AnswererEnded); ended {
			h.stands = false
		}
	}
	return h.judge()
}

func (h *hostile) fork(f Fork) {
	crash := Exited{ID: f.ID, Reason: "exited with code 1"}
	switch h.bad[f.Release] { //nolint:exhaustive // the others are not chosen here
	case neverReady:
		return
	case crashesEarly:
		h.later(second, crash)
		return
	case crashesAtOnce:
		h.later(spawn+second, crash)
	}
	h.later(spawn, ProcessReady{ID: f.ID})
	h.later(spawn, Beat{ID: f.ID})
}

func (h *hostile) judge() error {
	s := h.s
	switch {
	case !s.EverReady || s.Ready() > 0:
		h.since = -1
	case h.since < 0:
		h.since = h.now
	case h.now > h.since+darkLimit:
		return fmt.Errorf("nobody is ready for %v", h.now-h.since)
	}
	children := 0
	for _, p := range s.Processes {
		if p.Phase != Leaving && p.Slot <= s.Target && (p.Phase != Killed || !p.Wanted) {
			children++
		}
	}
	if s.Answerer.Up {
		children++
	}
	if children > s.Target+1 {
		return fmt.Errorf("there are %d children", children)
	}
	return nil
}

func (h *hostile) story() string { return (&world{s: h.s, record: h.record}).story() }

// doc.go, In the dark: whatever crashes how and when, of a release that can serve
// somebody is ready again within the time that a process takes to be ready and two
// seconds, and there never are more than target + 1 processes.
func TestNobodyReadyIsBounded(t *testing.T) {
	t.Parallel()
	longest, dark := time.Duration(0), 0
	for seed := range 2 * *worlds {
		h := newHostile(randomly{rand.New(rand.NewPCG(uint64(seed), 1))})
		if err := h.run(); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, h.story())
		}
		for _, m := range h.record {
			for _, a := range m.actions {
				if n, ok := a.(Note); ok && n.Kind == NoteAnswering {
					dark++
				}
			}
		}
		longest = max(longest, h.now)
	}
	if dark == 0 {
		t.Error("it never was dark: the test tests nothing")
	}
	t.Logf("%d times dark, in up to %v", dark, longest)
}

func FuzzNobodyReadyIsBounded(f *testing.F) {
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4096 {
			return
		}
		h := newHostile(&byBytes{data})
		if err := h.run(); err != nil {
			t.Fatalf("%v\n%s", err, h.story())
		}
	})
}
