//go:build unix

package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// errOrphaned is why a worker leaves whose master is no more (M16).
var errOrphaned = errors.New("the master is no more")

// Join makes this process a worker of the master that started it. Call it once, early: from then on SIGTERM and SIGINT
// make the worker leave in order instead of ending it. The error is [ErrNoMaster] when the process was started by anything
// else.
func Join() (*Worker, error) {
	value, ok := os.LookupEnv(joinVariable) //nolint:forbidigo // it is no setting: a message from the master
	if !ok {
		return nil, ErrNoMaster
	}
	if err := os.Unsetenv(joinVariable); err != nil { // what this process starts is no worker
		return nil, err
	}
	var inv invitation
	if err := json.Unmarshal([]byte(value), &inv); err != nil {
		return nil, fmt.Errorf("read %s: %w", joinVariable, err)
	}
	if inv.Protocol < leastProtocol {
		return nil, fmt.Errorf("the master speaks version %d of the protocol, and this program needs version %d at least: restart the master with this program to run it", inv.Protocol, leastProtocol)
	}
	if err := setRlimits(inv.Rlimits); err != nil { // before anything of the application's runs
		return nil, fmt.Errorf("join the master: %w", err)
	}
	w := &Worker{
		slot: inv.Slot, workers: inv.Workers, release: inv.Release, heartbeat: inv.Heartbeat, place: inv.Place,
		killTimeout:      cmp.Or(inv.KillTimeout, defaultKillTimeout), // masters of an older version do not tell
		heartbeatTimeout: inv.HeartbeatTimeout, master: inv.Abilities,
		beatNow: make(chan struct{}, 1), orphan: make(chan struct{}),
	}
	for _, key := range slices.Sorted(maps.Keys(inv.Settings)) {
		w.application.early = append(w.application.early, setting{key, inv.Settings[key]})
	}
	w.stop, w.cancelStop = context.WithCancelCause(context.Background())
	w.hurry, w.hurryUp = context.WithCancelCause(context.Background())
	if err := w.inherit(inv); err != nil {
		return nil, fmt.Errorf("join the master: %w", err)
	}
	nameProcess(filepath.Base(ownName())) //nolint:errcheck // a name is no reason to die
	dieFirst()
	w.listen()
	go w.read()
	go w.lag.run(context.Background())
	return w, nil
}

func ownName() string {
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}

// inherit takes over the descriptors that came with the process.
func (w *Worker) inherit(inv invitation) error {
	for fd := fdLink; fd < fdListeners+inv.Listeners; fd++ {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			return fmt.Errorf("descriptor %d is missing: %w", fd, err)
		}
		unix.CloseOnExec(fd)
	}
	if err := unix.Close(fdExecutable); err != nil {
		return err
	}
	conn, err := unixConn(fdLink)
	if err != nil {
		return err
	}
	w.link = &link{conn: conn, stream: pairStream, refused: w.refuse, reserve: &reserve{size: linkReserve}}
	shared := os.NewFile(fdBoard, "board")
	defer shared.Close()
	if w.board, err = openBoard(shared); err != nil {
		return err
	}
	for i := range inv.Listeners {
		l, err := inheritListener(fdListeners + i)
		if err != nil {
			return err
		}
		w.listeners = append(w.listeners, l)
	}
	return nil
}

// inheritListener makes a listener of a descriptor. net.FileListener duplicates it, by which O_NONBLOCK, which is shared
// with all processes, stays set; the original goes.
func inheritListener(fd int) (net.Listener, error) {
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("use descriptor %d as a listener: %w", fd, err)
	}
	return l, nil
}

// listen takes signals that were meant for this worker alone. Those of a terminal go to the master, which tells.
func (w *Worker) listen() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	// Nobody reads these. SIGPIPE would end a worker that logs before it has noticed
	// that the master is no more. They are taken and not ignored: what is ignored stays
	// so in programs that the worker executes (execve(2)). What this process was told to
	// ignore when it was started, as by nohup, it goes on to ignore.
	unread := make(chan os.Signal, 1)
	signal.Notify(unread, syscall.SIGPIPE)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(unread, syscall.SIGHUP)
	}
	go func() {
		s := <-signals
		w.cancelStop(fmt.Errorf("got %v", s))
		s = <-signals
		w.hurryUp(fmt.Errorf("got %v again", s))
	}()
}

