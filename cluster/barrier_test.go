//go:build unix

package cluster_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// wait waits for a channel to be closed.
func wait(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(hang):
		t.Errorf("waited in vain for the %s", what)
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// eventually waits for what nothing tells of.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(hang); !so(); <-ticker.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// journal keeps what happens and wakes up those who wait for it.
type journal[T any] struct {
	t    *testing.T
	mu   sync.Mutex
	kept []T
	more chan struct{} // closed by the next entry
}

func newJournal[T any](t *testing.T) *journal[T] {
	return &journal[T]{t: t, more: make(chan struct{})}
}

func (j *journal[T]) add(v T) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.kept = append(j.kept, v)
	close(j.more)
	j.more = make(chan struct{})
}

func (j *journal[T]) list() []T {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.kept)
}

// wait waits until n entries match, and returns these.
func (j *journal[T]) wait(n int, what string, match func(T) bool) []T {
	j.t.Helper()
	limit := time.After(hang)
	for {
		j.mu.Lock()
		var found []T
		for _, v := range j.kept {
			if match(v) {
				found = append(found, v)
			}
		}
		more := j.more
		j.mu.Unlock()
		if len(found) >= n {
			return found
		}
		select {
		case <-more:
		case <-limit:
			j.t.Fatalf("waited in vain for %q, %d times; got %d", what, n, len(found))
		}
	}
}

// entry is a line of the master's log.
type entry struct {
	raw     string
	message string
	pid     int // of the worker it is about
	slot    int
	reason  string
	fields  map[string]any
}

func newEntry(line string) entry {
	e := entry{raw: strings.TrimSpace(line)}
	e.message = e.raw // if a runtime wrote it
	if json.Unmarshal([]byte(line), &e.fields) == nil {
		e.message, _ = e.fields["msg"].(string)
		e.reason, _ = e.fields["reason"].(string)
		pid, _ := e.fields["worker_pid"].(float64)
		slot, _ := e.fields["slot"].(float64)
		e.pid, e.slot = int(pid), int(slot)
	}
	return e
}

// logged waits until the master has logged a message n times, and returns the n-th.
func (z *zoo) logged(message string, n int) entry {
	z.Helper()
	return z.log.wait(n, message, func(e entry) bool { return e.message == message })[n-1]
}

// loggedOf waits for a message about one worker.
func (z *zoo) loggedOf(message string, pid int) entry {
	z.Helper()
	return z.log.wait(1, fmt.Sprintf("%s of %d", message, pid), func(e entry) bool { return e.message == message && e.pid == pid })[0]
}

// times counts a message in the log so far.
func (z *zoo) times(message string) int {
	n := 0
	for _, e := range z.log.list() {
		if e.message == message {
			n++
		}
	}
	return n
}

// gate is where workers wait that a test wants to find in a certain phase.
type gate struct {
	came *journal[*visitor]
	mu   sync.Mutex
	wide bool
}

// visitor is a worker at the gate.
type visitor struct {
	point string
	pid   int
	conn  net.Conn
}

// pass lets it go on.
func (v *visitor) pass() { v.conn.Close() }

func newGate(t *testing.T, path string) *gate {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{came: newJournal[*visitor](t)}
	done := make(chan struct{})
	t.Cleanup(func() {
		l.Close()
		g.open()
		<-done
	})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			v := &visitor{conn: conn}
			if _, err := fmt.Fscanln(conn, &v.point, &v.pid); err != nil {
				conn.Close() // it died on the way
				continue
			}
			g.came.add(v)
			g.mu.Lock()
			if g.wide {
				v.pass()
			}
			g.mu.Unlock()
		}
	}()
	return g
}

// open lets go on all who wait, and who are yet to come.
func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wide = true
	for _, v := range g.came.list() {
		v.pass()
	}
}

// wait waits until n workers have come to a point, and returns them.
func (g *gate) wait(point string, n int) []*visitor {
	g.came.t.Helper()
	return g.came.wait(n, "a worker at "+point, func(v *visitor) bool { return v.point == point })
}

// processes returns the master and the workers that live, and what these started: all that have the settings of this zoo
// in their environment. Zombies have none.
func (z *zoo) processes() []int {
	mark := []byte("ZOO_GATE=" + filepath.Join(z.dir, "gate") + "\x00")
	var pids []int
	for _, pid := range everyPID(z.T) {
		environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err == nil && bytes.Contains(environ, mark) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// family returns the children of the master, and which of them are zombies.
func (z *zoo) family() (children, zombies []int) {
	for _, pid := range everyPID(z.T) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // it has gone meanwhile
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest) // state, parent, …
		if len(fields) < 2 || fields[1] != strconv.Itoa(z.cmd.Process.Pid) {
			continue
		}
		children = append(children, pid)
		if fields[0] == "Z" {
			zombies = append(zombies, pid)
		}
	}
	return children, zombies
}

func everyPID(t *testing.T) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
