//go:build unix

package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"doorbuster/cluster"
)

// running asks any worker what it is.
func (z *zoo) running() (behaviour string, pid int) {
	z.Helper()
	var answer struct {
		Behaviour string
		PID       int
	}
	body, err := z.get("/")
	if err == nil {
		err = json.Unmarshal([]byte(body), &answer)
	}
	if err != nil {
		z.Fatalf("ask a worker: %v: %s", err, body)
	}
	return answer.Behaviour, answer.PID
}

// M8: a rolling restart replaces every worker by the executable now on disk. Here the master is the service itself, as in
// Example, and its executable is replaced while it runs: by a rename, and by removing it and writing another.
func TestRollout(t *testing.T) {
	t.Parallel()
	z := newZoo(t, "good raced", config{"Command": nil, "Workers": 3})
	z.cmd.Path, z.cmd.Args = z.program, []string{z.program}
	z.begin()
	z.dial()
	z.logged("all workers are ready", 1)
	before := z.settle(3)
	for _, c := range []struct {
		behaviour string
		replace   func(program []byte) error
	}{
		{"good by rename", func(program []byte) error {
			return errors.Join(writeProgram(z.program+".new", program), os.Rename(z.program+".new", z.program))
		}},
		{"good by removal", func(program []byte) error {
			return errors.Join(os.Remove(z.program), writeProgram(z.program, program))
		}},
	} {
		program, err := os.ReadFile(release(t, c.behaviour))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.replace(program); err != nil {
			t.Fatal(err)
		}
		events, err := z.reloadFile()
		if err != nil {
			t.Fatalf("%s: %v", c.behaviour, err)
		}
		after := z.settle(3)
		if after.Master.Release == before.Master.Release {
			t.Errorf("%s: the release is still %s", c.behaviour, after.Master.Release)
		}
		for i, w := range after.Workers {
			if w.PID == before.Workers[i].PID || w.Release != after.Master.Release || w.Slot != i+1 {
				t.Errorf("%s: slot %d has pid %d of %s; it had %d", c.behaviour, w.Slot, w.PID, w.Release, before.Workers[i].PID)
			}
		}
		if got, _ := z.running(); got != c.behaviour {
			t.Errorf("the workers run %q and should run %q", got, c.behaviour)
		}
		if n := len(slices.DeleteFunc(events, func(e cluster.Event) bool { return e.Kind != "replaced" })); n != 3 {
			t.Errorf("%s: %d workers were replaced one by one", c.behaviour, n)
		}
		before = after
	}
	z.stop()
}

// M5; anchors/cluster.md 2.23, 2.24: a worker that crashed is replaced by one of the release that serves, whatever became
// of the file.
func TestCrashRestartRunsWhatServes(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good", nil)
	before := z.settle(2)
	z.deploy("start:exit=3")
	victim := before.Workers[0].PID
	if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if e := z.loggedOf("worker crashed", victim); !strings.Contains(e.reason, "was killed by SIGKILL") {
		t.Errorf("the log says %q", e.raw)
	}
	after := z.settle(2)
	if after.Master.CrashesTotal != 1 || after.Workers[0].PID == victim || after.Workers[0].Release != before.Master.Release {
		t.Errorf("%d crashes; slot 1 has pid %d of %s", after.Master.CrashesTotal, after.Workers[0].PID, after.Workers[0].Release)
	}
	if after.Workers[1].PID != before.Workers[1].PID {
		t.Errorf("the other worker was %d and is %d", before.Workers[1].PID, after.Workers[1].PID)
	}
	eventually(t, "an answer of the new worker", func() bool {
		behaviour, pid := z.running()
		if behaviour != "good" {
			t.Fatalf("a worker runs %q", behaviour)
		}
		return pid == after.Workers[0].PID
	})
	z.stop()
}

// M9; anchors/cluster.md 2.3: when a release fails after a part of the workers was replaced, all go back.
func TestRollback(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good", config{"Workers": 3})
	before := z.settle(3)
	z.deploy("ready@2:panic=late joined@3:gate") // the third does not win the race against the end of the second
	var kinds []string
	err := z.client.Reload(t.Context(), func(e cluster.Event) { kinds = append(kinds, string(e.Kind)) })
	verdict := asVerdict(t, err)
	if !strings.Contains(verdict.Reason, "worker 2 (pid ") || !strings.Contains(verdict.Reason, "exited with code 2") {
		t.Errorf("the verdict is %q", verdict.Reason)
	}
	if !strings.Contains(strings.Join(verdict.Output, "\n"), "panic: late") {
		t.Errorf("the last lines are %q", verdict.Output)
	}
	if !slices.Contains(kinds, "rollback") {
		t.Errorf("the events are %q", kinds)
	}
	after := z.settle(3)
	for i, w := range after.Workers {
		if w.Release != before.Master.Release || w.Slot != i+1 {
			t.Errorf("slot %d runs %s", w.Slot, w.Release)
		}
	}
	if after.Workers[2].PID != before.Workers[2].PID {
		t.Errorf("the worker of slot 3, which was not reached, was %d and is %d", before.Workers[2].PID, after.Workers[2].PID)
	}
	z.stop()
}