// Ready tells the master that this worker serves from now on. Heartbeats begin. [Worker.Serve] does it by itself.
func (w *Worker) Ready() error {
	if err := w.link.send(message{Kind: msgReady, Protocol: protocol, Abilities: abilities()}); err != nil {
		return fmt.Errorf("tell the master that this worker is ready: %w", err)
	}
	w.application.mu.Lock()
	w.application.ready = true
	w.application.mu.Unlock()
	w.beating.Do(func() { go w.beats() })
	return nil
}

// beats sends heartbeats until the master is no more. One that the master does not
// read is dropped: it is stopped itself. That the master is no more is noticed here,
// too: whatever keeps read from it must not keep the worker alive.
func (w *Worker) beats() {
	ticker := time.NewTicker(w.heartbeat)
	defer ticker.Stop()
	look := time.NewTicker(w.stallTimeout() / stallLooks)
	defer look.Stop()
	for {
		err := w.link.send(message{Kind: msgBeat, Beat: w.beat()})
		if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, net.ErrClosed) {
			w.orphaned(io.EOF)
			return
		}
		if !isClosed(w.orphan) {
			w.link.reserve.fill()
		}
		for due := false; !due; {
			select {
			case <-ticker.C:
				due = true
			case <-w.beatNow:
				due = true
			case <-look.C:
				w.stalled()
			}
		}
	}
}

// stallLooks is how often a stall is looked for within its timeout: what is rarely
// looked at is noticed late.
const stallLooks = 8

// stallTimeout is that of servers that do not set their own.
func (w *Worker) stallTimeout() time.Duration {
	return max(time.Millisecond, cmp.Or(w.heartbeatTimeout, defaultStallTimeout))
}

// stalled looks at the servers.
func (w *Worker) stalled() string {
	w.mu.Lock()
	servers := w.servers
	w.mu.Unlock()
	for _, s := range servers {
		if why := s.stalled(time.Now(), w.stallTimeout()); why != "" {
			return why
		}
	}
	return ""
}

func (w *Worker) beat() *beat {
	b := &beat{Memory: residentBytes(), Goroutines: runtime.NumGoroutine(), Lag: w.lag.take()}
	w.numbers(b)
	a := &w.application
	a.mu.Lock()
	b.Missed = a.missed
	a.mu.Unlock()
	b.Unhealthy = cmp.Or(w.stalled(), a.health.ask(w.log, w.heartbeat))
	return b
}

// numbers are what heartbeats tell of the servers.
func (w *Worker) numbers(b *beat) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.servers {
		b.InFlight += s.InFlight()
		b.Connections += s.Connections()
		b.Requests += s.Requests()
		b.AcceptErrors += s.AcceptErrors()
	}
}

// Broadcast sends a message to all other workers. It is a hint: a worker that is starting, or does not read, misses it. It
// may have 32 KiB.
func (w *Worker) Broadcast(data []byte) error {
	if len(data) > maxBroadcast {
		return fmt.Errorf("broadcast of %d bytes: the limit is %d", len(data), maxBroadcast)
	}
	return w.link.send(message{Kind: msgBroadcast, Data: data})
}

// maxBroadcast leaves room for the base64 of JSON within maxMessage.
const maxBroadcast = 32 << 10

// refuse tells of a message that can't be taken, the master too where it waits for it.
func (w *Worker) refuse(r refusal) {
	if r.message.Kind == msgServe && slices.Contains(w.master, abilityRefusal) {
		w.link.send(message{Kind: msgRefused, ID: r.message.ID, Error: shorten(r.reason.Error())}) //nolint:errcheck // it sees the connection end
	}
	w.refusals.say(func(before int) {
		w.log().Warn("a message of the master is refused", "slot", w.slot, "kind", r.message.Kind, "reason", r.reason, "more", before)
	})
}

// linkReserve is how many descriptors are held for the link: for two connections of
// the master at the same time, which take two each until they are served.
const linkReserve = 4

// shorten leaves a text that fits into a message, whatever it is.
func shorten(text string) string { return text[:min(len(text), maxVerdict)] }

