package supervisor

import (
	"fmt"
	"slices"
	"time"
)

// abort ends a rollout for a reason (M9). What was replaced already goes back; the verdict waits for that.
func (s *State) abort(reason string, culprit ID) {
	r := s.Rollout
	s.giveUp()
	r.Back, r.Reason, r.Culprit = true, reason, culprit
	s.progress()
	for _, p := range s.Processes { // those that filled a slot have not served yet: nothing is lost
		if p.Phase == Starting && p.Release == r.Release {
			s.kill(p, true, "")
		}
	}
	if slices.ContainsFunc(s.Processes, func(p *Process) bool { return p.Phase == Ready && p.Release == r.Release }) {
		s.do(Note{Kind: NoteRollback, Release: s.Serving, Reason: reason})
	}
}

// progress notes that something went forward.
func (s *State) progress() {
	if s.Rollout != nil {
		s.Rollout.Progress = s.Now
	}
	s.scaledOn()
	for i := range s.Orders {
		s.Orders[i].Progress = s.Now
	}
}

// scaledOn notes that a Scale under way went forward.
func (s *State) scaledOn() {
	if s.Scaling != nil {
		s.Scaling.Progress = s.Now
	}
}

// progressLimit is how long a rollout may stand still: longer than any of its steps can take. The old process of the
// step before leaves; the next replacement gets ready, bakes and answers; another process is missing and comes back.
func (s *State) progressLimit() time.Duration {
	c := &s.Config
	return c.KillTimeout + c.ReadyTimeout + c.Bake + c.HeartbeatTimeout + c.BackoffMax + c.BackoffMax/4 + c.ReadyTimeout
}

// finish ends a rollout that has arrived, there or back, or one that gets nowhere.
func (s *State) finish() {
	r := s.Rollout
	if r == nil {
		return
	}
	stuck := s.Now >= r.Progress+s.progressLimit()
	if stuck && !r.Back {
		s.abort(fmt.Sprintf("stood still for %v: it waited for ready workers, or for some to leave", s.progressLimit()), 0)
		stuck = false
	}
	// One that is killed serves nobody, even if the kernel takes its time.
	behind := s.count(func(p *Process) bool { return p.Release != s.want() && p.Phase != Killed })
	arrived := s.count(func(p *Process) bool { return p.Release == r.Release && p.Phase == Ready && p.Slot <= s.Target })
	switch {
	case r.Back && behind == 0:
		s.answer(r.Reason, r.Culprit)
		s.Rollout = nil
	case r.Back && stuck:
		s.answer(r.Reason+"; the way back to the release before is not finished", r.Culprit)
	case r.Baked && behind == 0 && arrived == s.Target:
		s.answer("", 0)
		s.Serving, s.Rollout = r.Release, nil
	}
}

// cutShort answers a rollout that is ended by something else.
func (s *State) cutShort(by string, end End) {
	switch r := s.Rollout; {
	case r == nil:
	case r.Back:
		s.answer(r.Reason+"; the way back was cut short: "+by, r.Culprit)
	default:
		for _, t := range r.Tickets {
			s.do(Verdict{Ticket: t, Reason: by, End: end})
		}
		r.Tickets = nil
	}
}

// answer gives a verdict to all who wait for one.
func (s *State) answer(reason string, culprit ID) {
	for _, t := range s.Rollout.Tickets {
		s.do(Verdict{Ticket: t, Reason: reason, Culprit: culprit})
	}
	s.Rollout.Tickets = nil
}
