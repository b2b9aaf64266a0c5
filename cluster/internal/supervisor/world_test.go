package supervisor_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	. "doorbuster/cluster/internal/supervisor"
)

// chooser decides everything that happens in a world: the same choices make the same world. Where it has nothing more to
// say, and by the smallest number, all is well and happens at once.
type chooser interface {
	pick(n int) int // 0 to n-1
}

// happening is an event under way to the master.
type happening struct {
	at    time.Duration
	id    ID // of the process that it is about; 0: none
	event Event
	then  func() // instead of an event
	extra bool   // a heartbeat that was asked for

	answerer int // of the answerer with that number; 0: of a process
}

// world is processes that do what they want, operators who do too, and clocks.
type world struct {
	choose   chooser
	s        *State
	now      time.Duration
	pending  []happening // by time; what comes first happens first
	actors   map[ID]*actor
	releases map[Release]nature
	newest   Release
	ticket   Ticket
	standing int // answerers so far; the last one may be up
	calm     bool
	check    *checker
	record   []moment
}

// moment is one step as it was.
type moment struct {
	now     time.Duration
	event   Event
	actions []Action
}

const (
	maxTarget  = 8
	unkillable = 120 * second // at most
)

func newWorld(choose chooser) *world {
	cfg := defaults(1 + choose.pick(4))
	cfg.AnswerAfter, cfg.AnswerTimeout = 250*time.Millisecond, 2*second
	cfg.Bake = time.Duration(choose.pick(4)) * 5 * second
	cfg.ShutdownDelay = time.Duration(choose.pick(2)) * 3 * second
	cfg.BreakerCrashes = 5 - choose.pick(3)
	cfg.MaxMemory *= int64(1 - choose.pick(8)/7)
	cfg.Seed = uint64(choose.pick(256))
	w := &world{
		choose: choose, actors: map[ID]*actor{}, releases: map[Release]nature{1: healthy}, newest: 1, s: New(cfg, 1, 0),
	}
	if choose.pick(4) == 3 {
		w.releases[1] = w.nature()
	}
	w.check = newChecker(w.s)
	return w
}

// span is a time up to d; often it is a round one, so that things coincide.
func (w *world) span(d time.Duration) time.Duration {
	return d * time.Duration(w.choose.pick(61)) / 60
}

func (w *world) nature() nature { return nature(w.choose.pick(int(mixed) + 1)) }

func (w *world) later(d time.Duration, id ID, e Event) {
	w.enqueue(happening{at: w.now + d, id: id, event: e})
}

func (w *world) enqueue(h happening) {
	i, _ := slices.BinarySearchFunc(w.pending, h.at+1, func(h happening, at time.Duration) int { return int(h.at - at) })
	w.pending = slices.Insert(w.pending, i, h)
}

// run lets the world live for a while, in turns of the operator; then all is well, and in the end it is shut down, unless
// it was already.
func (w *world) run() error {
	if err := w.step(Begin{}); err != nil {
		return err
	}
	for range 4 + w.choose.pick(24) {
		if w.s.Ended {
			return nil
		}
		if err := w.turn(); err != nil {
			return err
		}
	}
	w.heal()
	if err := w.settle(); err != nil || w.s.Ended {
		return err
	}
	if err := w.step(Shutdown{}); err != nil {
		return err
	}
	for end := w.now + endsWithin(&w.s.Config); !w.s.Ended; {
		if w.now > end+unkillable {
			return w.check.failf("the master does not end")
		}
		if err := w.next(end + unkillable + 1); err != nil {
			return err
		}
	}
	return nil
}