// read does what the master says until it is no more. Nothing here may wait for
// anybody: who does not hear is neither drained nor ends with its master.
func (w *Worker) read() {
	for {
		m, fd, err := w.link.receive()
		if err != nil {
			w.orphaned(err)
			return
		}
		switch m.Kind {
		case msgDrain:
			w.cancelStop(drainOrder{m.Delay, m.Reason})
		case msgHurry:
			w.cancelStop(drainOrder{reason: "a second stop of the master"})
			w.hurryUp(errors.New("told to leave at once"))
		case msgAsk:
			select {
			case w.beatNow <- struct{}{}:
			default: // one is due already
			}
		case msgSet:
			w.heardSetting(m.Key, m.Value, func(err error) {
				applied := message{Kind: msgApplied, ID: m.ID}
				if err != nil {
					applied.Error = shorten(err.Error())
				}
				w.link.send(applied) //nolint:errcheck // the master waits for it for a while only
			})
		case msgMessage:
			w.heardMessage(m.From, m.Data)
		case msgServe:
			if err := w.serveAdmin(fd); err != nil {
				w.refuse(refusal{m, err})
			}
			fd = -1
		}
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// orphaned lets a worker leave whose master is no more, once.
func (w *Worker) orphaned(err error) {
	w.orphaning.Do(func() { w.outlive(err) })
}

// outlive is the rest of the life of a worker whose master is no more: it finishes what it holds, and what it says goes where the master
// wrote to, since nobody reads the pipe any more and the next line would end the process by SIGPIPE.
func (w *Worker) outlive(err error) {
	w.lastResort()          // first: it counts whatever the rest meets
	w.link.reserve.giveUp() // for good: there is nobody to hear any more
	to := fdStderr
	if !writable(fdStderr) { // nobody reads there either, and who leaves must not wait for that
		if null, err := unix.Open(os.DevNull, unix.O_WRONLY|unix.O_CLOEXEC, 0); err == nil {
			to = null
		}
	}
	for _, fd := range []int{unix.Stdout, unix.Stderr} {
		redirect(to, fd) //nolint:errcheck // nowhere to say it
	}
	close(w.orphan)
	if !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", errOrphaned, err)
	} else {
		err = errOrphaned
	}
	w.cancelStop(fmt.Errorf("%w: %w", err, drainOrder{})) // at once: the next master waits for the address
}

// lastResort ends this process after the kill timeout: nobody else is left who would
// kill a worker that does not leave.
func (w *Worker) lastResort() {
	time.AfterFunc(w.killTimeout, func() {
		said := make(chan struct{})
		go func() {
			defer close(said)
			fmt.Fprintf(os.Stderr, "worker %d (pid %d): the master is no more, and this worker has not left within %v: killed\n", w.slot, os.Getpid(), w.killTimeout)
		}()
		select {
		case <-said:
		case <-time.After(lastWords):
		}
		os.Exit(1)
	})
}

// writable reports whether a write would go through now.
func writable(fd int) bool {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	n, err := unix.Poll(poll, 0)
	return err == nil && n == 1 && poll[0].Revents&unix.POLLOUT != 0
}

// serveAdmin answers HTTP on a connection that the master has passed. It takes the
// descriptor over.
func (w *Worker) serveAdmin(fd int) error {
	if fd < 0 {
		return errors.New("serve comes without a connection")
	}
	w.link.reserve.giveUp() // unixConn takes another one for a moment
	conn, err := unixConn(fd)
	w.link.reserve.fill()
	if err != nil {
		return err
	}
	if network := conn.LocalAddr().Network(); network != "unix" { // or nobody would answer on it
		return errors.Join(fmt.Errorf("descriptor %d is a socket of the kind %s: only a stream can be served", fd, network), conn.Close())
	}
	w.mu.Lock()
	h := w.admin
	w.mu.Unlock()
	if h == nil {
		h = http.NotFoundHandler()
	}
	one := &oneListener{conns: make(chan net.Conn, 1), addr: conn.LocalAddr()}
	server := &http.Server{Handler: h, ReadHeaderTimeout: adminHeaderTimeout, ConnState: func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed || s == http.StateHijacked {
			one.Close()
			w.link.reserve.fill()
		}
	}}
	server.SetKeepAlivesEnabled(false)
	one.conns <- &limitedConn{conn, adminWriteTimeout}
	go server.Serve(one) //nolint:errcheck // it ends with the connection
	return nil
}

// Time limits of what the master asks. A profile may take as long as it likes, if
// only what there is of it is taken.
const (
	adminHeaderTimeout = 5 * time.Second
	adminWriteTimeout  = 10 * time.Second
)
