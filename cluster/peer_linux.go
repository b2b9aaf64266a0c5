package cluster

import (
	"bytes"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// credentials returns whose process has connected, or was listening (SO_PEERCRED,
// unix(7)).
func credentials(conn syscall.RawConn) (uid, pid int, ok bool) {
	err := conn.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			uid, pid, ok = int(cred.Uid), int(cred.Pid), true
		}
	})
	return uid, pid, ok && err == nil
}

// stateOf puts into words what a process does that does not answer, from the third
// field of its stat (proc_pid_stat(5)).
func stateOf(pid int) string {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	end := bytes.LastIndexByte(raw, ')') // of its name, which may have any in it
	if err != nil || end < 0 || end+2 >= len(raw) {
		return fmt.Sprintf("process %d is gone", pid)
	}
	switch state := raw[end+2]; state {
	case 'T', 't':
		return fmt.Sprintf("process %d is stopped (state %c): kill -CONT %d lets it go on", pid, state, pid)
	case 'D':
		return fmt.Sprintf("process %d waits for a disk or the network (state D)", pid)
	default:
		return fmt.Sprintf("process %d hangs or has no processor (state %c)", pid, state)
	}
}
