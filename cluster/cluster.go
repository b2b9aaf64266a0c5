package cluster

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"
)

// Config holds the settings of a master. The zero value of each field means its default; there has to be something to listen
// on.
type Config struct {
	// Listen are the addresses to serve on: of TCP, such as ":8080", and Unix
	// sockets, such as "unix:/run/shop/shop.sock". The master binds them once and
	// never accepts on them. Workers get them in this order: see [Worker.Serve].
	//
	// The file of a Unix socket may be connected to by all who can reach it (mode
	// 0666). The master removes it at its end, and replaces one that a killed
	// master has left. "unix:@name" is an abstract socket of Linux.
	//
	// "systemd" stands for all stream sockets that the service manager has passed to
	// this process, and "systemd:NAME" for those of a name (LISTEN_FDS,
	// LISTEN_FDNAMES: sd_listen_fds(3)). Default: these sockets, if there are any and
	// Listeners is empty.
	Listen []string
	// Listeners are TCP and Unix listeners to serve on, behind those of Listen. When New succeeds they belong to the
	// master: it has duplicated their descriptors, on which O_NONBLOCK stays set, and closes the originals. The file of a
	// Unix socket is left in place, then and at the end.
	Listeners []net.Listener
	// Command is the executable of the workers and its arguments. The default is the running executable, by the path it
	// was started from, with the arguments of this process; "" in place of a path stands for the former. At each reload the
	// file at that path is looked at anew.
	Command []string
	// Env is added to the environment of workers, as NAME=value.
	Env []string
	// EnvFunc returns more of that, each time that an executable is adopted: by New, and by every reload, on the goroutine
	// of [Master.Reload]. So a reload can bring new variables along, or take some away. Crash restarts, and the way back
	// to the release before, keep the environment of their release. An error refuses the reload. Default: none.
	EnvFunc func() ([]string, error)
	// User is whom workers run as, for a master that root has started to bind a port below 1024. What the master opens
	// itself, such as the sockets, stays open in them. On systems without /proc their executable has to be within reach of
	// that user. Default: the master's own user.
	User *User
	// Nice is the nice value of workers, from -20 to 19. Default 0: the master's own.
	Nice int
	// Rlimits are resource limits of workers. Each worker sets them in [Join], and so can't raise a hard limit unless it
	// is root's. Default: those of the master.
	Rlimits []Rlimit
	// Workers is how many there should be. The default is [DefaultWorkers].
	Workers int

	// PIDFile holds the master's pid, and the lock that keeps a second master away. Default: none.
	PIDFile string
	// ControlSocket is where [Dial] reaches the master. Only the user of the master, and root, may. Default: none.
	ControlSocket string

	// ReadyTimeout is how long a worker may take to say that it is ready. Default 30 s.
	ReadyTimeout time.Duration
	// Bake is how long the first replacement of a rolling restart has to stay healthy before a worker of the release
	// that serves is told to leave. Default 1 s.
	Bake time.Duration
	// KillTimeout is how long a worker may take to leave before it is killed. It should be longer than the workers' own
	// drain limit. Default 30 s.
	KillTimeout time.Duration
	// ShutdownDelay is how long workers serve on, unready, after the master was told to stop. Default 0.
	ShutdownDelay time.Duration
	// HeartbeatInterval and HeartbeatTimeout: how often workers send one, and after how long without any they are
	// killed and replaced. Default 10 s and 30 s.
	HeartbeatInterval, HeartbeatTimeout time.Duration
	// MaxWorkerMemory is the resident memory in bytes beyond which a worker is replaced, when it has been there for
	// HeartbeatTimeout: a crowd's peak is no leak. Default: no limit.
	MaxWorkerMemory int64
	// StatusInterval is how often the log gets a line about the whole cluster. Default 15 s.
	StatusInterval time.Duration

	// OnSetting is asked before a setting of [Client.Set] goes to the workers, and may refuse it or apply it to the master
	// itself. It is called with one setting after the other, on a goroutine of its own, and may call the master, but for
	// Set. If it takes more than 2 s, or panics, the setting is refused. Default: every setting is refused.
	OnSetting func(key, value string) error
	// OnEvent is told what happens, one event after the other, on a goroutine of its own. The master does not wait for it: of
	// more than 1,024 events that it has not taken yet the rest is dropped, which [Event.Missed] and the log tell. At
	// the end Run waits a second for it. Default: nobody.
	OnEvent func(Event)
	// AlertCommand is run with ALERT_REASON, ALERT_RELEASE and ALERT_PID in its environment when a circuit breaker opens.
	AlertCommand []string

	// Output takes what workers write to standard output and standard error, in whole lines. Default os.Stderr.
	Output io.Writer
	// Log takes what the master has to say. Default slog.Default().
	Log *slog.Logger
}

