//go:build unix

package cluster_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"doorbuster/cluster"
)

// door is an address of a cluster, and how it is talked to.
type door struct {
	name string
	dial func() (net.Conn, error)
}

// doors are those of a zoo that serves on TCP, TCP with TLS, and a Unix socket.
func (z *zoo) doors() []door {
	z.Helper()
	addrs := z.status().Master.Listeners
	return []door{
		{"TCP", func() (net.Conn, error) { return net.Dial("tcp", addrs[0]) }},
		{"TLS", func() (net.Conn, error) { return tls.Dial("tcp", addrs[1], &tls.Config{InsecureSkipVerify: true}) }},
		{"Unix", func() (net.Conn, error) { return net.Dial("unix", strings.TrimPrefix(addrs[2], "unix:")) }},
	}
}

func startDoors(t *testing.T, cfg config) *zoo {
	t.Helper()
	z := newZoo(t, "serving", cfg)
	z.cfg["Listen"] = []string{"127.0.0.1:0", "127.0.0.1:0", "unix:" + filepath.Join(z.dir, "shop")}
	z.prepare()
	z.begin()
	z.dial()
	z.logged("all workers are ready", 1)
	return z
}

// askPID asks once on a connection that is kept, and returns the pid of who
// answered.
func askPID(conn net.Conn, buf *bufio.Reader) (pid int, closes bool, err error) {
	if _, err := fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: shop\r\n\r\n"); err != nil {
		return 0, false, err
	}
	resp, err := http.ReadResponse(buf, nil)
	if err != nil {
		return 0, false, err
	}
	var answer struct{ PID int }
	err = json.NewDecoder(resp.Body).Decode(&answer)
	io.Copy(io.Discard, resp.Body)
	return answer.PID, resp.Close, err
}

// A worker serves on all addresses of its master: TCP, TLS, and a Unix socket.
// Through two reloads no request fails of clients that keep their connections
// until they are told to go, or have one for each request.
func TestServeSeveral(t *testing.T) {
	t.Parallel()
	z := startDoors(t, nil)
	before := z.pids()
	enough := make(chan struct{})
	var clients sync.WaitGroup
	var answered [3]atomic.Int64
	client := func(i int, d door, keep bool) {
		for !isOver(enough) {
			conn, err := d.dial()
			if err != nil {
				t.Errorf("%s: %v", d.name, err)
				return
			}
			for buf := bufio.NewReader(conn); !isOver(enough); {
				_, closes, err := askPID(conn, buf)
				if err != nil {
					t.Errorf("%s: %v", d.name, err)
					conn.Close()
					return
				}
				answered[i].Add(1)
				if closes || !keep {
					break
				}
			}
			conn.Close()
		}
	}
	for i, d := range z.doors() {
		clients.Go(func() { client(i, d, true) })
		clients.Go(func() { client(i, d, false) })
	}
	for _, behaviour := range []string{"serving again", "serving at last"} {
		if _, err := z.reload(behaviour); err != nil {
			t.Error(err)
		}
		for i := range answered {
			seen := answered[i].Load()
			until(t, func() bool { return answered[i].Load() > seen+10 || t.Failed() })
		}
	}
	close(enough)
	clients.Wait()
	for _, pid := range z.pids() {
		if slices.Contains(before, pid) {
			t.Errorf("worker %d is still there", pid)
		}
	}
	z.stop()
	if _, err := os.Lstat(filepath.Join(z.dir, "shop")); !os.IsNotExist(err) {
		t.Errorf("the socket's file is left: %v", err)
	}
}

