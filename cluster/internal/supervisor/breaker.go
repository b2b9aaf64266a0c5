package supervisor

import (
	"slices"
	"time"
)

// Breaker stops the forking of one release that crashes again and again (M6).
type Breaker struct {
	Release Release
	Crashes []time.Duration // within the window, the oldest first
	Open    bool
	Reason  string // of the crash that opened it
	Culprit ID
	Pause   time.Duration // before the next probe
	ProbeAt time.Duration
	Probe   ID // half open: the process that is tried
}

func (s *State) breaker(r Release) *Breaker {
	for _, b := range s.Breakers {
		if b.Release == r {
			return b
		}
	}
	b := &Breaker{Release: r}
	s.Breakers = append(s.Breakers, b)
	return b
}

// crashed counts a crash of a release, and opens its breaker when there were too many. Once something has served, what the
// machine lacks is held against nobody. Before that everything counts, and for ever, since a first start whose
// processes are late each time has to end too; only a slot's first shortage does not, or five slots would end it at once.
func (s *State) crashed(p *Process, reason string, shortage bool) {
	if shortage && (s.EverReady || p.Slot <= len(s.Slots) && s.Slots[p.Slot-1].Crashes <= 1) {
		return
	}
	b := s.breaker(p.Release)
	b.Crashes = append(b.Crashes, s.Now)
	if s.EverReady {
		b.Crashes = slices.DeleteFunc(b.Crashes, func(t time.Duration) bool { return t <= s.Now-s.Config.BreakerWindow })
	}
	switch {
	case b.Open && b.Probe == p.ID:
		b.Pause = min(2*b.Pause, s.Config.BreakerPauseMax)
	case !b.Open && len(b.Crashes) >= s.Config.BreakerCrashes:
		b.Open, b.Pause = true, s.Config.BreakerPause
	default:
		return
	}
	b.Reason, b.Culprit, b.ProbeAt = reason, p.ID, s.Now+b.Pause
	s.do(about(p, Note{Kind: NoteOpened, Reason: reason, Wait: b.Pause}))
}

// mayFork reports whether a release may be forked into a slot now, as far as crashes are concerned.
func (s *State) mayFork(r Release, slot int) bool {
	b := s.breaker(r)
	return s.Now >= s.Slots[slot-1].NotBefore && (!b.Open || b.Probe == 0 && s.Now >= b.ProbeAt)
}

// closeBreakers closes those whose probe has been ready for long enough, and lets go of a probe that is not tried any more.
func (s *State) closeBreakers() {
	for _, b := range s.Breakers {
		if b.Probe == 0 {
			continue
		}
		switch p := s.Process(b.Probe); {
		case p == nil || p.Phase == Leaving || p.Phase == Killed && p.Wanted: // another reason ended it
			b.Probe, b.ProbeAt = 0, s.Now+b.Pause
		case p.Phase == Ready && s.Now >= p.ReadyAt+s.Config.BreakerProbe:
			*b = Breaker{Release: b.Release}
			s.note(NoteClosed, p, "")
		}
	}
}

// backoff makes the slot of a process that crashed wait (M5).
func (s *State) backoff(p *Process) (wait time.Duration, crashes int) {
	slot := &s.Slots[p.Slot-1]
	if p.WasReady {
		slot.Crashes = max(0, slot.Crashes-int((s.Now-p.ReadyAt)/s.Config.BackoffDecay))
	}
	slot.Crashes++
	wait = s.Config.BackoffMax
	if shift := slot.Crashes - 1; shift < 30 && s.Config.BackoffMin<<shift < wait {
		wait = s.Config.BackoffMin << shift
	}
	wait += s.jitter(wait / 4)
	slot.NotBefore = s.Now + wait
	return wait, slot.Crashes
}
