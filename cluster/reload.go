//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"syscall"
	"time"

	"doorbuster/cluster/internal/supervisor"
)

// alertLimit is how long Config.AlertCommand may run.
const alertLimit = 30 * time.Second

// Reload replaces all workers, one after the other, by such that run the executable that is now on disk (M8). It waits
// for the outcome: nil when all run the new release, a *[VerdictError] when the old one serves on (M9), [ErrSuperseded] when
// another reload has taken its place, and [ErrStopped] when the master was told to stop. Meanwhile watch gets what
// happens, if it is not nil, and not what belongs to another reload; an event is dropped when it is full. Once it has begun a reload goes on, also when ctx ends.
func (m *Master) Reload(ctx context.Context, watch chan<- Event) error {
	if err := m.call(ctx, func(l *loop) { l.asked(ctx, "reload") }); err != nil { // heard before the file is looked at
		return err
	}
	m.adopting.Lock() // of two reloads, the later one looks at the file later
	handedOver := sync.OnceFunc(m.adopting.Unlock)
	defer handedOver()
	r, err := adopt(ctx, m.cfg.Command[0])
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return m.refuse(ctx, err.Error())
	}
	if r.env, err = m.freshEnv(); err != nil {
		return errors.Join(m.refuse(ctx, err.Error()), r.Close())
	}
	verdict := make(chan error, 1)
	if err := m.call(ctx, func(l *loop) { l.reload(r, verdict, watch) }); err != nil {
		return errors.Join(err, r.Close())
	}
	handedOver()
	return m.awaitReload(ctx, verdict, watch)
}

// awaitReload waits for the verdict about a reload, or until nobody waits for it.
func (m *Master) awaitReload(ctx context.Context, verdict <-chan error, watch chan<- Event) error {
	err := m.await(ctx, verdict)
	if watch != nil && ctx.Err() != nil { // else the verdict has ended it
		m.call(context.WithoutCancel(ctx), func(l *loop) { //nolint:errcheck // it has ended: nobody is told anything any more
			maps.DeleteFunc(l.watchers, func(_ supervisor.Ticket, w chan<- Event) bool { return w == watch })
		})
	}
	return err
}

// Check looks at the executable that a reload would adopt now, changes nothing, and
// returns the name of its release. The error, a *[VerdictError], says why a reload
// would be refused. Whether its workers get ready only a reload can tell.
func (m *Master) Check(ctx context.Context) (release string, err error) {
	if err := m.call(ctx, func(*loop) {}); err != nil {
		return "", err
	}
	r, err := adopt(ctx, m.cfg.Command[0])
	if err == nil {
		defer r.Close()
		_, err = m.freshEnv()
	}
	switch {
	case err == nil:
		return r.name, nil
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	}
	return "", &VerdictError{Reason: err.Error()}
}

// refuse is the end of a reload whose executable can't be adopted.
func (m *Master) refuse(ctx context.Context, reason string) error {
	var verdict error = &VerdictError{Reason: reason}
	if err := m.call(context.WithoutCancel(ctx), func(l *loop) {
		if l.sup.Stopping > 0 {
			verdict = ErrStopped
			return
		}
		l.reloads++
		l.reloadsFailed++
		l.cfg.Log.ErrorContext(ctx, "reload refused", "reason", reason)
		l.judged("reload", "", verdict)
		l.told = false // a service manager that has asked for it waits for the end of it
		l.tell(l.notify.reloading)
		l.tellReady()
	}); err != nil {
		return err
	}
	return verdict
}

func (l *loop) reload(r *release, verdict chan<- error, watch chan<- Event) {
	l.newest++
	l.ticket++
	if watch != nil {
		l.watchers[l.ticket] = watch
	}
	under := l.sup.Rollout
	same := under != nil && !under.Back && l.releases[under.Release].same(r) // on the way back its release may be retired
	l.releases[l.newest], l.tickets[l.ticket], l.reloading[l.ticket] = r, verdict, r.name
	l.reloads++
	l.step(supervisor.Reload{Ticket: l.ticket, Release: l.newest, Same: same})
	if same {
		return
	}
	clear(l.earlier)
	for _, p := range l.sup.Processes {
		if p.Phase == supervisor.Leaving || p.Phase == supervisor.Killed { // a reload tells nobody to leave before somebody new is ready
			l.earlier[p.ID] = true
		}
	}
}

