//go:build unix

package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"doorbuster/app/audit"
	"doorbuster/app/dbtest"
	"doorbuster/app/devstack"
)

// A queue is customers in front of a shop who all want the same thing. Each
// tries again, with the same Idempotency-Key, until there is a definite answer,
// as a browser's script would; what each is told goes into an acknowledgement
// log, for the audit.
type queue struct {
	*shop
	t0      *testing.T // before there is a shop
	servers []string   // settings that name them
	books   *pgxpool.Pool
	client  *http.Client
	sku     string
	units   int // of it, at the beginning
	// PostgreSQL is killed, so that a cart may be forgotten and has to be filled again.
	forgetful bool

	mu   sync.Mutex
	log  bytes.Buffer
	told map[string]int // customers by their last answer

	orders atomic.Int64 // that were acknowledged
}

// How long the simulated provider may take in these tests, and how long an
// order holds its units: short, so that those who died in the middle are made
// up for soon.
var impatient = []string{"PAYMENT_TIMEOUT=300ms", "HOLD_TTL=2s", "WORKERS=3", "DATABASE_MAX_CONNS=8"}

// gather opens a shop on servers of its own, with so many units of a thing.
func gather(t *testing.T, units int) (*queue, *devstack.Postgres) {
	t.Helper()
	postgres, err := devstack.StartPostgres(t.Context(), devstack.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { postgres.Close() })
	database := "DATABASE_URL=" + postgres.URL()
	for _, command := range [][]string{{"migrate", "up"}, {"seed"}} {
		if code, _, stderr := do(t, []string{database}, command...); code != 0 {
			t.Fatalf("%v: %s", command, stderr)
		}
	}
	books, err := pgxpool.New(t.Context(), postgres.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(books.Close)
	c := &queue{t0: t, servers: []string{database, "REDIS_URL=" + dbtest.Redis(t)}, books: books, sku: "TONQUAY-HUSH", units: units, told: map[string]int{}}
	c.client = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxConnsPerHost: 128, MaxIdleConnsPerHost: 128}}
	t.Cleanup(c.client.CloseIdleConnections)
	if _, err := books.Exec(t.Context(), "UPDATE sku SET max_per_customer = NULL WHERE code = $1", c.sku); err != nil {
		t.Fatal(err)
	}
	var there int
	if err := books.QueryRow(t.Context(), "SELECT available FROM stock s JOIN sku k ON k.id = s.sku_id WHERE k.code = $1", c.sku).Scan(&there); err != nil {
		t.Fatal(err)
	}
	c.deliver(-there)
	c.deliver(units)
	c.open(impatient...)
	return c, postgres
}

// deliver puts units on the shelf, or takes them away, and writes a receipt.
func (c *queue) deliver(units int) {
	c.t0.Helper()
	if _, err := c.books.Exec(c.t0.Context(), `WITH s AS (UPDATE stock SET available = available + $2 WHERE sku_id = (SELECT id FROM sku WHERE code = $1) RETURNING sku_id)
		INSERT INTO stock_receipt (sku_id, quantity, note) SELECT sku_id, $2, 'test' FROM s`, c.sku, units); err != nil {
		c.t0.Fatal(err)
	}
}

// open opens the shop, of the program with the race detector in it where the tests have it.
func (c *queue) open(settings ...string) {
	c.t0.Helper()
	program := binary
	if raced {
		var err error
		if program, err = racedBinary(); err != nil {
			c.t0.Fatal(err)
		}
	}
	c.shop = launchShop(c.t0, append(slices.Clone(c.servers), settings...), program, "serve")
	c.await(&c.at, "all workers are ready", nil)
}

// racedBinary is the program with the race detector.
var racedBinary = sync.OnceValues(func() (string, error) {
	path := binary + "-raced"
	if out, err := exec.Command("go", "build", "-race", "-o", path, "doorbuster/cmd/doorbuster").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program with the race detector: %w\n%s", err, out)
	}
	return path, nil
})

