package cluster

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// bell is a datagram socket that siblings wake this process by. Its name is in
// the abstract namespace and chosen by the kernel, five hexadecimal digits
// (unix(7), "Autobind feature"), so that siblings need no descriptor of it. What
// arrives has no meaning: a stranger who rings, wakes.
type bell struct {
	conn *net.UnixConn
	name uint32 // its number and 1
}

func newBell() (*bell, error) {
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	name := strings.TrimPrefix(conn.LocalAddr().String(), "@")
	number, err := strconv.ParseUint(name, 16, 20)
	if err != nil || name != bellName(uint32(number)) {
		conn.Close()
		return nil, fmt.Errorf("the kernel named a socket %q", name)
	}
	return &bell{conn, uint32(number) + 1}, nil
}

func bellName(number uint32) string { return fmt.Sprintf("%05x", number) }

// wait returns when somebody has rung since the last time.
func (b *bell) wait() error {
	_, err := b.conn.Read(make([]byte, 1))
	return err
}

// ring rings a bell, and never waits. When it fails nobody is there, or has been
// rung often enough.
func (b *bell) ring(name uint32) {
	raw, err := b.conn.SyscallConn()
	if err != nil {
		return
	}
	to := &unix.SockaddrUnix{Name: "@" + bellName(name-1)}
	raw.Control(func(fd uintptr) { //nolint:errcheck // it fails when it is closed
		unix.Sendto(int(fd), []byte{0}, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, to) //nolint:errcheck // see above
	})
}

func (b *bell) close() { b.conn.Close() }
