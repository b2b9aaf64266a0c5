//go:build unix

package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
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
	if inv.Protocol != protocol {
		return nil, fmt.Errorf("the master speaks version %d of the protocol, and this program version %d: restart the master to run it", inv.Protocol, protocol)
	}
	if err := setRlimits(inv.Rlimits); err != nil { // before anything of the application's runs
		return nil, fmt.Errorf("join the master: %w", err)
	}
	w := &Worker{
		slot: inv.Slot, workers: inv.Workers, release: inv.Release, heartbeat: inv.Heartbeat, place: inv.Place,
		killTimeout: cmp.Or(inv.KillTimeout, defaultKillTimeout), // masters of an older version do not tell
		beatNow:     make(chan struct{}, 1), orphan: make(chan struct{}),
	}
	for key, value := range inv.Settings {
		w.settings = append(w.settings, message{Key: key, Value: value})
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
	w.link = &link{conn: conn, stream: pairStream}
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
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE) // the latter would end a worker that logs before it has noticed that the master is no more
	go func() {
		s := <-signals
		w.cancelStop(fmt.Errorf("got %v", s))
		s = <-signals
		w.hurryUp(fmt.Errorf("got %v again", s))
	}()
}

// Ready tells the master that this worker serves from now on. Heartbeats begin. [Worker.Serve] does it by itself.
func (w *Worker) Ready() error {
	if err := w.link.send(message{Kind: msgReady}); err != nil {
		return fmt.Errorf("tell the master that this worker is ready: %w", err)
	}
	w.beating.Do(func() { go w.beats() })
	return nil
}

// beats sends heartbeats until the master is no more. One that the master does not read is dropped: it is stopped itself.
func (w *Worker) beats() {
	ticker := time.NewTicker(w.heartbeat)
	defer ticker.Stop()
	for {
		if err := w.link.send(message{Kind: msgBeat, Beat: w.beat()}); err != nil && !errors.Is(err, errFull) {
			return
		}
		select {
		case <-ticker.C:
		case <-w.beatNow:
		}
	}
}

func (w *Worker) beat() *beat {
	b := &beat{Memory: residentBytes(), Goroutines: runtime.NumGoroutine(), Lag: w.lag.take()}
	w.mu.Lock()
	server := w.server
	w.mu.Unlock()
	if server != nil {
		b.InFlight, b.Connections, b.Requests = server.InFlight(), server.Connections(), server.Requests()
	}
	return b
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

// read does what the master says until it is no more.
func (w *Worker) read() {
	for {
		m, fd, err := w.link.receive()
		if err != nil {
			w.orphaned(err)
			return
		}
		switch m.Kind {
		case msgDrain:
			w.cancelStop(drainOrder{m.Delay})
		case msgHurry:
			w.cancelStop(drainOrder{})
			w.hurryUp(errors.New("told to leave at once"))
		case msgAsk:
			select {
			case w.beatNow <- struct{}{}:
			default: // one is due already
			}
		case msgSet:
			applied := message{Kind: msgApplied, ID: m.ID}
			if err := w.applySetting(m); err != nil {
				applied.Error = err.Error()
			}
			w.link.send(applied) //nolint:errcheck // the master waits for it for a while only
		case msgMessage:
			w.mu.Lock()
			f := w.onMessage
			w.mu.Unlock()
			if f != nil {
				f(m.From, m.Data)
			}
		case msgServe:
			w.serveAdmin(fd)
			fd = -1
		}
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// orphaned lets a worker leave whose master is no more: it finishes what it holds, and what it says goes where the master
// wrote to, since nobody reads the pipe any more and the next line would end the process by SIGPIPE.
func (w *Worker) orphaned(err error) {
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
	// Nobody else is left who would kill a worker that does not leave.
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

// serveAdmin answers HTTP on a connection that the master has passed.
func (w *Worker) serveAdmin(fd int) {
	conn, err := unixConn(fd)
	if err != nil {
		return
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
		}
	}}
	server.SetKeepAlivesEnabled(false)
	one.conns <- conn
	go server.Serve(one) //nolint:errcheck // it ends with the connection
}

const adminHeaderTimeout = 5 * time.Second
