//go:build unix

package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"doorbuster/cluster/internal/supervisor"
)

// askLimit is how long workers may take to answer what the master wants to know. One that does not is stuck, or busy: it
// is shown with what is known.
const askLimit = 300 * time.Millisecond

// setLimit is how long workers may take to apply a setting.
const setLimit = 2 * time.Second

// maxSettings bounds all settings together, in bytes of JSON. One goes in a message, which holds maxMessage; new workers get
// all of them in a variable, which holds 128 KiB on Linux (execve(2)).
const maxSettings = 48 << 10

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
		if p := l.sup.Process(c.id); p != nil && p.Phase != supervisor.Starting && p.Phase != supervisor.Killed && !c.reaped && !c.linkDone {
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
	if r := l.releases[l.sup.Serving]; r != nil {
		master.Release = r.name
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
			RequestsTotal: c.beat.Requests, LagSeconds: c.beat.Lag.Seconds(),
		})
	}
	slices.SortStableFunc(s.Workers, func(a, b WorkerStatus) int { return cmp.Compare(a.Slot, b.Slot) })
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

// logStatus writes the line that tells how all are (M13).
func (l *loop) logStatus() {
	s := l.status()
	var memory, requests int64
	inFlight := 0
	for _, w := range s.Workers {
		memory += w.RSSBytes
		requests += w.RequestsTotal
		inFlight += w.InFlight
	}
	l.cfg.Log.Info("cluster", "state", s.Master.State, "ready", s.Master.Ready, "workers", s.Master.Target, "memory_mb", memory>>20,
		"requests", requests, "in_flight", inFlight, "crashes", s.Master.CrashesTotal)
}

// Scale sets how many workers there should be.
func (m *Master) Scale(ctx context.Context, workers int) error {
	if err := m.running(); err != nil {
		return err
	}
	if workers < 1 || workers > maxWorkers {
		return fmt.Errorf("%d workers: there can be 1 to %d", workers, maxWorkers)
	}
	var refused error
	if err := m.call(ctx, func(l *loop) {
		if l.sup.Stopping > 0 {
			refused = ErrStopped
			return
		}
		l.scale(workers)
	}); err != nil {
		return err
	}
	return refused
}

// Kill kills the worker in a slot with SIGKILL, for those who want to see what happens then. To the cluster it is a crash
// like any other.
func (m *Master) Kill(ctx context.Context, slot int) error {
	refused := fmt.Errorf("no worker serves in slot %d", slot)
	if err := m.call(ctx, func(l *loop) {
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
	return m.call(ctx, func(l *loop) { l.step(supervisor.Shutdown{}) })
}

// Set gives a setting to all workers, now and later, if Config.OnSetting agrees, and returns how many have it already.
// The error tells which refused it, or did not answer.
func (m *Master) Set(ctx context.Context, key, value string) (applied int, err error) {
	type outcome struct {
		applied int
		err     error
	}
	reply := make(chan outcome, 1)
	if err := m.call(ctx, func(l *loop) {
		if l.cfg.OnSetting == nil {
			reply <- outcome{0, fmt.Errorf("there is no setting %q", key)}
			return
		}
		all := maps.Clone(l.settings)
		all[key] = value
		if raw, err := json.Marshal(all); err != nil || len(raw) > maxSettings {
			reply <- outcome{0, errors.Join(err, fmt.Errorf("all settings together would have %d bytes: the limit is %d", len(raw), maxSettings))}
			return
		}
		if err := l.cfg.OnSetting(key, value); err != nil {
			reply <- outcome{0, err}
			return
		}
		l.settings[key] = value
		l.lastSet++
		done := func(agreed, missing int, err error) {
			if missing > 0 {
				err = errors.Join(err, fmt.Errorf("%d workers did not answer within %v; they get it when they do", missing, setLimit))
			}
			reply <- outcome{agreed, err}
		}
		for _, c := range l.children { // one that is starting reads it when it joins
			if p := l.sup.Process(c.id); p != nil && p.Phase == supervisor.Starting {
				l.send(c.id, message{Kind: msgSet, Key: key, Value: value, ID: l.lastSet})
			}
		}
		l.ask(message{Kind: msgSet, Key: key, Value: value, ID: l.lastSet}, msgApplied, setLimit, done)
		l.cfg.Log.InfoContext(ctx, "set", "key", key, "value", value)
	}); err != nil {
		return 0, err
	}
	select {
	case o := <-reply:
		return o.applied, o.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	case <-m.ended:
		return 0, ErrStopped
	}
}

// Get asks a worker over HTTP on a connection of its own, which its listener knows nothing of: what [Worker.HandleAdmin]
// serves. The caller closes the answer's body.
func (m *Master) Get(ctx context.Context, pid int, path string) (*http.Response, error) {
	var conn net.Conn
	var failed error
	if err := m.call(ctx, func(l *loop) { conn, failed = l.connect(pid) }); err != nil {
		return nil, err
	}
	if failed != nil {
		return nil, failed
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://worker"+path, nil)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	once := &http.Transport{
		DisableKeepAlives: true, DisableCompression: true, // it stays on this machine
		DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil },
	}
	resp, err := once.RoundTrip(req)
	if err != nil {
		conn.Close() // where the transport has not got that far
		return nil, fmt.Errorf("ask worker %d for %s: %w", pid, path, err)
	}
	return resp, nil
}

func (l *loop) connect(pid int) (net.Conn, error) {
	for _, c := range l.children {
		if c.pid != pid || c.reaped {
			continue
		}
		conn, theirs, err := newPair(unix.SOCK_STREAM)
		if err != nil {
			return nil, err
		}
		defer unix.Close(theirs)
		if err := c.link.send(message{Kind: msgServe}, theirs); err != nil {
			return nil, errors.Join(fmt.Errorf("reach worker %d: %w", pid, err), conn.Close())
		}
		return conn, nil
	}
	return nil, fmt.Errorf("there is no worker with pid %d", pid)
}
