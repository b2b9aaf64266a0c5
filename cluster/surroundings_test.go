//go:build linux

package cluster_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"doorbuster/cluster"
)

// doc.go, Failures: when nobody reads the log, everything but the log goes on, however much there is to write.
func TestMutedLog(t *testing.T) {
	t.Parallel()
	z := newZoo(t, "ready:flood=4", nil) // megabytes, of which none is read
	hear := make(chan struct{})
	z.mute = hear
	t.Cleanup(func() {
		if !isClosed(hear) {
			close(hear)
		}
	})
	var err error
	z.begin()
	eventually(t, "the control socket", func() bool {
		z.client, err = cluster.Dial(t.Context(), z.cfg["ControlSocket"].(string))
		return err == nil
	})
	z.settle(2)
	for range 2 {
		if err := z.client.Reload(t.Context(), nil); err != nil {
			t.Errorf("reload: %v", err)
		}
	}
	if s := z.settle(2); s.Master.CrashesTotal != 0 {
		t.Errorf("%d crashes", s.Master.CrashesTotal)
	}
	close(hear)
	if e := z.logged("lines were lost: nobody read the log for a while", 1); e.fields["lines"].(float64) < 1 {
		t.Errorf("it says %q", e.raw)
	}
	z.stop()
}

// doc.go, Failures: when whoever reads the log has gone, as in "serve 2>&1 | tee log" without its tee, the master and the
// workers go on: the signal that a write to such a pipe raises would end a Go program.
func TestLogWithoutReader(t *testing.T) {
	t.Parallel()
	z := newZoo(t, "good", nil)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	z.cmd.Stderr = write
	if err := z.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read.Close()
	write.Close()
	t.Cleanup(func() {
		z.cmd.Process.Kill()
		z.cmd.Wait()
	})
	eventually(t, "the control socket", func() bool {
		z.client, err = cluster.Dial(t.Context(), z.cfg["ControlSocket"].(string))
		return err == nil
	})
	z.settle(2)
	for range 2 {
		if err := z.client.Reload(t.Context(), nil); err != nil {
			t.Errorf("reload: %v", err)
		}
	}
	if err := z.client.Stop(t.Context()); err != nil {
		t.Errorf("stop: %v", err)
	}
	if err := z.cmd.Wait(); err != nil {
		t.Errorf("the master: %v", err)
	}
}

// M16: a start that fails after a master was killed leaves the sign of that in place, so that the next one still waits for
// the address.
func TestFailedStartKeepsThePIDFile(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good", nil)
	killed := z.cmd.Process.Pid
	z.signal(syscall.SIGKILL)
	z.exit()
	z.cfg["Listen"] = []string{"nowhere"}
	z.prepare()
	z.begin()
	if code := z.exit(); code != 1 {
		t.Errorf("a master that can't listen ended with code %d", code)
	}
	if raw, err := os.ReadFile(z.cfg["PIDFile"].(string)); err != nil || string(raw) != fmt.Sprintln(killed) {
		t.Errorf("the PID file says %q, %v, and it was %d that was killed", raw, err, killed)
	}
	z.cfg["Listen"] = []string{"127.0.0.1:0"}
	z.prepare()
	z.begin()
	z.dial()
	z.settle(2)
	z.stop()
}

// M16: a worker that hangs when its master is killed is killed by nobody else: it ends itself, by the master's limit.
func TestOrphanThatHangs(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "drain:hang", config{"KillTimeout": 100 * time.Millisecond})
	z.signal(syscall.SIGKILL)
	z.exit()
	for _, e := range z.log.wait(2, "last words", func(e entry) bool { return strings.Contains(e.raw, "has not left within 100ms") }) {
		if !strings.HasPrefix(e.raw, "worker ") {
			t.Errorf("it says %q", e.raw)
		}
	}
}

// M16: nobody reads the log, and then the master is killed: the workers leave all the same, and the address is free.
func TestOrphansOfAMutedMaster(t *testing.T) {
	t.Parallel()
	z := newZoo(t, "ready:flood=1", config{"KillTimeout": time.Second})
	hear := make(chan struct{})
	z.mute = hear
	defer close(hear)
	z.begin()
	var err error
	eventually(t, "the control socket", func() bool {
		z.client, err = cluster.Dial(t.Context(), z.cfg["ControlSocket"].(string))
		return err == nil
	})
	z.settle(2)
	z.signal(syscall.SIGKILL)
	wait(t, z.ended, "end of the master")
	eventually(t, "end of all workers", func() bool { return len(z.processes()) == 0 })
}

