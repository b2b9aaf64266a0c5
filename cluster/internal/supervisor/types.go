package supervisor

import "time"

// ID names a process for ever: unlike a pid or a slot it is never used again. The first is 1.
type ID int

// Release names an executable as it was when the master adopted it. The first is 1.
type Release int

// Ticket names a wish, so that its verdict finds whoever asked. The first is 1;
// 0 is nobody's, and gets no verdict.
type Ticket int

// Config holds the numbers of the promises.
type Config struct {
	Workers          int           // target at the start
	ReadyTimeout     time.Duration // M9: how long a process may take to be ready
	Bake             time.Duration // how long the first replacement of a rollout has to stay healthy
	KillTimeout      time.Duration // M10: how long a process may take to leave
	ShutdownDelay    time.Duration // how long everyone serves on after Shutdown
	HurryTimeout     time.Duration // how long a process may take to leave after the second Shutdown
	HeartbeatTimeout time.Duration // M11
	AwayLimit        time.Duration // woken that much late or more, the master was not running itself
	MaxMemory        int64         // M12, bytes; 0: no limit
	MaxLag           time.Duration // M12
	BackoffMin       time.Duration // M5
	BackoffMax       time.Duration
	BackoffDecay     time.Duration
	BreakerCrashes   int // M6
	BreakerWindow    time.Duration
	BreakerPause     time.Duration
	BreakerPauseMax  time.Duration
	BreakerProbe     time.Duration
	UnhealthyPause   time.Duration // how long nobody is replaced for his health when that was of no use
	AnswerAfter      time.Duration // nobody is ready for that long: the answerer is started; 0: there is none
	AnswerTimeout    time.Duration // how long the answerer may take to leave
	Seed             uint64        // of the jitter
}

// Phase is where a process is in its life.
type Phase int

// The phases, in order.
const (
	Starting Phase = iota // forked, has not said READY
	Ready                 // serves
	Leaving               // told to drain
	Killed                // SIGKILL was sent; not reaped yet
)

func (p Phase) String() string {
	return [...]string{"starting", "ready", "draining", "killed"}[p]
}

// Process is one process that was forked and not reaped yet.
type Process struct {
	ID       ID
	Slot     int
	Release  Release
	PID      int
	Phase    Phase
	ForkedAt time.Duration
	WasReady bool
	ReadyAt  time.Duration // when it said READY
	Deadline time.Duration // Starting: to be ready; Leaving: to be gone
	LastBeat time.Duration
	Memory   int64
	LargeAt  time.Duration // the first of the heartbeats in a row that told of too much memory

	Heard       bool          // has sent a heartbeat since it was ready
	Unhealthy   string        // why, by its last heartbeat; empty: it is healthy
	UnhealthyAt time.Duration // the first of the heartbeats in a row that said so
	Cure        bool          // forked to replace an unhealthy one

	Additional bool // fills a slot that Scale has added, in which nothing was ever ready
	Forced     bool // forked although the breaker of its release was open, and no probe was due

	Wanted bool   // Killed: its end is no crash
	Why    string // Killed, or not even forked: for what
	Lagged bool   // warned of its lag already
}

// serving reports whether a process is or is about to be part of the capacity.
func (p *Process) serving() bool { return p.Phase == Starting || p.Phase == Ready }

// Event is something that happened.
type Event interface{ event() }

type (
	// Begin is the first event: the target's processes are forked.
	Begin struct{}
	// Tick says that time has passed.
	Tick struct{}
	// Forked answers Fork.
	Forked struct {
		ID  ID
		PID int
	}
	// ForkFailed answers Fork.
	ForkFailed struct {
		ID     ID
		Reason string // "could not be started: exec format error"
		// Shortage says that the machine lacks something, which is no fault of the release.
		Shortage bool
	}
	// ProcessReady is a process saying READY.
	ProcessReady struct{ ID ID }
	// Beat is a heartbeat.
	Beat struct {
		ID     ID
		Memory int64         // resident, bytes
		Lag    time.Duration // the worst delay of a goroutine since the last one
		// Unhealthy is why the process is not healthy, by its own word. Empty: it is.
		Unhealthy string
	}
	// Exited says that a process was reaped.
	Exited struct {
		ID     ID
		Reason string // "exited with code 3"
		// Outside says that a signal ended it which is no fault of its own, such as
		// SIGKILL. Those that the master itself killed are known in here.
		Outside bool
	}
	// Reload asks for a rollout of a release that was just adopted.
	Reload struct {
		Ticket  Ticket
		Release Release
		Same    bool // the file is the one of the rollout under way
	}
	// Scale sets the target: 1 at least. With a ticket it is approached a few
	// processes at a time, and answered with a Verdict; without, at once.
	Scale struct {
		Ticket  Ticket
		Workers int
	}
	// Restart asks for another process in a slot: the replacement is ready first.
	// It is answered with a Verdict.
	Restart struct {
		Ticket Ticket
		Slot   int
	}
	// Leave asks the process in a slot to leave now; the slot is filled anew. It is
	// answered with a Verdict.
	Leave struct {
		Ticket Ticket
		Slot   int
	}
	// Reset closes all breakers, and forgets all that delays forks.
	Reset struct{}
	// AnswererStarted answers Stand.
	AnswererStarted struct{ PID int }
	// AnswererEnded says that the answerer was reaped, or could not be started.
	AnswererEnded struct{ Reason string }
	// Shutdown ends everything gracefully; the second one cuts it short, the third one kills.
	Shutdown struct{}
)

