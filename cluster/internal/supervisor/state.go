package supervisor

import (
	"cmp"
	"slices"
	"time"
)

// State is all that a master knows. Make it with [New]; change it with [State.Step] only. It belongs to one goroutine.
// What is written as JSON and read again goes on in the same way.
type State struct {
	Config    Config
	Now       time.Duration
	Target    int        // how many processes there should be
	Serving   Release    // what crash restarts and new slots run
	Processes []*Process // by ID
	Slots     []Slot     // Slots[0] is slot 1
	Breakers  []*Breaker // one of each release that is not retired
	Plan      *Plan
	Rollout   *Rollout
	Scaling   *Scaling
	Orders    []Order
	Dark      *Darkness // not nil: somebody was ready once, and nobody is
	Answerer  Answerer
	LastCrash *Crash
	Stopping  int // how often Shutdown was heard
	Ended     bool
	EverReady bool
	LastID    ID
	Random    uint64 // of the jitter

	// Nobody is replaced for his health before both.
	CureNotBefore time.Duration // since the last one
	CurePause     time.Duration // since the last one that was of no use, unless somebody gets healthy again

	actions []Action
}

// Slot is a place for a process. It remembers the crashes of the release that it is filled with.
type Slot struct {
	Crashes   int
	NotBefore time.Duration
	Added     bool   // by Scale, and nothing was ever ready in it
	Last      *Crash // of any release
}

// Crash is how a process ended that nobody had told to leave.
type Crash struct {
	ID       ID
	Slot     int
	PID      int
	Release  Release
	At       time.Duration
	Reason   string
	Evidence bool // counts for the breaker of the release
}

// Plan is the token of planned exits: who is being replaced by whom.
type Plan struct {
	Old      ID // 0: the slot was empty
	New      ID
	Recycle  bool // else it is a step of the rollout, or of the way back
	Cure     bool // Recycle: for its health
	Asked    bool
	Answered bool
}

// Rollout is the replacement of all processes by those of another release.
type Rollout struct {
	Tickets  []Ticket // who waits for the verdict
	Release  Release
	Baked    bool          // the first replacement has proven itself
	Progress time.Duration // when something last went forward
	Back     bool          // it failed: what was replaced goes back to Serving
	Reason   string        // why
	Culprit  ID
}

// New returns the state of a master that runs a release. The first event is [Begin].
func New(cfg Config, release Release, now time.Duration) *State {
	s := &State{Config: cfg, Now: now, Target: max(cfg.Workers, 1), Serving: release, Random: cfg.Seed}
	s.Slots = make([]Slot, s.Target)
	s.breaker(release)
	return s
}

const never = time.Duration(1<<63 - 1)

// Process returns a process by its id, or nil.
func (s *State) Process(id ID) *Process {
	i, ok := slices.BinarySearchFunc(s.Processes, id, func(p *Process, id ID) int { return cmp.Compare(p.ID, id) })
	if !ok {
		return nil
	}
	return s.Processes[i]
}

// Ready returns the number of processes that serve and were not told to leave.
func (s *State) Ready() int { return s.count(func(p *Process) bool { return p.Phase == Ready }) }

// MaxLeaving is how many processes may be on their way out when one more is told to leave, itself included: a quarter of
// target, rounded up, as Kubernetes' maxSurge, so that old generations can't pile up and eat the machine.
func (s *State) MaxLeaving() int { return (s.Target + 3) / 4 }

// leaving counts the processes that are on their way out and still there.
func (s *State) leaving() int {
	return s.count(func(p *Process) bool { return p.Phase == Leaving || p.Phase == Killed })
}

// spare reports whether a process that serves may be told to leave. Everyone who asks one to, except Shutdown, asks here.
func (s *State) spare() bool { return s.Ready() > s.Target && s.leaving() < s.MaxLeaving() }

func (s *State) count(f func(*Process) bool) int {
	n := 0
	for _, p := range s.Processes {
		if f(p) {
			n++
		}
	}
	return n
}

