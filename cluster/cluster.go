package cluster

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"
)

// Config holds the settings of a master. The zero value of each field but Listen means its default.
type Config struct {
	// Listen are the TCP addresses to serve on, such as ":8080". The master binds them once and never accepts on them;
	// workers get them in this order.
	Listen []string
	// Command is the executable of the workers and its arguments. The default is the running executable, by the path it
	// was started from, with the arguments of this process. At each reload the file at that path is looked at anew.
	Command []string
	// Env is added to the environment of workers.
	Env []string
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
	// itself. It runs on the master's goroutine and must not block. Default: every setting is refused.
	OnSetting func(key, value string) error
	// AlertCommand is run with ALERT_REASON, ALERT_RELEASE and ALERT_PID in its environment when a circuit breaker opens.
	AlertCommand []string

	// Output takes what workers write to standard output and standard error, in whole lines. Default os.Stderr.
	Output io.Writer
	// Log takes what the master has to say. Default slog.Default().
	Log *slog.Logger
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
	case len(c.Listen) == 0:
		return errors.New("no address to listen on: Listen is empty")
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

// Event is something that happened to the cluster.
type Event struct {
	Time time.Time `json:"time"`
	// Kind is ready, left, crashed, late, silent, stuck, lag, recycle, rollout,
	// baking, replaced, rollback, opened, probe, forced, closed, reset, unhealthy,
	// healthy, cure, incurable, scaled, scale failed, answering, answered, answerer
	// end, shutdown, shutdown now, or away.
	Kind    string  `json:"kind"`
	Slot    int     `json:"slot,omitempty"`
	PID     int     `json:"pid,omitempty"`
	Release string  `json:"release,omitempty"`
	Reason  string  `json:"reason,omitempty"`
	Wait    float64 `json:"wait_seconds,omitempty"` // until what is next
	Done    int     `json:"done"`                   // workers that run the release of the rolling restart under way
	Total   int     `json:"total"`                  // workers that there should be
}

// Status is the state of a cluster at a moment.
type Status struct {
	Master struct {
		PID           int      `json:"pid"`
		Release       string   `json:"release"`   // what crash restarts run
		State         string   `json:"state"`     // starting, running, rolling, rolling back, degraded, stopping
		Listeners     []string `json:"listeners"` // addresses
		UptimeSeconds float64  `json:"uptime_seconds"`
		Target        int      `json:"target"` // how many workers there should be
		Ready         int      `json:"ready"`
		CrashesTotal  int      `json:"crashes_total"`
		ReloadsTotal  int      `json:"reloads_total"`
		ReloadsFailed int      `json:"reloads_failed"`
		BreakerOpen   bool     `json:"breaker_open"`
		Answering     bool     `json:"answering"` // no worker is ready, and clients get a 503 at once
		RSSBytes      int64    `json:"rss_bytes"`
	} `json:"master"`
	Workers []WorkerStatus `json:"workers"` // by slot; two in one slot while one replaces the other
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
	LagSeconds    float64 `json:"lag_seconds"` // the longest that a goroutine waited for a processor since the heartbeat before
}
