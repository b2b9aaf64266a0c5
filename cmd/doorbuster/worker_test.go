//go:build unix

package main_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"doorbuster/app/dbtest"
)

// refusedAddr is an address where nobody listens: it was free a moment ago.
func refusedAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// M7: a worker with a bad setting says in one sentence which and why, without the password, and exits 1.
func TestFailFast(t *testing.T) {
	t.Parallel()
	database, redis, empty := dbtest.Database(t), dbtest.Redis(t), dbtest.EmptyDatabase(t)
	nobody := refusedAddr(t)
	const secret = "hunter2-pa55"
	for _, c := range []struct {
		name, databaseURL, redisURL string
		variable, cause             string
	}{
		{"no database", "", redis, "DATABASE_URL", "is empty"},
		{"malformed database", "postgres://shop:" + secret + "@[::1/db", redis, "DATABASE_URL", "is malformed"},
		{"malformed port", "postgres://shop:" + secret + "@localhost:port/db", redis, "DATABASE_URL", "is malformed"},
		{"slash in password", "postgres://shop:12/" + secret + "@" + nobody + "/db", redis, "DATABASE_URL", "percent-encoded"},
		{"at in password", "postgres://shop:p@" + secret + "/w0rd@" + nobody + "/db", redis, "DATABASE_URL", "percent-encoded"},
		{"slash in password of Redis", database, "redis://u:12/" + secret + "@" + nobody, "REDIS_URL", "percent-encoded"},
		{"keywords", "host=127.0.0.1 password=" + secret + " sslmode=nonsense", redis, "DATABASE_URL", "is malformed"},
		{"not PostgreSQL", "mysql://shop:" + secret + "@localhost/db", redis, "DATABASE_URL", "is malformed"},
		{"refused database", "postgres://shop:" + secret + "@" + nobody + "/db?sslmode=disable", redis, "DATABASE_URL", "connection refused"},
		{"unknown host", "postgres://shop:" + secret + "@no-such-host.invalid/db", redis, "DATABASE_URL", "no-such-host.invalid"},
		{"no such database", strings.Replace(database, "/doorbuster", "/nonsense", 1) + "&dbname=nonsense", redis, "DATABASE_URL", "nonsense"},
		{"not migrated", empty, redis, "DATABASE_URL", "doorbuster migrate up"},
		{"no Redis", database, "", "REDIS_URL", "is empty"},
		{"malformed Redis", database, "redis://:" + secret + "@[::1", "REDIS_URL", "is malformed"},
		{"control character", database, "redis://:" + secret + "\x7f@localhost", "REDIS_URL", "is malformed"},
		{"not Redis", database, "http://:" + secret + "@localhost", "REDIS_URL", "is malformed"},
		{"refused Redis", database, "redis://:" + secret + "@" + nobody, "REDIS_URL", "connection refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := do(t, []string{"ADDR=127.0.0.1:0", "DATABASE_URL=" + c.databaseURL, "REDIS_URL=" + c.redisURL}, "worker")
			if code != 1 || stdout != "" {
				t.Errorf("got exit code %d and output %q, want 1 and none", code, stdout)
			}
			if lines := strings.Split(strings.TrimSpace(stderr), "\n"); len(lines) != 1 {
				t.Errorf("got %d lines, want one: %s", len(lines), stderr)
			}
			if !strings.Contains(stderr, c.variable) || !strings.Contains(stderr, c.cause) {
				t.Errorf("got %q, want %s and %q in it", stderr, c.variable, c.cause)
			}
			if strings.Contains(stderr, secret) {
				t.Errorf("the password is in %q", stderr)
			}
		})
	}
}

// runningWorker is a worker on a migrated database.
func runningWorker(t *testing.T, env ...string) (p *process, addr string) {
	t.Helper()
	p = start(t, append([]string{"ADDR=127.0.0.1:0", "PLAIN_HTTP=true", "REVEAL_WORKERS=true", "DATABASE_URL=" + dbtest.Database(t), "REDIS_URL=" + dbtest.Redis(t)}, env...), "worker")
	var at position
	return p, p.await(&at, "serving", nil).Addr
}

// heldUpload begins a request and returns, when the worker has it, how to end it.
func heldUpload(t *testing.T, addr string) (finish func() *http.Response) {
	t.Helper()
	finish = upload(t, addr)
	client := stranger()
	poll(t, "the worker holds the request", func() bool {
		_, health := get(t, client, "GET", "http://"+addr+"/health", "")
		return strings.Contains(health, `"in_flight":2`)
	})
	return finish
}

