//go:build linux

package cluster_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"doorbuster/cluster"
)

// doc.go, M17; anchors/handoff.md C.4: a worker has the descriptors, the environment and the process group that doc.go
// speaks of, and nothing that is the master's alone.
func TestWhatWorkersInherit(t *testing.T) {
	t.Parallel()
	z := newZoo(t, "good", config{"Listen": []string{"127.0.0.1:0", "127.0.0.1:0"}, "Env": []string{"COLOUR=red"}})
	z.cmd.Env = append(z.cmd.Env, "NOTIFY_SOCKET="+filepath.Join(z.dir, "nobody"), "WATCHDOG_USEC=9000000", "LISTEN_FDS=0", "LISTEN_PID=1")
	lock, err := os.Create(filepath.Join(z.dir, "lock of the shell")) // open for whatever is started, as shells do it
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	z.cmd.ExtraFiles = slices.Repeat([]*os.File{lock}, 20)
	z.begin()
	z.dial()
	z.settle(2)
	program, err := filepath.EvalSymlinks(z.program)
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range z.pids() {
		var found map[int]string
		z.askWorker(pid, "found", &found)
		found = passedOn(found)
		for fd, kind := range []string{"/dev/null", "pipe:", "pipe:", "socket:", "/memfd:", "pipe:", program, "socket:", "socket:"} {
			if got, ok := found[fd]; !ok || !strings.HasPrefix(got, kind) {
				t.Errorf("descriptor %d of a worker is %q and should be %q", fd, got, kind)
			}
		}
		if len(found) != 9 || found[1] != found[2] || found[1] == found[5] {
			t.Errorf("a worker starts with the descriptors %v", found)
		}
		var later map[int]string
		z.askWorker(pid, "descriptors", &later)
		for fd, what := range later {
			if strings.HasPrefix(what, program) {
				t.Errorf("after Join a worker holds its executable, and so the disk space of a release that was removed: descriptor %d", fd)
			}
		}
		for fd, what := range passedOn(later) {
			if fd > 2 { // what it starts itself would have it, too
				t.Errorf("after Join a worker has descriptor %d: %s", fd, what)
			}
		}
		var environment []string
		z.askWorker(pid, "environment", &environment)
		for _, name := range []string{"CLUSTER_WORKER=", "NOTIFY_SOCKET=", "WATCHDOG_USEC=", "LISTEN_FDS=", "LISTEN_PID="} {
			if slices.ContainsFunc(environment, func(kv string) bool { return strings.HasPrefix(kv, name) }) {
				t.Errorf("a worker has %s in its environment", name)
			}
		}
		if !slices.Contains(environment, "COLOUR=red") {
			t.Errorf("a worker lacks what Config.Env adds: %q", environment)
		}
		if group, err := unix.Getpgid(pid); group != pid {
			t.Errorf("worker %d is in process group %d, %v", pid, group, err)
		}
		if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); !strings.HasPrefix(filepath.Base(program), strings.TrimSpace(string(name))) {
			t.Errorf("worker %d is called %q, %v", pid, name, err)
		}
	}
	z.stop()
}

// passedOn leaves out descriptors that a program which the worker starts would not get, such as those of its runtime, and
// those that this test was started with: they are not the master's.
func passedOn(found map[int]string) map[int]string {
	for fd, what := range found {
		ours, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		if strings.HasSuffix(what, " cloexec") || err == nil && ours == what && fd > 2 {
			delete(found, fd)
		}
	}
	return found
}

// anchors/cluster.md 2.7, 2.8: the listening socket stays in non-blocking mode for all processes, whatever happens (golang/go#43894),
// and belongs to nobody: one worker that closes it takes it from nobody else.
func TestListenerIsShared(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good", nil)
	nonblocking := func(when string) {
		t.Helper()
		pids := z.pids()
		var found map[int]string
		z.askWorker(pids[0], "found", &found)
		for _, pid := range append(pids, z.cmd.Process.Pid) {
			modes := modesOf(t, pid, found[7])
			if len(modes) == 0 || slices.ContainsFunc(modes, func(flags int64) bool { return flags&unix.O_NONBLOCK == 0 }) {
				t.Errorf("%s the listening socket of %d has the flags %o", when, pid, modes)
			}
		}
	}
	nonblocking("at first")
	z.deploy("start:gate")
	verdict := make(chan error, 1)
	go func() { verdict <- z.client.Reload(t.Context(), func(cluster.Event) {}) }()
	z.gate.wait("start", 1)
	nonblocking("when a worker was started and has not joined")
	z.gate.open()
	if err := <-verdict; err != nil {
		t.Fatal(err)
	}
	nonblocking("after a reload")
	victim := z.pids()[0]
	if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	z.loggedOf("worker crashed", victim)
	z.settle(2)
	nonblocking("after a crash")

	pids := z.pids()
	var none any
	z.askWorker(pids[0], "close", &none)
	for range 20 {
		if _, pid := z.running(); pid != pids[1] {
			t.Errorf("pid %d answered", pid)
		}
	}
	z.stop()
}

