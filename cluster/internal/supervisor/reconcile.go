package supervisor

import (
	"fmt"
	"slices"
	"time"
)

// limits kills what is over a time limit.
func (s *State) limits() {
	for _, p := range slices.Clone(s.Processes) {
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
			s.note(NoteStuck, p, "did not leave in time")
			s.kill(p, true, "did not leave in time")
		}
	}
}

// fail kills a process for its own fault. When that ends a rollout, it does so now: the kernel may take its time.
func (s *State) fail(p *Process, why string) {
	if s.Rollout == nil || s.Rollout.Back || p.Release != s.Rollout.Release {
		s.kill(p, false, why)
		return
	}
	s.kill(p, true, why)
	s.abort(why, p.ID)
}

// reconcile brings what is closer to what should be, as far as the rules allow.
func (s *State) reconcile() {
	if s.Stopping > 0 {
		if len(s.Processes) == 0 {
			s.Ended = true
			s.do(Exit{})
		}
		return
	}
	s.closeBreakers()
	s.advance()
	s.fill()
	s.shrink()
	s.plan()
	s.finish()
	s.retire()
	s.hopeless()
}

// advance takes the planned exit under way a step further: once the replacement has proven itself, the old process leaves.
func (s *State) advance() {
	plan := s.Plan
	if plan == nil {
		return
	}
	p := s.Process(plan.New)
	if p == nil || !p.serving() {
		s.Plan = nil // killed for being late or silent
		return
	}
	if p.Phase != Ready {
		return
	}
	if r := s.Rollout; r != nil && !r.Back && !r.Baked {
		if s.tooLarge(p) {
			s.abort(fmt.Sprintf("uses %d MB of memory, and the limit is %d MB", p.Memory>>20, s.Config.MaxMemory>>20), p.ID)
			return
		}
		if !plan.Asked && s.Now < p.ReadyAt+s.Config.Bake {
			return
		}
		if !plan.Asked {
			plan.Asked = true
			s.do(Ask{ID: p.ID})
		}
		if !plan.Answered {
			return // or it is silent
		}
	}
	old := s.Process(plan.Old)
	if old != nil && old.Phase == Ready && s.Ready()-1 < s.Target {
		return // another one is missing: wait for it
	}
	s.Plan = nil
	s.Slots[p.Slot-1] = Slot{Release: p.Release}
	if r := s.Rollout; r != nil {
		r.Baked, r.Progress = true, s.Now
	}
	s.note(NoteReplaced, p, "")
	if old != nil {
		s.drain(old, 0)
	}
}

func (s *State) tooLarge(p *Process) bool {
	return s.Config.MaxMemory > 0 && p.Memory > s.Config.MaxMemory
}

// fill gives empty slots a process, when they have waited long enough.
func (s *State) fill() {
	for i := range s.Slots {
		slot := &s.Slots[i]
		if slot.Release == 0 || slot.Release != s.want() && slot.Release != s.Serving {
			slot.Release = s.Serving
		}
		if s.Now < slot.NotBefore || s.covered(i+1) || !s.mayFork(slot.Release) {
			continue
		}
		s.forked(s.fork(i+1, slot.Release))
	}
}

// shrink lets those leave whose slot is no more.
func (s *State) shrink() {
	for _, p := range slices.Backward(slices.Clone(s.Processes)) {
		switch {
		case p.Slot <= s.Target || !p.serving():
		case p.Phase == Starting:
			s.drain(p, 0)
		case s.Ready() > s.Target && s.leaving() < s.MaxLeaving():
			s.drain(p, 0)
		}
	}
}

// plan begins the next planned exit, if there is one to begin.
func (s *State) plan() {
	if s.Plan != nil || s.leaving() >= s.MaxLeaving() {
		return
	}
	if s.Rollout != nil {
		s.planRollout()
		return
	}
	for _, p := range s.Processes {
		// A process that grows too large at once would be replaced all the time: it is given a heartbeat's limit to live.
		if p.Phase == Ready && p.Slot <= s.Target && s.tooLarge(p) && s.Now >= p.ReadyAt+s.Config.HeartbeatTimeout &&
			s.Now >= s.Slots[p.Slot-1].NotBefore && !s.breaker(p.Release).Open {
			s.note(NoteRecycle, p, fmt.Sprintf("uses %d MB of memory, and the limit is %d MB", p.Memory>>20, s.Config.MaxMemory>>20))
			s.Plan = &Plan{Old: p.ID, New: s.fork(p.Slot, p.Release).ID, Recycle: true}
			return
		}
	}
}

