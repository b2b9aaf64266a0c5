package cluster

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	pairKind = unix.SOCK_SEQPACKET | unix.SOCK_CLOEXEC
	noSignal = unix.MSG_NOSIGNAL

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

func redirect(from, to int) error { return unix.Dup3(from, to, 0) }
