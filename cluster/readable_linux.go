package cluster

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// readable reports whether a connection waits on a listening socket. It never
// waits, so it does without the notice to Go's scheduler that wakes another
// thread of an idle process: with unix.Poll, 64 workers that look every 100 ms
// had 1,700 context switches a second more.
func readable(fd uintptr) bool {
	poll := unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	var atOnce unix.Timespec
	n, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&poll)), 1, uintptr(unsafe.Pointer(&atOnce)), 0, 0, 0) //nolint:gosec // ppoll(2)
	return n > 0 || errno != 0                                                                                                    // accept says what is wrong
}
