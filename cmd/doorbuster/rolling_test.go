//go:build unix

package main_test

import (
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const (
	sku         = "FAI-NIGHT01-XS" // without a limit per customer
	productPage = "/v1/products/aurora-55-oled-tv"
)

// N2, M8: 20 reloads in the middle of the traffic, without one request that fails of them. There are clients that open a
// connection for each request, buyers among them, and clients that keep theirs alive. A machine with too much to do makes
// any shop slow, with reloads and without; see badAnswer.slow for what that excuses.
func TestReloadsLoseNothing(t *testing.T) {
	t.Parallel()
	database := catalogue(t)
	ask(t, strings.TrimPrefix(database, "DATABASE_URL="), "WITH much AS (UPDATE stock SET available = 1000000 RETURNING 1) SELECT count(*)::text FROM much")
	s := openShop(t, database)
	shared := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	var keys, bought atomic.Int64
	c := newCrowd(s)
	c.join("fresh connections, GET", 1, reads(stranger, s.url(productPage)))
	c.join("fresh connections, buying", 2, buys(s, sku, &keys, &bought))
	c.join("http.Client", 1, reads(func() *http.Client { return shared }, s.url(productPage)))
	c.join("kept alive, no time to think", 1, browses(s, "GET", productPage, "", http.StatusOK, 0))
	c.join("kept alive, GET, up to 20 ms to think", 2, browses(s, "GET", productPage, "", http.StatusOK, 20*time.Millisecond))
	c.join("kept alive, POST, up to 200 ms to think", 6, browses(s, "POST", "/v1/cart/items", `{"sku": "`+sku+`", "quantity": 1}`, http.StatusOK, 200*time.Millisecond))
	c.working()
	before := s.pids()
	const reloads = 20
	for range reloads {
		s.reload()
		c.working()
	}
	c.allServed()
	shared.CloseIdleConnections()
	if after := s.pids(); len(after) != 2 || after[1] == before[1] || after[2] == before[2] {
		t.Errorf("workers by slot: %v, and %v before", after, before)
	}
	// Each answer of 201 is one order, and no order is without one.
	confirmed := ask(t, strings.TrimPrefix(database, "DATABASE_URL="), "SELECT count(*)::text FROM orders WHERE status = 'confirmed'")
	orders := ask(t, strings.TrimPrefix(database, "DATABASE_URL="), "SELECT count(*)::text FROM orders")
	if want := strconv.FormatInt(bought.Load(), 10); confirmed != want || orders != want {
		t.Errorf("%s orders, %s of them confirmed; %s were answered 201", orders, confirmed, want)
	}
	s.rolled(reloads)
	s.close()
}

// rolled checks in the log what M8 says about rolling restarts: the replacement is ready before its predecessor is told to
// leave, one slot after the other, and there are never fewer workers ready than there should be.
func (s *shop) rolled(reloads int) {
	s.t.Helper()
	from := s.now()
	ready, taken, left, done := 2, 0, 0, 0
	at := position(0)
	s.await(&at, "all workers are ready", nil)
	for at < from {
		s.stderr.await(&at, func(line string) bool { return strings.Contains(line, `"role":"master"`) || at == from })
		switch line := s.stderr.all()[at-1]; {
		case strings.Contains(line, `"msg":"worker ready"`):
			ready++
		case strings.Contains(line, `"msg":"worker takes over"`):
			ready-- // its predecessor is told to leave
			taken++
		case strings.Contains(line, `"msg":"worker left"`):
			left++
			if !strings.Contains(line, "exited with code 0") {
				s.t.Errorf("a worker did not leave in order: %s", line)
			}
		case strings.Contains(line, `"msg":"reloaded"`):
			done++
		case strings.Contains(line, `"msg":"worker crashed"`):
			s.t.Errorf("a worker crashed: %s", line)
		}
		if ready < 2 || ready > 3 {
			s.t.Fatalf("%d workers were ready; it has to be 2 at least, and 3 while one replaces another", ready)
		}
	}
	if done != reloads || taken != 2*reloads || left != 2*reloads {
		s.t.Errorf("%d reloads, %d replacements, %d workers left; want %d, %[5]d and %[5]d", done, taken, left, reloads, 2*reloads)
	}
}

// N2: wrk keeps its connections busy and counts what goes wrong on them.
func TestReloadsUnderWrk(t *testing.T) {
	t.Parallel()
	wrk, err := exec.LookPath("wrk")
	if err != nil {
		t.Skip("wrk is not installed")
	}
	s := openShop(t, catalogue(t))
	// It ends by SIGINT, and reports then.
	load := startProgram(t, nil, wrk, "-t1", "-c4", "-d600s", "--timeout", "60s", s.url(productPage))
	poll(t, "wrk has begun", func() bool {
		w := s.status().Workers
		return w[0].RequestsTotal+w[1].RequestsTotal > 0
	})
	for range 10 {
		s.reload()
	}
	load.signal(os.Interrupt)
	code := load.wait()
	report := strings.Join(load.said, "\n")
	requests := regexp.MustCompile(`(\d+) requests in`).FindStringSubmatch(report)
	if code != 0 || requests == nil || requests[1] == "0" {
		t.Fatalf("wrk: exit code %d: %s", code, report)
	}
	t.Log(requests[0])
	if strings.Contains(report, "Socket errors") || strings.Contains(report, "Non-2xx") {
		t.Errorf("wrk saw failures: %s", report)
	}
	s.rolled(10)
	s.close()
}
