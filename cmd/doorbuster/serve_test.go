//go:build unix

package main_test

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"doorbuster/app/dbtest"
)

// stranger is a client that opens a connection for each request, so that none of them is tried twice.
func stranger() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
}

// O4, M3, M4: a worker that is killed is replaced in its slot while its sibling serves, and the shop ends in order.
func TestKilledWorkerIsReplaced(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*shop){
		"SIGTERM": func(s *shop) { s.signal(syscall.SIGTERM) },
		"doorbuster stop": func(s *shop) {
			if code, stdout, stderr := s.do("stop"); code != 0 || stdout != "stopped" {
				s.t.Errorf("stop: got exit code %d, output %q, errors %q", code, stdout, stderr)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openShop(t)
			before := s.pids()
			s.kill(before[1])
			crash := s.await(&s.at, "worker crashed", nil)
			if crash.Slot != 1 || crash.WorkerPID != before[1] || crash.Role != "master" {
				t.Errorf("got %+v, want a crash of worker 1, pid %d", crash, before[1])
			}
			served := 0
			client := stranger()
			poll(t, "the worker is replaced", func() bool {
				if len(s.records(s.at, "worker ready")) > 0 {
					return true
				}
				if code, body := get(t, client, "GET", s.url("/v1/products"), ""); code != http.StatusOK {
					t.Fatalf("while a worker was missing: got %d: %s", code, body)
				}
				served++
				return false
			})
			if served == 0 {
				t.Error("no request was made while a worker was missing: nothing was tested")
			}
			s.await(&s.at, "worker ready", nil)

			_, stdout, stderr := s.do("status", "--json")
			var status struct {
				Workers []struct {
					Slot, PID int
					State     string
				}
			}
			if err := json.Unmarshal([]byte(stdout), &status); err != nil {
				t.Fatalf("%v: %s%s", err, stdout, stderr)
			}
			after := map[int]int{}
			for _, w := range status.Workers {
				after[w.Slot] = w.PID
			}
			if len(after) != 2 || after[1] == before[1] || !alive(after[1]) || after[2] != before[2] {
				t.Errorf("workers by slot: %v, and %v before worker 1 was killed", after, before)
			}
			end(s)
			s.gone()
		})
	}
}

// M2: the master accepts nothing. What arrives while there is no worker at all is answered by the next one, or told to come
// back by the process that stands in meanwhile.
func TestMasterAcceptsNothing(t *testing.T) {
	t.Parallel()
	s := openShop(t, "WORKERS=1")
	s.kill(s.pids()[1])
	s.await(&s.at, "worker crashed", nil)
	ask := func() (code int, worker string) {
		resp, err := stranger().Get(s.url("/livez"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode, resp.Header.Get("X-Worker")
	}
	code, worker := ask()
	next := s.await(&s.at, "worker ready", nil)
	if code == http.StatusServiceUnavailable && worker == "" {
		s.answers(stranger())
		code, worker = ask()
	}
	if code != http.StatusOK || worker != strconv.Itoa(next.WorkerPID) {
		t.Errorf("answered %d by process %s, want worker %d, which was started after the request", code, worker, next.WorkerPID)
	}
	s.close()
}

// M16: when the master is killed its workers notice, finish what they hold, and leave; meanwhile another master takes over
// the address, the PID file and the control socket.
func TestMasterKilled(t *testing.T) {
	t.Parallel()
	database := "DATABASE_URL=" + dbtest.Database(t)
	s := openShop(t, database)
	finish := upload(t, s.addr)
	s.holds(1)
	s.cmd.Process.Kill()
	s.await(&s.at, "stopping", nil)
	s.await(&s.at, "stopping", nil) // both of them: nobody listens any more

	next := startProgram(t, []string{
		"XDG_RUNTIME_DIR=" + s.dir, "ADDR=" + s.addr, "PLAIN_HTTP=true", "REVEAL_WORKERS=true", "WORKERS=1", database, "REDIS_URL=" + dbtest.Redis(t),
	}, binary, "serve")
	var at position
	next.await(&at, "all workers are ready", nil)
	if code, body := get(t, stranger(), "GET", s.url("/v1/products"), ""); code != http.StatusOK {
		t.Errorf("under the next master: got %d: %s", code, body)
	}
	if resp := finish(); resp.StatusCode != http.StatusUnauthorized || !resp.Close {
		t.Errorf("the request in flight: got %d, close %v, want 401 and Connection: close", resp.StatusCode, resp.Close)
	}
	if s.wait(); strings.Count(s.stderr.String(), `"msg":"drained"`) != 2 { // it also waits for the workers
		t.Error("the workers did not both leave in order")
	}
	next.signal(syscall.SIGTERM)
	if code := next.wait(); code != 0 {
		t.Errorf("the next master: got exit code %d", code)
	}
}

// S1: a login and a cart outlive the worker that they were made on.
func TestSessionOutlivesWorkers(t *testing.T) {
	t.Parallel()
	s := openShop(t, catalogue(t))
	client := browser(t)
	account := `{"email": "ada@example.com", "password": "correct horse battery"}`
	if code, body := get(t, client, "POST", s.url("/v1/account"), account); code != http.StatusCreated {
		t.Fatalf("register: got %d: %s", code, body)
	}
	if code, body := get(t, client, "POST", s.url("/v1/cart/items"), `{"sku": "PIN-FIT09", "quantity": 3}`); code != http.StatusOK {
		t.Fatalf("add to cart: got %d: %s", code, body)
	}
	stillThere := func(after string) {
		t.Helper()
		if code, body := get(t, client, "GET", s.url("/v1/session"), ""); code != http.StatusOK || !strings.Contains(body, "ada@example.com") {
			t.Errorf("after %s: who am I: got %d: %s", after, code, body)
		}
		if code, body := get(t, client, "GET", s.url("/v1/cart"), ""); code != http.StatusOK || !strings.Contains(body, `"quantity":3`) {
			t.Errorf("after %s: cart: got %d: %s", after, code, body)
		}
	}
	for range 3 {
		s.reload()
		stillThere("a reload")
	}
	client.CloseIdleConnections() // or a request could be on its way to one that is killed
	for _, pid := range s.pids() {
		s.kill(pid)
	}
	s.answers(client)
	stillThere("all workers were killed")
	client.CloseIdleConnections()
	s.close()
}

// W2: a request on a connection that was idle when the drain began is answered, and told to go.
func TestIdleConnectionsAreToldToGo(t *testing.T) {
	t.Parallel()
	s := openShop(t, "WORKERS=1")
	old := s.pids()[1]
	c := new(rawClient)
	defer c.close()
	if resp, body, err := c.ask(s.addr, "GET", "/livez", ""); err != nil || resp.Close {
		t.Fatalf("got %v, %s, %v", resp, body, err)
	}
	finish := upload(t, s.addr) // keeps the drain from coming to its end
	s.holds(1)
	s.signal(syscall.SIGUSR2)
	s.await(&s.at, "stopping", func(r record) bool { return r.PID == old })
	s.await(&s.at, "draining", func(r record) bool { return r.PID == old })
	resp, body, err := c.ask(s.addr, "GET", "/livez", "")
	if err != nil || resp.StatusCode != http.StatusOK || !resp.Close || resp.Header.Get("X-Worker") != strconv.Itoa(old) {
		t.Errorf("got %v, %s, %v, want 200 and Connection: close from worker %d", resp, body, err, old)
	}
	finish()
	s.await(&s.at, "worker left", nil)
	s.close()
}
