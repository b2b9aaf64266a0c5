//go:build unix && !linux

package cluster

import "golang.org/x/sys/unix"

// readable reports whether a connection waits on a listening socket.
func readable(fd uintptr) bool {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		if err != unix.EINTR {
			return n > 0 || err != nil // accept says what is wrong
		}
	}
}
