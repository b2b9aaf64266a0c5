//go:build unix && !linux

package cluster

import (
	"net"

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

func dieFirst() {}

func nameProcess(string) error { return nil }

// runningProgram is Linux': here it has to be found by its path.
const runningProgram = ""

func redirect(from, to int) error { return unix.Dup2(from, to) }

// hungUp is for packets, which these systems do not have.
func hungUp(*net.UnixConn) bool { return true }
