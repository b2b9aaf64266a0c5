package supervisor

import (
	"slices"
	"time"
)

// Darkness is the time in which nobody is ready, after somebody was.
type Darkness struct {
	Since time.Duration
	TryAt time.Duration // nobody is tried either: when somebody is; 0: somebody is
}

// Answerer is the process that answers clients while nobody else can. It is the
// master's own program, not the release, and holds no slot.
type Answerer struct {
	Up        bool // started, and not reaped
	PID       int
	Leaving   bool          // told to leave
	Deadline  time.Duration // Leaving: killed at that time
	Killed    bool
	Failures  int // in a row: ended by itself, or could not be started
	NotBefore time.Duration
}

// darkness finds out whether anybody is ready, or is tried. When nobody is tried
// any more, the slot whose turn is next waits no longer than a first crash would
// have made it wait.
func (s *State) darkness() {
	switch {
	case !s.EverReady || s.Ready() > 0 || s.Stopping > 0:
		s.Dark = nil
		return
	case s.Dark == nil:
		s.Dark = &Darkness{Since: s.Now}
	}
	switch {
	case s.trying():
		s.Dark.TryAt = 0
		return
	case s.Dark.TryAt == 0:
		s.Dark.TryAt = s.Now + s.Config.BackoffMin + s.jitter(s.Config.BackoffMin/4)
	}
	if slot := s.nextVacant(); slot != nil {
		slot.NotBefore = min(slot.NotBefore, s.Dark.TryAt)
	}
}

// trying reports whether a process is starting that runs what fills slots.
func (s *State) trying() bool {
	return slices.ContainsFunc(s.Processes, func(p *Process) bool {
		return p.Phase == Starting && p.Release == s.fills()
	})
}

// due reports whether somebody has to be tried now, whatever the breaker says:
// with nobody ready there is nothing that it could protect.
func (s *State) due() bool {
	return s.Dark != nil && s.Dark.TryAt != 0 && s.Now >= s.Dark.TryAt
}

// nextVacant returns the slot without a process that may be filled first, or nil.
func (s *State) nextVacant() *Slot {
	var next *Slot
	for i := range s.Slots {
		if slot := &s.Slots[i]; !s.covered(i+1) && (next == nil || slot.NotBefore < next.NotBefore) {
			next = slot
		}
	}
	return next
}

// held counts the processes that the bound of target + 1 is about: all but those
// that were told to leave, which have a bound of their own.
func (s *State) held() int {
	n := s.count(func(p *Process) bool {
		return p.Slot <= s.Target && p.Phase != Leaving && (p.Phase != Killed || !p.Wanted || !p.WasReady)
	})
	if s.Answerer.Up {
		n++
	}
	return n
}

// makeRoom reports whether so many more processes may be forked beside the
// answerer. If not, the answerer goes first.
func (s *State) makeRoom(more int) bool {
	if s.Answerer.Up && s.held()+more > s.Target+1 {
		s.standDown()
		return false
	}
	return true
}

// squeeze tries somebody where fill could not, since each slot has a process: they
// are killed and not reaped, or run a release that has not proven itself.
func (s *State) squeeze() {
	if s.due() && s.makeRoom(1) && s.held() <= s.Target {
		s.fork(1, s.fills())
	}
}

// answerer starts the answerer when nobody has been ready for a while, and tells
// it to leave when somebody is. It leaves room for a process that has yet to be
// tried.
func (s *State) answerer() {
	a := &s.Answerer
	switch {
	case a.Up && a.Leaving && s.Now >= a.Deadline:
		s.killAnswerer()
	case a.Up && (s.Dark == nil || s.held()+s.toCome() > s.Target+1): // somebody is ready, or the target went down
		s.standDown()
	case !a.Up && s.Dark == nil:
		a.Failures, a.NotBefore = 0, 0
	case !a.Up && s.Now >= s.standAt() && s.held()+s.toCome() <= s.Target:
		a.Up = true
		s.do(Note{Kind: NoteAnswering})
		s.do(Stand{})
	}
}

// standAt is when the answerer is needed, in the dark.
func (s *State) standAt() time.Duration {
	if s.Config.AnswerAfter <= 0 {
		return never
	}
	return max(s.Dark.Since+s.Config.AnswerAfter, s.Answerer.NotBefore)
}

// toCome is how many processes have yet to be tried in the dark.
func (s *State) toCome() int {
	if s.Dark != nil && s.Dark.TryAt != 0 {
		return 1
	}
	return 0
}

func (s *State) standDown() {
	a := &s.Answerer
	if !a.Up || a.Leaving {
		return
	}
	a.Leaving, a.Deadline = true, s.Now+s.Config.AnswerTimeout
	s.do(Note{Kind: NoteAnswered, PID: a.PID})
	s.do(StandDown{})
}

func (s *State) killAnswerer() {
	a := &s.Answerer
	if a.Up && !a.Killed {
		a.Killed = true
		s.do(StandKill{})
	}
}

func (s *State) answererEnded(reason string) {
	was := s.Answerer
	if !was.Up {
		return
	}
	s.Answerer = Answerer{Failures: was.Failures}
	if was.Leaving {
		return
	}
	a := &s.Answerer
	a.Failures++
	wait := s.Config.backoff(a.Failures)
	a.NotBefore = s.Now + wait
	s.do(Note{Kind: NoteAnswererEnd, PID: was.PID, Reason: reason, Wait: wait})
}