// upload begins a request, whose body it does not send to the end, and returns how to end it.
func upload(t *testing.T, addr string) (finish func() *http.Response) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	body := `{"email": "a@example.com", "password": "wrong password"}`
	fmt.Fprintf(conn, "POST /v1/session HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n{", len(body))
	return func() *http.Response {
		io.WriteString(conn, body[1:])
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("the request in flight was not answered: %v", err)
		}
		resp.Body.Close()
		return resp
	}
}

// W3, W7: a worker without a master drains on SIGTERM: what is in flight is answered, and the exit code is 0.
func TestWorkerDrains(t *testing.T) {
	t.Parallel()
	p, addr := runningWorker(t)
	finish := heldUpload(t, addr)
	p.signal(syscall.SIGTERM)
	var at position
	p.await(&at, "draining", nil)
	if resp := finish(); resp.StatusCode != http.StatusUnauthorized || !resp.Close {
		t.Errorf("got %d, close %v, want 401 and Connection: close", resp.StatusCode, resp.Close)
	}
	if code := p.wait(); code != 0 {
		t.Errorf("got exit code %d, want 0\n%s", code, p.stderr)
	}
}

// W3: at the drain's limit, and at a second signal, what is left is cut: exit code 1 and a log line that names it.
func TestWorkerCuts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		limit   string
		signals int
	}{"limit": {"100ms", 1}, "second signal": {"1h", 2}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, addr := runningWorker(t, "DRAIN_TIMEOUT="+c.limit)
			heldUpload(t, addr)
			p.signal(syscall.SIGTERM)
			if c.signals == 2 {
				var at position
				p.await(&at, "stopping", nil)
				p.signal(os.Interrupt)
			}
			if code := p.wait(); code != 1 {
				t.Errorf("got exit code %d, want 1", code)
			}
			if log := p.stderr.String(); !strings.Contains(log, "cutting requests") || !strings.Contains(log, "POST /v1/session") {
				t.Errorf("the log does not say what was cut: %s", log)
			}
		})
	}
}

// W4: every log line has the process, the slot and the release.
func TestLogLines(t *testing.T) {
	t.Parallel()
	p, addr := runningWorker(t, "LOG_LEVEL=debug")
	client := browser(t)
	get(t, client, "GET", "http://"+addr+"/v1/products", "")
	client.CloseIdleConnections()
	p.signal(syscall.SIGTERM)
	p.wait()
	lines := strings.Split(strings.TrimSpace(p.stderr.String()), "\n")
	if len(lines) < 3 {
		t.Errorf("got %d lines, want several: %s", len(lines), p.stderr)
	}
	for _, line := range lines {
		if !strings.Contains(line, fmt.Sprintf(`"pid":%d`, p.cmd.Process.Pid)) || !strings.Contains(line, `"slot":`) || !strings.Contains(line, `"release":`) {
			t.Errorf("got %s", line)
		}
	}
}

// M7: settings that would make a shop that does not work are refused by name.
func TestNonsenseSettings(t *testing.T) {
	t.Parallel()
	for _, setting := range []string{
		"PAYMENT_TIMEOUT=-1s", "PAYMENT_TIMEOUT=0s", "HOLD_TTL=1s", "DRAIN_TIMEOUT=0s", "SHUTDOWN_DELAY=-1s", "PAYMENT_LATENCY=-1s",
		"LAME_DUCK=-1s", "LAME_DUCK=10s",
		"DATABASE_MAX_CONNS=-1", "DATABASE_MAX_CONNS=0", "SALE_LASTS=0s",
		"WORKERS=-1", "READY_TIMEOUT=0s", "BAKE=-1s", "KILL_TIMEOUT=9s", "HEARTBEAT_INTERVAL=0s", "HEARTBEAT_TIMEOUT=19s", "STATUS_INTERVAL=0s",
	} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := do(t, []string{"ADDR=127.0.0.1:0", setting}, "dev")
			variable, _, _ := strings.Cut(setting, "=")
			if code != 1 || stdout != "" || !strings.Contains(stderr, variable) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("got exit code %d, output %q, errors %q", code, stdout, stderr)
			}
		})
	}
}

// A taken port is one sentence that says what to do.
func TestTakenPort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	code, _, stderr := do(t, []string{"ADDR=" + l.Addr().String()}, "worker")
	if code != 1 || !strings.Contains(stderr, "is taken by another program") || strings.Count(stderr, "trying again for a moment") != 1 || strings.Count(stderr, "\n") != 2 {
		t.Errorf("got exit code %d and %q", code, stderr)
	}
}