// turn is something the operator or the machine does, and some time after it.
func (w *world) turn() error {
	var err error
	switch w.choose.pick(18) {
	case 0, 1, 2, 3:
	case 4, 5, 6:
		quality := healthy
		if w.choose.pick(2) == 1 {
			quality = w.nature()
		}
		err = w.reload(quality, false)
	case 7:
		err = w.reload(healthy, w.check.rollout())
	case 8, 9, 10:
		e := Scale{Workers: 1 + w.choose.pick(maxTarget)}
		if w.choose.pick(2) == 1 {
			w.ticket++
			e.Ticket = w.ticket
		}
		err = w.step(e)
	case 11: // the master is stopped, for a moment or much longer
		w.now += w.span([]time.Duration{second, 10 * second, 60 * second, time.Hour}[w.choose.pick(4)])
		if w.choose.pick(2) == 1 {
			err = w.step(Tick{})
		}
	case 12: // a reading of the clock that goes backwards
		real := w.now
		w.now = max(0, w.now-w.span(60*second))
		err = w.step(Tick{})
		w.now = real
	case 13:
		if w.choose.pick(4) == 3 {
			err = w.step(Shutdown{})
		}
	case 14, 15:
		w.ticket++
		err = w.step(Restart{Ticket: w.ticket, Slot: w.choose.pick(w.s.Target + 2)})
	case 16:
		w.ticket++
		err = w.step(Leave{Ticket: w.ticket, Slot: 1 + w.choose.pick(w.s.Target)})
	case 17: // everybody at once
		for _, p := range slices.Clone(w.s.Processes) {
			if a := w.actors[p.ID]; a != nil && p.Phase == Ready {
				w.later(0, p.ID, Exited{ID: p.ID, Reason: "exited with code 3", Outside: w.choose.pick(2) == 1})
			}
		}
		if w.choose.pick(4) == 3 {
			err = w.step(Reset{})
		}
	}
	if err != nil {
		return err
	}
	return w.until(w.now + w.span([]time.Duration{0, second, 10 * second, 60 * second, 300 * second}[w.choose.pick(5)]))
}

func (w *world) reload(quality nature, same bool) error {
	w.newest++
	w.ticket++
	w.releases[w.newest] = quality
	return w.step(Reload{Ticket: w.ticket, Release: w.newest, Same: same})
}

// heal makes everything well from now on. What is silent, late, large or won't leave is still the master's to find.
func (w *world) heal() {
	w.calm = true
	w.pending = slices.DeleteFunc(w.pending, func(h happening) bool {
		a := w.actors[h.id]
		if _, ends := h.event.(Exited); ends {
			return a != nil && !a.killed && !a.told // it does not crash
		}
		return h.then != nil
	})
	for _, a := range w.actors {
		if a.nature == moody {
			a.unhealthy = ""
		}
	}
}

// settle waits until nothing is left to do, and sees that it stays so.
func (w *world) settle() error {
	if err := w.step(Tick{}); err != nil { // whatever is due
		return err
	}
	for end := w.now + settlesWithin(&w.s.Config); !w.s.Ended && !w.settled(); {
		if w.now > end {
			return w.check.failf("does not settle: %s", picture(w.s))
		}
		if err := w.next(end + 1); err != nil {
			return err
		}
	}
	for r := range w.releases {
		if w.check.retired[r] == (r == w.s.Serving) && !w.s.Ended {
			return w.check.failf("release %d is not retired", r)
		}
	}
	calm := len(w.record)
	if err := w.until(w.now + 100*second); err != nil {
		return err
	}
	for _, m := range w.record[calm:] {
		for _, a := range m.actions {
			if n, ok := a.(Note); !ok || n.Kind != NoteLag && n.Kind != NoteClosed {
				return w.check.failf("does something for no reason: %s", words(a))
			}
		}
	}
	return nil
}

func (w *world) settled() bool {
	s := w.s
	if s.Stopping > 0 || s.Plan != nil || s.Rollout != nil || s.Scaling != nil || len(s.Orders) > 0 || s.Answerer.Up || s.Ready() != s.Target || len(s.Processes) != s.Target {
		return false
	}
	slots := map[int]bool{}
	for _, p := range s.Processes {
		slots[p.Slot] = true
	}
	if len(slots) != s.Target {
		return false // two share one, and one is empty
	}
	for _, a := range w.actors {
		if a.mute || a.unhealthy != "" || s.Process(a.id).Unhealthy != "" || s.Process(a.id).Slot > s.Target || s.Config.MaxMemory > 0 && a.memory > s.Config.MaxMemory {
			return false
		}
	}
	return true
}

