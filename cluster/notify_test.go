//go:build unix

package cluster

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// notifyEnv is an environment for newNotifier.
type notifyEnv map[string]string

func (e notifyEnv) get(name string) string { return e[name] }

// serviceManager listens as systemd does, on the given address, "" for a path of its own choice.
func serviceManager(t *testing.T, address string) (*net.UnixConn, string) {
	t.Helper()
	if address == "" {
		dir, err := os.MkdirTemp("", "notify") // t.TempDir may be too deep for a socket
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		address = filepath.Join(dir, "s")
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn, address
}

func receive(t *testing.T, conn *net.UnixConn) string {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(time.Minute)) // only bounds a hang
	b := make([]byte, 4096)
	n, err := conn.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func mustNewNotifier(t *testing.T, env notifyEnv) *notifier {
	t.Helper()
	n, err := newNotifier(env.get)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// M17: each message is what sd_notify(3) asks for, on a socket with a path and on an abstract one.
func TestNotifyMessages(t *testing.T) {
	t.Parallel()
	for kind, address := range map[string]string{
		"path": "", "abstract": fmt.Sprintf("@doorbuster-test-%d-%d", os.Getpid(), time.Now().UnixNano()),
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			if address != "" && runtime.GOOS != "linux" {
				t.Skip("abstract sockets are Linux only")
			}
			conn, address := serviceManager(t, address)
			n := mustNewNotifier(t, notifyEnv{"NOTIFY_SOCKET": address})
			for _, c := range []struct {
				send func() error
				want string
			}{
				{func() error { return n.ready("4 workers") }, "READY=1\nSTATUS=4 workers"},
				{n.stopping, "STOPPING=1"},
				{func() error { return n.ready("two\nMAINPID=1\r\x00") }, "READY=1\nSTATUS=two MAINPID=1  "},
				{n.watchdog, "WATCHDOG=1"},
			} {
				if err := c.send(); err != nil {
					t.Fatal(err)
				}
				if got := receive(t, conn); got != c.want {
					t.Errorf("got %q, want %q", got, c.want)
				}
			}
		})
	}
}

// M17: a reload carries the manager's clock, or systemd takes it for the one before.
func TestNotifyReloading(t *testing.T) {
	t.Parallel()
	conn, address := serviceManager(t, "")
	n := mustNewNotifier(t, notifyEnv{"NOTIFY_SOCKET": address})
	before := monotonicMicroseconds(t)
	if err := n.reloading(); err != nil {
		t.Fatal(err)
	}
	got := receive(t, conn)
	m := regexp.MustCompile(`^RELOADING=1\nMONOTONIC_USEC=(\d+)$`).FindStringSubmatch(got)
	if m == nil {
		t.Fatalf("got %q", got)
	}
	usec, _ := strconv.ParseInt(m[1], 10, 64)
	if after := monotonicMicroseconds(t); usec < before || usec > after {
		t.Errorf("got %d, want %d to %d", usec, before, after)
	}
}

func monotonicMicroseconds(t *testing.T) int64 {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	return now.Nano() / 1000
}

// M17: without a service manager there is nothing to tell, and no error.
func TestNotifyNobody(t *testing.T) {
	t.Parallel()
	n := mustNewNotifier(t, notifyEnv{"WATCHDOG_USEC": "1000000"})
	if n != nil || n.interval() != 0 {
		t.Errorf("got %v, interval %v; want neither", n, n.interval())
	}
	for i, err := range []error{n.ready("x"), n.reloading(), n.stopping(), n.watchdog()} {
		if err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// M17: the watchdog is served at half its time, and another process's is left alone.
func TestNotifyInterval(t *testing.T) {
	t.Parallel()
	own := strconv.Itoa(os.Getpid())
	for _, c := range []struct {
		usec, pid string
		want      time.Duration
	}{
		{"30000000", "", 15 * time.Second},
		{"30000000", own, 15 * time.Second},
		{"30000000", "1" + own, 0},
		{"nonsense", "1" + own, 0},
		{"", own, 0},
		{"1", "", 500 * time.Nanosecond},
	} {
		n := mustNewNotifier(t, notifyEnv{"NOTIFY_SOCKET": "/s", "WATCHDOG_USEC": c.usec, "WATCHDOG_PID": c.pid})
		if got := n.interval(); got != c.want {
			t.Errorf("WATCHDOG_USEC=%s WATCHDOG_PID=%s: got %v, want %v", c.usec, c.pid, got, c.want)
		}
	}
}

// M17: what cannot be right is said at the start, by the name of the variable.
func TestNotifyMalformed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ socket, usec, want string }{
		{"run/systemd/notify", "", "NOTIFY_SOCKET=run/systemd/notify"},
		{"vsock:2:1234", "", "NOTIFY_SOCKET=vsock"},
		{"@", "", "NOTIFY_SOCKET=@"},
		{"/s", "0", "WATCHDOG_USEC=0"},
		{"/s", "-1", "WATCHDOG_USEC=-1"},
		{"/s", "5m3", "WATCHDOG_USEC=5m3"},
		{"/s", "9223372036854775807", "WATCHDOG_USEC=9223372036854775807"},
	} {
		_, err := newNotifier(notifyEnv{"NOTIFY_SOCKET": c.socket, "WATCHDOG_USEC": c.usec}.get)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v", c, err)
		}
	}
}

// M17: a service manager that is gone, or reads nothing, gives an error for the log and does not stop the master.
func TestNotifyWithoutAReader(t *testing.T) {
	t.Parallel()
	conn, address := serviceManager(t, "")
	n := mustNewNotifier(t, notifyEnv{"NOTIFY_SOCKET": address})
	n.patience = time.Second
	// The kernel holds a few datagrams for a reader that does not read (net.unix.max_dgram_qlen, 10 by default).
	var err error
	for range 10_000 {
		if err = n.watchdog(); err != nil {
			break
		}
	}
	want := "WATCHDOG: it has read nothing for 1s"
	if runtime.GOOS != "linux" { // others drop the datagram, and say so at once
		want = "WATCHDOG"
	}
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("no reader: got %v", err)
	}
	conn.Close()
	if err := n.stopping(); err == nil || !strings.Contains(err.Error(), "STOPPING") {
		t.Errorf("nobody listens: got %v", err)
	}
}