func (l *loop) verdict(v supervisor.Verdict) {
	if c, ok := l.orders[v.Ticket]; ok {
		delete(l.orders, v.Ticket)
		err := l.failure(v)
		if err != nil {
			l.cfg.Log.Error("command failed", "command", c.what, "reason", err)
		}
		l.judged(c.what, "", err)
		c.verdict <- err
		return
	}
	reply := l.tickets[v.Ticket]
	delete(l.tickets, v.Ticket)
	delete(l.watchers, v.Ticket)
	release := l.reloading[v.Ticket]
	delete(l.reloading, v.Ticket)
	if v.Reason == "" {
		l.judged("reload", release, nil)
		l.cfg.Log.Info("reloaded", "workers_release", l.releases[l.sup.Serving].name)
		reply <- nil
		return
	}
	l.reloadsFailed++
	err := l.failure(v)
	l.judged("reload", release, err)
	if v.End != supervisor.NoEnd {
		l.cfg.Log.Warn("reload cut short", "reason", err)
	} else {
		l.cfg.Log.Error("reload failed", "reason", err)
	}
	reply <- err
}

// endedBy is the error for a wish that something from outside has ended; nil when nothing has.
func endedBy(e supervisor.End) error {
	switch e {
	case supervisor.Superseded:
		return ErrSuperseded
	case supervisor.ShutDown:
		return ErrStopped
	case supervisor.NoEnd:
	}
	return nil
}

// remembered finds a worker that has ended, or has been told to.
func (l *loop) remembered(id supervisor.ID) grave {
	if i := slices.IndexFunc(l.graves, func(g grave) bool { return g.id == id }); i >= 0 {
		return l.graves[i]
	}
	if c := l.children[id]; c != nil {
		return grave{id, subjectOf(c), c.said.lines()}
	}
	return grave{id: id, subject: "a worker "}
}

// subjectOf begins a sentence about a worker.
func subjectOf(c *child) string {
	if c.pid == 0 {
		return fmt.Sprintf("worker %d (release %s) ", c.slot, c.release.name)
	}
	return fmt.Sprintf("worker %d (pid %d, release %s) ", c.slot, c.pid, c.release.name)
}

// note puts what the supervisor finds worth telling into the log and to those who watch.
func (l *loop) note(n supervisor.Note) {
	e := Event{Time: time.Now(), Kind: EventKind(n.Kind), Slot: n.Slot, PID: n.PID, Reason: n.Reason, Wait: n.Wait.Seconds(), Total: l.sup.Target}
	if r := l.releases[n.Release]; r != nil {
		e.Release = r.name
	}
	e.Done = l.readyWith(l.sup.Serving) // after a rollout
	if l.sup.Rollout != nil {
		e.Done = l.readyWith(l.sup.Rollout.Release)
	}
	for _, watch := range l.watchers {
		if l.earlier[n.ID] {
			break
		}
		select {
		case watch <- e:
		default:
		}
	}
	l.publish(e)
	l.logNote(n, e)
	l.recordNote(n, e)
	switch n.Kind {
	case supervisor.NoteCrashed:
		l.crashes++
		l.crashesIn[n.Slot]++
	case supervisor.NoteRollout:
		l.told = false
		l.tell(l.notify.reloading)
	case supervisor.NoteShutdown:
		l.tell(l.notify.stopping)
	case supervisor.NoteOpened:
		l.alert(e)
	}
}