// covered reports whether a slot needs no process: it has one, or one that is killed but not reaped yet, so that a
// process that can't be killed (in uninterruptible sleep) does not multiply.
func (s *State) covered(slot int) bool {
	return slices.ContainsFunc(s.Processes, func(p *Process) bool { return p.Slot == slot && p.Phase != Leaving })
}

// surplus returns a process that shares its slot with a better one, or nil: the
// replacement of a plan that was given up, or who was tried in the dark beside a
// candidate that has proven itself since. Better is who runs what slots are filled
// with, and else the older one. The replacement of the plan is neither.
func (s *State) surplus() *Process {
	better := func(q, p *Process) bool {
		if proven := q.Release == s.fills(); proven != (p.Release == s.fills()) {
			return proven
		}
		return q.ID < p.ID
	}
	planned := func(p *Process) bool { return s.Plan != nil && s.Plan.New == p.ID }
	for _, p := range s.Processes {
		if p.serving() && !planned(p) && slices.ContainsFunc(s.Processes, func(q *Process) bool {
			return q.Slot == p.Slot && q != p && q.serving() && !planned(q) && better(q, p)
		}) {
			return p
		}
	}
	return nil
}

// forward reports whether a rollout is under way that has not failed.
func (s *State) forward() bool { return s.Rollout != nil && !s.Rollout.Back }

// want is the release that every process should run.
func (s *State) want() Release {
	if s.forward() {
		return s.Rollout.Release
	}
	return s.Serving
}

// fills is the release that empty slots are filled with: that of a rollout only once it has proven itself.
func (s *State) fills() Release {
	if s.forward() && s.Rollout.Baked {
		return s.Rollout.Release
	}
	return s.Serving
}

func (s *State) do(a Action) { s.actions = append(s.actions, a) }

func (s *State) note(kind NoteKind, p *Process, reason string) {
	s.do(about(p, Note{Kind: kind, Reason: reason}))
}

// about fills in who a note is about.
func about(p *Process, n Note) Note {
	n.ID, n.Slot, n.PID, n.Release = p.ID, p.Slot, p.PID, p.Release
	return n
}

// fork starts a process in a slot. When the breaker of its release is open, it is the probe.
func (s *State) fork(slot int, release Release) *Process {
	s.LastID++
	p := &Process{ID: s.LastID, Slot: slot, Release: release, ForkedAt: s.Now, Deadline: s.Now + s.Config.ReadyTimeout}
	p.Additional = s.Slots[slot-1].Added
	s.Processes = append(s.Processes, p)
	s.do(Fork{ID: p.ID, Slot: slot, Release: release})
	if b := s.breaker(release); b.Open {
		b.Probe, p.Forced = p.ID, s.Now < b.ProbeAt
		kind := NoteProbe
		if p.Forced {
			kind = NoteForced
		}
		s.note(kind, p, "")
	}
	if s.Dark != nil && s.trying() {
		s.Dark.TryAt = 0
	}
	return p
}

// drain tells a process that serves to leave. One that has not served yet has nothing to finish and is killed.
func (s *State) drain(p *Process, delay time.Duration, reason string) {
	switch p.Phase {
	case Starting:
		s.kill(p, true, "")
	case Ready:
		p.Phase, p.Deadline = Leaving, s.Now+delay+s.Config.KillTimeout
		s.do(Drain{ID: p.ID, Delay: delay, Reason: reason})
		s.progress()
	case Leaving, Killed:
	}
}

// kill sends SIGKILL. The end of the process is a crash unless it is wanted.
func (s *State) kill(p *Process, wanted bool, why string) {
	if p.Phase == Killed {
		return
	}
	p.Phase, p.Wanted, p.Why = Killed, wanted, why
	s.do(Kill{ID: p.ID})
}

// jitter returns a random part of d, by splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators,
// 2014): good enough to keep slots apart, and the whole generator is one number of the state.
func (s *State) jitter(d time.Duration) time.Duration {
	s.Random += 0x9e3779b97f4a7c15
	z := s.Random
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	z ^= z >> 31
	if d <= 0 {
		return 0
	}
	return time.Duration(z % uint64(d))
}