// planRollout replaces the next process, or on the way back, the next one that runs the release that failed. Slots that
// wait for a process come first, since they need none to leave, and the release that serves may be what is broken.
func (s *State) planRollout() {
	if !s.Rollout.Back {
		for i := range s.Slots {
			if !s.covered(i + 1) {
				s.Plan = &Plan{New: s.fork(i+1, s.Rollout.Release).ID}
				return
			}
		}
	}
	for _, p := range s.Processes {
		if p.Phase != Ready || p.Slot > s.Target || p.Release == s.want() {
			continue
		}
		if s.Rollout.Back && (s.breaker(s.Serving).Open || s.Now < s.Slots[p.Slot-1].NotBefore) {
			continue
		}
		s.Plan = &Plan{Old: p.ID, New: s.fork(p.Slot, s.want()).ID}
		return
	}
}

// abort ends a rollout for a reason (M9). What was replaced already goes back; the verdict waits for that.
func (s *State) abort(reason string, culprit ID) {
	r := s.Rollout
	s.dropNew()
	r.Back, r.Reason, r.Culprit, r.Progress = true, reason, culprit, s.Now
	for i := range s.Slots {
		if s.Slots[i].Release != s.Serving {
			s.Slots[i] = Slot{Release: s.Serving}
		}
	}
	for _, p := range s.Processes { // one that fills a slot on its own account has not served yet: nothing is lost
		if p.Phase == Starting && p.Release == r.Release {
			s.kill(p, true, "")
		}
	}
	if slices.ContainsFunc(s.Processes, func(p *Process) bool { return p.Phase == Ready && p.Release == r.Release }) {
		s.do(Note{Kind: NoteRollback, Release: s.Serving, Reason: reason})
	}
}

// progressLimit is how long a rollout may stand still: longer than any of its steps can take.
func (s *State) progressLimit() time.Duration {
	c := &s.Config
	return c.ReadyTimeout + c.Bake + c.HeartbeatTimeout + c.KillTimeout + c.BackoffMax + c.BackoffMax/4
}

// finish ends a rollout that has arrived, there or back, or one that gets nowhere.
func (s *State) finish() {
	r := s.Rollout
	if r == nil {
		return
	}
	stuck := s.Now >= r.Progress+s.progressLimit()
	if stuck && !r.Back {
		s.abort(fmt.Sprintf("stood still for %v: there were never enough ready workers to go on", s.progressLimit()), 0)
		stuck = false
	}
	arrived := s.count(func(p *Process) bool { return p.Release == r.Release && p.Phase == Ready && p.Slot <= s.Target })
	behind := s.count(func(p *Process) bool { return p.Release != s.want() })
	switch {
	case r.Back && behind == 0:
		s.answer(r.Reason, r.Culprit)
		s.Rollout = nil
	case r.Back && stuck:
		s.answer(r.Reason+"; the way back to the release before it is not finished", r.Culprit)
	case !r.Back && s.Plan == nil && arrived == s.Target && behind == 0:
		s.Serving, s.Rollout = r.Release, nil
		for i := range s.Slots {
			s.Slots[i].Release = r.Release
		}
		for _, t := range r.Tickets {
			s.do(Verdict{Ticket: t})
		}
	}
}

// answer gives a verdict to all who wait for one.
func (s *State) answer(reason string, culprit ID) {
	if s.Rollout == nil {
		return
	}
	for _, t := range s.Rollout.Tickets {
		s.do(Verdict{Ticket: t, Reason: reason, Culprit: culprit})
	}
	s.Rollout.Tickets = nil
}

// retire forgets releases that nobody runs and nobody will run.
func (s *State) retire() {
	s.Breakers = slices.DeleteFunc(s.Breakers, func(b *Breaker) bool {
		used := b.Release == s.Serving || s.Rollout != nil && s.Rollout.Release == b.Release ||
			slices.ContainsFunc(s.Processes, func(p *Process) bool { return p.Release == b.Release })
		if !used {
			s.do(Retire{Release: b.Release})
		}
		return !used
	})
}

// hopeless ends a master that never had a worker, and whose release has crashed too often.
func (s *State) hopeless() {
	if s.EverReady || len(s.Processes) > 0 || s.Rollout != nil || !s.breaker(s.Serving).Open {
		return
	}
	reason := ""
	for _, slot := range s.Slots {
		if slot.Reason != "" {
			reason = slot.Reason
		}
	}
	s.Ended = true
	s.do(Exit{Reason: reason})
}