// M8; anchors/cluster.md 2.13: a reload during a reload takes its place; each gets its verdict.
func TestReloadDuringReload(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good", nil)
	first := make(chan error, 1)
	reload := func() { first <- z.client.Reload(t.Context(), func(cluster.Event) {}) }

	z.deploy("joined:gate")
	go reload()
	z.gate.wait("joined", 1)
	if _, err := z.reload("good newest"); err != nil {
		t.Fatalf("the newer reload: %v", err)
	}
	if err := <-first; !errors.Is(err, cluster.ErrSuperseded) {
		t.Errorf("the verdict about the older one is %v", err)
	}
	z.settle(2)
	if behaviour, _ := z.running(); behaviour != "good newest" {
		t.Errorf("the workers run %q", behaviour)
	}

	// The same file twice: both succeed with it.
	z.deploy("joined:gate again")
	go reload()
	z.gate.wait("joined", 2)
	second := make(chan error, 1)
	go func() { second <- z.client.Reload(t.Context(), func(cluster.Event) {}) }()
	z.logged("reloading", 4)
	z.gate.open()
	if err := errors.Join(<-first, <-second); err != nil {
		t.Errorf("two reloads of the same file: %v", err)
	}
	serving := z.settle(2)

	// What serves already is reloaded all the same: its settings may have changed. Nobody has to wait for that.
	ctx, cancel := context.WithCancel(t.Context())
	err := z.client.Reload(ctx, func(cluster.Event) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the reload that nobody waited for: %v", err)
	}
	z.logged("reloaded", 3) // the two of the same file share one, or have one each
	eventually(t, "new workers", func() bool {
		s := z.settle(2)
		return s.Workers[0].PID != serving.Workers[0].PID && s.Workers[1].PID != serving.Workers[1].PID
	})
	z.stop()
}

// M8; anchors/cluster.md 2.11: workers that take long to leave hold up the next ones. However often a reload is asked for,
// no more processes are there than one above target and a quarter of it on the way out.
func TestGenerationsDoNotPileUp(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "drain:gate", nil)
	const reloads, most = 4, 2 + 1 + 1
	verdicts := make(chan error, reloads)
	for i := 1; i <= reloads; i++ {
		z.deploy(fmt.Sprintf("drain:gate %d", i))
		go func() { verdicts <- z.client.Reload(t.Context(), func(cluster.Event) {}) }()
		z.logged("reloading", i)
		if i == 1 {
			z.gate.wait("drain", 1)
		} else if err := <-verdicts; !errors.Is(err, cluster.ErrSuperseded) {
			t.Errorf("a reload that a newer one took the place of ended with %v", err)
		}
		for range 10 { // so that the master has had the time to start another one
			z.status()
		}
	}
	z.gate.open()
	if err := <-verdicts; err != nil {
		t.Errorf("the last reload: %v", err)
	}
	z.settle(2)
	if behaviour, _ := z.running(); behaviour != "drain:gate 4" {
		t.Errorf("the workers run %q", behaviour)
	}
	alive := 0
	for _, e := range z.log.list() {
		switch e.message {
		case "worker started":
			alive++
		case "worker left", "worker crashed":
			alive--
		}
		if alive > most {
			t.Errorf("there were %d workers: %s", alive, e.raw)
		}
	}
	z.stop()
}

// M15: the command to stop waits for the end; a second one cuts it short, as a second signal does.
func TestStopByCommand(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "drain:gate", nil)
	first := make(chan error, 1)
	go func() { first <- z.client.Stop(t.Context()) }()
	z.gate.wait("drain", 2)
	if s := z.status(); s.Master.State != "stopping" || s.Master.Ready != 0 {
		t.Errorf("the cluster is %s and %d workers are ready", s.Master.State, s.Master.Ready)
	}
	if err := z.client.Reload(t.Context(), func(cluster.Event) {}); !errors.Is(err, cluster.ErrStopped) {
		t.Errorf("reload during the end: %v", err)
	}
	select {
	case err := <-first:
		t.Errorf("the command is done before the workers are: %v", err)
	default:
	}
	if err := errors.Join(z.client.Stop(t.Context()), <-first); err != nil {
		t.Errorf("stop: %v", err)
	}
	if code := z.exit(); code != 0 {
		t.Errorf("the master ended with code %d", code)
	}
	z.nothingLeft()
	if _, err := cluster.Dial(t.Context(), z.cfg["ControlSocket"].(string)); err == nil || !strings.Contains(err.Error(), "no master listens") {
		t.Errorf("dial a master that has ended: %v", err)
	}
}

