//go:build unix

package cluster

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"doorbuster/cluster/internal/supervisor"
)

// child is a worker as its master sees it.
type child struct {
	id      supervisor.ID
	slot    int
	pid     int
	place   int // on the board
	release *release
	link    *link
	output  *os.File // what it writes
	said    tail
	forked  time.Time
	beat    beat
	heard   time.Time // the last message from it
	unsent  []message // it did not read for a while

	protocol  int // that it speaks
	abilities []string
	refusals  complaints

	// After its end its last words may still be on their way.
	reaped               bool
	wasKilled            bool   // by this process
	killedFor            string // why, after a separator; may be empty
	how                  string // it ended
	outside              bool   // by a signal that was no fault of its own
	linkDone, outputDone bool
	settleAt             time.Time // the end of that patience
}

// lastWords is how long the last messages and lines of a worker that was reaped are waited for. They are there already,
// unless a process that it started keeps its end open.
const lastWords = 200 * time.Millisecond

// inbound is what the readers of a child pass on: a message, or the end of its link or of its output.
type inbound struct {
	child   *child
	message *message
	output  bool
	err     error // of the link, if that is not just the end of the process
}

// fork starts a worker. The answer to the supervisor comes at once.
func (l *loop) fork(a supervisor.Fork) {
	c := &child{id: a.ID, slot: a.Slot, release: l.releases[a.Release], forked: time.Now(), heard: time.Now(), place: slices.Index(l.places, 0)}
	if err := l.start(c); err != nil {
		l.bury(c)
		l.step(supervisor.ForkFailed{ID: a.ID, Reason: fmt.Sprintf("could not be started: %v", err), Shortage: isShortage(err)})
		return
	}
	l.children[c.id], l.places[c.place] = c, c.id
	l.cfg.Log.Debug("worker started", "slot", c.slot, "worker_pid", c.pid, "worker_release", c.release.name)
	l.step(supervisor.Forked{ID: c.id, PID: c.pid})
}

// isShortage reports whether the machine lacks something that any other program would lack too: processes, memory,
// descriptors.
func isShortage(err error) bool {
	return errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.ENOMEM) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

func (l *loop) start(c *child) error {
	l.reserve.giveUp()
	defer l.reserve.fill()
	if err := c.release.changed(); err != nil {
		l.cfg.Log.Error("the release is not what it was", "error", err)
	}
	conn, theirs, err := newPair(pairKind)
	if err != nil {
		return err
	}
	defer unix.Close(theirs)
	c.link = &link{conn: conn, stream: pairStream, refused: func(r refusal) { l.refusedFrom(c, r) }}
	read, write, err := os.Pipe()
	if err != nil {
		return errors.Join(fmt.Errorf("make a pipe for its output: %w", err), conn.Close())
	}
	defer write.Close()
	c.output = read
	inv := invitation{
		Protocol: protocol, Abilities: abilities(), Slot: c.slot, Release: c.release.name, Place: c.place, Listeners: len(l.listeners),
		Heartbeat: l.cfg.HeartbeatInterval, KillTimeout: l.cfg.KillTimeout, HeartbeatTimeout: l.cfg.HeartbeatTimeout,
		Workers: l.sup.Goal(), Rlimits: l.cfg.Rlimits, Settings: maps.Clone(l.settings),
	}
	// Fd puts the writing end, which is the worker's alone, into blocking mode, as programs expect of their output.
	if c.pid, err = l.spawn(c.release, inv, theirs, int(write.Fd())); err != nil {
		return errors.Join(err, conn.Close(), read.Close())
	}
	l.logs.begin(c.slot)
	l.readers.Go(func() { l.readLink(c) })
	go l.readOutput(c) // it may be stuck in a write to a terminal that is stopped
	return nil
}

func (m *Master) readLink(c *child) {
	for {
		msg, fd, err := c.link.receive()
		if fd >= 0 {
			unix.Close(fd) // no message to the master has one
		}
		in := inbound{child: c, message: &msg}
		if err != nil {
			in.message = nil
			if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, net.ErrClosed) {
				in.err = err
			}
		}
		select {
		case m.inbox <- in:
		case <-m.quit:
			return
		}
		if err != nil {
			return
		}
	}
}

func (m *Master) readOutput(c *child) {
	m.output.relay(c.output, func(lines []byte) {
		c.said.add(lines)
		m.logs.add(c.slot, c.pid, lines)
	})
	select {
	case m.inbox <- inbound{child: c, output: true}:
	case <-m.quit:
	}
}

// send sends a message to a worker. What it can't take now it gets when it is heard of again.
func (l *loop) send(id supervisor.ID, msg message) {
	c := l.children[id]
	if c == nil {
		return
	}
	c.unsent = append(c.unsent, msg)
	l.sendUnsent(c)
}

func (l *loop) sendUnsent(c *child) {
	for len(c.unsent) > 0 {
		err := c.link.send(c.unsent[0])
		if errors.Is(err, errFull) {
			return
		}
		if err != nil {
			l.cfg.Log.Debug("worker is not there to be told", "worker_pid", c.pid, "kind", c.unsent[0].Kind, "error", err)
		}
		c.unsent = c.unsent[1:]
	}
}