func (Begin) event()           {}
func (Tick) event()            {}
func (Forked) event()          {}
func (ForkFailed) event()      {}
func (ProcessReady) event()    {}
func (Beat) event()            {}
func (Exited) event()          {}
func (Reload) event()          {}
func (Scale) event()           {}
func (Restart) event()         {}
func (Leave) event()           {}
func (Reset) event()           {}
func (AnswererStarted) event() {}
func (AnswererEnded) event()   {}
func (Shutdown) event()        {}

// Action is something to do.
type Action interface{ action() }

type (
	// Fork starts a process. It is answered with Forked or ForkFailed.
	Fork struct {
		ID      ID
		Slot    int
		Release Release
	}
	// Drain tells a process to leave. It goes on as before, but unready, for Delay.
	Drain struct {
		ID     ID
		Delay  time.Duration
		Reason string // who wants that: "a reload"
	}
	// Hurry tells a process that is leaving to cut what it holds.
	Hurry struct{ ID ID }
	// Kill sends SIGKILL.
	Kill struct{ ID ID }
	// Ask wants a heartbeat now.
	Ask struct{ ID ID }
	// Retire says that a release is used no more.
	Retire struct{ Release Release }
	// Stand starts the answerer. It is answered with AnswererStarted or
	// AnswererEnded.
	Stand struct{}
	// StandDown tells the answerer to leave.
	StandDown struct{}
	// StandKill sends SIGKILL to the answerer.
	StandKill struct{}
	// Verdict answers a Reload, a Scale, a Restart or a Leave, once.
	Verdict struct {
		Ticket  Ticket
		Reason  string // empty: it is done
		Culprit ID     // the process that failed; 0: none
		End     End    // what ended it from outside, if anything did
	}
	// Exit ends the master; nothing follows. Reason is empty after Shutdown.
	Exit struct {
		Reason  string
		Culprit ID
	}
	// Note is something that people want to know.
	Note struct {
		Kind    NoteKind
		ID      ID
		Slot    int
		PID     int
		Release Release
		Reason  string
		Wait    time.Duration // Crashed: until the slot is filled again; Opened: until the probe
		Crashes int           // Crashed: in a row, as far as not forgiven
	}
)

func (Fork) action()      {}
func (Drain) action()     {}
func (Hurry) action()     {}
func (Kill) action()      {}
func (Ask) action()       {}
func (Retire) action()    {}
func (Stand) action()     {}
func (StandDown) action() {}
func (StandKill) action() {}
func (Verdict) action()   {}
func (Exit) action()      {}
func (Note) action()      {}

// End is why a wish ended that had neither arrived nor failed.
type End int

// What ends wishes from outside.
const (
	NoEnd      End = iota
	Superseded     // by a newer Reload or Scale
	ShutDown
)

// NoteKind says what a Note is about.
type NoteKind string

// The kinds of notes.
const (
	NoteReady       NoteKind = "ready"        // a process serves
	NoteLeft        NoteKind = "left"         // a process that was told to leave has left
	NoteCrashed     NoteKind = "crashed"      // a process ended without being told to
	NoteLate        NoteKind = "late"         // it was not ready in time, and is killed
	NoteSilent      NoteKind = "silent"       // no heartbeat, and it is killed
	NoteStuck       NoteKind = "stuck"        // it did not leave in time, and is killed
	NoteLag         NoteKind = "lag"          // its goroutines wait too long for a processor
	NoteRecycle     NoteKind = "recycle"      // too large: its replacement is started
	NoteRollout     NoteKind = "rollout"      // a rollout begins
	NoteBaking      NoteKind = "baking"       // the first replacement is ready, and watched
	NoteReplaced    NoteKind = "replaced"     // a process gives way to its replacement
	NoteRollback    NoteKind = "rollback"     // a rollout failed, and what was replaced goes back
	NoteOpened      NoteKind = "opened"       // the breaker of a release
	NoteProbe       NoteKind = "probe"        // half open: one process is tried
	NoteForced      NoteKind = "forced"       // a process is tried before the probe is due
	NoteClosed      NoteKind = "closed"       // the breaker of a release
	NoteUnhealthy   NoteKind = "unhealthy"    // by its own word
	NoteHealthy     NoteKind = "healthy"      // again
	NoteCure        NoteKind = "cure"         // unhealthy for too long: its replacement is started
	NoteIncurable   NoteKind = "incurable"    // the replacement is unhealthy as well; Wait: until the next is tried
	NoteScaled      NoteKind = "scaled"       // a new target
	NoteScaleFailed NoteKind = "scale failed" // the target went back
	NoteReset       NoteKind = "reset"        // all breakers were closed
	NoteAnswering   NoteKind = "answering"    // nobody is ready: the answerer is started
	NoteAnswered    NoteKind = "answered"     // it was told to leave
	NoteAnswererEnd NoteKind = "answerer end" // it ended by itself, or could not be started; Wait: until it is tried again
	NoteShutdown    NoteKind = "shutdown"     // the end begins
	NoteShutdownNow NoteKind = "shutdown now" // and is cut short
	NoteAway        NoteKind = "away"         // the master itself did not run for a while
)
