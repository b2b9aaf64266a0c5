package supervisor

import (
	"fmt"
	"slices"
	"time"
)

// Step takes in an event and returns what to do, in order. The returned slice is valid until the next Step.
func (s *State) Step(now time.Duration, e Event) []Action {
	s.actions = s.actions[:0]
	if s.Ended {
		return nil
	}
	wake := s.Next()
	s.Now = max(s.Now, now)
	if late := s.Now - wake; late >= s.Config.AwayLimit {
		s.away(late)
	}
	switch e := e.(type) {
	case Begin, Tick:
	case Forked:
		if p := s.Process(e.ID); p != nil {
			p.PID = e.PID
		}
	case ForkFailed:
		if p := s.Process(e.ID); p != nil {
			p.Why = e.Reason
			s.exited(Exited{ID: e.ID, Reason: e.Reason}, e.Shortage)
		}
	case ProcessReady:
		s.ready(e.ID)
	case Beat:
		s.beat(e)
	case Exited:
		s.exited(e, false)
	case Reload:
		s.reload(e)
	case Scale:
		s.scale(e)
	case Restart:
		s.restart(e)
	case Leave:
		s.leave(e)
	case Reset:
		s.reset()
	case AnswererStarted:
		s.Answerer.PID = e.PID
	case AnswererEnded:
		s.answererEnded(e.Reason)
	case Shutdown:
		s.shutdown()
	}
	s.limits()
	s.reconcile()
	return s.actions
}

// away forgives silence during a time in which the master itself did not run: stopped, swapped out, or on a machine that
// was. What the processes said meanwhile is still waiting to be read: everyone has AwayLimit at least to be heard.
func (s *State) away(late time.Duration) {
	for _, p := range s.Processes {
		p.LastBeat = s.Now
		p.Deadline = max(p.Deadline+late, s.Now+s.Config.AwayLimit)
	}
	s.progress()
	s.do(Note{Kind: NoteAway, Wait: late})
}

func (s *State) ready(id ID) {
	p := s.Process(id)
	if p == nil || p.Phase != Starting {
		return
	}
	p.Phase, p.WasReady, p.ReadyAt, p.LastBeat = Ready, true, s.Now, s.Now
	s.EverReady = true
	if p.Slot <= s.Target {
		s.Slots[p.Slot-1].Added = false
	}
	if p.Cure {
		s.CureNotBefore = s.Now + s.Config.HeartbeatTimeout
	}
	s.scaledOn()
	s.note(NoteReady, p, "")
	if s.baking(p) {
		s.do(about(p, Note{Kind: NoteBaking, Wait: s.Config.Bake}))
	}
}

// baking reports whether a process is the one that has to prove a release.
func (s *State) baking(p *Process) bool {
	return s.forward() && !s.Rollout.Baked && s.Plan != nil && s.Plan.New == p.ID
}

func (s *State) beat(e Beat) {
	p := s.Process(e.ID)
	if p == nil {
		return
	}
	wasTooLarge := s.tooLarge(p)
	p.LastBeat, p.Memory = s.Now, e.Memory
	s.health(p, e.Unhealthy)
	if !wasTooLarge {
		p.LargeAt = s.Now
	}
	if s.Plan != nil && s.Plan.New == p.ID && s.Plan.Asked {
		s.Plan.Answered = true
	}
	lags := e.Lag > s.Config.MaxLag
	if lags && !p.Lagged {
		s.do(about(p, Note{Kind: NoteLag, Wait: e.Lag}))
	}
	p.Lagged = lags
}