// receive takes in what a worker says.
func (l *loop) receive(in inbound) {
	c := in.child
	if in.message == nil {
		if in.output {
			c.outputDone = true
		} else {
			c.linkDone = true
			l.forget(c)
			if in.err != nil { // its heartbeats are not heard any more either, and that has its limit
				l.cfg.Log.Error("the connection to a worker failed", "worker_pid", c.pid, "error", in.err)
			}
		}
		if c.reaped && c.linkDone && c.outputDone {
			l.settle(c)
		}
		return
	}
	l.sendUnsent(c)
	c.heard = time.Now()
	switch msg := in.message; msg.Kind {
	case msgReady:
		c.protocol, c.abilities = max(1, msg.Protocol), msg.Abilities // the first release did not tell
		l.step(supervisor.ProcessReady{ID: c.id})
	case msgBeat:
		if msg.Beat == nil {
			return
		}
		c.beat = *msg.Beat
		l.step(supervisor.Beat{ID: c.id, Memory: c.beat.Memory, Lag: c.beat.Lag, Unhealthy: c.beat.Unhealthy})
		l.heard(c, msgBeat, 0, nil)
	case msgApplied:
		var err error
		if msg.Error != "" {
			err = fmt.Errorf("worker %d refuses: %s", c.slot, msg.Error)
		}
		l.heard(c, msgApplied, msg.ID, err)
	case msgRefused:
		if told := l.passed[msg.ID]; told != nil {
			told <- msg.Error
			delete(l.passed, msg.ID)
		}
	case msgBroadcast:
		l.broadcast(c, msg.Data)
	default:
		l.cfg.Log.Debug("message of an unknown kind", "worker_pid", c.pid, "kind", msg.Kind)
	}
}

// refusedFrom tells of a message that can't be taken. The worker is heard on.
func (m *Master) refusedFrom(c *child, r refusal) {
	c.refusals.say(func(before int) {
		m.cfg.Log.Warn("a message of a worker is refused", "worker_pid", c.pid, "reason", r.reason, "more", before)
	})
}

// broadcast passes a worker's message on to its siblings. It is a hint: one that does not read misses it.
func (l *loop) broadcast(from *child, data []byte) {
	for _, c := range l.children {
		if c == from || c.reaped || len(c.unsent) > 0 {
			continue
		}
		if err := c.link.send(message{Kind: msgMessage, From: from.slot, Data: data}); err != nil {
			l.cfg.Log.Debug("broadcast missed", "worker_pid", c.pid, "error", err)
		}
	}
}

// reap collects processes that have ended: workers and helpers, each by its pid, so that nobody else in this process loses
// a status to it. A master that is process 1 also collects the orphans that it was made the parent of (M17).
func (l *loop) reap() {
	if os.Getpid() == 1 {
		defer l.reapStrangers()
	}
	var pids []int
	for _, c := range l.children {
		if !c.reaped {
			pids = append(pids, c.pid)
		}
	}
	if l.answerer != nil {
		pids = append(pids, l.answerer.pid)
	}
	for _, pid := range slices.AppendSeq(pids, maps.Keys(l.helpers)) {
		var ws syscall.WaitStatus
		switch got, err := wait4(pid, &ws); {
		case got == pid:
			l.reaped(pid, ws)
		case errors.Is(err, syscall.ECHILD): // somebody else in this process has waited for it
			l.cfg.Log.Error("the status of a worker was taken away", "worker_pid", pid)
			l.reaped(pid, 0)
		}
	}
}

func wait4(pid int, ws *syscall.WaitStatus) (int, error) {
	for {
		got, err := syscall.Wait4(pid, ws, syscall.WNOHANG, nil)
		if !errors.Is(err, syscall.EINTR) {
			return got, err
		}
	}
}

func (l *loop) reaped(pid int, ws syscall.WaitStatus) {
	if _, ok := l.helpers[pid]; ok {
		delete(l.helpers, pid)
		if ws != 0 {
			l.cfg.Log.Warn("alert command failed", "status", howItEnded(ws))
		}
		return
	}
	if l.answererReaped(pid, ws) {
		return
	}
	for _, c := range l.children {
		if c.pid == pid && !c.reaped {
			c.outside = fromOutside(ws)
			c.reaped, c.how, c.settleAt = true, howItEnded(ws), time.Now().Add(lastWords)
			if c.wasKilled && ws.Signaled() && ws.Signal() == syscall.SIGKILL {
				c.how = "was killed by SIGKILL from the master" + c.killedFor
			}
			l.board.reset(c.place)
			l.places[c.place] = 0
			if c.linkDone && c.outputDone {
				l.settle(c)
			}
			return
		}
	}
}

// settle is the end of a worker: it was reaped, and all that it had to say was heard.
func (l *loop) settle(c *child) {
	if l.children[c.id] == nil {
		return
	}
	delete(l.children, c.id)
	l.forget(c)
	c.link.conn.Close()
	c.output.Close()
	l.bury(c)
	l.step(supervisor.Exited{ID: c.id, Reason: c.how, Outside: c.outside})
}

// grave remembers a worker that has ended.
type grave struct {
	id      supervisor.ID
	subject string
	said    []string
}

// maxGraves is how many are remembered: a verdict comes right after the end that it is about.
const maxGraves = 16

func (l *loop) bury(c *child) {
	l.graves = append(l.graves, grave{c.id, subjectOf(c), c.said.lines()})
	l.graves = l.graves[max(0, len(l.graves)-maxGraves):]
}

// settleAll lets go of what is left when the master ends.
func (l *loop) settleAll() {
	for _, c := range l.children {
		c.link.conn.Close()
		c.output.Close()
	}
	l.readers.Wait()
	for _, r := range l.releases {
		r.Close()
	}
	if l.before != nil {
		l.before.Close()
	}
}
