//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"doorbuster/cluster/internal/supervisor"
)

// loop is the state of a running master. It belongs to the goroutine of Run; everyone else sends functions to it.
type loop struct {
	*Master
	began     time.Time
	sup       *supervisor.State
	children  map[supervisor.ID]*child
	releases  map[supervisor.Release]*release
	before    *release                           // what served before what serves; nil: nothing else has
	tickets   map[supervisor.Ticket]chan<- error // of reloads
	reloading map[supervisor.Ticket]string       // and to which release
	orders    map[supervisor.Ticket]command      // all else that gets a verdict
	answerer  *standIn
	self      selfProgram
	watchers  map[supervisor.Ticket]chan<- Event
	earlier   map[supervisor.ID]bool // those who leave for what was before the reload under way
	settings  map[string]string
	waiting   map[*wait]struct{}      // for answers of workers
	passed    map[int64]chan<- string // connections that workers may refuse to serve
	graves    []grave                 // of those that ended last, for verdicts about them
	helpers   map[int]*helper         // commands that were run, by pid
	places    []supervisor.ID         // who has which place on the board

	strangers   map[int]time.Time // children of others that have ended: when each was first seen
	strangersAt time.Time         // of the next look at them; zero: none is due
	history     []HistoryEntry
	lastCrash   *CrashStatus
	lastVerdict *VerdictStatus
	stoppedBy   string
	missed      int // events that OnEvent has not got since the last one that it has

	queue     []supervisor.Event
	stepping  bool
	statusAt  time.Time
	watchdog  time.Time
	told      bool // the service manager knows that the cluster is ready, since the last reload if there was one
	everTold  bool
	serving   string // in what words
	complete  bool   // all workers were ready once
	exit      *supervisor.Exit
	impatient bool // somebody has said stop when there was nothing left to stop

	newest                          supervisor.Release
	ticket                          supervisor.Ticket
	lastSet, lastPassed             int64
	crashes, reloads, reloadsFailed int
	crashesIn                       map[int]int // by slot
}

// Run starts the workers and supervises them until the master was told to stop, by ctx, a signal or a command, and the
// last worker is gone. It returns nil after a shutdown, and a *[StartError] when no worker was ever ready. It may be
// called once: of a master that was closed, or has run, it returns [ErrStopped].
func (m *Master) Run(ctx context.Context) error {
	if !m.life.CompareAndSwap(lifeMade, lifeRunning) {
		if m.life.Load() == lifeOver {
			return ErrStopped
		}
		return errors.New("run a master: it runs already")
	}
	l := &loop{
		Master: m, began: time.Now(), children: map[supervisor.ID]*child{}, releases: map[supervisor.Release]*release{1: m.first},
		tickets: map[supervisor.Ticket]chan<- error{}, orders: map[supervisor.Ticket]command{}, watchers: map[supervisor.Ticket]chan<- Event{}, earlier: map[supervisor.ID]bool{}, crashesIn: map[int]int{}, settings: map[string]string{},
		waiting: map[*wait]struct{}{}, passed: map[int64]chan<- string{}, helpers: map[int]*helper{}, places: make([]supervisor.ID, 2*maxWorkers), newest: 1,
		strangers: map[int]time.Time{}, reloading: map[supervisor.Ticket]string{},
		serving: fmt.Sprintf("serving on %v", m.Addrs()),
	}
	defer m.flush()
	l.statusAt, l.watchdog = l.began.Add(m.cfg.StatusInterval), l.began
	decisions := l.supervisorConfig()
	decisions.AnswerAfter = l.prepareAnswerer()
	l.sup = supervisor.New(decisions, 1, 0)
	m.cfg.Log.InfoContext(ctx, "master started", "release", m.first.name, "listening", m.Addrs(), "workers", m.workers, "because", m.reason,
		"descriptors", descriptorLimit(), "processes", tasksInWords(m.tasks))
	stopControl := m.serveControl()
	l.step(supervisor.Begin{})
	l.run(ctx)
	close(m.quit)
	l.settleAll()
	m.close((*pidFile).Close)
	m.life.Store(lifeOver)
	close(m.ended) // whoever waits for the end may start another master now
	stopControl()
	if l.exit.Reason != "" {
		err := &StartError{Reason: l.exit.Reason}
		if l.exit.Culprit != 0 {
			culprit := l.remembered(l.exit.Culprit)
			err.Reason, err.Output = culprit.subject+err.Reason, culprit.said
		}
		return err
	}
	m.cfg.Log.InfoContext(ctx, "master stopped")
	return nil
}

