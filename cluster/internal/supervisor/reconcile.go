package supervisor

import (
	"fmt"
	"slices"
)

// limits kills what is over a time limit.
func (s *State) limits() {
	for _, p := range s.Processes {
		switch {
		case p.Phase == Starting && s.Now >= p.Deadline:
			why := fmt.Sprintf("was not ready within %v", s.Config.ReadyTimeout)
			s.note(NoteLate, p, why)
			s.fail(p, why)
		case p.Phase == Ready && s.Now >= p.LastBeat+s.Config.HeartbeatTimeout:
			why := fmt.Sprintf("sent no heartbeat for %v", s.Config.HeartbeatTimeout)
			s.note(NoteSilent, p, why)
			s.fail(p, why)
		case p.Phase == Leaving && s.Now >= p.Deadline:
			why := "did not leave in time"
			s.note(NoteStuck, p, why)
			s.kill(p, true, why)
		}
	}
}

// fail kills a process for its own fault. When that ends a rollout, it does so now: the kernel may take its time.
func (s *State) fail(p *Process, why string) {
	ends := s.forward() && p.Release == s.Rollout.Release
	s.kill(p, ends, why)
	if ends {
		s.abort(why, p.ID)
	}
}

// reconcile brings what is closer to what should be, as far as the rules allow. One thing done may allow another: it goes
// on until nothing is left to do now, so that only an event or the time that [State.Next] tells changes anything.
func (s *State) reconcile() {
	s.darkness()
	if s.Stopping > 0 {
		s.answerer()
		if len(s.Processes) == 0 && !s.Answerer.Up {
			s.Ended = true
			s.do(Exit{})
		}
		return
	}
	for changed := true; changed; {
		done := len(s.actions)
		s.darkness()
		s.closeBreakers()
		s.advance()
		s.finish()
		s.scaleOn()
		s.judgeOrders()
		s.fill()
		s.squeeze()
		s.shrink()
		s.plan()
		s.retire()
		s.answerer()
		changed = len(s.actions) > done
	}
	s.hopeless()
}

// advance takes the planned exit under way a step further: once the replacement has proven itself, the old process leaves.
func (s *State) advance() {
	plan := s.Plan
	if plan == nil {
		return
	}
	p := s.Process(plan.New)
	if p.Phase != Ready || s.breaker(p.Release).Probe == p.ID || s.baking(p) && !s.baked(p) || plan.Cure && !s.cured(p) {
		return
	}
	if s.forward() && !s.Rollout.Baked {
		s.Rollout.Baked = true
		s.forgetCrashes() // they were of another release
	}
	old := s.Process(plan.Old)
	if old != nil && old.Phase == Ready && !s.spare() {
		return // another one is missing, or still on its way out: wait for it
	}
	s.Plan = nil
	s.progress()
	s.note(NoteReplaced, p, "")
	if old != nil {
		s.drain(old, 0, s.replacedFor(plan, old))
	}
}

// replacedFor says who wants a process to be replaced.
func (s *State) replacedFor(plan *Plan, old *Process) string {
	switch {
	case slices.ContainsFunc(s.Orders, func(o Order) bool { return o.ID == old.ID }):
		return "a restart of this worker, by command"
	case plan.Cure:
		return "its health"
	case plan.Recycle:
		return "its memory"
	case s.Rollout != nil && s.Rollout.Back:
		return "the way back to the release before"
	}
	return "a reload"
}

// baked tries the first replacement of a rollout, and reports whether it has proven itself: that it was healthy for long
// enough is its own word, given after that time.
func (s *State) baked(p *Process) bool {
	if s.tooLarge(p) {
		s.abort(s.size(p), p.ID)
		return false
	}
	if !s.Plan.Asked && s.Now >= p.ReadyAt+s.Config.Bake {
		s.Plan.Asked = true
		s.do(Ask{ID: p.ID})
	}
	if s.Plan.Answered && p.Unhealthy != "" {
		s.abort(sick(p), p.ID)
		return false
	}
	return s.Plan.Answered // or it is silent
}

func (s *State) tooLarge(p *Process) bool {
	return s.Config.MaxMemory > 0 && p.Memory > s.Config.MaxMemory
}

func (s *State) size(p *Process) string {
	return fmt.Sprintf("uses %d MB of memory, and the limit is %d MB", p.Memory>>20, s.Config.MaxMemory>>20)
}

// fill gives empty slots a process, when they have waited long enough.
func (s *State) fill() {
	for i := range s.Slots {
		if !s.covered(i+1) && s.mayFork(s.fills(), i+1) && s.makeRoom(1) {
			s.fork(i+1, s.fills())
		}
	}
}

// shrink lets those leave whose slot is no more, and the surplus.
func (s *State) shrink() {
	surplus, goal := s.surplus(), s.Goal()
	for _, p := range slices.Backward(s.Processes) {
		if p.Slot > goal && p.Phase == Starting || (p.Slot > goal || p == surplus) && p.Phase == Ready && s.spare() {
			reason := "another worker in its slot"
			if p.Slot > goal {
				reason = "a scale to fewer workers"
			}
			s.drain(p, 0, reason)
		}
	}
}

// plan begins the next planned exit, if there is one to begin.
func (s *State) plan() {
	if s.Plan != nil || s.leaving() >= s.MaxLeaving() {
		return
	}
	if s.forward() { // an empty slot needs nobody to leave, and what serves may be what is broken
		for i := range s.Slots {
			if !s.covered(i + 1) {
				if s.makeRoom(1 + s.toCome()) {
					s.Plan = &Plan{New: s.fork(i+1, s.Rollout.Release).ID}
				}
				return
			}
		}
	}
	if s.surplus() != nil || s.Answerer.Up || s.count(func(p *Process) bool { return p.Phase == Killed && !p.Wanted }) > 0 {
		return // one process above target is enough
	}
	for _, p := range s.Processes {
		ordered := s.ordered(p)
		if p.Phase != Ready || p.Slot > s.Target || !s.forward() && !ordered && !s.mayFork(s.Serving, p.Slot) {
			continue
		}
		// A crowd's peak is no leak, and a process that grows too large at once would be replaced all the time.
		recycle := s.Rollout == nil && s.tooLarge(p) && s.Now >= p.LargeAt+s.Config.HeartbeatTimeout
		cure := !recycle && !ordered && s.needsCure(p)
		switch {
		case recycle:
			s.note(NoteRecycle, p, s.size(p))
		case cure:
			s.note(NoteCure, p, sick(p))
			s.CureNotBefore = s.Now + s.Config.HeartbeatTimeout
		}
		if recycle || cure || ordered || p.Release != s.want() {
			s.Plan = &Plan{Old: p.ID, New: s.fork(p.Slot, s.want()).ID, Recycle: recycle || cure || ordered, Cure: cure}
			s.Process(s.Plan.New).Cure = cure
			return
		}
	}
}

// retire forgets releases that nobody runs and nobody will run.
func (s *State) retire() {
	s.Breakers = slices.DeleteFunc(s.Breakers, func(b *Breaker) bool {
		used := b.Release == s.Serving || b.Release == s.want() ||
			slices.ContainsFunc(s.Processes, func(p *Process) bool { return p.Release == b.Release })
		if !used {
			s.do(Retire{Release: b.Release})
		}
		return !used
	})
}

// hopeless ends a master that never had a worker, and whose release has crashed too often.
func (s *State) hopeless() {
	if b := s.breaker(s.Serving); !s.EverReady && len(s.Processes) == 0 && b.Open {
		s.Ended = true
		s.do(Exit{Reason: b.Reason, Culprit: b.Culprit})
	}
}
