//go:build unix

package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"doorbuster/cluster/internal/supervisor"
)

// askLimit is how long workers may take to answer what the master wants to know. One that does not is stuck, or busy: it
// is shown with what is known.
const askLimit = 300 * time.Millisecond

// wait is a question to workers, and who has not answered yet.
type wait struct {
	kind   string
	id     int64
	agreed int
	open   map[*child]struct{}
	until  time.Time
	errs   []error // of those that answered so
	answer func(agreed, missing int, err error)
}

// ask sends a message to all workers that are ready, and calls answer when all have answered, or their time is up.
func (l *loop) ask(msg message, reply string, limit time.Duration, answer func(agreed, missing int, err error)) {
	w := &wait{kind: reply, id: msg.ID, open: map[*child]struct{}{}, until: time.Now().Add(limit), answer: answer}
	for _, c := range l.children {
		if l.answers(c) {
			w.open[c] = struct{}{}
		}
	}
	l.waiting[w] = struct{}{}
	for c := range w.open {
		l.send(c.id, msg)
	}
	if len(w.open) == 0 {
		l.answered(w)
	}
}

// answers reports whether a worker can be asked something.
func (l *loop) answers(c *child) bool {
	p := l.sup.Process(c.id)
	return p != nil && p.Phase != supervisor.Starting && p.Phase != supervisor.Killed && !c.reaped && !c.linkDone
}

// heard takes a worker's answer.
func (l *loop) heard(c *child, kind string, id int64, err error) {
	for w := range l.waiting {
		if _, open := w.open[c]; !open || w.kind != kind || w.id != id {
			continue
		}
		delete(w.open, c)
		if err != nil {
			w.errs = append(w.errs, err)
		} else {
			w.agreed++
		}
		if len(w.open) == 0 {
			l.answered(w)
		}
	}
}

// forget waits no longer for a worker that is gone.
func (l *loop) forget(c *child) {
	for w := range l.waiting {
		if _, open := w.open[c]; open {
			delete(w.open, c)
			if len(w.open) == 0 {
				l.answered(w)
			}
		}
	}
}

func (l *loop) answered(w *wait) {
	delete(l.waiting, w)
	w.answer(w.agreed, len(w.open), errors.Join(w.errs...))
}

// Status asks the workers how they are and returns the state of the cluster.
func (m *Master) Status(ctx context.Context) (Status, error) {
	reply := make(chan Status, 1)
	if err := m.call(ctx, func(l *loop) {
		l.ask(message{Kind: msgAsk}, msgBeat, askLimit, func(int, int, error) { reply <- l.status() })
	}); err != nil {
		return Status{}, err
	}
	select {
	case s := <-reply:
		return s, nil
	case <-ctx.Done():
		return Status{}, context.Cause(ctx)
	case <-m.ended:
		return Status{}, ErrStopped
	}
}

func (l *loop) status() Status {
	var s Status
	master := &s.Master
	master.PID, master.State, master.Listeners = unix.Getpid(), l.state(), l.Addrs()
	master.UptimeSeconds, master.Target, master.Ready = time.Since(l.began).Seconds(), l.sup.Target, l.sup.Ready()
	master.CrashesTotal, master.ReloadsTotal, master.ReloadsFailed = l.crashes, l.reloads, l.reloadsFailed
	master.BreakerOpen, master.RSSBytes = l.breakerOpen(), residentBytes()
	master.Answering = l.sup.Answerer.Up && !l.sup.Answerer.Leaving
	master.Settings = maps.Clone(l.settings)
	if r := l.releases[l.sup.Serving]; r != nil {
		master.Release = r.name
	}
	if l.before != nil {
		master.Before = l.before.name
	}
	s.Workers = []WorkerStatus{}
	for _, p := range l.sup.Processes {
		c := l.children[p.ID]
		if c == nil || c.reaped || p.Phase == supervisor.Killed {
			continue
		}
		s.Workers = append(s.Workers, WorkerStatus{
			Slot: p.Slot, PID: p.PID, Release: c.release.name, State: p.Phase.String(), UptimeSeconds: time.Since(c.forked).Seconds(),
			RSSBytes: c.beat.Memory, Goroutines: c.beat.Goroutines, InFlight: c.beat.InFlight, Connections: c.beat.Connections,
			RequestsTotal: c.beat.Requests, CrashesTotal: l.crashesIn[p.Slot], AcceptErrors: c.beat.AcceptErrors, LagSeconds: c.beat.Lag.Seconds(),
			Unhealthy: c.beat.Unhealthy, SilentSeconds: time.Since(c.heard).Seconds(), MissedMessages: c.beat.Missed,
			Protocol: c.protocol, Abilities: c.abilities,
		})
	}
	slices.SortStableFunc(s.Workers, func(a, b WorkerStatus) int { return cmp.Compare(a.Slot, b.Slot) })
	l.explain(&s)
	return s
}

func (l *loop) state() string {
	switch {
	case l.sup.Stopping > 0:
		return "stopping"
	case l.sup.Rollout != nil && l.sup.Rollout.Back:
		return "rolling back"
	case l.sup.Rollout != nil:
		return "rolling"
	case !l.complete:
		return "starting"
	case l.breakerOpen() || l.sup.Ready() < l.sup.Target:
		return "degraded"
	}
	return "running"
}

func (l *loop) breakerOpen() bool {
	return slices.ContainsFunc(l.sup.Breakers, func(b *supervisor.Breaker) bool { return b.Open })
}

