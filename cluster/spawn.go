//go:build unix

package cluster

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// joinVariable tells a process that it is a worker, and what for.
const joinVariable = "CLUSTER_WORKER"

// The descriptors of a worker beyond standard input, output and error.
const (
	fdLink       = 3 // its end of the pair
	fdBoard      = 4 // the shared counters
	fdStderr     = 5 // the master's standard error, for when there is no master to take the output any more
	fdExecutable = 6 // what it runs
	fdListeners  = 7 // and on
)

// invitation is the value of joinVariable.
type invitation struct {
	Protocol  int           `json:"protocol"`
	Abilities []string      `json:"abilities,omitempty"` // of the master
	Slot      int           `json:"slot"`
	Release   string        `json:"release"`
	Place     int           `json:"place"` // on the board
	Listeners int           `json:"listeners"`
	Heartbeat time.Duration `json:"heartbeat"`
	// KillTimeout is what a worker sets itself when its master is no more.
	KillTimeout time.Duration `json:"kill_timeout"`
	// HeartbeatTimeout is how long a worker may stand still. 0: the master does not tell.
	HeartbeatTimeout time.Duration     `json:"heartbeat_timeout,omitempty"`
	Workers          int               `json:"workers,omitempty"` // that there should be, by a scale under way too
	Rlimits          []Rlimit          `json:"rlimits,omitempty"`
	Settings         map[string]string `json:"settings,omitempty"`
}

// spawn starts a worker. It works on raw descriptors: (*os.File).Fd and exec.Cmd would put the shared listening sockets
// into blocking mode for every process (golang/go#43894), and exec.Cmd would wait for the process behind the reaper's
// back. No PDEATHSIG either: it fires when the thread that forked ends (golang/go#27505); the end of the pair tells.
func (m *Master) spawn(r *release, inv invitation, link, output int) (pid int, err error) {
	value, err := json.Marshal(inv)
	if err != nil {
		return 0, err
	}
	env := append(slices.Clip(r.env), joinVariable+"="+string(value))
	argv := append([]string{fmt.Sprintf("%s: worker %d", filepath.Base(r.path), inv.Slot)}, m.cfg.Command[1:]...)
	files := []uintptr{uintptr(m.null), uintptr(output), uintptr(output), uintptr(link), uintptr(m.boardFD), uintptr(m.stderr), r.file.Fd()}
	for _, l := range m.listeners {
		files = append(files, uintptr(l.fd))
	}
	return m.fork(executable(r), argv, &syscall.ProcAttr{
		Env: env, Files: files,
		// A group of its own: Ctrl-C on a terminal goes to the master, and workers hear of it from there. It is no session
		// of its own, beside which a nice value would mean nothing on Linux (sched(7), autogroup).
		Sys: &syscall.SysProcAttr{Setpgid: true, Credential: m.cfg.credential()},
	})
}

// workerEnv is the environment of workers: the master's own, less what is only meant for the master, and less what is added:
// of two values a program may take either.
func workerEnv(own, added []string) []string {
	gone := map[string]bool{
		joinVariable: true, answererVariable: true, "NOTIFY_SOCKET": true, "WATCHDOG_USEC": true, "WATCHDOG_PID": true,
		"LISTEN_FDS": true, "LISTEN_PID": true, "LISTEN_FDNAMES": true,
	}
	name := func(kv string) string {
		n, _, _ := strings.Cut(kv, "=")
		return n
	}
	for _, kv := range added {
		gone[name(kv)] = true
	}
	env := slices.DeleteFunc(slices.Clone(own), func(kv string) bool { return gone[name(kv)] })
	return append(env, added...)
}

// dupCloseOnExec duplicates a descriptor for this process only.
func dupCloseOnExec(fd int) (int, error) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("fcntl", err)
	}
	return n, nil
}

// fromOutside reports whether a signal has ended a process that programs are not
// sent for what they do themselves: the kernel's when memory ran out, or a person's.
func fromOutside(ws syscall.WaitStatus) bool {
	if !ws.Signaled() {
		return false
	}
	switch ws.Signal() {
	case syscall.SIGKILL, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM:
		return true
	}
	return false
}

// howItEnded puts a wait status into words.
func howItEnded(ws syscall.WaitStatus) string {
	switch {
	case ws.Exited():
		return fmt.Sprintf("exited with code %d", ws.ExitStatus())
	case ws.Signaled() && ws.Signal() == syscall.SIGKILL:
		return "was killed by SIGKILL (by hand, or by the kernel when memory ran out)"
	case ws.Signaled():
		return fmt.Sprintf("crashed by %s", unix.SignalName(ws.Signal()))
	}
	return fmt.Sprintf("ended with wait status %#x", uint32(ws))
}
