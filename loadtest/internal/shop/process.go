package shop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A process is a child that is running or has been reaped.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed once the child is reaped
	err    error         // of Wait; read it after exited
}

// spawn starts cmd in a process group of its own, so that Ctrl-C reaches this program only. On Linux it is told to end when
// this program dies. The kernel does that when the thread dies that started it (golang/go#27505), so that thread is kept.
func spawn(cmd *exec.Cmd) (*process, error) {
	cmd.SysProcAttr = attributes()
	cmd.WaitDelay = 5 * time.Second // its children may hold its output open
	p := &process{cmd: cmd, exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.err = cmd.Wait()
		close(p.exited)
	}()
	return p, <-started
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) signal(s syscall.Signal) {
	_ = p.cmd.Process.Signal(s) // that it is gone already shows in exited
}

// An Entry is what is read from a line of a log.
type Entry struct {
	Time      time.Time `json:"time"`
	Level     string    `json:"level"`
	Msg       string    `json:"msg"`
	Addr      string    `json:"addr"`
	After     string    `json:"after"`
	WorkerPID int       `json:"worker_pid"` // whom the master speaks of
	Reason    string    `json:"reason"`
}

// A journal reads the log of a running process.
type journal struct {
	mu      sync.Mutex
	partial []byte
	entries []Entry
	lines   []string      // the last few, for error messages
	changed chan struct{} // closed, and replaced, by each line
}

func newJournal() *journal { return &journal{changed: make(chan struct{})} }

const tailLines = 20

// Write takes the output of a process.
func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.partial = append(j.partial, p...)
	for {
		line, rest, ok := bytes.Cut(j.partial, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		var e Entry
		if json.Unmarshal(line, &e) == nil { // what is no JSON is kept as text
			j.entries = append(j.entries, e)
		}
		j.lines = append(j.lines, string(line))
		j.lines = j.lines[max(0, len(j.lines)-tailLines):]
		j.partial = append([]byte{}, rest...)
		close(j.changed)
		j.changed = make(chan struct{})
	}
}

// await returns the first n entries with this message, and waits for them until the process is gone.
func (j *journal) await(ctx context.Context, exited <-chan struct{}, msg string, n int) ([]Entry, error) {
	for {
		found, changed := j.find(msg)
		if len(found) >= n {
			return found[:n], nil
		}
		select {
		case <-changed:
		case <-exited:
			return nil, errors.New("it exited")
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// find returns the entries with this message so far, and a channel that is closed when there is another line.
func (j *journal) find(msg string) (found []Entry, changed <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.entries {
		if e.Msg == msg {
			found = append(found, e)
		}
	}
	return found, j.changed
}

func (j *journal) all() []Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.entries)
}

func (j *journal) tail() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines, "\n")
}
