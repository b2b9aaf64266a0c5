//go:build unix && !linux

package cluster

import (
	"io/fs"
	"math"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// privateSocket makes Unix sockets; their mode is set after that.
var privateSocket net.ListenConfig

func keepToSelf() {}

const (
	pairKind   = unix.SOCK_STREAM // macOS has no SOCK_SEQPACKET for Unix sockets
	pairStream = true
	noSignal   = 0 // the Go runtime ignores SIGPIPE on sockets

	closeOnExec = 0 // recvmsg can't do that
)

// executable is the path to start a release by. Without /proc a descriptor can't be executed.
func executable(r *release) string { return r.path }

// workersTaskLimit is not known: nothing tells how many a user has.
func (*Master) workersTaskLimit(fs.FS) (tasks int64, where string) { return math.MaxInt64, "" }

func dieFirst() {}

// reapStrangers has nothing to do: process 1 of these systems is never a master.
func (l *loop) reapStrangers() {}

func nameProcess(string) error { return nil }

// runningProgram is Linux': here it has to be found by its path.
const runningProgram = ""

func redirect(from, to int) error { return unix.Dup2(from, to) }

// hungUp is for packets, which these systems do not have.
func hungUp(*net.UnixConn) bool { return true }

// getTermios reads the settings of a terminal.
const getTermios = unix.TIOCGETA

// foregroundGroup returns the process group in the foreground of a terminal,
// which has to be the controlling one.
func foregroundGroup(terminal int) (int, error) { return unix.IoctlGetInt(terminal, unix.TIOCGPGRP) }

// onThreadOfItsOwn does not call f: the nice value is the process's here, and
// the master's own is not to change.
func onThreadOfItsOwn(func() error) error { return nil }

// forkNice starts a process and then sets its nice value.
func forkNice(nice int, path string, argv []string, attr *syscall.ProcAttr) (pid int, err error) {
	pid, err = syscall.ForkExec(path, argv, attr)
	if err != nil {
		return 0, err
	}
	if err := unix.Setpriority(unix.PRIO_PROCESS, pid, nice); err != nil {
		syscall.Kill(pid, syscall.SIGKILL) //nolint:errcheck // it has not been waited for, so it is there
		var ws syscall.WaitStatus
		syscall.Wait4(pid, &ws, 0, nil) //nolint:errcheck // as above
		return 0, os.NewSyscallError("setpriority", err)
	}
	return pid, nil
}