// maxAwayLimit bounds how late a master may be woken that is only busy. Beyond, it was stopped, or its machine was.
const maxAwayLimit = time.Second

// awayLimit is short enough for two of them and a heartbeat to pass within the
// heartbeat timeout: a stop of the master of up to two may not be seen as one.
func (c *Config) awayLimit() time.Duration {
	return min(maxAwayLimit, (c.HeartbeatTimeout-c.HeartbeatInterval)/3)
}

// supervisorConfig adds the numbers that nobody has asked to change: PROMISES M5, M6, M12.
func (m *Master) supervisorConfig() supervisor.Config {
	c := &m.cfg
	return supervisor.Config{
		Workers: m.workers, ReadyTimeout: c.ReadyTimeout, Bake: c.Bake, KillTimeout: c.KillTimeout, ShutdownDelay: c.ShutdownDelay,
		HurryTimeout: 2 * time.Second, HeartbeatTimeout: c.HeartbeatTimeout, AwayLimit: c.awayLimit(),
		MaxMemory: c.MaxWorkerMemory, MaxLag: time.Second,
		BackoffMin: time.Second, BackoffMax: 30 * time.Second, BackoffDecay: time.Minute,
		BreakerCrashes: 5, BreakerWindow: time.Minute, BreakerPause: 30 * time.Second, BreakerPauseMax: 5 * time.Minute,
		BreakerProbe: 10 * time.Second, UnhealthyPause: 5 * time.Minute,
		AnswerTimeout: 2 * time.Second,
		Seed:          uint64(os.Getpid())<<32 ^ uint64(time.Now().UnixNano()),
	}
}

// listen takes the signals that a master answers to.
func (m *Master) listen() {
	signal.Notify(m.signals, syscall.SIGUSR2, syscall.SIGTERM, syscall.SIGINT)
	if !signal.Ignored(syscall.SIGHUP) { // by nohup(1)
		signal.Notify(m.signals, syscall.SIGHUP)
	}
	m.stopRelay = RelayScaleSignals(m.signals, m.cfg.Log)
	signal.Notify(m.deaths, syscall.SIGCHLD)
	// Go ends a program that writes to a standard error which nobody holds any more, as when "serve 2>&1 | tee log" loses
	// its tee. The signal is taken, and not ignored, because what is ignored is so in workers too.
	signal.Notify(m.ignored, syscall.SIGPIPE)
}

func (m *Master) unlisten() {
	signal.Stop(m.signals)
	m.stopRelay()
	signal.Stop(m.deaths)
}

// run takes in what happens until the supervisor says that it is over.
func (l *loop) run(ctx context.Context) {
	stopped := ctx.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for l.exit == nil || l.lingers() {
		timer.Reset(time.Until(l.next()))
		select {
		case f := <-l.calls:
			f(l)
		case in := <-l.inbox:
			l.receive(in)
		case s := <-l.signals:
			l.signal(s)
		case <-l.deaths:
			l.reap()
		case <-timer.C:
			l.catchUp()
			l.tick()
		case <-stopped:
			stopped = nil
			l.shutdown(calledBy(ctx, "the end of its context"), "stop")
		}
	}
}

// helper is a command that was run.
type helper struct {
	until  time.Time // and then it is killed
	killed bool
}

// lingers reports whether the end has to wait: where nothing ever worked, the alert is all that will be heard of it, and the
// end of a process 1 would be the end of the alert. Whoever says stop once more does not want to wait.
func (l *loop) lingers() bool {
	if l.exit.Reason == "" || l.impatient {
		return false
	}
	for _, h := range l.helpers {
		if !h.killed {
			return true
		}
	}
	return false
}