// M6: where nothing ever worked, the alert is all that will be heard of it, so the master waits for its end.
func TestAlertOfAFailedStart(t *testing.T) {
	t.Parallel()
	z := newZoo(t, "start:exit=3", config{"Workers": 5})
	heard := filepath.Join(z.dir, "heard")
	fifo := filepath.Join(z.dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	z.cfg["AlertCommand"] = []string{"sh", "-c", fmt.Sprintf(`read line <%s; echo "$line $ALERT_REASON" >%s`, fifo, heard)}
	z.prepare()
	z.begin()
	z.logged(opened, 1)
	w, err := os.OpenFile(fifo, os.O_WRONLY, 0) // when the command has come to its first line
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(w, "at last:")
	w.Close()
	if code := z.exit(); code != 1 {
		t.Errorf("the master ended with code %d", code)
	}
	raw, err := os.ReadFile(heard)
	if err != nil || !strings.HasPrefix(string(raw), "at last: ") || !strings.Contains(string(raw), "exited with code 3") {
		t.Errorf("the alert says %q, %v", raw, err)
	}
}

// And who says stop does not wait for it.
func TestStopDuringTheAlert(t *testing.T) {
	t.Parallel()
	z := newZoo(t, "start:exit=3", config{"Workers": 5})
	fifo := filepath.Join(z.dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	z.cfg["AlertCommand"] = []string{"sh", "-c", "read line <" + fifo}
	z.prepare()
	z.begin()
	z.dial()
	z.logged(opened, 1)
	w, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close() // it waits until then, or for half a minute
	if err := z.client.Stop(t.Context()); err != nil {
		t.Errorf("stop: %v", err)
	}
	wait(t, z.ended, "end of the master")
	if code := z.cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("the master ended with code %d", code)
	}
}

// M8, M4: a reload of what can't be run, while the master stops, is no verdict about a release.
func TestReloadRefusedDuringTheEnd(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "drain:gate", nil)
	z.signal(syscall.SIGTERM)
	z.gate.wait("drain", 2)
	if err := os.Remove(z.program); err != nil {
		t.Fatal(err)
	}
	if err := z.client.Reload(t.Context(), nil); !errors.Is(err, cluster.ErrStopped) {
		t.Errorf("reload: %v", err)
	}
	if n := z.times("reload refused"); n > 0 {
		t.Error("the log calls it refused")
	}
	z.gate.open()
	if code := z.exit(); code != 0 {
		t.Errorf("the master ended with code %d", code)
	}
}

// What was given back is somebody else's: a Close too many must not close it again.
func TestCloseTwice(t *testing.T) {
	t.Parallel()
	m, err := cluster.New(cluster.Config{Listen: []string{"127.0.0.1:0"}, Command: []string{"/bin/true"}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	var files []*os.File // with the lowest descriptors that are free
	for range 10 {
		f, err := os.Open("/dev/null")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	for _, f := range files {
		if _, err := f.Stat(); err != nil {
			t.Error(err)
		}
	}
}

// M6: an alert command that can't be run is found out at the start, and not in the night.
func TestAlertCommandIsThere(t *testing.T) {
	t.Parallel()
	z := newZoo(t, "good", config{"AlertCommand": []string{"page-somebody", "now"}})
	z.begin()
	if code := z.exit(); code != 1 {
		t.Errorf("the master ended with code %d", code)
	}
	if list := z.log.list(); len(list) != 1 || !strings.Contains(list[0].raw, "the alert command can't be run") || !strings.Contains(list[0].raw, "page-somebody") {
		t.Errorf("it says %+v", list)
	}
}

// doc.go, Failures: a machine that is short of descriptors keeps a worker from being started for a while; it is tried again
// until there are some.
func TestShortOfDescriptors(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good", nil)
	before := z.pids()
	var limit unix.Rlimit
	if err := unix.Prlimit(z.cmd.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 4, Max: 1024}, &limit); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(before[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	e := z.log.wait(1, "shortage", func(e entry) bool {
		return e.message == "worker crashed" && strings.Contains(e.reason, "could not be started")
	})[0]
	if !strings.Contains(e.reason, "too many open files") {
		t.Errorf("the log says %q", e.raw)
	}
	limit.Cur, limit.Max = 1024, 1024
	if err := unix.Prlimit(z.cmd.Process.Pid, unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		t.Fatal(err)
	}
	z.settle(2)
	z.stop()
}