// PassedSockets is the address that stands for the sockets which the service manager has passed; see Config.Listen.
const PassedSockets = "systemd"

// User is an account that workers run as.
type User struct {
	UID, GID uint32
	Groups   []uint32 // supplementary ones
}

// Rlimit is a resource limit, as setrlimit(2) has it.
type Rlimit struct {
	Resource int    `json:"resource"` // such as syscall.RLIMIT_NOFILE
	Soft     uint64 `json:"soft"`
	Hard     uint64 `json:"hard"`
}

// maxWorkers bounds Workers and Scale: beyond it there is a typing error.
const maxWorkers = 1024

const defaultKillTimeout = 30 * time.Second

func (c *Config) setDefaults() {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.ReadyTimeout, 30*time.Second)
	def(&c.Bake, time.Second)
	def(&c.KillTimeout, defaultKillTimeout)
	def(&c.HeartbeatInterval, 10*time.Second)
	def(&c.HeartbeatTimeout, 30*time.Second)
	def(&c.StatusInterval, 15*time.Second)
	if c.Output == nil {
		c.Output = os.Stderr
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
}

func (c *Config) check() error {
	for _, limit := range []struct {
		name string
		d    time.Duration
	}{
		{"ReadyTimeout", c.ReadyTimeout},
		{"Bake", c.Bake},
		{"KillTimeout", c.KillTimeout},
		{"ShutdownDelay", c.ShutdownDelay},
		{"HeartbeatInterval", c.HeartbeatInterval},
		{"StatusInterval", c.StatusInterval},
	} {
		if limit.d < 0 {
			return fmt.Errorf("%s is %v: a time limit can't be negative", limit.name, limit.d)
		}
	}
	switch {
	case len(c.Listen)+len(c.Listeners) == 0:
		return errors.New("no address to listen on: Listen and Listeners are empty")
	case c.Nice < -20 || c.Nice > 19:
		return fmt.Errorf("nice value of %d: they go from -20 to 19", c.Nice)
	case c.HeartbeatTimeout < 2*c.HeartbeatInterval:
		return fmt.Errorf("HeartbeatTimeout is %v: it has to be at least twice HeartbeatInterval, which is %v", c.HeartbeatTimeout, c.HeartbeatInterval)
	case c.Workers < 0 || c.Workers > maxWorkers:
		return fmt.Errorf("%d workers: there have to be between 1 and %d", c.Workers, maxWorkers)
	}
	return nil
}

// Errors of a master and its workers.
var (
	// ErrNoMaster says that this process was not started by a master.
	ErrNoMaster = errors.New("not started by a master")
	// ErrSuperseded says that a newer command has taken the place of this one.
	ErrSuperseded = errors.New("a newer command took its place")
	// ErrStopped says that the master has ended, or is about to.
	ErrStopped = errors.New("the master is stopping, or has stopped")
	// ErrNotHeard says that a master did not take a command in time: it is stopped, or
	// hangs. The command is not carried out, also when the master goes on.
	ErrNotHeard = errors.New("the master does not answer")
	// ErrOlder says that a master is of an older release than its client, and so does not
	// know a command, or can't tell whether it carries it out.
	ErrOlder = errors.New("the master is of an older release")
	// ErrNotRunning says that [Master.Run] was not called yet.
	ErrNotRunning = errors.New("the master does not run yet")
	// ErrUnsupported says that this system has no cluster.
	ErrUnsupported = errors.New("a master needs a Unix system: run a worker without one here")
)

// VerdictError says why a rolling restart failed. The release that was serving before serves on.
type VerdictError struct {
	Reason string   // "worker 1 (pid 4711) exited with code 3 before it was ready"
	Output []string // the last lines that this worker wrote
}

func (e *VerdictError) Error() string { return e.Reason }

// StartError says why a master gave up that never had a worker.
type StartError struct {
	Reason string
	Output []string
}

func (e *StartError) Error() string {
	s := "no worker could be started: " + e.Reason
	if n := len(e.Output); n > 0 {
		s += "; the last it said: " + e.Output[n-1]
	}
	return s
}

// A RunningError says that another master holds the PID file.
type RunningError struct {
	PID  int    // 0 when that master has not written it yet
	Path string // of the PID file
}

