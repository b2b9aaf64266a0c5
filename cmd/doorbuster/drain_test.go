//go:build unix

package main_test

import (
	"bufio"
	"context"
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

	"golang.org/x/sys/unix"
)

// ends are the ways to make a worker leave.
var ends = map[string]syscall.Signal{"reload": syscall.SIGUSR2, "stop": syscall.SIGTERM}

// unhurried is for those who are slow, on a machine that may be so too: they fit into the limit.
var unhurried = []string{"WORKERS=1", "DRAIN_TIMEOUT=1m", "KILL_TIMEOUT=2m"}

// W2, W3: an upload that began before a reload, or a stop, is answered, however slow it is, if it fits into the limit. The
// log says what is waited for.
func TestSlowUploadIsFinished(t *testing.T) {
	t.Parallel()
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openShop(t, unhurried...)
			old := s.pids()[1]
			finish := upload(t, s.addr)
			s.holds(1)
			s.signal(end)
			waiting := s.await(&s.at, "draining", nil)
			if waiting.PID != old || waiting.InFlight != 1 || !slices.Contains(waiting.WaitingFor, "POST /v1/session") {
				t.Errorf("got %+v, want worker %d to wait for POST /v1/session", waiting, old)
			}
			if resp := finish(); resp.StatusCode != http.StatusUnauthorized || !resp.Close {
				t.Errorf("got %d, close %v, want 401 and Connection: close", resp.StatusCode, resp.Close)
			}
			if left := s.await(&s.at, "worker left", nil); left.WorkerPID != old || left.How != "exited with code 0" {
				t.Errorf("got %+v, want worker %d to leave with code 0", left, old)
			}
			if end == syscall.SIGUSR2 {
				s.await(&s.at, "reloaded", nil)
				s.signal(syscall.SIGTERM)
			}
			s.gone()
		})
	}
}

// W3: an upload that does not fit into the limit is cut: the worker exits with 1, and the log names what it has cut. To the
// reload and to the shop that is no failure.
func TestSlowUploadIsCut(t *testing.T) {
	t.Parallel()
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openShop(t, "WORKERS=1", "DRAIN_TIMEOUT=200ms")
			old := s.pids()[1]
			upload(t, s.addr)
			s.holds(1)
			s.signal(end)
			cut := s.await(&s.at, "drain limit reached, cutting requests", nil)
			if cut.PID != old || cut.InFlight != 1 || !slices.Contains(cut.Cut, "POST /v1/session") || cut.Level != "ERROR" {
				t.Errorf("got %+v, want an error of worker %d that names POST /v1/session", cut, old)
			}
			if left := s.await(&s.at, "worker left", nil); left.WorkerPID != old || left.How != "exited with code 1" {
				t.Errorf("got %+v, want worker %d to leave with code 1", left, old)
			}
			if end == syscall.SIGUSR2 {
				s.await(&s.at, "reloaded", nil)
				s.signal(syscall.SIGTERM)
			}
			s.gone()
		})
	}
}

// slowReaders ask for a big page, many times over, through connections that
// take in little at a time, and read nothing. It returns when the workers are
// stuck in the middle of their answers.
func slowReaders(t *testing.T, s *shop, clients int) []net.Conn {
	t.Helper()
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096) })
	}}
	var conns []net.Conn
	for range clients {
		conn, err := d.DialContext(context.Background(), "tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		// The same page many times over, or the kernel's buffers would take it in for the reader.
		io.WriteString(conn, strings.Repeat("GET /v1/products?limit=100 HTTP/1.1\r\nHost: shop\r\n\r\n", 200))
		conns = append(conns, conn)
	}
	// The workers answer one after the other until the buffers are full. Then
	// they wait in a write. That they get no further for a while would not tell
	// them from such that wait for a processor.
	poll(t, "the workers are stuck in their answers", func() bool {
		stuck := 0
		for _, pid := range s.pids() {
			_, stacks := get(t, stranger(), "GET", fmt.Sprintf("%s/debug/workers/%d/pprof/goroutine?debug=2", s.admin, pid), "")
			for stack := range strings.SplitSeq(stacks, "\n\n") {
				if strings.Contains(stack, "waitWrite") && strings.Contains(stack, "http.(*conn).serve") {
					stuck++
				}
			}
		}
		return stuck == clients
	})
	return conns
}

// unhurriedReader reads a little at a time until hurry is closed.
type unhurriedReader struct {
	io.Reader
	ticker *time.Ticker
	hurry  chan struct{}
}