// until lets the world run up to a moment.
func (w *world) until(end time.Duration) error {
	for !w.s.Ended && w.now < end {
		if err := w.next(end); err != nil {
			return err
		}
	}
	return nil
}

// next lets the next thing happen, or time pass up to a moment.
func (w *world) next(end time.Duration) error {
	tick := w.s.Next()
	if len(w.pending) > 0 && w.pending[0].at <= min(tick, end) {
		h := w.pending[0]
		w.pending = w.pending[1:]
		w.now = max(w.now, h.at)
		switch {
		case h.then != nil:
			h.then()
			return nil
		case h.answerer != 0:
			if h.answerer != w.standing || !w.s.Answerer.Up {
				return nil // it has ended before
			}
			return w.step(h.event)
		}
		return w.happen(h)
	}
	if tick > end {
		w.now = max(w.now, end)
		return nil
	}
	w.now = max(w.now, tick)
	return w.step(Tick{})
}

func (w *world) happen(h happening) error {
	a := w.actors[h.id]
	if a == nil {
		return nil
	}
	switch e := h.event.(type) {
	case Exited, ForkFailed:
		delete(w.actors, h.id)
	case Beat:
		if a.mute || w.s.Process(h.id) == nil {
			return nil
		}
		if !h.extra {
			w.later(20*second, h.id, e)
		}
		if a.nature == moody && !w.calm {
			a.unhealthy = []string{"", "moody"}[w.choose.pick(2)]
		}
		e.Unhealthy, e.Memory, e.Lag = a.unhealthy, a.memory, time.Duration(w.choose.pick(32)/31)*2*second
		h.event = e
	}
	return w.step(h.event)
}

// step hands an event to the master, and does what it says.
func (w *world) step(e Event) error {
	m := moment{now: w.now, event: e}
	w.check.before(w.now, e)
	m.actions = slices.Clone(w.s.Step(w.now, e))
	w.record = append(w.record, m)
	if err := w.check.after(m.actions); err != nil {
		return err
	}
	for _, action := range m.actions {
		switch action := action.(type) {
		case Fork:
			w.fork(action)
		case Drain:
			w.drain(w.actors[action.ID], action.Delay)
		case Hurry:
			if a := w.actors[action.ID]; a != nil && !a.mute && a.nature != stubborn {
				w.later(w.span(2*second), a.id, Exited{ID: a.id, Reason: "exited with code 1"})
			}
		case Kill:
			if a := w.actors[action.ID]; a != nil {
				a.killed = true
				w.later(a.unkillable, a.id, Exited{ID: a.id, Reason: "killed by SIGKILL"})
			}
		case Stand:
			w.stand()
		case StandDown:
			w.answererEnds(w.span(4 * second))
		case StandKill:
			w.answererEnds(w.span(second / 2))
		case Ask:
			w.enqueue(happening{at: w.now + w.span(second), id: action.ID, event: Beat{ID: action.ID}, extra: true})
		}
	}
	return nil
}

// story is the end of what has happened, to be read.
func (w *world) story() string {
	var b strings.Builder
	last := slices.DeleteFunc(slices.Clone(w.record), func(m moment) bool {
		_, beat := m.event.(Beat)
		return beat && len(m.actions) == 0
	})
	for _, m := range last[max(0, len(last)-60):] {
		fmt.Fprintf(&b, "%12v  %T%v", m.now, m.event, m.event)
		for _, a := range m.actions {
			fmt.Fprintf(&b, " · %s", words(a))
		}
		b.WriteByte('\n')
	}
	return strings.ReplaceAll(b.String(), "supervisor.", "") + picture(w.s)
}

// live runs a world and holds it against what must be true of any.
func (w *world) live() error {
	if err := w.run(); err != nil {
		return err
	}
	return w.replay()
}