func isOver(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Status tells the sums of all listeners.
func TestCountsOfSeveral(t *testing.T) {
	t.Parallel()
	z := startDoors(t, config{"Workers": 1})
	const each = 3
	for _, d := range z.doors() {
		for range each {
			conn, err := d.dial()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, _, err := askPID(conn, bufio.NewReader(conn)); err != nil {
				t.Fatal(d.name, err)
			}
		}
	}
	eventually(t, "the numbers of all listeners", func() bool {
		w := z.status().Workers[0]
		return w.Connections == 3*each && w.RequestsTotal == 3*each
	})
	z.stop()
}

// Pacing is that of each listener: bursts on one after the other are spread over
// the workers evenly.
func TestPacingOfSeveral(t *testing.T) {
	t.Parallel()
	z := startDoors(t, nil)
	for _, d := range z.doors() {
		best := 100.0
		for range 10 {
			best = min(best, unevenness(spread(t, d, 64)))
		}
		if best > 1.5 {
			t.Errorf("%s: of 10 bursts the evenest has a ratio of %.1f", d.name, best)
		}
	}
	z.stop()
}

// A worker that was killed takes its connections along: its successor, which has
// its place on the board, gets no fewer than the others.
func TestEvennessAfterAKill(t *testing.T) {
	t.Parallel()
	z := startDoors(t, nil)
	d := z.doors()[0]
	var conns []net.Conn
	victims := map[int]int{}
	for range 64 {
		conn, err := d.dial()
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
		pid, _, err := askPID(conn, bufio.NewReader(conn))
		if err != nil {
			t.Fatal(err)
		}
		victims[pid]++
	}
	for pid := range victims { // one of them
		syscall.Kill(pid, syscall.SIGKILL)
		break
	}
	z.logged("worker crashed", 1)
	for _, conn := range conns {
		conn.Close()
	}
	z.settle(2)
	best := 100.0
	for range 10 {
		best = min(best, unevenness(spread(t, d, 16))) // few: a longer burst evens out
	}
	if best > 1.5 {
		t.Errorf("of 10 bursts the evenest has a ratio of %.1f", best)
	}
	z.stop()
}

// spread is how many connections of a burst each worker has.
func spread(t *testing.T, d door, conns int) (counts []int64) {
	t.Helper()
	var mu sync.Mutex
	perPID := map[int]int64{}
	var dialled, done sync.WaitGroup
	release := make(chan struct{})
	dialled.Add(conns)
	for range conns {
		done.Go(func() {
			conn, err := d.dial()
			if err == nil {
				defer conn.Close()
				var pid int
				if pid, _, err = askPID(conn, bufio.NewReader(conn)); err == nil {
					mu.Lock()
					perPID[pid]++
					mu.Unlock()
				}
			}
			if err != nil {
				t.Error(d.name, err)
			}
			dialled.Done()
			<-release // all are open at the same time
		})
	}
	dialled.Wait()
	close(release)
	done.Wait()
	for _, n := range perPID {
		counts = append(counts, n)
	}
	if len(counts) == 1 {
		counts = append(counts, 0)
	}
	return counts
}

// A reload brings the certificate of the new release.
func TestCertificateOfTheNextRelease(t *testing.T) {
	t.Parallel()
	z := startDoors(t, config{"Workers": 1})
	shown := func() string {
		conn, err := z.doors()[1].dial()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	if got, want := shown(), strconv.Itoa(z.pids()[0]); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, err := z.reload("serving again"); err != nil {
		t.Fatal(err)
	}
	z.settle(1)
	if got, want := shown(), strconv.Itoa(z.pids()[0]); got != want {
		t.Errorf("after the reload: got %s, want %s", got, want)
	}
	z.stop()
}

// A worker that would leave an address without anybody does not become ready,
// and says why.
func TestAddressWithoutServer(t *testing.T) {
	t.Parallel()
	z := newZoo(t, "short", nil)
	z.cfg["Listen"] = []string{"127.0.0.1:0", "127.0.0.1:0"}
	z.prepare()
	z.begin()
	if code := z.exit(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	const want = "the master listens on 2 addresses, and the worker has 1 server"
	if !slices.ContainsFunc(z.log.list(), func(e entry) bool { return strings.Contains(e.raw, want) }) {
		t.Errorf("nobody says that %s", want)
	}
}

// The file of a Unix socket is replaced when the master before was killed, and
// left alone when it is anything else. All may connect.
func TestUnixSocketFile(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "c")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "shop")
	master := func() (*cluster.Master, error) {
		return cluster.New(cluster.Config{Listen: []string{"unix:" + path}, Log: quietLog})
	}
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := master(); err == nil || !strings.Contains(err.Error(), "taken by another program") {
		t.Errorf("beside a live one: %v", err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	m, err := master()
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Addrs(); !slices.Equal(got, []string{"unix:" + path}) {
		t.Errorf("got %v", got)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != 0o666 {
		t.Errorf("%v, %v", info, err)
	}
	m.Close()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the file is left: %v", err)
	}

	if err := os.WriteFile(path, []byte("a diary"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := master(); err == nil || !strings.Contains(err.Error(), "left alone") {
		t.Errorf("in place of a file: %v", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "a diary" {
		t.Errorf("the file is %q, %v", text, err)
	}
	os.Remove(path)

	if m, err = master(); err != nil {
		t.Fatal(err)
	}
	os.Remove(path)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("somebody else's file was removed: %v", err)
	}
}

// A master that was killed leaves its socket behind; the next one takes it over
// while the orphaned workers leave.
func TestUnixSocketOfAKilledMaster(t *testing.T) {
	t.Parallel()
	z := startDoors(t, nil)
	z.signal(syscall.SIGKILL)
	wait(t, z.ended, "end of the master")
	z.prepare()
	z.begin()
	z.dial()
	z.logged("all workers are ready", 1)
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", filepath.Join(z.dir, "shop"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(hang))
	if pid, _, err := askPID(conn, bufio.NewReader(conn)); err != nil || !slices.Contains(z.pids(), pid) {
		t.Errorf("answered by %d, %v", pid, err)
	}
	z.stop()
}
