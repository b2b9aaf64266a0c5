//go:build unix

package cluster

import (
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A notifier tells the service manager what the master is doing, by the protocol of sd_notify(3): datagrams of
// NAME=value lines. A nil notifier, which is what there is without a service manager, does nothing. Errors are for the
// log: no state of the shop depends on who listens. Its methods may be called at the same time.
type notifier struct {
	address  net.UnixAddr
	every    time.Duration
	patience time.Duration // how long one message may wait while the service manager reads none
}

// newNotifier takes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID from env. Without NOTIFY_SOCKET it returns nil. Workers
// must not inherit these variables: only the master speaks for the service.
func newNotifier(env func(string) string) (*notifier, error) {
	socket := env("NOTIFY_SOCKET")
	if socket == "" {
		return nil, nil
	}
	if socket[0] != '/' && socket[0] != '@' || len(socket) < 2 {
		return nil, fmt.Errorf("NOTIFY_SOCKET=%s is neither a path from the root nor an abstract name with @ in front", socket)
	}
	n := &notifier{address: net.UnixAddr{Name: socket, Net: "unixgram"}, patience: 30 * time.Second}
	// sd_watchdog_enabled(3): the watchdog of another process is none of ours.
	text, pid := env("WATCHDOG_USEC"), env("WATCHDOG_PID")
	if text == "" || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return n, nil
	}
	usec, err := strconv.ParseInt(text, 10, 64)
	if err != nil || usec <= 0 || usec > math.MaxInt64/1000 {
		return nil, fmt.Errorf("WATCHDOG_USEC=%s is not a number of microseconds", text)
	}
	n.every = time.Duration(usec) * time.Microsecond / 2 // what sd_watchdog_enabled(3) advises
	return n, nil
}

// ready says that start-up, or a reload, is finished.
func (n *notifier) ready(status string) error { return n.send("READY=1", "STATUS="+status) }

// reloading says that a reload has begun; [notifier.ready] ends it. The time lets the manager tell this reload from the
// one before (Type=notify-reload): it asks for CLOCK_MONOTONIC, which package time does not show.
func (n *notifier) reloading() error {
	if n == nil {
		return nil
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return fmt.Errorf("read the monotonic clock: %w", err)
	}
	return n.send("RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/1000))
}

// stopping says that shutdown has begun.
func (n *notifier) stopping() error { return n.send("STOPPING=1") }

// watchdog says that the master is alive; due at least every [notifier.interval].
func (n *notifier) watchdog() error { return n.send("WATCHDOG=1") }

// interval is how often watchdog is due, half the time after which the manager acts. 0: never.
func (n *notifier) interval() time.Duration {
	if n == nil {
		return 0
	}
	return n.every
}

// send opens a socket for each message, as libsystemd does: nothing to keep over a restart of the manager or of ourselves.
func (n *notifier) send(lines ...string) error {
	if n == nil {
		return nil
	}
	for i := range lines { // a line break in a status would begin another assignment
		lines[i] = strings.Map(func(r rune) rune {
			if r == '\n' || r == '\r' || r == 0 {
				return ' '
			}
			return r
		}, lines[i])
	}
	err := n.write(strings.Join(lines, "\n"))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("it has read nothing for %v", n.patience)
	}
	if err != nil {
		what, _, _ := strings.Cut(lines[0], "=")
		return fmt.Errorf("tell the service manager %s: %w", what, err)
	}
	return nil
}

func (n *notifier) write(message string) error {
	conn, err := net.DialUnix("unixgram", nil, &n.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetWriteDeadline(time.Now().Add(n.patience)); err != nil {
		return err
	}
	_, err = conn.Write([]byte(message))
	return err
}
