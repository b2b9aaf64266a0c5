package supervisor_test

import (
	"fmt"
	"time"

	. "doorbuster/cluster/internal/supervisor"
)

// nature is what is wrong with a process.
type nature int

const (
	healthy nature = iota
	neverReady
	crashesEarly
	crashesLate
	crashesAtOnce // right after it was ready
	silent        // after a while
	stubborn      // does not leave
	grows
	large // from the start
	noFile
	sick  // after a while, for ever
	moody // now and then
	mixed // a release only: each of its processes has a nature of its own
)

// actor is a process of the world.
type actor struct {
	id         ID
	nature     nature
	unkillable time.Duration
	mute       bool
	told       bool // to leave
	killed     bool
	memory     int64
	unhealthy  string
}

// stand starts an answerer, which may be no better than a process.
func (w *world) stand() {
	w.standing++
	if w.choose.pick(4) == 3 {
		w.answererEnds(w.span(10 * second))
	}
	if w.choose.pick(4) != 3 {
		w.enqueue(happening{at: w.now, answerer: w.standing, event: AnswererStarted{PID: 99}})
	}
}

func (w *world) answererEnds(d time.Duration) {
	w.enqueue(happening{at: w.now + d, answerer: w.standing, event: AnswererEnded{Reason: "exited with code 0"}})
}

func (w *world) fork(f Fork) {
	a := &actor{id: f.ID, nature: w.releases[f.Release]}
	if a.nature == mixed || w.choose.pick(16) == 15 {
		a.nature = w.nature()
	}
	if w.choose.pick(8) == 7 {
		a.unkillable = w.span(unkillable)
	}
	if w.calm {
		a.nature, a.unkillable = healthy, 0
	}
	w.actors[a.id] = a
	if a.nature == noFile {
		w.later(w.span(second), a.id, ForkFailed{ID: a.id, Reason: "could not be started", Shortage: w.choose.pick(2) == 1})
		return
	}
	w.later(0, a.id, Forked{ID: a.id, PID: 1000 + int(a.id)})
	ready := w.span(6 * second)
	crash := Exited{ID: a.id, Reason: "exited with code " + fmt.Sprint(w.choose.pick(2)), Outside: w.choose.pick(8) == 7}
	switch a.nature {
	case neverReady:
		return
	case crashesEarly:
		w.later(ready, a.id, crash)
		return
	case crashesAtOnce:
		w.later(ready+w.span(second), a.id, crash)
	case crashesLate:
		w.later(ready+w.span(120*second), a.id, crash)
	case silent:
		w.enqueue(happening{at: w.now + ready + w.span(60*second), then: func() { a.mute = true }})
	case grows:
		w.enqueue(happening{at: w.now + ready + w.span(60*second), then: func() { a.memory = 1 << 30 }})
	case large:
		a.memory = 1 << 30
	case sick:
		w.enqueue(happening{at: w.now + ready + w.span(60*second), then: func() { a.unhealthy = "sick" }})
	case healthy, stubborn, noFile, moody, mixed:
	}
	w.later(ready, a.id, ProcessReady{ID: a.id})
	w.later(ready+w.span(10*second), a.id, Beat{ID: a.id})
}

func (w *world) drain(a *actor, delay time.Duration) {
	if a == nil {
		return
	}
	a.told = true
	if !a.mute && a.nature != stubborn {
		w.later(delay+w.span(10*second), a.id, Exited{ID: a.id, Reason: "exited with code 0"})
	}
}
