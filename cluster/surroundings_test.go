//go:build linux

package cluster_test

import (
	"fmt"
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

// M16: a start that fails after a master was killed leaves the sign of that in place, so that the next one still waits for
// the address.
func TestFailedStartKeepsThePIDFile(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good", nil)
	killed := z.cmd.Process.Pid
	z.signal(syscall.SIGKILL)
	z.exit()
	for listen, left := range map[string]string{"nowhere": fmt.Sprintln(killed)} {
		z.cfg["Listen"] = []string{listen}
		z.prepare()
		z.begin()
		if code := z.exit(); code != 1 {
			t.Errorf("a master that can't listen ended with code %d", code)
		}
		if raw, err := os.ReadFile(z.cfg["PIDFile"].(string)); err != nil || string(raw) != left {
			t.Errorf("the PID file says %q, %v, and it was %d that was killed", raw, err, killed)
		}
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
