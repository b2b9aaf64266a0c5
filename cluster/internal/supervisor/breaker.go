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
	Reason  string // of the crash that opened it, or of the last process that was tried since
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

// evidence reports whether a crash speaks against the release. Before anything has
// served everything counts, and for ever, since a first start whose processes are
// late each time has to end too; only a slot's first shortage does not, or five
// slots would end it at once. After that these do not count:
//
//   - What the machine lacks, or somebody did by a signal from outside.
//   - The crash of a process that has served for as long as a probe has to: what
//     closes a breaker can't be what opens it.
//   - The crash of a process that was to be one more, and was never ready, while
//     the release serves elsewhere: there may be no room for more.
func (s *State) evidence(p *Process, shortage, outside bool) bool {
	if !s.EverReady {
		return !shortage || p.Slot > s.Target || s.Slots[p.Slot-1].Crashes > 1
	}
	servedLong := p.WasReady && s.Now >= p.ReadyAt+s.Config.BreakerProbe
	tooMany := p.Additional && !p.WasReady && s.count(func(q *Process) bool {
		return q.Phase == Ready && q.Release == p.Release
	}) > 0
	return !shortage && !outside && !servedLong && !tooMany
}

// crashed counts a crash that speaks against a release, and opens its breaker when
// there were too many.
func (s *State) crashed(p *Process, reason string) {
	b := s.breaker(p.Release)
	b.Crashes = append(b.Crashes, s.Now)
	if s.EverReady {
		b.Crashes = slices.DeleteFunc(b.Crashes, func(t time.Duration) bool { return t <= s.Now-s.Config.BreakerWindow })
	}
	switch {
	case b.Open && b.Probe == p.ID && p.Forced: // the probe that is due is still to come
		b.Probe, b.Reason, b.Culprit = 0, reason, p.ID
		return
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
	return s.Now >= s.Slots[slot-1].NotBefore && (!b.Open || b.Probe == 0 && s.Now >= b.ProbeAt || s.due())
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
func (s *State) backoff(p *Process) {
	slot := &s.Slots[p.Slot-1]
	if p.WasReady {
		slot.Crashes = max(0, slot.Crashes-int((s.Now-p.ReadyAt)/s.Config.BackoffDecay))
	}
	slot.Crashes++
	wait := s.Config.backoff(slot.Crashes)
	slot.NotBefore = s.Now + wait + s.jitter(wait/4)
}

// backoff is how long the n-th crash in a row makes wait, n being 1 at least.
func (c *Config) backoff(n int) time.Duration {
	if shift := n - 1; shift < 30 && c.BackoffMin<<shift < c.BackoffMax {
		return c.BackoffMin << shift
	}
	return c.BackoffMax
}

// reset closes all breakers, and lets nobody wait any longer.
func (s *State) reset() {
	for _, b := range s.Breakers {
		*b = Breaker{Release: b.Release}
	}
	s.forgetCrashes()
	s.CureNotBefore, s.CurePause = 0, 0
	s.Answerer.Failures, s.Answerer.NotBefore = 0, 0
	s.do(Note{Kind: NoteReset})
}

// forgetCrashes lets no slot wait for what crashed in it.
func (s *State) forgetCrashes() {
	for i := range s.Slots {
		s.Slots[i].Crashes, s.Slots[i].NotBefore = 0, 0
	}
}
