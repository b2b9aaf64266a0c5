package supervisor

import (
	"cmp"
	"slices"
	"time"
)

// State is all that a master knows. Make it with [New]; change it with [State.Step] only. It belongs to one goroutine.
type State struct {
	Config    Config
	Now       time.Duration
	Target    int        // how many processes there should be
	Serving   Release    // what crash restarts and new slots run
	Processes []*Process // by ID
	Slots     []Slot     // Slots[0] is slot 1
	Breakers  []*Breaker // by release
	Plan      *Plan
	Rollout   *Rollout
	Stopping  int // how often Shutdown was heard
	Ended     bool
	EverReady bool
	LastID    ID

	wake    time.Duration // when the next step was asked for
	random  uint64
	actions []Action
}

// Slot is a place for a process.
type Slot struct {
	Release   Release // what it is filled with; 0: what serves
	Crashes   int
	NotBefore time.Duration
	Reason    string // of the last crash
}

// Plan is the token of planned exits: who is being replaced by whom.
type Plan struct {
	Old      ID // 0: the slot is empty
	New      ID
	Recycle  bool // else it is a step of the rollout, or of the way back
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
	s := &State{Config: cfg, Now: now, Target: max(cfg.Workers, 1), Serving: release, random: cfg.Seed, wake: never}
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

// MaxLeaving is how many processes a planned exit may let leave at the same time: a quarter of target, rounded up, as
// Kubernetes' maxSurge, so that old generations can't pile up and eat the machine.
func (s *State) MaxLeaving() int { return (s.Target + 3) / 4 }

// leaving counts the processes that are on their way out and still there.
func (s *State) leaving() int {
	return s.count(func(p *Process) bool { return p.Phase == Leaving || p.Phase == Killed })
}

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
// process that can't be killed (in uninterruptible sleep) does not multiply. A replacement covers the slot of a process
// that is no more.
func (s *State) covered(slot int) bool {
	return slices.ContainsFunc(s.Processes, func(p *Process) bool {
		return p.Slot == slot && (p.serving() || p.Phase == Killed && !p.Wanted)
	})
}

// want is the release that every process should run.
func (s *State) want() Release {
	if s.Rollout != nil && !s.Rollout.Back {
		return s.Rollout.Release
	}
	return s.Serving
}

func (s *State) do(a Action) { s.actions = append(s.actions, a) }

func (s *State) note(kind NoteKind, p *Process, reason string) {
	s.do(Note{Kind: kind, ID: p.ID, Slot: p.Slot, PID: p.PID, Release: p.Release, Reason: reason})
}

// fork starts a process in a slot.
func (s *State) fork(slot int, release Release) *Process {
	s.LastID++
	p := &Process{ID: s.LastID, Slot: slot, Release: release, ForkedAt: s.Now, Deadline: s.Now + s.Config.ReadyTimeout}
	s.Processes = append(s.Processes, p)
	s.do(Fork{ID: p.ID, Slot: slot, Release: release})
	return p
}

// drain tells a process that serves to leave. One that has not served yet has nothing to finish and is killed.
func (s *State) drain(p *Process, delay time.Duration) {
	switch p.Phase {
	case Starting:
		s.kill(p, true, "")
	case Ready:
		p.Phase, p.Deadline = Leaving, s.Now+delay+s.Config.KillTimeout
		s.do(Drain{ID: p.ID, Delay: delay})
	case Leaving, Killed:
	}
}

// kill sends SIGKILL. The end of the process is a crash unless it is wanted.
func (s *State) kill(p *Process, wanted bool, why string) {
	if p.Phase == Killed {
		return
	}
	p.Wanted, p.Why = wanted || p.Phase == Leaving, why
	p.Phase = Killed
	s.do(Kill{ID: p.ID})
}

// jitter returns a random part of d, by splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators,
// 2014): good enough to keep slots apart, and the whole generator is one number of the state.
func (s *State) jitter(d time.Duration) time.Duration {
	s.random += 0x9e3779b97f4a7c15
	z := s.random
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	z ^= z >> 31
	if d <= 0 {
		return 0
	}
	return time.Duration(z % uint64(d))
}