// logStatus writes the line that tells how all are (M13): a warning where they are not as they should be, an error where
// nobody serves, with the reasons.
func (l *loop) logStatus() {
	s := l.status()
	var memory, requests int64
	inFlight := 0
	for _, w := range s.Workers {
		memory += w.RSSBytes
		requests += w.RequestsTotal
		inFlight += w.InFlight
	}
	level, fields := slog.LevelInfo, []any{
		"state", s.Master.State, "ready", s.Master.Ready, "workers", s.Master.Target, "memory_mb", memory >> 20,
		"requests", requests, "in_flight", inFlight, "crashes", s.Master.CrashesTotal,
	}
	switch {
	case s.Master.State == "degraded" && s.Master.Ready == 0:
		level = slog.LevelError
	case s.Master.State == "degraded":
		level = slog.LevelWarn
	}
	if len(s.Master.Reasons) > 0 {
		fields = append(fields, "because", strings.Join(s.Master.Reasons, "; "))
	}
	l.cfg.Log.Log(context.Background(), level, "cluster", fields...)
}

// Kill kills the worker in a slot with SIGKILL, for those who want to see what happens then. To the cluster it is a crash
// like any other.
func (m *Master) Kill(ctx context.Context, slot int) error {
	refused := fmt.Errorf("no worker serves in slot %d", slot)
	if err := m.call(ctx, func(l *loop) {
		l.asked(ctx, fmt.Sprintf("kill %d", slot))
		for _, p := range l.sup.Processes {
			if c := l.children[p.ID]; p.Slot == slot && p.Phase == supervisor.Ready && c != nil && !c.reaped { // the pid is still its own
				c.wasKilled, c.killedFor = true, ", as a command asked for"
				refused = syscall.Kill(p.PID, syscall.SIGKILL)
				return
			}
		}
	}); err != nil {
		return err
	}
	return refused
}

// Stop shuts the cluster down, as SIGTERM does. The second call cuts short what the workers hold, a third one kills. It
// returns at once; the end is that of Run.
func (m *Master) Stop(ctx context.Context) error {
	return m.call(ctx, func(l *loop) { l.shutdown(ctx, "stop") })
}

// StopNow shuts the cluster down and cuts short what the workers hold, as two calls of
// Stop do; when the end is under way it is cut short. More calls do nothing.
func (m *Master) StopNow(ctx context.Context) error {
	return m.call(ctx, func(l *loop) {
		what := "stop --now"
		if l.sup.Stopping > 1 {
			l.asked(ctx, what)
		}
		for ; l.sup.Stopping < 2 && l.exit == nil; what = "" {
			l.shutdown(ctx, what)
		}
	})
}

// Get asks a worker over HTTP on a connection of its own, which its listener knows nothing of: what [Worker.HandleAdmin]
// serves. The caller closes the answer's body. A worker that can't take the connection, because it has no descriptor
// free, serves on, and the error says so.
func (m *Master) Get(ctx context.Context, pid int, path string) (*http.Response, error) {
	var p passing
	var failed error
	if err := m.call(ctx, func(l *loop) { p, failed = l.connect(pid) }); err != nil {
		return nil, err
	}
	if failed != nil {
		return nil, failed
	}
	defer m.call(context.WithoutCancel(ctx), func(l *loop) { delete(l.passed, p.id) }) //nolint:errcheck // it has ended, and the loop with it
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://worker"+path, nil)
	if err != nil {
		return nil, errors.Join(err, p.conn.Close())
	}
	once := &http.Transport{
		DisableKeepAlives: true, DisableCompression: true, // it stays on this machine
		DialContext: func(context.Context, string, string) (net.Conn, error) { return p.conn, nil },
	}
	resp, err := once.RoundTrip(req)
	if err != nil {
		p.conn.Close() // where the transport has not got that far
		return nil, fmt.Errorf("ask worker %d for %s: %w", pid, path, p.reason(err))
	}
	return resp, nil
}

// passing is a connection whose other end was passed to a worker.
type passing struct {
	id      int64
	conn    net.Conn
	refused <-chan string // by the worker, with the reason; nil: it does not tell
}

// refusalWait is how long the reason may take to follow the end of a connection.
const refusalWait = 100 * time.Millisecond

// reason is why the connection failed.
func (p *passing) reason(err error) error {
	timer := time.NewTimer(refusalWait)
	defer timer.Stop()
	select {
	case why := <-p.refused:
		return fmt.Errorf("it refuses the connection: %s", why)
	case <-timer.C:
		return err
	}
}

func (l *loop) connect(pid int) (passing, error) {
	for _, c := range l.children {
		if c.pid != pid || c.reaped {
			continue
		}
		conn, theirs, err := newPair(unix.SOCK_STREAM)
		if err != nil {
			return passing{}, fmt.Errorf("reach worker %d: %w", pid, err)
		}
		defer unix.Close(theirs)
		l.lastPassed++
		refused := make(chan string, 1)
		p := passing{l.lastPassed, conn, refused}
		if err := c.link.send(message{Kind: msgServe, ID: p.id}, theirs); err != nil {
			return passing{}, errors.Join(fmt.Errorf("reach worker %d: %w", pid, err), conn.Close())
		}
		if slices.Contains(c.abilities, abilityRefusal) {
			l.passed[p.id] = refused
		} else {
			p.refused = nil
		}
		return p, nil
	}
	return passing{}, fmt.Errorf("there is no worker with pid %d", pid)
}
