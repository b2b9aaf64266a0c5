package cluster

import (
	"math"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// privateSocket makes Unix sockets that nobody else can connect to, from the moment on at which they are there: bind takes
// the mode of the socket itself (unix(7) does not say so; unix_bind_bsd in net/unix/af_unix.c does).
var privateSocket = net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) { unix.Fchmod(int(fd), 0o600) }) //nolint:errcheck // the caller does it again
}}

// keepToSelf marks all descriptors that this process was started with as its own: a lock or a socket that a shell had open
// must not live on in workers. What is marked already stays so. It takes Linux 5.11; before that it does nothing.
func keepToSelf() {
	unix.CloseRange(uint(unix.Stderr+1), math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) //nolint:errcheck // the next best thing is what was before
}

// workerOOMScore is what makes the kernel prefer a worker to its master when memory runs out: half of all memory is added
// to its size (proc(5), oom_score_adj). Whoever gave more keeps that.
const workerOOMScore = 500

// dieFirst makes this process one of the first to be killed when memory runs out. Anybody may do that to himself.
func dieFirst() {
	const path = "/proc/self/oom_score_adj"
	text, err := os.ReadFile(path)
	if err != nil {
		return // it is no reason to die at once
	}
	if score, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && score < workerOOMScore {
		os.WriteFile(path, []byte(strconv.Itoa(workerOOMScore)), 0) //nolint:errcheck // as above
	}
}

const (
	pairKind = unix.SOCK_SEQPACKET | unix.SOCK_CLOEXEC
	noSignal = unix.MSG_NOSIGNAL
	// closeOnExec makes recvmsg mark descriptors before any other thread can fork.
	closeOnExec = unix.MSG_CMSG_CLOEXEC

	pairStream = false
)

// executable is the path to start a release by: the descriptor that the worker gets, which names the file that was
// adopted, wherever its path leads to now. /proc/self is the new process already when the kernel looks it up.
func executable(r *release) string {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		return r.path
	}
	return "/proc/self/fd/" + strconv.Itoa(fdExecutable)
}

// nameProcess gives the process the name that ps and pkill know it by: the kernel took the descriptor's number.
func nameProcess(name string) error { return os.WriteFile("/proc/self/comm", []byte(name), 0) }

// runningProgram leads to what a process runs, also from the process that is about
// to be that program, and whatever became of the file.
const runningProgram = "/proc/self/exe"

func redirect(from, to int) error { return unix.Dup3(from, to, 0) }

// hungUp reports whether the other side of a pair says nothing more. A read of no
// bytes does not tell: a packet may be empty.
func hungUp(c *net.UnixConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	gone := true
	err = raw.Control(func(fd uintptr) {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLRDHUP}}
		if _, err := unix.Poll(poll, 0); err == nil {
			gone = poll[0].Revents&(unix.POLLHUP|unix.POLLRDHUP|unix.POLLERR|unix.POLLNVAL) != 0
		}
	})
	return gone || err != nil
}

// getTermios reads the settings of a terminal.
const getTermios = unix.TCGETS

// foregroundGroup returns the process group in the foreground of a terminal,
// which has to be the controlling one.
func foregroundGroup(terminal int) (int, error) {
	group, err := unix.IoctlGetUint32(terminal, unix.TIOCGPGRP)
	return int(group), err
}

// onThreadOfItsOwn calls f on a thread that ends afterwards: a goroutine that
// keeps its thread to itself until its end takes it along.
func onThreadOfItsOwn(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}

// forkNice starts a process with a nice value, which it inherits from the
// thread that forks. Set on its pid afterwards it would miss those threads of
// the child that had begun before.
func forkNice(nice int, path string, argv []string, attr *syscall.ProcAttr) (pid int, err error) {
	err = onThreadOfItsOwn(func() error {
		if err := setNice(nice); err != nil {
			return err
		}
		pid, err = syscall.ForkExec(path, argv, attr)
		return err
	})
	return pid, err
}
