//go:build unix

package cluster_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"doorbuster/cluster"
)

// wrap starts the master by a shell script, with the program as $0.
func (z *zoo) wrap(script string) {
	z.Helper()
	cmd := exec.Command("/bin/sh", "-c", script, z.cmd.Path)
	cmd.Env = z.cmd.Env
	z.cmd = cmd
}

// openDescriptors is how many a process has.
func openDescriptors(t *testing.T, pid int) int {
	t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Skip("no /proc to look into")
	}
	return len(all)
}

// scrape asks a worker through its master. It is answered, or refused in words, and never hangs.
func (z *zoo) scrape(pid int, path string) (answered bool) {
	z.Helper()
	client := http.Client{Timeout: hang, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", z.dir+"/debug")
	}}}
	resp, err := client.Get(fmt.Sprintf("http://zoo/worker/%d/%s", pid, path))
	if err != nil {
		z.Errorf("%s of worker %d: %v", path, pid, err)
		return false
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		z.Errorf("%s of worker %d: %v", path, pid, err)
	case resp.StatusCode == http.StatusOK:
		return true
	case !strings.Contains(string(body), fmt.Sprintf("worker %d", pid)):
		z.Errorf("%s of worker %d: %s: %s", path, pid, resp.Status, body)
	}
	return false
}

// D2: workers that have no descriptor left live through all that their master passes them and tells them, and do what they
// are told; whatever is done with them meanwhile, all is well again when there are descriptors.
func TestNoDescriptorLeft(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{64, 256, 1024} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			t.Parallel()
			var own syscall.Rlimit
			if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &own); err != nil || own.Cur < uint64(4*limit) {
				t.Skipf("this test itself may have %d descriptors only", own.Cur)
			}
			z := newZoo(t, "good raced", nil)
			z.wrap(fmt.Sprintf(`ulimit -n %d && exec "$0"`, limit))
			z.begin()
			z.dial()
			z.logged("all workers are ready", 1)
			pids := z.pids()

			crowd := z.crowd(2*limit + limit/4)
			full := func(pids []int) {
				t.Helper()
				eventually(t, "workers without descriptors", func() bool {
					for _, pid := range pids {
						if openDescriptors(t, pid) < limit {
							return false
						}
					}
					return true
				})
			}
			full(pids)
			answered := 0
			for range 10 {
				for _, pid := range pids {
					for _, path := range []string{"settings", "debug/pprof/goroutine"} {
						if z.scrape(pid, path) {
							answered++
						}
					}
				}
			}
			t.Logf("%d of %d scrapes were answered", answered, 40)
			if answered == 0 {
				t.Error("the reserve did not help in a single case")
			}
			var together []chan bool
			for range 8 { // more at once than the reserve is for
				for _, pid := range pids {
					done := make(chan bool, 1)
					together = append(together, done)
					go func() { done <- z.scrape(pid, "settings") }()
				}
			}
			for _, done := range together {
				<-done
			}
			if n, err := z.client.Set(t.Context(), "colour", "red"); n != 2 || err != nil {
				t.Errorf("a setting: %d workers have it, %v", n, err)
			}
			z.same(pids)

			// A crash, and a reload, at the limit.
			if err := syscall.Kill(pids[1], syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			z.loggedOf("worker crashed", pids[1])
			z.settle(2)
			if err := z.client.Reload(t.Context(), func(cluster.Event) {}); err != nil {
				t.Errorf("reload: %v", err)
			}
			pids = z.pids()
			for _, pid := range pids {
				z.scrape(pid, "settings")
			}

			crowd.leave()
			eventually(t, "descriptors", func() bool {
				return openDescriptors(t, pids[0]) < limit/2 && openDescriptors(t, pids[1]) < limit/2
			})
			for _, pid := range pids {
				var settings map[string]string
				z.askWorker(pid, "settings", &settings)
				if settings["colour"] != "red" {
					t.Errorf("worker %d has the settings %v", pid, settings)
				}
			}
			if _, err := z.get("/"); err != nil {
				t.Error(err)
			}
			if s := z.settle(2); s.Master.CrashesTotal != 1 {
				t.Errorf("%d crashes, and one was meant", s.Master.CrashesTotal)
			}
			z.same(pids)
			z.stop()
		})
	}
}

// same checks that these are the workers still.
func (z *zoo) same(pids []int) {
	z.Helper()
	if got := z.pids(); fmt.Sprint(got) != fmt.Sprint(pids) {
		z.Errorf("the workers are %v, and were %v", got, pids)
	}
}

// crowd is clients that hold their connections.
type crowd struct{ conns []net.Conn }

func (z *zoo) crowd(n int) *crowd {
	z.Helper()
	c := new(crowd)
	z.Cleanup(c.leave)
	for range n {
		conn, err := net.DialTimeout("tcp", z.address(), hang)
		if err != nil {
			z.Fatal(err)
		}
		c.conns = append(c.conns, conn)
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n") // its answer may have to wait
	}
	return c
}

func (c *crowd) leave() {
	for _, conn := range c.conns {
		conn.Close()
	}
}

// A master that has no descriptor left refuses what takes one, in words, and ends nothing. It hears its workers and its
// signals, and goes on when there are descriptors.
func TestMasterWithoutDescriptors(t *testing.T) {
	t.Parallel()
	const limit = 64
	z := newZoo(t, "good raced", nil)
	z.wrap(fmt.Sprintf(`ulimit -n %d && exec "$0"`, limit))
	z.begin()
	z.dial()
	z.logged("all workers are ready", 1)
	pids := z.pids()
	master := z.cmd.Process.Pid

	// Strangers who say nothing, at the zoo's debug socket: it has no limit of its own.
	var strangers crowd
	z.Cleanup(strangers.leave)
	eventually(t, "a master without descriptors", func() bool {
		conn, err := net.Dial("unix", z.dir+"/debug")
		if err == nil {
			strangers.conns = append(strangers.conns, conn)
		}
		return openDescriptors(t, master) >= limit
	})
	if s := z.status(); s.Master.State != "running" || s.Master.RSSBytes == 0 { // by the reserve
		t.Errorf("the cluster is %s, the master has %d bytes", s.Master.State, s.Master.RSSBytes)
	}
	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	z.loggedOf("worker crashed", pids[0])
	eventually(t, "its replacement", func() bool { return z.status().Master.Ready == 2 })

	strangers.leave()
	pids = z.pids()
	for _, pid := range pids {
		var none any
		eventually(t, "an answer", func() bool { return z.scrape(pid, "settings") })
		z.askWorker(pid, "settings", &none)
	}
	z.same(pids)
	z.stop()
}

// Whatever a worker says, its master hears it on, and keeps no descriptor of what it was sent.
func TestWorkerThatMumbles(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good raced", nil)
	if _, err := z.reload("good again"); err != nil { // from then on the release before is held open, too
		t.Fatal(err)
	}
	z.pids()
	before := openDescriptors(t, z.cmd.Process.Pid)
	for _, behaviour := range []string{"start:mumble", "start:mumble again", "start:mumble once more"} {
		if _, err := z.reload(behaviour); err != nil {
			t.Fatal(err)
		}
	}
	z.logged("a message of a worker is refused", 1)
	if n, err := z.client.Set(t.Context(), "colour", "red"); n != 2 || err != nil {
		t.Errorf("%d workers have the setting, %v", n, err)
	}
	if _, err := z.reload("good next"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the descriptors of before", func() bool { return openDescriptors(t, z.cmd.Process.Pid) <= before })
	z.stop()
}