// token is how the customer with a number pays.
func token(customer int) string {
	switch {
	case customer%7 == 3:
		return "tok_declined"
	case customer%11 == 5:
		return "tok_timeout"
	case customer%13 == 6:
		return "tok_error"
	}
	return "tok_ok"
}

// come lets customers buy, all at once, and returns when each has a definite answer.
func (c *queue) come(customers int) {
	c.t0.Helper()
	var wg sync.WaitGroup
	for i := range customers {
		wg.Go(func() {
			answer, err := c.buy(i)
			if err != nil {
				c.t0.Errorf("customer %d: %v", i, err)
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.told[answer]++
		})
	}
	wg.Wait()
}

// maxTries bounds what one customer does.
const maxTries = 2000

// buy is one customer; the answer is the last that there was.
func (c *queue) buy(customer int) (answer string, err error) {
	cookie, err := c.fill()
	if err != nil {
		return "none", err
	}
	key := fmt.Sprintf("customer-%d", customer)
	body := fmt.Sprintf(`{"email":"%s@example.com","payment_token":%q}`, key, token(customer))
	var last string
	for range maxTries {
		status, code, raw := c.post("/v1/checkout", body, "Cookie", cookie, "Idempotency-Key", key)
		order := struct {
			ID     string `json:"id"`
			Status string `json:"status"`
			Total  struct {
				Minor int64 `json:"amount_minor"`
			} `json:"total"`
		}{}
		if status < 300 && status > 0 {
			if err := json.Unmarshal(raw, &order); err != nil {
				return "none", fmt.Errorf("%s: %w", raw, err)
			}
		}
		c.note(key, status, code, order.ID, order.Status, order.Total.Minor)
		last = fmt.Sprintf("%d: %s", status, raw)
		switch {
		case order.Status == "confirmed":
			c.orders.Add(1)
			return "confirmed", nil
		case code == "payment-declined":
			return "declined", nil
		case code == "cart-empty" && c.forgetful:
			if err := c.put(cookie); err != nil {
				return "none", err
			}
			continue
		case code == "out-of-stock" && c.over():
			return "sold out", nil
		case status != 0 && status < 500 && order.ID == "" && code != "out-of-stock" && code != "request-in-flight" && code != "too-many-requests":
			return code, fmt.Errorf("answered %d: %s", status, raw)
		}
		// Pending, sold out for now, being worked on, busy, or no answer at all.
		patience := 20 * time.Millisecond
		if code == "out-of-stock" {
			patience = 300 * time.Millisecond // somebody may still give a unit back
		}
		pause := time.NewTimer(patience)
		select {
		case <-pause.C:
		case <-c.t0.Context().Done():
			return "none", context.Cause(c.t0.Context())
		}
	}
	return "none", fmt.Errorf("no definite answer; the last was %s", last)
}

// put puts a unit into a cart that is there.
func (c *queue) put(cookie string) error {
	var status int
	var raw []byte
	for range maxTries {
		status, _, raw = c.post("/v1/cart/items", fmt.Sprintf(`{"sku":%q,"quantity":1}`, c.sku), "Cookie", cookie)
		if status == http.StatusOK {
			return nil
		}
	}
	return fmt.Errorf("the cart could not be filled again; the last answer was %d: %s", status, raw)
}

// fill puts a unit into a new cart and returns its cookie.
func (c *queue) fill() (cookie string, err error) {
	var last string
	for range maxTries {
		req, err := http.NewRequestWithContext(c.t0.Context(), http.MethodPost, c.url("/v1/cart/items"), strings.NewReader(fmt.Sprintf(`{"sku":%q,"quantity":1}`, c.sku)))
		if err != nil {
			return "", err
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Forwarded-For", newAddress())
		resp, err := c.client.Do(req)
		if err != nil {
			last = err.Error()
			continue
		}
		raw, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if cookies := resp.Cookies(); resp.StatusCode == http.StatusOK && len(cookies) == 1 {
			return cookies[0].Name + "=" + cookies[0].Value, nil
		}
		last = fmt.Sprintf("%s: %s", resp.Status, raw)
	}
	return "", fmt.Errorf("the cart could not be filled; the last answer was %s", last)
}

// post sends a request, once. Status 0 means that there was no answer.
func (c *queue) post(path, body string, header ...string) (status int, code string, raw []byte) {
	req, err := http.NewRequestWithContext(c.t0.Context(), http.MethodPost, c.url(path), strings.NewReader(body))
	if err != nil {
		return 0, "", nil
	}
	req.GetBody = nil // or net/http would repeat it by itself
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Forwarded-For", newAddress())
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, "", nil
	}
	defer resp.Body.Close()
	if raw, err = io.ReadAll(resp.Body); err != nil {
		return 0, "", nil
	}
	var problem struct {
		Code string `json:"code"`
	}
	if resp.StatusCode >= 400 {
		json.Unmarshal(raw, &problem)
	}
	return resp.StatusCode, problem.Code, raw
}

// note writes down what a customer was told.
func (c *queue) note(key string, status int, code, order, orderStatus string, total int64) {
	line := map[string]any{"key": key, "status": status, "code": code, "sku": c.sku, "quantity": 1}
	if order != "" {
		line["order"], line["order_status"], line["total_minor"] = order, orderStatus, total
	}
	raw, _ := json.Marshal(line)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log.Write(append(raw, '\n'))
}

// over reports whether every unit is sold for good: none is on the shelf, and
// none is held by an order that may yet fail.
func (c *queue) over() bool {
	var sold int
	err := c.books.QueryRow(c.t0.Context(), `SELECT coalesce(sum(l.quantity), 0) FROM order_line l JOIN orders o ON o.id = l.order_id
		WHERE l.sku_code = $1 AND o.status = 'confirmed'`, c.sku).Scan(&sold)
	return err == nil && sold >= c.units
}

// balance waits until no order is pending, and then lets the program audit its books.
func (c *queue) balance() {
	c.t0.Helper()
	poll(c.t0, "all orders are settled", func() bool {
		var pending int
		err := c.books.QueryRow(c.t0.Context(), "SELECT count(*) FROM orders WHERE status = 'pending'").Scan(&pending)
		return err == nil && pending == 0
	})
	acks := filepath.Join(c.t0.TempDir(), "acks.jsonl")
	if err := os.WriteFile(acks, c.log.Bytes(), 0o600); err != nil {
		c.t0.Fatal(err)
	}
	code, stdout, stderr := do(c.t0, c.servers, "audit", "--json", "--acks", acks)
	var report audit.Report
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		c.t0.Fatalf("audit: code %d, %v: %s", code, err, stderr)
	}
	for _, check := range report.Checks {
		// The servers of tests are not asked to survive the loss of the machine.
		if check.Name != "durable" && (check.Findings > 0 || check.Skipped != "") {
			c.t0.Errorf("audit: %+v", check)
		}
	}
	var sold, left int
	if err := c.books.QueryRow(c.t0.Context(), `SELECT (SELECT coalesce(sum(l.quantity), 0) FROM order_line l JOIN orders o ON o.id = l.order_id
		WHERE l.sku_code = $1 AND o.status = 'confirmed'), (SELECT available FROM stock s JOIN sku k ON k.id = s.sku_id WHERE k.code = $1)`, c.sku).Scan(&sold, &left); err != nil {
		c.t0.Fatal(err)
	}
	if sold != c.units || left != 0 {
		c.t0.Errorf("%d of %d units are sold, and %d are left", sold, c.units, left)
	}
	for _, line := range c.stderr.all() {
		if strings.Contains(line, "DATA RACE") {
			c.t0.Error("the race detector has found something: see the log")
		}
	}
	c.t0.Logf("customers by answer: %v", c.told)
}

func (c *queue) count(where string) (n int) {
	c.t0.Helper()
	if err := c.books.QueryRow(c.t0.Context(), "SELECT count(*) FROM orders WHERE "+where).Scan(&n); err != nil {
		c.t0.Fatal(err)
	}
	return n
}