// catchUp takes in what has arrived already: nobody may be found silent who has said something. One who says things on and
// on holds nobody up.
func (l *loop) catchUp() {
	for range catchUpEach * (1 + len(l.children)) {
		select {
		case in := <-l.inbox:
			l.receive(in)
		default:
			return
		}
	}
}

// catchUpEach is how much of it is taken in at once, for each worker.
const catchUpEach = 64

// now is the supervisor's time.
func (l *loop) now() time.Duration { return time.Since(l.began) }

// next is when something has to be done, if nothing happens before.
func (l *loop) next() time.Time {
	next := l.statusAt
	at := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	if d := l.sup.Next(); d < time.Hour+l.now() {
		at(l.began.Add(d))
	}
	for _, c := range l.children {
		if c.reaped {
			at(c.settleAt)
		}
	}
	for w := range l.waiting {
		at(w.until)
	}
	for _, h := range l.helpers {
		if !h.killed {
			at(h.until)
		}
	}
	if d := l.notify.interval(); d > 0 {
		at(l.watchdog.Add(d))
	}
	if !l.strangersAt.IsZero() {
		at(l.strangersAt)
	}
	return next
}

func (l *loop) tick() {
	now := time.Now()
	if !now.Before(l.statusAt) {
		l.statusAt = now.Add(l.cfg.StatusInterval)
		l.logStatus()
	}
	if d := l.notify.interval(); d > 0 && now.Sub(l.watchdog) >= d {
		l.watchdog = now
		l.tell(l.notify.watchdog)
	}
	for _, c := range l.children {
		if c.reaped && !now.Before(c.settleAt) {
			l.settle(c)
		}
	}
	for w := range l.waiting {
		if !now.Before(w.until) {
			l.answered(w)
		}
	}
	if !l.strangersAt.IsZero() && !now.Before(l.strangersAt) {
		l.reapStrangers()
	}
	for pid, h := range l.helpers {
		if !h.killed && !now.Before(h.until) {
			h.killed = true
			l.cfg.Log.Warn("killing the alert command", "after", alertLimit.String())
			syscall.Kill(-pid, syscall.SIGKILL) //nolint:errcheck // its group, as long as it is in it
			l.kill(pid)
		}
	}
	l.step(supervisor.Tick{})
}

// signal does what the table in doc.go says.
func (l *loop) signal(s os.Signal) {
	ctx := calledBy(context.Background(), "signal "+signalName(s))
	switch s {
	case syscall.SIGUSR2:
		go l.Reload(ctx, nil) //nolint:errcheck // the log has the verdict, if there was time for one
	case syscall.SIGTERM, syscall.SIGINT:
		l.shutdown(ctx, "stop")
	case syscall.SIGTTIN:
		l.scale(ctx, l.sup.Goal()+1)
	case syscall.SIGTTOU:
		l.scale(ctx, l.sup.Goal()-1)
	case syscall.SIGHUP:
		l.cfg.Log.Warn("SIGHUP is kept for replacing the master in place, which this version does not do: SIGUSR2 replaces the workers, SIGTERM stops")
	}
}

// drainReason is what a worker is told: who wants it to leave.
func (l *loop) drainReason(reason string) string {
	if l.sup.Stopping > 0 {
		return reason + ", told to stop by " + l.stoppedBy
	}
	return reason
}

func signalName(s os.Signal) string {
	if s, ok := s.(syscall.Signal); ok {
		return unix.SignalName(s)
	}
	return s.String()
}

// shutdown ends the cluster, as somebody has asked for in so many words.
func (l *loop) shutdown(ctx context.Context, what string) {
	if what != "" {
		l.asked(ctx, what)
	}
	if l.sup.Stopping == 0 {
		l.stoppedBy = askedBy(ctx)
	}
	l.step(supervisor.Shutdown{})
}

