//go:build unix

package cluster

import (
	"io"
	"syscall"

	"golang.org/x/sys/unix"
)

// canLook says that lastLook works: without it a kick could cut a request that has arrived.
const canLook = true

// lastLook reads what has arrived on a connection, never waits, and ignores deadlines. When nothing has it fails with EAGAIN.
func lastLook(c syscall.Conn, p []byte) (n int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	controlErr := raw.Control(func(fd uintptr) {
		for {
			n, _, err = unix.Recvfrom(int(fd), p, unix.MSG_DONTWAIT)
			if err != unix.EINTR { //nolint:errorlint // a bare errno
				return
			}
		}
	})
	switch {
	case controlErr != nil:
		return 0, controlErr
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}
