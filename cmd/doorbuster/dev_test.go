//go:build unix

package main_test

import (
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// open runs dev on a free port and returns the shop's address, when it is open.
func openDev(t *testing.T, args ...string) (p *process, shop string) {
	t.Helper()
	p = start(t, []string{"ADDR=127.0.0.1:0"}, append([]string{"dev"}, args...)...)
	line := p.until("The shop is open:")
	shop = regexp.MustCompile(`http://localhost:\d+`).FindString(line)
	p.until("Ctrl-C stops everything")
	return p, strings.Replace(shop, "localhost", "127.0.0.1", 1)
}

// postgresOf returns the directory and the pid of the private server, from what dev has printed.
func postgresOf(t *testing.T, p *process) (dir string, pid int) {
	t.Helper()
	said := strings.Join(p.said, "\n")
	socket := regexp.MustCompile(`host=([^&']+)`).FindStringSubmatch(said)
	if socket == nil {
		t.Fatalf("dev does not say where PostgreSQL is:\n%s", said)
	}
	dir = filepath.Dir(socket[1])
	raw, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(raw), "\n")
	if pid, err = strconv.Atoi(first); err != nil {
		t.Fatal(err)
	}
	return dir, pid
}

func browser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Jar: jar, Transport: transport}
}

// buyTelevision does what the text that dev prints proposes.
func buyTelevision(t *testing.T, client *http.Client, shop string) {
	t.Helper()
	if code, body := get(t, client, "GET", shop+"/v1/products/aurora-55-oled-tv", ""); code != http.StatusOK {
		t.Fatalf("product: got %d: %s", code, body)
	}
	if code, body := get(t, client, "POST", shop+"/v1/cart/items", `{"sku": "AURORA-55-OLED", "quantity": 1}`); code != http.StatusOK {
		t.Fatalf("cart: got %d: %s", code, body)
	}
	code, body := get(t, client, "POST", shop+"/v1/checkout", `{"email": "you@example.com", "payment_token": "tok_ok"}`, "Idempotency-Key", "my-first-order")
	if code != http.StatusCreated || !strings.Contains(body, `"status":"confirmed"`) {
		t.Fatalf("checkout: got %d: %s", code, body)
	}
}

// The first minute of a newcomer: one command with no setting, a purchase, Ctrl-C, and nothing is left behind.
func TestDev(t *testing.T) {
	t.Parallel()
	p, shop := openDev(t)
	dir, pid := postgresOf(t, p)
	client := browser(t)
	buyTelevision(t, client, shop)
	if code, body := get(t, client, "GET", shop+"/v1/orders", ""); code != http.StatusOK || !strings.Contains(body, "AURORA-55-OLED") {
		t.Errorf("orders: got %d: %s", code, body)
	}
	client.CloseIdleConnections()
	sameDir := p.cmd.Env[2:3] // XDG_RUNTIME_DIR
	if code, stdout, stderr := do(t, sameDir, "audit"); code != 0 || !strings.Contains(stdout, "\n0 findings") {
		t.Errorf("an audit of the shop that runs: code %d: %s %s", code, stdout, stderr)
	}
	p.signal(os.Interrupt)
	if code := p.wait(); code != 0 {
		t.Errorf("got exit code %d after Ctrl-C, want 0\n%s", code, p.stderr)
	}
	if code, _, stderr := do(t, sameDir, "audit"); code != 1 || !strings.Contains(stderr, "DATABASE_URL is empty") {
		t.Errorf("an audit of no shop: code %d: %s", code, stderr)
	}
	if alive(pid) {
		t.Errorf("PostgreSQL, pid %d, is still there", pid)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", dir, err)
	}
	wantEmpty(t, runtimeDirOf(p))
}

// runtimeDirOf returns the folder that a process was given as the user's runtime
// directory.
func runtimeDirOf(p *process) string {
	return strings.TrimPrefix(p.cmd.Env[2], "XDG_RUNTIME_DIR=")
}

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind in %s: %v, %v", dir, left, err)
	}
}

// Ctrl-C while it is still starting leaves nothing behind either.
func TestDevInterruptedEarly(t *testing.T) {
	t.Parallel()
	for _, moment := range []string{"preparing a PostgreSQL", "starting PostgreSQL", "starting redis", "products"} {
		t.Run(moment, func(t *testing.T) {
			t.Parallel()
			if _, err := os.Stat("/usr/bin/redis-server"); err != nil && moment == "starting redis" {
				t.Skip("no Redis server on this machine: there is no such moment")
			}
			temporary := shortTempDir(t)
			p := start(t, []string{"ADDR=127.0.0.1:0", "TMPDIR=" + temporary}, "dev")
			p.until(moment)
			p.signal(os.Interrupt)
			if code := p.wait(); code != 0 {
				t.Errorf("got exit code %d, want 0\n%s", code, p.stderr)
			}
			// PostgreSQL ends before its directory is removed, or it could not be.
			wantEmpty(t, temporary)
			wantEmpty(t, runtimeDirOf(p))
		})
	}
}

// A socket's path has a limit, and a temporary directory has none.
func TestDevUnderALongTempDir(t *testing.T) {
	t.Parallel()
	temporary := filepath.Join(shortTempDir(t), strings.Repeat("long", 25))
	if err := os.Mkdir(temporary, 0o755); err != nil {
		t.Fatal(err)
	}
	p := start(t, []string{"ADDR=127.0.0.1:0", "TMPDIR=" + temporary}, "dev")
	p.until("Ctrl-C stops everything")
	p.signal(os.Interrupt)
	if code := p.wait(); code != 0 {
		t.Errorf("got exit code %d, want 0\n%s", code, p.stderr)
	}
	wantEmpty(t, temporary)
	wantEmpty(t, runtimeDirOf(p))
}

// shortTempDir is a directory whose path leaves room for a socket's name, and that every user may enter.
func shortTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "db")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// --data keeps orders and sessions from one run to the next, and the second run neither doubles the stock nor the catalogue.
func TestDevKeepsData(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(shortTempDir(t), "data")
	client := browser(t)
	p, shop := openDev(t, "--data", dir)
	buyTelevision(t, client, shop)
	client.CloseIdleConnections()
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Fatalf("got exit code %d, want 0\n%s", code, p.stderr)
	}
	p, shop = openDev(t, "--data", dir, "--sale-starts", "+1h")
	_, product := get(t, client, "GET", shop+"/v1/products/aurora-55-oled-tv", "")
	if !strings.Contains(product, `"open":false`) {
		t.Errorf("the sale was not moved: %s", product)
	}
	if code, body := get(t, client, "GET", shop+"/v1/orders", ""); code != http.StatusOK {
		t.Errorf("orders: got %d: %s", code, body)
	} else if strings.HasPrefix(redisKind(p), "starting redis-server") && !strings.Contains(body, "AURORA-55-OLED") {
		t.Errorf("the order is gone: %s", body)
	}
	client.CloseIdleConnections()
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Errorf("got exit code %d, want 0\n%s", code, p.stderr)
	}
}

func redisKind(p *process) string {
	for _, line := range p.said {
		if strings.Contains(line, "redis") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}
