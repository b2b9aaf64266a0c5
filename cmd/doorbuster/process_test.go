//go:build unix

package main_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// hang is how long a test waits for what has to come. Nothing is expected to take nearly as long: it ends a test that
// would otherwise end with the whole package.
const hang = 90 * time.Second

// poll looks again and again until something is so that nothing tells of.
func poll(t *testing.T, what string, so func() bool) {
	t.Helper()
	for tooLong := time.Now().Add(hang); !so(); {
		if time.Now().After(tooLong) {
			t.Fatalf("not within %v: %s", hang, what)
		}
	}
}

// process is a program, running.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout *bufio.Scanner
	stderr *journal
	said   []string // lines of standard output so far
	ended  bool
}

// start runs doorbuster with an environment of its own: PATH, HOME and what is given. A runtime directory and an admin
// address of its own keep it away from the others that run at the same time.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	return startProgram(t, env, append([]string{binary}, args...)...)
}

func startProgram(t *testing.T, env []string, command ...string) *process {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "XDG_RUNTIME_DIR=" + shortTempDir(t), "ADMIN_ADDR=127.0.0.1:0",
	}, env...)
	p := &process{t: t, cmd: cmd}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout = bufio.NewScanner(stdout)
	// A pipe of our own: its end says that the program's children are gone as well.
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer write.Close()
	cmd.Stderr = write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.stderr = newJournal(read)
	t.Cleanup(func() {
		if !p.ended {
			cmd.Process.Kill()
		}
		if t.Failed() {
			lines := p.stderr.all()
			t.Logf("the last lines of %v:\n%s", command, strings.Join(lines[max(0, len(lines)-60):], "\n"))
		}
	})
	return p
}

// until reads standard output up to a line that contains a text, and returns that line.
func (p *process) until(text string) string {
	p.t.Helper()
	for p.stdout.Scan() {
		p.said = append(p.said, p.stdout.Text())
		if strings.Contains(p.stdout.Text(), text) {
			return p.stdout.Text()
		}
	}
	p.t.Fatalf("the program ended without saying %q; it said:\n%s\n%s", text, strings.Join(p.said, "\n"), p.stderr)
	return ""
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// wait returns the exit code when the program has ended, with all that it had started.
func (p *process) wait() int {
	p.t.Helper()
	tooLong := time.AfterFunc(hang, func() { p.cmd.Process.Signal(syscall.SIGQUIT) }) // it says where it hangs
	defer tooLong.Stop()
	for p.stdout.Scan() {
		p.said = append(p.said, p.stdout.Text())
	}
	err := p.cmd.Wait()
	p.ended = true
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	if !p.stderr.waitForEnd() {
		p.t.Errorf("the program has ended, and what it has started is still there")
	}
	return p.cmd.ProcessState.ExitCode()
}

// do runs the program to its end.
func do(t *testing.T, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	p := start(t, env, args...)
	code = p.wait()
	return code, strings.Join(p.said, "\n"), p.stderr.String()
}

// record is a line of the log, as far as tests look at it.
type record struct {
	Time                      time.Time
	Level, Msg, Role, Release string
	PID, Slot                 int
	WorkerPID                 int    `json:"worker_pid"`
	WorkerRelease             string `json:"worker_release"`
	Addr, Because, State      string
	Reason, How               string
	AgainIn                   string `json:"again_in"`
	Listening, Cut            []string
	WaitingFor                []string `json:"waiting_for"`
	Method, Path              string
	Workers, Ready            int
	MemoryMB                  int `json:"memory_mb"`
	Requests                  int64
	InFlight                  int `json:"in_flight"`
	Crashes                   int
}

// position is a place in a log; the zero value is its beginning.
type position int

// await returns the next line of the log with this message that match accepts, if that is not nil, and moves the position
// behind it.
func (p *process) await(at *position, msg string, match func(record) bool) record {
	p.t.Helper()
	var r record
	ok := p.stderr.await(at, func(line string) bool {
		r = record{}
		return json.Unmarshal([]byte(line), &r) == nil && r.Msg == msg && (match == nil || match(r))
	})
	if !ok {
		p.t.Fatalf("no line %q in the log that fits", msg)
	}
	return r
}

// now is the end of the log.
func (p *process) now() position { return position(len(p.stderr.all())) }

// records returns the lines of the log from a position on that have a message.
func (p *process) records(from position, msg string) []record {
	var found []record
	for _, line := range p.stderr.all()[from:] {
		var r record
		if json.Unmarshal([]byte(line), &r) == nil && r.Msg == msg {
			found = append(found, r)
		}
	}
	return found
}

// Bounds of what a failed request is shown of the log.
const (
	aboutWindow = 3 * time.Second // before and after it
	aboutLines  = 60
)

// about returns the lines of the log that may explain what happened to a request: the life of the worker that had it, and all
// warnings about that time. Nobody knowing the worker, it is every line of the time.
func (p *process) about(worker string, at time.Time) []string {
	pid, _ := strconv.Atoi(worker)
	var lines []string
	for _, line := range p.stderr.all() {
		var r record
		if json.Unmarshal([]byte(line), &r) != nil {
			continue
		}
		near := r.Time.Sub(at).Abs() <= aboutWindow
		if near && (pid == 0 || r.Level != "INFO") || pid != 0 && (r.PID == pid || r.WorkerPID == pid) {
			lines = append(lines, line)
		}
	}
	return lines[max(0, len(lines)-aboutLines):]
}

// journal is what a program and its children write to standard error. It can be read, and waited for, meanwhile.
type journal struct {
	mu      sync.Mutex
	lines   []string
	changed chan struct{} // closed at the next line
	ended   chan struct{} // closed when nobody is left who could write
}

func newJournal(r io.ReadCloser) *journal {
	j := &journal{changed: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer r.Close()
		defer close(j.ended)
		in := bufio.NewReader(r)
		for {
			line, err := in.ReadString('\n')
			if line != "" {
				j.add(strings.TrimSuffix(line, "\n"))
			}
			if err != nil {
				return
			}
		}
	}()
	return j
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
	close(j.changed)
	j.changed = make(chan struct{})
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clip(j.lines)
}

func (j *journal) String() string {
	if lines := j.all(); len(lines) > 0 {
		return strings.Join(lines, "\n") + "\n"
	}
	return ""
}

// await moves the position behind the next line that match accepts. It reports false when none will come.
func (j *journal) await(at *position, match func(line string) bool) bool {
	tooLong := time.NewTimer(hang)
	defer tooLong.Stop()
	for last := false; ; {
		j.mu.Lock()
		lines, changed := j.lines, j.changed
		j.mu.Unlock()
		for int(*at) < len(lines) {
			*at++
			if match(lines[*at-1]) {
				return true
			}
		}
		if last {
			return false
		}
		select {
		case <-changed:
		case <-j.ended:
			last = true
		case <-tooLong.C:
			last = true
		}
	}
}

func (j *journal) waitForEnd() bool {
	tooLong := time.NewTimer(hang)
	defer tooLong.Stop()
	select {
	case <-j.ended:
		return true
	case <-tooLong.C:
		return false
	}
}