// modesOf returns the flags of all descriptors of a process that are a certain file.
func modesOf(t *testing.T, pid int, file string) (flags []int64) {
	t.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range open {
		if link, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd.Name())); err != nil || link != file {
			continue
		}
		info, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", pid, fd.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(info)) {
			if octal, ok := strings.CutPrefix(line, "flags:"); ok {
				n, err := strconv.ParseInt(strings.TrimSpace(octal), 8, 64)
				if err != nil {
					t.Fatal(err)
				}
				flags = append(flags, n)
			}
		}
	}
	return flags
}

// M17; anchors/cluster.md 2.15: as process 1 of a container the master collects the orphans that workers leave, quietly,
// and stops as anywhere.
func TestProcessOne(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root may make a PID namespace")
	}
	z := newZoo(t, "ready:fork", nil)
	z.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	z.begin()
	z.dial()
	z.gate.wait("orphan", 2)
	if s := z.settle(2); s.Master.PID != 1 {
		t.Errorf("the master is process %d", s.Master.PID)
	}
	if children, _ := z.family(); len(children) != 4 {
		t.Errorf("the master has %d children, and there are 2 workers and 2 orphans", len(children))
	}
	z.gate.open()
	z.logged("reaped an orphan", 2)
	if children, zombies := z.family(); len(children) != 2 || len(zombies) != 0 {
		t.Errorf("the master has %d children, %d of them zombies", len(children), len(zombies))
	}
	if s := z.settle(2); s.Master.CrashesTotal != 0 {
		t.Errorf("%d crashes", s.Master.CrashesTotal)
	}
	z.stop()
}

// M17; anchors/cluster.md 2.14: the service manager hears when the cluster serves, reloads, serves again, and stops; a
// reload that fails ends for it, too.
func TestServiceManager(t *testing.T) {
	t.Parallel()
	z := newZoo(t, "joined:gate", nil)
	path := filepath.Join(z.dir, "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	z.cmd.Env = append(z.cmd.Env, "NOTIFY_SOCKET="+path, "WATCHDOG_USEC=100000")
	hears := func(want string) {
		t.Helper()
		manager.SetReadDeadline(time.Now().Add(hang))
		for message := make([]byte, 4096); ; {
			n, err := manager.Read(message)
			if err != nil {
				t.Fatalf("waiting for %s: %v", want, err)
			}
			switch got, _, _ := strings.Cut(string(message[:n]), "\n"); {
			case got == want:
				return
			case got != "WATCHDOG=1" && !strings.HasPrefix(got, "STATUS="):
				t.Errorf("the service manager was told %q and waits for %q", got, want)
			}
		}
	}
	z.begin()
	z.dial()
	early := make(chan error, 1) // a reload during the start
	first := z.gate.wait("joined", 2)
	z.deploy("joined:gate next")
	go func() { early <- z.client.Reload(t.Context(), nil) }()
	hears("RELOADING=1")
	first[0].pass()
	hears("READY=1") // when the first worker is, and not when that reload is over: it waits for the gate
	hears("WATCHDOG=1")
	z.gate.open()
	if err := <-early; err != nil {
		t.Fatal(err)
	}
	hears("READY=1")
	z.settle(2)
	if _, err := z.reload("good next"); err != nil {
		t.Fatal(err)
	}
	hears("RELOADING=1")
	hears("READY=1")
	_, err = z.reload("start:exit=3")
	asVerdict(t, err)
	hears("RELOADING=1")
	hears("READY=1")
	if err := os.Remove(z.program); err != nil {
		t.Fatal(err)
	}
	asVerdict(t, z.client.Reload(t.Context(), nil))
	hears("RELOADING=1")
	hears("READY=1")
	z.stop()
	hears("STOPPING=1")
}

// M16: the next master waits for its address while a worker of the one that was killed has not noticed yet: this one has
// not even joined.
func TestMasterKilledBeforeJoin(t *testing.T) {
	t.Parallel()
	z := newZoo(t, "start:gate", nil)
	z.begin()
	z.dial()
	z.gate.wait("start", 2)
	z.cfg["Listen"] = []string{z.address()}
	z.signal(syscall.SIGKILL)
	wait(t, z.ended, "end of the master")
	gone := z.gone
	z.prepare()
	z.begin()
	eventually(t, "the next master", func() bool { // it has the PID file before it asks for the address
		raw, err := os.ReadFile(z.cfg["PIDFile"].(string))
		return err == nil && string(raw) == fmt.Sprintln(z.cmd.Process.Pid)
	})
	z.gate.open()
	wait(t, gone, "end of the workers that nobody waits for")
	z.dial()
	z.settle(2)
	z.stop()
}