func (l *loop) scale(ctx context.Context, workers int) {
	l.asked(ctx, fmt.Sprintf("scale to %d", workers))
	if workers < 1 || workers > maxWorkers {
		l.cfg.Log.WarnContext(ctx, "can't scale", "workers", workers, "least", 1, "most", maxWorkers)
		return
	}
	l.step(supervisor.Scale{Workers: workers})
}

// step hands events to the supervisor and does what it says. What that brings about on the spot comes right after.
func (l *loop) step(e supervisor.Event) {
	if _, stop := e.(supervisor.Shutdown); stop && l.exit != nil {
		l.impatient = true
	}
	l.queue = append(l.queue, e)
	if l.stepping {
		return
	}
	l.stepping = true
	for len(l.queue) > 0 {
		e, l.queue = l.queue[0], l.queue[1:]
		served := l.sup.Serving
		actions := l.sup.Step(l.now(), e)
		if l.sup.Serving != served {
			l.keepBefore(l.releases[served], l.releases[l.sup.Serving])
		}
		for _, a := range actions {
			l.do(a)
		}
	}
	l.stepping = false
	l.tellReady()
}

func (l *loop) do(a supervisor.Action) {
	switch a := a.(type) {
	case supervisor.Fork:
		l.fork(a)
	case supervisor.Drain:
		l.send(a.ID, message{Kind: msgDrain, Delay: a.Delay, Reason: l.drainReason(a.Reason)})
	case supervisor.Hurry:
		l.send(a.ID, message{Kind: msgHurry})
	case supervisor.Stand:
		l.stand()
	case supervisor.StandDown:
		l.standDown()
	case supervisor.StandKill:
		l.killAnswerer()
	case supervisor.Ask:
		l.send(a.ID, message{Kind: msgAsk})
	case supervisor.Kill:
		if c := l.children[a.ID]; c != nil && !c.reaped {
			c.wasKilled = true
			if p := l.sup.Process(a.ID); p != nil && p.Why != "" {
				c.killedFor = ": it " + p.Why
			}
			l.killGroup(c.pid)
		}
	case supervisor.Retire:
		if r := l.releases[a.Release]; r != nil {
			delete(l.releases, a.Release)
			r.Close()
		}
	case supervisor.Verdict:
		l.verdict(a)
	case supervisor.Exit:
		l.exit = &a
	case supervisor.Note:
		l.note(a)
	}
}

// killGroup sends SIGKILL to a worker that has to go, and to what it has started, which
// would go on without anybody to tell it to end. What has left the worker's process
// group, as daemons do (setsid(2)), stays. The worker was not reaped, so that the
// number of its group can't be that of another one.
func (l *loop) killGroup(pid int) {
	if syscall.Kill(-pid, syscall.SIGKILL) != nil { // it has left the group itself
		l.kill(pid)
	}
}

// kill sends SIGKILL to a child. Nobody but this goroutine reaps, so the pid is still that of the child.
func (l *loop) kill(pid int) {
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		l.cfg.Log.Error("kill a process", "pid", pid, "error", err)
	}
}

// tell tells the service manager something, and logs what went wrong.
func (m *Master) tell(what func() error) {
	if m.notify == nil {
		return
	}
	if !m.manager.put(func() {
		if err := what(); err != nil {
			m.cfg.Log.Warn("the service manager was not told", "error", err)
		}
	}) {
		m.cfg.Log.Warn("the service manager was not told: it does not read")
	}
}

// tellReady tells the service manager, and those who read the log, when the cluster serves.
func (l *loop) tellReady() {
	ready := l.sup.Ready()
	// A reload is over when all its verdicts are in. One during the start is not waited for.
	if !l.told && ready > 0 && l.sup.Stopping == 0 && (len(l.tickets) == 0 || !l.everTold) {
		l.told, l.everTold = len(l.tickets) == 0, true
		l.tell(func() error { return l.notify.ready(l.serving) })
	}
	if !l.complete && ready >= l.sup.Target && l.sup.Stopping == 0 {
		l.complete = true
		l.cfg.Log.Info("all workers are ready", "workers", ready, "after", time.Since(l.began).Round(time.Millisecond).String())
	}
}
