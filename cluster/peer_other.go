//go:build !linux

package cluster

import "syscall"

func credentials(syscall.RawConn) (uid, pid int, ok bool) { return 0, 0, false }

func stateOf(int) string { return "it is stopped, or hangs" }