func (r *unhurriedReader) Read(p []byte) (int, error) {
	select {
	case <-r.ticker.C:
	case <-r.hurry:
	}
	return r.Reader.Read(p)
}

// W2, W3: a download that is under way when the worker is told to leave, and
// does well, arrives to its last byte.
func TestSlowDownloadIsFinished(t *testing.T) {
	t.Parallel()
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openShop(t, append([]string{catalogue(t)}, unhurried...)...)
			_, want := get(t, stranger(), "GET", s.url("/v1/products?limit=100"), "")
			slow := &unhurriedReader{slowReaders(t, s, 1)[0], time.NewTicker(20 * time.Millisecond), make(chan struct{})}
			defer slow.ticker.Stop()
			answered := make(chan error, 1)
			go func() {
				in := bufio.NewReader(slow)
				// What was under way could not say that the connection has to
				// go. What follows is served, and does.
				for last := false; !last; {
					resp, err := http.ReadResponse(in, nil)
					if err != nil {
						answered <- err
						return
					}
					body, err := io.ReadAll(resp.Body)
					last = resp.Close
					if err != nil || resp.StatusCode != http.StatusOK || string(body) != want {
						answered <- fmt.Errorf("got %d and %d bytes, %w, want 200 and %d bytes", resp.StatusCode, len(body), err, len(want))
						return
					}
				}
				answered <- nil
			}()
			s.signal(end)
			s.await(&s.at, "draining", nil)
			close(slow.hurry)
			if err := <-answered; err != nil {
				t.Error(err)
			}
			if left := s.await(&s.at, "worker left", nil); left.How != "exited with code 0" {
				t.Errorf("got %+v, want code 0", left)
			}
			if end == syscall.SIGUSR2 {
				s.await(&s.at, "reloaded", nil)
				s.signal(syscall.SIGTERM)
			}
			s.gone()
		})
	}
}

// Clients that do not read what they have asked for hold up no reload: their
// answers are cut, and no worker comes near its limit, which is an hour here.
// Others are served meanwhile.
func TestClientsThatDoNotRead(t *testing.T) {
	t.Parallel()
	s := openShop(t, "DRAIN_TIMEOUT=1h", "KILL_TIMEOUT=2h", catalogue(t))
	slowReaders(t, s, 20)
	if code, body := get(t, stranger(), "GET", s.url("/v1/products?limit=1"), ""); code != http.StatusOK {
		t.Errorf("a neighbour got %d: %s", code, body)
	}
	s.reload()
	for range 2 {
		if left := s.await(&s.at, "worker left", nil); left.How != "exited with code 0" {
			t.Errorf("got %+v, want code 0", left)
		}
	}
	if cut := s.records(0, "drain limit reached, cutting requests"); len(cut) > 0 {
		t.Errorf("a worker reached its limit: %+v", cut)
	}
	s.close()
}

// W2, E3: a checkout whose payment is under way when its worker is told to leave is answered 201, and is one order.
func TestCheckoutInFlight(t *testing.T) {
	t.Parallel()
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := catalogue(t)
			s := openShop(t, "WORKERS=1", "PAYMENT_LATENCY=1500ms", database)
			client := browser(t)
			if code, body := get(t, client, "POST", s.url("/v1/cart/items"), `{"sku": "`+sku+`", "quantity": 1}`); code != http.StatusOK {
				t.Fatalf("cart: got %d: %s", code, body)
			}
			type answer struct {
				code int
				body string
			}
			buy := func() answer {
				code, body := get(t, client, "POST", s.url("/v1/checkout"), `{"email": "you@example.com", "payment_token": "tok_ok"}`, "Idempotency-Key", "only-one")
				return answer{code, body}
			}
			answered := make(chan answer, 1)
			go func() { answered <- buy() }()
			s.holds(1)
			s.signal(end)
			first := <-answered
			if first.code != http.StatusCreated || !strings.Contains(first.body, `"status":"confirmed"`) {
				t.Errorf("got %d: %s, want 201 and a confirmed order", first.code, first.body)
			}
			if left := s.await(&s.at, "worker left", nil); left.How != "exited with code 0" {
				t.Errorf("got %+v, want code 0", left)
			}
			if end == syscall.SIGUSR2 {
				s.await(&s.at, "reloaded", nil)
				if again := buy(); again != first {
					t.Errorf("the same key on the next worker: got %+v, want %+v", again, first)
				}
				client.CloseIdleConnections()
				s.signal(syscall.SIGTERM)
			}
			s.gone()
			orders := ask(t, strings.TrimPrefix(database, "DATABASE_URL="), "SELECT string_agg(status::text, ' ') FROM orders")
			if orders != "confirmed" {
				t.Errorf("orders: %s, want one that is confirmed", orders)
			}
		})
	}
}

