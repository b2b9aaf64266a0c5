//go:build unix

package cluster_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// darken makes a cluster whose workers were all ready, and are all killed. Those
// that come after them wait at the gate.
func darken(t *testing.T, cfg config) *zoo {
	t.Helper()
	z := newZoo(t, "joined:gate", cfg)
	z.begin()
	z.dial()
	for _, v := range z.gate.wait("joined", z.cfg["Workers"].(int)) {
		v.pass()
	}
	z.logged("all workers are ready", 1)
	for _, pid := range z.pids() {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	z.logged("no worker is ready: clients are answered with 503 meanwhile", 1)
	return z
}

// say sends something to where the workers listen, and returns all that comes back.
// A connection that is reset is an error.
func (z *zoo) say(what string) (string, error) {
	z.Helper()
	conn, err := net.Dial("tcp", z.address())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(hang))
	if _, err := io.WriteString(conn, what); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

// answerers finds the answerers among the children of the master.
func (z *zoo) answerers() (pids []int) {
	z.Helper()
	children, zombies := z.family()
	for _, pid := range children {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && bytes.Contains(line, []byte(": answerer")) && !slices.Contains(zombies, pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// answerer waits until there is one, and returns its pid. The log tells of it a
// moment before.
func (z *zoo) answerer() (pid int) {
	z.Helper()
	eventually(z.T, "an answerer", func() bool {
		pids := z.answerers()
		if len(pids) == 1 {
			pid = pids[0]
		}
		return len(pids) == 1
	})
	return pid
}

// fewChildren checks the bound of doc.go: workers + 1, the answerer included.
func (z *zoo) fewChildren() {
	z.Helper()
	if children, _ := z.family(); len(children) > z.cfg["Workers"].(int)+1 {
		z.Errorf("the master has %d children", len(children))
	}
}

// doc.go, Failures: while no worker is ready every client is told so, and to come
// back, and when one is ready it is served. The master has its bound of children.
func TestAnswerer(t *testing.T) {
	t.Parallel()
	z := darken(t, nil)
	for i := range 30 {
		resp, err := http.Post("http://"+z.address(), "text/plain", strings.NewReader(strings.Repeat("body", 10_000)))
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		var problem struct {
			Status       int
			Code, Detail string
		}
		err = json.NewDecoder(resp.Body).Decode(&problem)
		resp.Body.Close()
		h := resp.Header
		if err != nil || resp.StatusCode != http.StatusServiceUnavailable || problem.Status != resp.StatusCode || problem.Code != "unavailable" ||
			!strings.Contains(problem.Detail, "send it again") || h.Get("Retry-After") != "1" || !resp.Close ||
			h.Get("Content-Type") != "application/problem+json" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("request %d: %s %v %+v %v", i, resp.Status, h, problem, err)
		}
		z.fewChildren()
	}
	if s := z.status(); !s.Master.Answering || s.Master.Ready != 0 {
		t.Errorf("the status is %+v", s.Master)
	}
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", z.answerer()))
	if err != nil {
		t.Fatal(err)
	}
	for kv := range strings.SplitSeq(strings.TrimRight(string(environ), "\x00"), "\x00") {
		if kv != "CLUSTER_ANSWERER=1" && !strings.HasPrefix(kv, "GO") {
			t.Errorf("it has %q in its environment", kv)
		}
	}
	z.gate.open()
	z.logged("clients are not answered with 503 any more", 1)
	eventually(t, "the end of the answerer", func() bool { return len(z.answerers()) == 0 })
	for range 10 {
		z.running()
	}
	if s := z.settle(2); s.Master.Answering || s.Master.BreakerOpen {
		t.Errorf("the status is %+v", s.Master)
	}
	z.stop()
}

// doc.go, Failures: the answer is one of the protocol that the client speaks, and
// arrives: no connection is reset.
func TestAnswererSpeaks(t *testing.T) {
	t.Parallel()
	z := darken(t, nil)
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	body := strings.Repeat("x", 300_000)
	for name, test := range map[string]struct{ said, begins, has string }{
		"GET":           {"GET / HTTP/1.1\r\nHost: shop\r\nX-Request-Id: r-1\r\n\r\n", "HTTP/1.1 503 ", `"request_id":"r-1"}`},
		"bad id":        {"GET / HTTP/1.1\r\nHost: shop\r\nX-Request-Id: <script>\r\n\r\n", "HTTP/1.1 503 ", `"request_id":""}`},
		"HTTP/1.0":      {"GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 503 ", `"code":"unavailable"`},
		"pipelined":     {strings.Repeat("GET / HTTP/1.1\r\nHost: shop\r\n\r\n", 100), "HTTP/1.1 503 ", "Connection: close\r\n"},
		"a large body":  {"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 300000\r\n\r\n" + body, "HTTP/1.1 503 ", "Retry-After: 1\r\n"},
		"a large head":  {"GET / HTTP/1.1\r\nHost: shop\r\nCookie: " + body + "\r\n\r\n", "HTTP/1.1 503 ", "unavailable"},
		"half a head":   {"GET / HTTP/1.1\r\nHost: sh", "HTTP/1.1 503 ", "unavailable"}, // when its time is up
		"empty lines":   {"\r\n\r\nGET / HTTP/1.1\r\nHost: shop\r\n\r\n", "HTTP/1.1 503 ", "unavailable"},
		"nonsense":      {"\x00\x01\x02\r\n\r\n", "HTTP/1.1 503 ", "unavailable"},
		"HTTP/2":        {preface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00", "\x00\x00\x00\x04\x00\x00\x00\x00\x00", "\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
		"half of TLS":   {"\x16\x03\x01\x02\x00\x01", "\x15\x03\x03\x00\x02\x02\x50", ""},
		"says nothing ": {"", "", ""}, // and is let go in time
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answer, err := z.say(test.said)
			if err != nil || !strings.HasPrefix(answer, test.begins) || !strings.Contains(answer, test.has) {
				t.Errorf("the answer is %.300q, %v", answer, err)
			}
		})
	}
	t.Run("HEAD", func(t *testing.T) {
		t.Parallel()
		answer, err := z.say("HEAD / HTTP/1.1\r\nHost: shop\r\n\r\n")
		if err != nil || !strings.HasSuffix(answer, "\r\n\r\n") || strings.Contains(answer, "Content-Length: 0") {
			t.Errorf("the answer is %q, %v", answer, err)
		}
	})
	t.Run("TLS", func(t *testing.T) {
		t.Parallel()
		dialer := net.Dialer{Timeout: hang}
		_, err := tls.DialWithDialer(&dialer, "tcp", z.address(), &tls.Config{InsecureSkipVerify: true})
		if alert, ok := errors.AsType[tls.AlertError](err); !ok && (err == nil || !strings.Contains(err.Error(), "internal error")) {
			t.Errorf("got %v, %v", err, alert)
		}
	})
}

// doc.go, Failures: an answerer is nothing that anybody depends on, and leaves
// nothing behind.
func TestAnswererEnds(t *testing.T) {
	t.Parallel()
	t.Run("it is killed", func(t *testing.T) {
		t.Parallel()
		z := darken(t, nil)
		for round := 1; round <= 2; round++ {
			if err := syscall.Kill(z.answerer(), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			z.logged("the process that answers clients while no worker is ready has ended", round)
			z.logged("no worker is ready: clients are answered with 503 meanwhile", round+1)
			if answer, err := z.say("GET / HTTP/1.1\r\nHost: shop\r\n\r\n"); !strings.HasPrefix(answer, "HTTP/1.1 503 ") {
				t.Errorf("the answer is %q, %v", answer, err)
			}
		}
		if s := z.status(); s.Master.CrashesTotal != 2 {
			t.Errorf("%d crashes: those of the workers are two", s.Master.CrashesTotal)
		}
		z.gate.open()
		z.settle(2)
		z.stop()
	})
	t.Run("it is stopped", func(t *testing.T) {
		t.Parallel()
		z := darken(t, nil)
		if err := syscall.Kill(z.answerer(), syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		z.gate.open()
		z.settle(2)
		eventually(t, "its end", func() bool { return len(z.answerers()) == 0 })
		z.stop()
	})
	t.Run("the master stops", func(t *testing.T) {
		t.Parallel()
		z := darken(t, nil)
		z.stop()
	})
	t.Run("the master is killed", func(t *testing.T) {
		t.Parallel()
		z := darken(t, nil)
		z.cfg["Listen"] = []string{z.address()}
		gone := z.gone
		z.gate.open()
		z.signal(syscall.SIGKILL)
		wait(t, z.ended, "end of the master")
		z.prepare()
		z.begin()
		z.dial()
		z.settle(2)
		wait(t, gone, "end of all that the killed master has started")
		z.stop()
	})
}

// doc.go, Failures: a worker that was killed from outside is no evidence against
// its release, however often that happens and whoever is left.
func TestWorkersKilledOverAndOver(t *testing.T) {
	t.Parallel()
	for name, slots := range map[string][]int{
		"always the same":         {1, 1, 1, 1, 2},
		"as soon as there is one": {0, 0, 0, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			z := startZoo(t, "good", nil)
			for i, slot := range slots {
				var victim int
				eventually(t, "a worker to kill", func() bool {
					for _, w := range z.status().Workers {
						if w.State == "ready" && (slot == 0 || slot == w.Slot) {
							victim = w.PID
							return true
						}
					}
					return false
				})
				if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				z.logged("worker crashed", i+1)
				z.fewChildren()
				eventually(t, "an answer", func() bool { // not a silence: that would be an error after hang
					answer, err := z.say("GET / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
					if err != nil && !errors.Is(err, syscall.ECONNRESET) {
						t.Fatalf("after kill %d: %v", i+1, err)
					}
					return err == nil && answer != ""
				})
			}
			if s := z.settle(2); s.Master.BreakerOpen || z.times(opened) != 0 {
				t.Error("the breaker is open, or was")
			}
			z.stop()
		})
	}
}

// doc.go, Failures: a release that crashes by itself on and on has its breaker
// open. When nobody is left, somebody is tried all the same, and serves.
func TestBreakerNeverClosesTheShop(t *testing.T) {
	t.Parallel()
	z := newZoo(t, "ready:gate ready:exit=3", nil)
	z.begin()
	z.dial()
	z.logged("all workers are ready", 1)
	crashes := 0
	for z.times(opened) == 0 || z.status().Master.Ready > 0 {
		if crashes++; crashes > 20 {
			t.Fatal("the breaker does not open")
		}
		z.gate.wait("ready", crashes)[crashes-1].pass()
		z.logged("worker crashed", crashes)
		z.fewChildren()
	}
	for ; crashes < 12; crashes++ { // the breaker stays open for 30 s and more; this takes less
		z.logged("trying one worker although the circuit breaker is open", 1)
		z.gate.wait("ready", crashes+1)[crashes].pass()
		z.logged("worker crashed", crashes+1)
		z.fewChildren()
	}
	z.gate.wait("ready", crashes+1)
	eventually(t, "an answer of the worker", func() bool { // the answerer hears a moment later that it has to go
		behaviour, _ := z.running()
		return strings.HasPrefix(behaviour, "ready:gate")
	})
	if n := z.times(opened); n != 1 {
		t.Errorf("the operator was told %d times", n)
	}
	z.signal(syscall.SIGTERM)
	z.gate.open()
	z.exit()
}