func (e *RunningError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("another master is just starting or leaving (it holds PID file %s and no pid is in it): "+
			"look again in a moment, or give this one a PID file of its own", e.Path)
	}
	return fmt.Sprintf("a master with pid %d is running already (PID file %s): stop it first, or give this one a PID file of its own",
		e.PID, e.Path)
}

// EventKind says what an [Event] is about.
type EventKind string

// The kinds of events.
const (
	EventReady       EventKind = "ready"        // a worker serves
	EventLeft        EventKind = "left"         // a worker that was told to leave has left
	EventCrashed     EventKind = "crashed"      // a worker ended without being told to, for Reason
	EventLate        EventKind = "late"         // a worker was not ready in time, and is killed
	EventSilent      EventKind = "silent"       // a worker sends no heartbeats, and is killed
	EventStuck       EventKind = "stuck"        // a worker did not leave in time, and is killed
	EventLag         EventKind = "lag"          // the goroutines of a worker wait too long for a processor
	EventRecycle     EventKind = "recycle"      // a worker is to be replaced, for Reason
	EventRollout     EventKind = "rollout"      // a rolling restart begins
	EventBaking      EventKind = "baking"       // the first replacement is ready, and watched for Wait
	EventReplaced    EventKind = "replaced"     // a worker gives way to its replacement
	EventRollback    EventKind = "rollback"     // a rolling restart failed, and what was replaced goes back
	EventOpened      EventKind = "opened"       // the circuit breaker of a release, for Wait
	EventProbe       EventKind = "probe"        // a circuit breaker is half open: one worker is tried
	EventForced      EventKind = "forced"       // nobody is ready: one worker is tried although the breaker is open
	EventClosed      EventKind = "closed"       // the circuit breaker of a release
	EventUnhealthy   EventKind = "unhealthy"    // a worker says that it can't work, for Reason
	EventHealthy     EventKind = "healthy"      // a worker can work again
	EventCure        EventKind = "cure"         // a worker is unhealthy for too long: its replacement is started
	EventIncurable   EventKind = "incurable"    // the replacement is unhealthy as well: no other one for Wait
	EventScaled      EventKind = "scaled"       // there should be Total workers from now on
	EventScaleFailed EventKind = "scale failed" // an additional worker failed: there should be Total again
	EventReset       EventKind = "reset"        // all circuit breakers were closed
	EventAnswering   EventKind = "answering"    // nobody is ready: clients get a 503 from now on
	EventAnswered    EventKind = "answered"     // somebody is ready: they do not any more
	EventAnswererEnd EventKind = "answerer end" // what answers them has failed, and is tried again after Wait
	EventShutdown    EventKind = "shutdown"     // the end begins
	EventShutdownNow EventKind = "shutdown now" // the end is cut short
	EventAway        EventKind = "away"         // the master itself did not run for Wait
)