// exited takes a process out that was reaped, and tells a crash from an exit that was asked for (M3).
func (s *State) exited(e Exited, shortage bool) {
	p := s.Process(e.ID)
	if p == nil {
		return
	}
	s.Processes = slices.DeleteFunc(s.Processes, func(q *Process) bool { return q == p })
	if s.Plan != nil && s.Plan.New == p.ID {
		s.Plan = nil
	}
	if p.Phase == Leaving || p.Wanted || s.Stopping > 0 {
		s.note(NoteLeft, p, e.Reason)
		return
	}
	reason := s.tell(p, e.Reason)
	note := Note{Kind: NoteCrashed, Reason: reason}
	crash := &Crash{ID: p.ID, Slot: p.Slot, PID: p.PID, Release: p.Release, At: s.Now, Reason: reason}
	s.LastCrash = crash
	if p.Slot <= s.Target {
		s.Slots[p.Slot-1].Last = crash
	}
	s.orderFailed(p, reason)
	if s.forward() && p.Release == s.Rollout.Release {
		s.do(about(p, note))
		s.scaleFailed(p, reason)
		s.abort(reason, p.ID)
		return
	}
	if p.Slot <= s.Target && p.Release == s.fills() { // a slot waits to run again what has crashed there, and nothing else
		slot := &s.Slots[p.Slot-1]
		s.backoff(p)
		s.darkness() // which may shorten that
		note.Wait, note.Crashes = max(0, slot.NotBefore-s.Now), slot.Crashes
	}
	s.do(about(p, note))
	crash.Evidence = s.evidence(p, shortage, e.Outside && p.Phase != Killed)
	if crash.Evidence {
		s.crashed(p, reason)
	}
	s.scaleFailed(p, reason)
	if s.Rollout != nil && s.Rollout.Back && p.Release == s.Serving && !p.WasReady {
		s.answer(fmt.Sprintf("%s; the way back to the release before failed too: %s", s.Rollout.Reason, reason), s.Rollout.Culprit)
	}
}

// tell puts how a process ended into words.
func (s *State) tell(p *Process, reason string) string {
	switch {
	case p.Why != "":
		return p.Why
	case !p.WasReady:
		return reason + " before it was ready"
	default:
		return fmt.Sprintf("%s %v after it was ready", reason, (s.Now - p.ReadyAt).Round(10*time.Millisecond))
	}
}

func (s *State) reload(e Reload) {
	if s.Stopping > 0 {
		s.do(Verdict{Ticket: e.Ticket, Reason: "the master is shutting down", End: ShutDown})
		s.do(Retire{Release: e.Release})
		return
	}
	tickets := []Ticket{e.Ticket}
	if e.Same && s.forward() { // asked for twice: the second one is done in full, and answers the first
		tickets = append(s.Rollout.Tickets, e.Ticket)
	} else {
		s.cutShort("a newer reload took its place", Superseded)
	}
	s.giveUp()
	s.dropOrders("a newer reload took its place", Superseded)
	s.breaker(e.Release)
	s.Rollout = &Rollout{Tickets: tickets, Release: e.Release, Progress: s.Now}
	s.do(Note{Kind: NoteRollout, Release: e.Release})
}

// giveUp ends the planned exit under way: the old process stays. A replacement that serves already is surplus now, and
// leaves when it can be spared; in a slot that has no other it stays.
func (s *State) giveUp() {
	if s.Plan == nil {
		return
	}
	if p := s.Process(s.Plan.New); p != nil && p.Phase == Starting {
		s.kill(p, true, "")
	}
	s.Plan = nil
}

func (s *State) shutdown() {
	s.Stopping++
	if s.Stopping == 1 {
		s.do(Note{Kind: NoteShutdown})
		s.cutShort("the master is shutting down", ShutDown)
		s.Plan, s.Rollout = nil, nil
		s.endScale("the master is shutting down", 0, ShutDown)
		s.dropOrders("the master is shutting down", ShutDown)
		for _, p := range s.Processes {
			s.drain(p, s.Config.ShutdownDelay, "the end of the master")
		}
		return
	}
	s.do(Note{Kind: NoteShutdownNow})
	if s.Stopping > 2 {
		s.killAnswerer()
	}
	for _, p := range s.Processes {
		switch {
		case s.Stopping > 2:
			s.kill(p, true, "")
		case p.Phase == Leaving:
			p.Deadline = min(p.Deadline, s.Now+s.Config.HurryTimeout)
			s.do(Hurry{ID: p.ID})
		}
	}
}
