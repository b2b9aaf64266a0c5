package supervisor

import (
	"fmt"
	"slices"
	"time"
)

// Scaling is a Scale with a ticket that is under way.
type Scaling struct {
	Ticket   Ticket
	From     int // the target before
	Goal     int
	Progress time.Duration // when something last went forward
}

func (s *State) scale(e Scale) {
	workers := max(e.Workers, 1)
	if s.Stopping > 0 {
		s.tellTicket(e.Ticket, Verdict{Reason: "the master is shutting down", End: ShutDown})
		return
	}
	from := s.Target
	if sc := s.Scaling; sc != nil && sc.Goal > sc.From {
		from = sc.From // what that one has added still has to prove itself
	}
	s.endScale("a newer scale took its place", 0, Superseded)
	switch b := s.breaker(s.fills()); {
	case e.Ticket == 0:
		s.resize(workers)
	case workers > s.Target && b.Open:
		s.tellTicket(e.Ticket, Verdict{
			Reason: "no worker can be added while the release crashes: " + b.Reason + "; reload another one, or reset the breaker", Culprit: b.Culprit,
		})
	default:
		s.Scaling = &Scaling{Ticket: e.Ticket, From: from, Goal: workers, Progress: s.Now}
		s.resize(min(workers, s.Target))
	}
}

// resize sets the target now.
func (s *State) resize(workers int) {
	if workers == s.Target {
		return
	}
	s.Target = workers
	for len(s.Slots) < workers {
		s.Slots = append(s.Slots, Slot{Added: true})
	}
	s.Slots = s.Slots[:workers]
	s.progress()
	s.do(Note{Kind: NoteScaled})
}

// atOnce is how many slots that were added may be without a process that is ready:
// four, or a quarter of the target before.
func (sc *Scaling) atOnce() int { return max(4, (sc.From+3)/4) }

// scaleOn takes a Scale under way a step further, and judges it.
func (s *State) scaleOn() {
	sc := s.Scaling
	if sc == nil {
		return
	}
	missing, target := 0, sc.From
	for ; target < sc.Goal && (target < s.Target || missing < sc.atOnce()); target++ {
		if s.readyIn(target+1) == nil {
			missing++
		}
	}
	s.resize(min(target, sc.Goal))
	surplus := slices.ContainsFunc(s.Processes, func(p *Process) bool { return p.Slot > s.Target && p.Phase != Killed })
	switch {
	case s.Target == sc.Goal && !surplus && (sc.Goal < sc.From || s.complete()):
		s.endScale("", 0, NoEnd)
	case s.Now >= sc.Progress+s.progressLimit():
		s.scaleBack(fmt.Sprintf("stood still for %v: it waited for ready workers, or for some to leave", s.progressLimit()), 0)
	}
}

// Goal is how many processes there should be when a Scale under way has succeeded,
// and else the target.
func (s *State) Goal() int {
	if s.Scaling != nil {
		return max(s.Target, s.Scaling.Goal)
	}
	return s.Target
}

// complete reports whether somebody is ready in each slot.
func (s *State) complete() bool {
	for i := range s.Slots {
		if s.readyIn(i+1) == nil {
			return false
		}
	}
	return true
}

// readyIn returns the process that serves in a slot, the oldest if there are two;
// nil if there is none.
func (s *State) readyIn(slot int) *Process {
	for _, p := range s.Processes {
		if p.Slot == slot && p.Phase == Ready {
			return p
		}
	}
	return nil
}

// scaleFailed ends a Scale whose additional process has crashed.
func (s *State) scaleFailed(p *Process, reason string) {
	if sc := s.Scaling; sc != nil && p.Slot > sc.From && p.Slot <= s.Target {
		s.scaleBack(reason, p.ID)
	}
}

// scaleBack ends a Scale that has failed: the target goes back to the last slot
// up to which somebody is ready in all that were added. Slots have no gaps, so
// who is ready beyond leaves again.
func (s *State) scaleBack(reason string, culprit ID) {
	sc := s.Scaling
	reached := s.Target
	if sc.Goal >= sc.From {
		for reached = sc.From; reached < s.Target && s.readyIn(reached+1) != nil; {
			reached++
		}
	}
	s.do(Note{Kind: NoteScaleFailed, Reason: reason})
	s.endScale(fmt.Sprintf("%s; the target is %d now, and not %d", reason, reached, sc.Goal), culprit, NoEnd)
	s.resize(reached)
}

func (s *State) endScale(reason string, culprit ID, end End) {
	if s.Scaling != nil {
		s.tellTicket(s.Scaling.Ticket, Verdict{Reason: reason, Culprit: culprit, End: end})
		s.Scaling = nil
	}
}

// tellTicket gives a verdict to whoever has the ticket.
func (s *State) tellTicket(t Ticket, v Verdict) {
	if t != 0 {
		v.Ticket = t
		s.do(v)
	}
}