// Event is something that happened to the cluster. In JSON its kind is a string.
type Event struct {
	Time    time.Time `json:"time"`
	Kind    EventKind `json:"kind"`
	Slot    int       `json:"slot,omitempty"`
	PID     int       `json:"pid,omitempty"`
	Release string    `json:"release,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	Wait    float64   `json:"wait_seconds,omitempty"` // until what is next
	Done    int       `json:"done"`                   // workers that run the release of the rolling restart under way
	Total   int       `json:"total"`                  // workers that there should be
	Missed  int       `json:"missed,omitempty"`       // events before this one that Config.OnEvent was too slow for
}

// Status is the state of a cluster at a moment.
type Status struct {
	Master struct {
		PID           int      `json:"pid"`
		Release       string   `json:"release"`          // what crash restarts run
		Before        string   `json:"before,omitempty"` // what ran before it, and [Master.ReloadBack] goes back to; empty: nothing
		State         string   `json:"state"`            // starting, running, rolling, rolling back, degraded, stopping
		Listeners     []string `json:"listeners"`        // addresses
		UptimeSeconds float64  `json:"uptime_seconds"`
		Target        int      `json:"target"` // how many workers there should be
		Ready         int      `json:"ready"`
		CrashesTotal  int      `json:"crashes_total"`
		ReloadsTotal  int      `json:"reloads_total"`
		ReloadsFailed int      `json:"reloads_failed"`
		BreakerOpen   bool     `json:"breaker_open"`
		Answering     bool     `json:"answering"` // no worker is ready, and clients get a 503 at once
		RSSBytes      int64    `json:"rss_bytes"`
		// Reasons say in words why the state is what it is: what is waited for, and
		// since when. There is at least one when State is degraded.
		Reasons []string `json:"reasons,omitempty"`
		// Settings are those of [Client.Set] that later workers get, too.
		Settings map[string]string `json:"settings,omitempty"`
	} `json:"master"`
	Workers []WorkerStatus `json:"workers"` // by slot; two in one slot while one replaces the other
	// Waiting are the slots without a worker.
	Waiting []WaitingSlot `json:"waiting,omitempty"`
	// Breakers are the circuit breakers that are open.
	Breakers []BreakerStatus `json:"breakers,omitempty"`
	// LastCrash and LastVerdict are the latest of the master's life; nil: none.
	LastCrash   *CrashStatus   `json:"last_crash,omitempty"`
	LastVerdict *VerdictStatus `json:"last_verdict,omitempty"`
	// History has the last 32 commands that change something, carried out or refused,
	// and incidents, the oldest first.
	History []HistoryEntry `json:"history,omitempty"`
}

// WaitingSlot is a slot that waits for its next worker.
type WaitingSlot struct {
	Slot         int     `json:"slot"`
	Release      string  `json:"release"`
	Crashes      int     `json:"crashes"`                 // in a row
	CrashesTotal int     `json:"crashes_total"`           // in this slot, since the master's start
	Reason       string  `json:"reason,omitempty"`        // how the last one ended
	SinceSeconds float64 `json:"since_seconds,omitempty"` // since that
	InSeconds    float64 `json:"in_seconds"`              // until the next one may be started
	Breaker      bool    `json:"breaker,omitempty"`       // it waits for a circuit breaker
}

// BreakerStatus is a circuit breaker that is open.
type BreakerStatus struct {
	Release        string  `json:"release"`
	Crashes        int     `json:"crashes"` // that count
	Reason         string  `json:"reason"`  // of the last crash
	Probing        bool    `json:"probing"` // one worker is being tried
	ProbeInSeconds float64 `json:"probe_in_seconds"`
}

// CrashStatus is how a worker ended that nobody had told to leave.
type CrashStatus struct {
	Time    time.Time `json:"time"`
	Slot    int       `json:"slot"`
	PID     int       `json:"pid"`
	Release string    `json:"release"`
	Reason  string    `json:"reason"`
	Output  []string  `json:"output,omitempty"` // its last lines
}

// VerdictStatus is how a command ended that gets a verdict.
type VerdictStatus struct {
	Time    time.Time `json:"time"`
	Command string    `json:"command"`           // "reload", "scale to 3"
	Release string    `json:"release,omitempty"` // of a reload
	OK      bool      `json:"ok"`
	Reason  string    `json:"reason,omitempty"`
}

// HistoryEntry is a command, or an incident.
type HistoryEntry struct {
	Time time.Time `json:"time"`
	What string    `json:"what"`
	// By is who gave the command: "signal SIGUSR2", "the control socket (uid 0, pid
	// 4711)", "the admin address, from 127.0.0.1:40000". Empty: it is an incident.
	By string `json:"by,omitempty"`
}

// WorkerStatus is the state of one worker. The numbers are those of its last heartbeat.
type WorkerStatus struct {
	Slot          int     `json:"slot"`
	PID           int     `json:"pid"`
	Release       string  `json:"release"`
	State         string  `json:"state"` // starting, ready, draining
	UptimeSeconds float64 `json:"uptime_seconds"`
	RSSBytes      int64   `json:"rss_bytes"`
	Goroutines    int     `json:"goroutines"`
	InFlight      int     `json:"in_flight"`
	Connections   int     `json:"connections"`
	RequestsTotal int64   `json:"requests_total"`
	CrashesTotal  int     `json:"crashes_total"`       // in this slot, since the master's start
	AcceptErrors  int64   `json:"accept_errors_total"` // accepts that failed, such as for want of a file descriptor
	LagSeconds    float64 `json:"lag_seconds"`         // the longest that a goroutine waited for a processor since the heartbeat before
	// Unhealthy is why the worker can't do its work, by its own word ([Worker.Healthy],
	// Server.StallTimeout). Empty: it can.
	Unhealthy string `json:"unhealthy,omitempty"`
	// SilentSeconds is the time since the master has received anything from the worker,
	// or since its start. Beyond a heartbeat interval it is stopped, or in great trouble.
	SilentSeconds float64 `json:"silent_seconds"`
	// MissedMessages are broadcasts that its OnMessage left no room for.
	MissedMessages int64 `json:"missed_messages,omitempty"`
	// Protocol is the number of the protocol that the worker speaks, and Abilities are
	// what it can do besides. doc.go has them. 0 until it is ready.
	Protocol  int      `json:"protocol,omitempty"`
	Abilities []string `json:"abilities,omitempty"`
}