// M16; anchors/cluster.md 2.16, 2.17, anchors/handoff.md C.2, C.4: when the master is killed the workers finish what they
// hold, write to a pipe that nobody reads, and leave. The next master starts at once on the same address and files.
func TestMasterKilled(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good", nil)
	z.cfg["Listen"] = []string{z.address()}
	for round := 1; round <= 10; round++ {
		answers := make(chan error, 2)
		for range 2 {
			go func() {
				body, err := z.get("/hold")
				if err == nil && body == "" {
					err = errors.New("an empty answer")
				}
				answers <- err
			}()
		}
		held := z.gate.wait("request", 2*round)[2*round-2:]
		killed, gone := z.cmd.Process.Pid, z.gone
		z.signal(syscall.SIGKILL)
		wait(t, z.ended, "end of the master")
		z.prepare()
		z.begin()
		z.dial()
		z.logged("all workers are ready", 1)
		if pid := z.status().Master.PID; pid != z.cmd.Process.Pid || pid == killed {
			t.Errorf("the control socket leads to %d", pid)
		}
		if _, pid := z.running(); !slices.Contains(z.pids(), pid) {
			t.Errorf("worker %d of the killed master accepts still", pid)
		}
		for _, v := range held {
			v.pass()
			if err := <-answers; err != nil {
				t.Errorf("a request that was held when the master was killed: %v", err)
			}
		}
		wait(t, gone, "end of the workers of the killed master")
	}
	z.stop()
}

// M17: one master at a time on a PID file; the second one says whom it found.
func TestSecondMaster(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good", nil)
	before := z.pids()
	second := exec.Command(z.cmd.Path)
	second.Env = append(slices.Clone(z.cmd.Env), "ZOO_DEBUG=")
	out, err := second.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("the second master: %v", err)
	}
	if want := fmt.Sprintf("a master with pid %d is running already", z.cmd.Process.Pid); !strings.Contains(string(out), want) {
		t.Errorf("the second master says %q and should say %q", out, want)
	}
	if after := z.pids(); !slices.Equal(after, before) {
		t.Errorf("the workers were %v and are %v", before, after)
	}
	z.stop()
}

// M17: what a killed master leaves behind does not hinder the next one, even if its pid is taken by somebody else.
func TestRemnants(t *testing.T) {
	t.Parallel()
	z := newZoo(t, "good", nil)
	pidFile, socket := z.cfg["PIDFile"].(string), z.cfg["ControlSocket"].(string)
	if err := os.WriteFile(pidFile, fmt.Appendln(nil, os.Getpid()), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	z.begin()
	z.dial()
	z.settle(2)
	raw, err := os.ReadFile(pidFile)
	if err != nil || string(raw) != fmt.Sprintln(z.cmd.Process.Pid) {
		t.Errorf("the PID file says %q (%v) and the master is %d", raw, err, z.cmd.Process.Pid)
	}
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the control socket: %v, %v", info.Mode(), err)
	}
	z.stop()
}

// M2; anchors/cluster.md 2.21: the master never accepts a connection: one that comes before there is a worker waits in the
// kernel, and is answered by the first worker.
func TestMasterNeverAccepts(t *testing.T) {
	t.Parallel()
	z := newZoo(t, "joined:gate", nil)
	z.begin()
	z.dial()
	z.gate.wait("joined", 2)
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", z.address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	for range 3 { // the master is busy meanwhile
		z.status()
	}
	if owner := socketInode(t, conn.RemoteAddr().(*net.TCPAddr).Port, conn.LocalAddr().(*net.TCPAddr).Port); owner != "0" {
		t.Errorf("somebody has accepted the connection: its socket is %s", owner)
	}
	z.gate.open()
	conn.SetReadDeadline(time.Now().Add(hang))
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 "+fmt.Sprint(http.StatusOK)) {
		t.Errorf("the answer is %q, %v", answer, err)
	}
	z.settle(2)
	z.stop()
}

// socketInode finds the socket of a connection to a port from another port. A connection that nobody has accepted has the
// inode 0.
func socketInode(t *testing.T, to, from int) string {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Skip("no list of connections: ", err)
	}
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) > 9 && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", to)) && strings.HasSuffix(f[2], fmt.Sprintf(":%04X", from)) {
			return f[9]
		}
	}
	t.Fatal("the kernel does not know the connection")
	return ""
}

// O5; anchors/cluster.md 2.23: a path with nothing to execute is an error before anything is started, in one sentence.
func TestNothingToRun(t *testing.T) {
	t.Parallel()
	z := newZoo(t, "good", config{"Command": []string{filepath.Join(t.TempDir(), "missing")}})
	z.begin()
	if code := z.exit(); code != 1 {
		t.Errorf("the master ended with code %d", code)
	}
	if log := z.log.list(); len(log) != 1 || !strings.Contains(log[0].raw, "there is no such file") {
		t.Errorf("the master says %v", log)
	}
}
