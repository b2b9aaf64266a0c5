package devstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

const (
	startTimeout = time.Minute           // until it answers; recovery of kept data after a crash takes a while
	stopTimeout  = 10 * time.Second      // for each of the polite signals
	pollEvery    = 10 * time.Millisecond // between attempts to connect to a server that starts
	goneTimeout  = 10 * time.Second      // for the descendants of a process that has ended to end
	attemptLimit = 5 * time.Second       // for one attempt
)

var errClosed = errors.New("closed")

// A daemon is one server program: how to launch it, how to see that it answers, how to end it.
type daemon struct {
	name    string // for messages: "PostgreSQL"
	home    *home
	command func() *exec.Cmd
	ready   func(ctx context.Context, pid int) error // one attempt to use it; nil means that process pid answers
	stops   []syscall.Signal                         // the polite ways to end it, most polite first
	death   syscall.Signal                           // what it gets when this process dies

	mu     sync.Mutex
	proc   *process // nil before the first start
	paused bool
	closed bool
}

func (d *daemon) logName() string { return filepath.Join(d.home.dir, "log") }

// start launches the program and waits until it answers. If it does not, nothing is left running.
func (d *daemon) start(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return fmt.Errorf("start %s: %w", d.name, errClosed)
	}
	if d.proc != nil && d.proc.running() {
		return fmt.Errorf("start %s: it already runs as process %d", d.name, d.proc.pid())
	}
	log, err := os.OpenFile(d.logName(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", d.name, err)
	}
	defer log.Close() // the child has its own
	before, err := log.Seek(0, 2)
	if err != nil {
		return fmt.Errorf("start %s: %w", d.name, err)
	}
	cmd := d.command()
	cmd.Dir, cmd.Stdout, cmd.Stderr = d.home.dir, log, log
	if d.proc, err = spawn(cmd, d.home.as, d.death); err != nil {
		d.proc = nil
		return fmt.Errorf("start %s: %w", d.name, err)
	}
	d.paused = false
	if err = note(d.home.dir, d.proc.pid(), cmd.Path); err == nil {
		err = d.await(ctx)
	}
	if err != nil {
		d.proc.killTree()
		return &startError{name: d.name, cause: err, log: tail(d.logName(), before)}
	}
	return nil
}

// await polls until the server answers. It looks at once when the program ends.
func (d *daemon) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("it did not answer within %s", startTimeout))
	defer cancel()
	again := time.NewTicker(pollEvery)
	defer again.Stop()
	for {
		attempt, cancel := context.WithTimeout(ctx, attemptLimit)
		err := d.ready(attempt, d.proc.pid())
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-d.proc.exited:
			return fmt.Errorf("it ended at once (%v)", d.proc.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", context.Cause(ctx), err)
		case <-again.C:
		}
	}
}

// stop ends the program politely, less politely when that takes too long, and by force in the end. It returns
// only when the program is gone; an error says that force was needed.
func (d *daemon) stop() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stopLocked()
}

func (d *daemon) stopLocked() error {
	if d.proc == nil || !d.proc.running() {
		return nil
	}
	if d.paused { // a stopped process does not act on signals
		d.proc.thaw()
		d.paused = false
	}
	timeout := time.NewTimer(stopTimeout)
	defer timeout.Stop()
	for _, signal := range d.stops {
		timeout.Reset(stopTimeout)
		d.proc.signal(signal)
		select {
		case <-d.proc.exited:
			return nil
		case <-timeout.C:
		}
	}
	d.proc.killTree()
	return fmt.Errorf("%s did not stop within %s of each signal %v and was killed", d.name, stopTimeout, d.stops)
}

// kill ends the program and its children without warning.
func (d *daemon) kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.proc != nil {
		d.proc.killTree()
	}
}

// pause freezes the program and its children: connections stay open and nobody answers.
func (d *daemon) pause() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.proc == nil || !d.proc.running() {
		return fmt.Errorf("pause %s: it does not run", d.name)
	}
	d.proc.freeze()
	d.paused = true
	return nil
}

// resume undoes pause.
func (d *daemon) resume() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.proc == nil || !d.proc.running() {
		return fmt.Errorf("resume %s: it does not run", d.name)
	}
	d.proc.thaw()
	d.paused = false
	return nil
}

// close stops the program for good and gives its directory back.
func (d *daemon) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	err := d.stopLocked()
	if d.home.temporary {
		return errors.Join(err, d.home.close())
	}
	return errors.Join(err, os.RemoveAll(filepath.Join(d.home.dir, "pid")), d.home.close())
}
