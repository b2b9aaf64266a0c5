//go:build unix

package main_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"doorbuster/app/dbtest"
	"doorbuster/cluster"
)

// shop is a master with its workers, running.
type shop struct {
	*process
	dir    string // its runtime directory
	addr   string
	admin  string // URL of its admin address
	client *cluster.Client
	at     position // in its log: behind the last line that was waited for
}

// openShop runs "doorbuster serve" with two workers, if the settings do not say otherwise, and returns when all are ready.
func openShop(t *testing.T, settings ...string) *shop {
	t.Helper()
	s := launchShop(t, settings, binary, "serve")
	s.await(&s.at, "all workers are ready", nil)
	return s
}

// launchShop runs a command that becomes a master, and returns when that has taken its addresses.
func launchShop(t *testing.T, settings []string, command ...string) *shop {
	t.Helper()
	s := &shop{dir: shortTempDir(t)}
	env := []string{"XDG_RUNTIME_DIR=" + s.dir, "ADDR=127.0.0.1:0", "PLAIN_HTTP=true", "REVEAL_WORKERS=true", "TRUSTED_PROXIES=127.0.0.0/8,::1", "WORKERS=2", "BAKE=0s", "DATABASE_MAX_CONNS=3"}
	if !slices.ContainsFunc(settings, func(s string) bool { return strings.HasPrefix(s, "DATABASE_URL=") }) {
		env = append(env, "DATABASE_URL="+dbtest.Database(t))
	}
	env = append(env, "REDIS_URL="+dbtest.Redis(t))
	s.process = startProgram(t, append(env, settings...), command...)
	s.meet()
	return s
}

// meet reads from the log where the master is reached.
func (s *shop) meet() {
	s.t.Helper()
	at := s.at
	s.admin = "http://" + s.await(&at, "admin address", nil).Addr
	s.addr = s.await(&s.at, "master started", nil).Listening[0]
	client, err := cluster.Dial(context.Background(), filepath.Join(s.dir, "doorbuster", "control.sock"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.client = client
}

// newAddress returns the address of a customer, for X-Forwarded-For. No other has it: tests share a Redis, where limits
// are counted.
func newAddress() string {
	return fmt.Sprintf("2001:db8:%x:%x::1", rand.Uint32()>>16, rand.Uint32()>>16)
}

// url is the address of a page of the shop.
func (s *shop) url(path string) string { return "http://" + s.addr + path }

// do runs a command about this shop.
func (s *shop) do(args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	return do(s.t, []string{"XDG_RUNTIME_DIR=" + s.dir}, args...)
}

// reload replaces the workers.
func (s *shop) reload() {
	s.t.Helper()
	if code, stdout, stderr := s.do("reload"); code != 0 || !strings.Contains(stdout, "reloaded in") {
		s.t.Fatalf("reload: got exit code %d, output %q, errors %q", code, stdout, stderr)
	}
}

func (s *shop) status() cluster.Status {
	s.t.Helper()
	status, err := s.client.Status(context.Background())
	if err != nil {
		s.t.Fatal(err)
	}
	return status
}

// pids are those of the workers that are ready, by slot.
func (s *shop) pids() map[int]int {
	s.t.Helper()
	pids := map[int]int{}
	for _, w := range s.status().Workers {
		if w.State == "ready" {
			pids[w.Slot] = w.PID
		}
	}
	return pids
}

// holds returns when the workers together are at work on so many requests.
func (s *shop) holds(requests int) {
	s.t.Helper()
	poll(s.t, fmt.Sprintf("%d requests in flight", requests), func() bool {
		n := 0
		for _, w := range s.status().Workers {
			n += w.InFlight
		}
		return n == requests
	})
}

// kill ends a worker the hard way.
func (s *shop) kill(pid int) {
	s.t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
}

// answers returns when a worker answers, and nobody stands in for one.
func (s *shop) answers(client *http.Client) {
	s.t.Helper()
	for {
		code, body := get(s.t, client, "GET", s.url("/livez"), "")
		if code == http.StatusOK {
			return
		}
		if code != http.StatusServiceUnavailable || !strings.Contains(body, `"code":"unavailable"`) {
			s.t.Fatalf("got %d: %s", code, body)
		}
	}
}

// crash ends a worker as a fault of its own would: SIGKILL comes from outside, and is no evidence against a release.
func (s *shop) crash(pid int) {
	s.t.Helper()
	if err := syscall.Kill(pid, syscall.SIGABRT); err != nil {
		s.t.Fatal(err)
	}
}

// freeze stops all threads of a worker, so that it neither hears nor says anything.
func (s *shop) freeze(pid int) {
	s.t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		s.t.Fatal(err)
	}
	poll(s.t, "all threads are stopped", func() bool { // the signal takes a while to reach each of them
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if len(threads) == 0 {
			s.t.Skip("the states of threads can't be seen here")
		}
		frozen := true
		for _, thread := range threads {
			raw, _ := os.ReadFile(thread) // "4711 (name) T ...", or it has ended
			_, state, _ := strings.Cut(string(raw), ") ")
			frozen = frozen && (state == "" || state[0] == 'T')
		}
		return frozen
	})
}

// close stops the shop, and sees to it that it ends in order.
func (s *shop) close() {
	s.t.Helper()
	s.signal(syscall.SIGTERM)
	s.gone()
}

// gone waits until the shop has ended: with exit code 0, and with nothing left behind.
func (s *shop) gone() {
	s.t.Helper()
	if code := s.wait(); code != 0 {
		s.t.Errorf("got exit code %d, want 0", code)
	}
	for _, r := range s.records(0, "worker ready") {
		if alive(r.WorkerPID) {
			s.t.Errorf("worker %d, pid %d, is still there", r.Slot, r.WorkerPID)
		}
	}
	left, err := os.ReadDir(filepath.Join(s.dir, "doorbuster"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) || len(left) != 0 { // dev removes its own
		s.t.Errorf("the runtime directory holds %v, %v", left, err)
	}
}

// catalogue returns the setting of a fresh database that is full of products, in the middle of a sale.
func catalogue(t *testing.T) string {
	t.Helper()
	setting := "DATABASE_URL=" + dbtest.Database(t)
	if code, _, stderr := do(t, []string{setting}, "seed"); code != 0 {
		t.Fatalf("seed: got exit code %d: %s", code, stderr)
	}
	return setting
}