// W2, E3: a checkout that the provider does not answer is answered before the
// limit of a drain: its order stands, and is pending.
func TestCheckoutAtTheLimitOfADrain(t *testing.T) {
	t.Parallel()
	database := catalogue(t)
	s := openShop(t, "WORKERS=1", "PAYMENT_HANG=true", "PAYMENT_TIMEOUT=20s", "DRAIN_TIMEOUT=5s", database)
	client := browser(t)
	if code, body := get(t, client, "POST", s.url("/v1/cart/items"), `{"sku": "`+sku+`", "quantity": 1}`); code != http.StatusOK {
		t.Fatalf("cart: got %d: %s", code, body)
	}
	answered := make(chan int, 1)
	go func() {
		code, _ := get(t, client, "POST", s.url("/v1/checkout"), `{"email": "you@example.com", "payment_token": "tok_ok"}`, "Idempotency-Key", "only-one")
		answered <- code
	}()
	s.holds(1)
	s.signal(syscall.SIGTERM)
	if code := <-answered; code != http.StatusAccepted {
		t.Errorf("got %d, want %d", code, http.StatusAccepted)
	}
	if left := s.await(&s.at, "worker left", nil); left.How != "exited with code 0" {
		t.Errorf("got %+v, want code 0", left)
	}
	s.gone()
	orders := ask(t, strings.TrimPrefix(database, "DATABASE_URL="), "SELECT string_agg(status || ' ' || (paying_until < now()), ', ') FROM orders")
	if orders != "pending true" {
		t.Errorf("orders: %s, want one that is pending, and that a repeat may go on with", orders)
	}
}

// M15, W2: a shop that is stopped in the middle of the traffic answers what it has accepted, and exits with 0.
func TestStopUnderLoad(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	c := newCrowd(s)
	c.join("kept alive", 6, func() func() (int, error) {
		conn := new(rawClient)
		over := false
		return func() (int, error) {
			if over {
				<-c.stop // there is no shop any more
				return 0, nil
			}
			fresh, began := conn.conn == nil, time.Now()
			resp, body, err := conn.ask(s.addr, "GET", "/v1/products", "")
			switch {
			case err != nil && fresh: // refused; or it was still in the queue, which nobody had accepted from
				over = true
				return 0, nil
			case err != nil:
				return 0, unlessLate(err, conn.idle)
			}
			return 1, unlessLate(wantStatus(resp, http.StatusOK, body, began), conn.idle)
		}
	})
	c.working()
	s.signal(os.Interrupt)
	s.gone()
	c.allServed()
	for _, left := range s.records(0, "worker left") {
		if left.How != "exited with code 0" {
			t.Errorf("got %+v, want code 0", left)
		}
	}
}

// M10: a worker that does not leave is killed by the master's clock.
func TestStuckWorkerIsKilled(t *testing.T) {
	t.Parallel()
	s := openShop(t, "WORKERS=1", "DRAIN_TIMEOUT=100ms", "KILL_TIMEOUT=300ms")
	old := s.pids()[1]
	s.freeze(old)
	s.signal(syscall.SIGUSR2)
	if late := s.await(&s.at, "killing worker", nil); late.WorkerPID != old || late.Reason != "did not leave in time" {
		t.Errorf("got %+v", late)
	}
	at := s.at // nobody waits for the kernel to be done with it
	s.await(&at, "reloaded", nil)
	s.await(&s.at, "worker left", func(r record) bool { return r.WorkerPID == old && strings.Contains(r.How, "SIGKILL") })
	s.close()
}

// M11: a worker that is silent is killed and replaced.
func TestSilentWorkerIsReplaced(t *testing.T) {
	t.Parallel()
	s := openShop(t, "WORKERS=1", "HEARTBEAT_INTERVAL=100ms", "HEARTBEAT_TIMEOUT=2s")
	old := s.pids()[1]
	s.freeze(old)
	if silent := s.await(&s.at, "killing worker", nil); silent.WorkerPID != old || silent.Reason != "sent no heartbeat for "+(2*time.Second).String() {
		t.Errorf("got %+v", silent)
	}
	s.await(&s.at, "worker crashed", nil)
	s.await(&s.at, "worker ready", nil)
	s.close()
}
