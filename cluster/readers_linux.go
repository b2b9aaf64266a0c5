package cluster

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// kernelTells says that the kernel knows how much of a TCP connection has arrived.
const kernelTells = true

// takenFrom is what the client's side has taken. The bytes that a TCP client has
// acknowledged are exact also while a write waits: a writer is only woken when a
// third of a send buffer of up to 4 MB is free (tcp(7), tcp_wmem).
func takenFrom(s stream, o *outflow) (n int64) {
	raw, err := s.SyscallConn()
	if err != nil {
		return 0
	}
	_, tcp := s.(*net.TCPConn)
	raw.Control(func(fd uintptr) { //nolint:errcheck // it fails when it is closed
		if tcp {
			if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
				n = int64(info.Bytes_acked)
			}
			return
		}
		if queued, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err == nil {
			n = o.written.Load() - int64(queued)
		}
	})
	return n
}

// roomToWrite reports whether a write would not wait.
func roomToWrite(c syscall.Conn) (room bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	raw.Control(func(fd uintptr) { room = writable(int(fd)) }) //nolint:errcheck // it fails when it is closed
	return room
}