func (l *loop) logNote(n supervisor.Note, e Event) {
	log := l.cfg.Log.With("slot", e.Slot, "worker_pid", e.PID, "worker_release", e.Release)
	switch n.Kind {
	case supervisor.NoteReady:
		log.Info("worker ready", "after", time.Since(l.children[n.ID].forked).Round(time.Millisecond).String())
	case supervisor.NoteBaking:
		log.Info("worker has to stay healthy before others leave", "for", n.Wait.String())
	case supervisor.NoteLeft:
		log.Info("worker left", "how", n.Reason)
	case supervisor.NoteCrashed:
		log.Error("worker crashed", "reason", n.Reason, "crashes", n.Crashes, "again_in", n.Wait.Round(time.Millisecond).String())
	case supervisor.NoteLate, supervisor.NoteSilent, supervisor.NoteStuck:
		log.Error("killing worker", "reason", n.Reason)
	case supervisor.NoteLag:
		log.Warn("worker lags: its goroutines wait for a processor", "lag", n.Wait.String())
	case supervisor.NoteRecycle:
		log.Warn("replacing worker", "reason", n.Reason)
	case supervisor.NoteRollout:
		l.cfg.Log.Info("reloading", "workers_release", e.Release)
	case supervisor.NoteReplaced:
		log.Info("worker takes over", "done", e.Done, "of", e.Total)
	case supervisor.NoteRollback:
		l.cfg.Log.Error("going back to the release before", "workers_release", e.Release, "reason", n.Reason)
	case supervisor.NoteOpened:
		log.Error("circuit breaker open: this release is not started again for now", "reason", n.Reason, "probe_in", n.Wait.String())
	case supervisor.NoteProbe:
		log.Warn("circuit breaker half open: trying one worker")
	case supervisor.NoteForced:
		log.Warn("trying one worker although the circuit breaker is open")
	case supervisor.NoteClosed:
		log.Info("circuit breaker closed")
	case supervisor.NoteReset:
		l.cfg.Log.Info("all circuit breakers are closed, and nobody waits any longer, as somebody has asked for")
	case supervisor.NoteUnhealthy:
		log.Warn("worker is unhealthy", "reason", n.Reason)
	case supervisor.NoteHealthy:
		log.Info("worker is healthy again")
	case supervisor.NoteCure:
		log.Warn("replacing worker", "reason", n.Reason)
	case supervisor.NoteIncurable:
		log.Warn("a new worker is unhealthy as well: nobody is replaced for that for a while", "reason", n.Reason, "for", n.Wait.String())
	case supervisor.NoteScaleFailed:
		l.cfg.Log.Error("scaling failed", "reason", n.Reason)
	case supervisor.NoteAnswering:
		l.cfg.Log.Warn("no worker is ready: clients are answered with 503 meanwhile")
	case supervisor.NoteAnswered:
		l.cfg.Log.Info("clients are not answered with 503 any more", "answerer_pid", n.PID)
	case supervisor.NoteAnswererEnd:
		l.cfg.Log.Error("the process that answers clients while no worker is ready has ended", "answerer_pid", n.PID, "reason", n.Reason, "again_in", n.Wait.String())
	case supervisor.NoteScaled:
		l.cfg.Log.Info("scaling", "workers", e.Total)
	case supervisor.NoteShutdown:
		l.cfg.Log.Info("master stopping", "workers", len(l.children))
	case supervisor.NoteShutdownNow:
		l.cfg.Log.Warn("stopping at once")
	case supervisor.NoteAway:
		l.cfg.Log.Warn("the master itself did not run for a while; nobody's silence is held against them", "while", n.Wait.Round(time.Millisecond).String())
	}
}

// publish hands an event to OnEvent, in order and without waiting for it.
func (l *loop) publish(e Event) {
	if l.events == nil {
		return
	}
	e.Missed = l.missed
	if l.events.put(func() { l.cfg.OnEvent(e) }) {
		if l.missed > 0 {
			l.cfg.Log.Warn("OnEvent has missed events", "events", l.missed)
		}
		l.missed = 0
		return
	}
	if l.missed++; l.missed == 1 {
		l.cfg.Log.Warn("OnEvent does not keep up: it misses events", "waiting", backgroundQueue)
	}
}

func (l *loop) readyWith(r supervisor.Release) int {
	n := 0
	for _, p := range l.sup.Processes {
		if p.Release == r && p.Phase == supervisor.Ready {
			n++
		}
	}
	return n
}

// alert runs the operator's command (M6).
func (l *loop) alert(e Event) {
	command := l.cfg.AlertCommand
	if len(command) == 0 {
		return
	}
	env := append(workerEnv(l.own, l.cfg.Env), "ALERT_REASON="+e.Reason, "ALERT_RELEASE="+e.Release, fmt.Sprintf("ALERT_PID=%d", e.PID))
	pid, err := syscall.ForkExec(command[0], command, &syscall.ProcAttr{
		Env: env, Files: []uintptr{uintptr(l.null), uintptr(l.stderr), uintptr(l.stderr)},
		// A session of its own has a group of its own, and no terminal that could
		// stop the command for writing to it (stty tostop).
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		l.cfg.Log.Error("run the alert command", "command", command, "error", err)
		return
	}
	l.helpers[pid] = &helper{until: time.Now().Add(alertLimit)}
}
