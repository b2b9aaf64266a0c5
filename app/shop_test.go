package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"doorbuster/app"
	"doorbuster/app/catalog"
	"doorbuster/app/dbtest"
	"doorbuster/app/inventory"
	"doorbuster/app/money"
	"doorbuster/app/pricing"
)

func TestMain(m *testing.M) {
	code := dbtest.Run(m)
	if code == 0 {
		if err := errors.Join(everyOperationSeen(), goleak.Find()); err != nil {
			fmt.Fprintln(os.Stderr, "FAIL:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// shop is a running worker on a database of its own, with a small catalogue.
type shop struct {
	t    testing.TB
	url  string
	app  *app.App
	pool *pgxpool.Pool
	log  *logBuffer
}

// What the small catalogue has, besides 30 plain products of the category "plain".
const (
	kettle    = "KETTLE"    // 20.00, 100 units
	shirtM    = "SHIRT-M"   // 15.00, 1000 units, a product with two SKUs; on sale now for 12.00
	lastTen   = "LAST-TEN"  // 5.00, 10 units
	doorbust  = "DOORBUST"  // 500.00, on sale now for 99.00 and only then; 5 units, 1 per customer
	tomorrow  = "TOMORROW"  // 300.00, on sale tomorrow and only then
	yesterday = "YESTERDAY" // 300.00, was on sale yesterday and only then
	soldOut   = "SOLD-OUT"  // 9.00, no units
	tenOff    = "TEN"       // 10 %
	fromFifty = "FIFTY"     // 5.00 off from 50.00
	oldCode   = "OLD"       // was valid yesterday
)

// open starts a shop. The changes apply to its configuration.
func open(t testing.TB, changes ...func(*app.Config)) *shop {
	t.Helper()
	s := &shop{t: t, pool: dbtest.Pool(t), log: new(logBuffer)}
	stock(t, s.pool)
	cfg := app.Config{
		DatabaseURL: s.pool.Config().ConnString(), RedisURL: dbtest.Redis(t), PlainHTTP: true, SweepInterval: time.Hour,
		TrustedProxies: loopback, Tunables: tunables(t), Release: "test", Log: slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	for _, change := range changes {
		change(&cfg)
	}
	a, err := app.New(t.Context(), cfg)
	if err != nil {
		t.Fatalf("start a worker: %v", err)
	}
	s.app = a
	server := httptest.NewServer(a.Handler())
	s.url = server.URL
	t.Cleanup(func() {
		server.Close()
		a.Close()
	})
	return s
}

// loopback is where the tests' visitors come through: each has an address of its own in X-Forwarded-For.
const loopback = "127.0.0.0/8,::1"

// tunables are the defaults, but for passwords: their hashes take long under the race detector, and the tests of this
// package share e-mail addresses and one Redis. More are "key=value".
func tunables(t testing.TB, more ...string) *app.Tunables {
	t.Helper()
	tunables := app.NewTunables()
	for _, setting := range append([]string{"password-share=100", "limit-login-email=off"}, more...) {
		key, value, _ := strings.Cut(setting, "=")
		if err := tunables.Set(key, value); err != nil {
			t.Fatal(err)
		}
	}
	return tunables
}

// stock writes the small catalogue.
func stock(t testing.TB, pool *pgxpool.Pool) {
	t.Helper()
	usd := func(minor int64) money.Money { return money.Money{Minor: minor, Currency: "USD"} }
	one := func(slug, name, code string, minor int64, more ...func(*catalog.SKU)) catalog.Product {
		sku := catalog.SKU{Code: code, Name: "Standard", List: usd(minor)}
		for _, m := range more {
			m(&sku)
		}
		return catalog.Product{Slug: slug, Name: name, Description: "A thing that is called " + name + ".", Category: "special", SKUs: []catalog.SKU{sku}}
	}
	saleOnly := func(s *catalog.SKU) { s.SaleOnly = true }
	limit := func(s *catalog.SKU) { s.MaxPerCustomer = 1 }
	shirt := one("shirt", "Linen Shirt", "SHIRT-S", 1500)
	shirt.SKUs[0].Name = "Size S"
	shirt.SKUs = append(shirt.SKUs, catalog.SKU{Code: shirtM, Name: "Size M", List: usd(1500)})
	products := []catalog.Product{
		one("kettle", "Steel Kettle", kettle, 2000), shirt, one("last-ten", "Last Ten", lastTen, 500),
		one("doorbuster", "Doorbuster", doorbust, 50000, saleOnly, limit), one("tomorrow", "Tomorrow", tomorrow, 30000, saleOnly),
		one("yesterday", "Yesterday", yesterday, 30000, saleOnly), one("sold-out", "Sold Out", soldOut, 900),
	}
	units := map[string]int{kettle: 100, "SHIRT-S": 3, shirtM: 1000, lastTen: 10, doorbust: 5, tomorrow: 50, yesterday: 50, soldOut: 0}
	for i := range 30 {
		code := fmt.Sprintf("PLAIN-%02d", i)
		p := one(fmt.Sprintf("plain-%02d", i), fmt.Sprintf("Plain Thing %02d", i), code, 100)
		p.Category = "plain"
		products, units[code] = append(products, p), 50
	}
	now := time.Now() // PostgreSQL is on this machine, and no window ends within hours
	day := 24 * time.Hour
	sale := func(slug string, from, to time.Duration, prices map[string]int64) catalog.SaleWindow {
		return catalog.SaleWindow{Slug: slug, Name: "Sale " + slug, StartsAt: now.Add(from), EndsAt: now.Add(to), PriceMinor: prices}
	}
	err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		ctx := t.Context()
		ids := map[string]int64{}
		return errors.Join(
			catalog.PutTx(ctx, tx, []catalog.Category{{Slug: "special", Name: "Special"}, {Slug: "plain", Name: "Plain"}}, products),
			catalog.PutSaleTx(ctx, tx, sale("now", -day, day, map[string]int64{doorbust: 9900, shirtM: 1200})),
			catalog.PutSaleTx(ctx, tx, sale("tomorrow", day, 2*day, map[string]int64{tomorrow: 10000})),
			catalog.PutSaleTx(ctx, tx, sale("yesterday", -2*day, -day, map[string]int64{yesterday: 10000})),
			pricing.PutTx(ctx, tx, []pricing.Discount{
				{Code: tenOff, Percent: 10, Amount: usd(0), MinSubtotal: usd(0), StartsAt: now.Add(-day), EndsAt: now.Add(day)},
				{Code: fromFifty, Amount: usd(500), MinSubtotal: usd(5000), StartsAt: now.Add(-day), EndsAt: now.Add(day)},
				{Code: oldCode, Percent: 50, Amount: usd(0), MinSubtotal: usd(0), StartsAt: now.Add(-2 * day), EndsAt: now.Add(-day)},
			}),
			func() (err error) {
				codes := make([]string, 0, len(units))
				for code := range units {
					codes = append(codes, code)
				}
				if ids, err = catalog.IDsTx(ctx, tx, codes); err != nil {
					return err
				}
				delivery := map[int64]int{}
				for code, id := range ids {
					delivery[id] = units[code]
				}
				return inventory.ReceiveTx(ctx, tx, delivery, "test")
			}(),
		)
	})
	if err != nil {
		t.Fatalf("stock the shop: %v", err)
	}
}

// visitor is a browser: it keeps cookies, and every answer that it gets is checked against the OpenAPI document.
type visitor struct {
	shop   *shop
	client *http.Client
	from   string // its address; anybody's own by default
	agent  string // its User-Agent; "": Go's
}

func (s *shop) visitor() *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	// No keep-alive pool of its own: http.DefaultTransport's is shared, and a pool that outlives the server's
	// shutdown would be reported as a leak.
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &visitor{shop: s, client: &http.Client{Jar: jar, Transport: &checkedTransport{s.t, transport}, Timeout: time.Minute}, from: newAddress()}
}

// newAddress returns an address that no other visitor of any test has: they share a Redis.
func newAddress() string {
	id := uuid.New()
	return fmt.Sprintf("2001:db8:%x:%x::1", id[0:2], id[2:4])
}

// reply is an answer that was read to its end.
type reply struct {
	t      testing.TB
	what   string
	status int
	header http.Header
	body   []byte
	closes bool // the answer said Connection: close; the client takes that header out
}

// do sends a request. A body that is not a string or nil is sent as JSON; header is name, value, name, value …
func (v *visitor) do(method, path string, body any, header ...string) reply {
	v.shop.t.Helper()
	r, err := v.try(method, path, body, header...)
	if err != nil {
		v.shop.t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

func (v *visitor) try(method, path string, body any, header ...string) (reply, error) {
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			return reply{}, err
		}
		reader = bytes.NewReader(raw)
	}
	// Not the test's context: requests are also made in clean-ups.
	req, err := http.NewRequestWithContext(context.Background(), method, v.shop.url+path, reader)
	if err != nil {
		return reply{}, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("X-Forwarded-For", v.from)
	if v.agent != "" {
		req.Header.Set("User-Agent", v.agent)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := v.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return reply{v.shop.t, method + " " + path, resp.StatusCode, resp.Header, raw, resp.Close}, err
}

// want checks the status and decodes the body into out, unless that is nil.
func (r reply) want(status int, out any) reply {
	r.t.Helper()
	if r.status != status {
		r.t.Fatalf("%s: got status %d, want %d; body: %s", r.what, r.status, status, r.body)
	}
	if out != nil {
		if err := json.Unmarshal(r.body, out); err != nil {
			r.t.Fatalf("%s: decode %s: %v", r.what, r.body, err)
		}
	}
	return r
}

// problem checks that the answer is this kind of problem and returns it.
func (r reply) problem(status int, code string) app.Problem {
	r.t.Helper()
	var p app.Problem
	r.want(status, &p)
	if got := r.header.Get("Content-Type"); got != "application/problem+json" {
		r.t.Errorf("%s: got Content-Type %q, want application/problem+json", r.what, got)
	}
	if p.Code != code || p.Type != "/problems/"+code || p.Status != status {
		r.t.Errorf("%s: got code %q, type %q, status %d, want %q; body: %s", r.what, p.Code, p.Type, p.Status, code, r.body)
	}
	if p.RequestID == "" || p.RequestID != r.header.Get("X-Request-Id") {
		r.t.Errorf("%s: got request_id %q, want that of the header, %q", r.what, p.RequestID, r.header.Get("X-Request-Id"))
	}
	if status == http.StatusServiceUnavailable && r.header.Get("Retry-After") == "" {
		r.t.Errorf("%s: 503 without Retry-After", r.what)
	}
	return p
}

func (v *visitor) add(sku string, quantity int) app.Cart {
	v.shop.t.Helper()
	var c app.Cart
	v.do("POST", "/v1/cart/items", map[string]any{"sku": sku, "quantity": quantity}).want(http.StatusOK, &c)
	return c
}

func (v *visitor) cart() app.Cart {
	v.shop.t.Helper()
	var c app.Cart
	v.do("GET", "/v1/cart", nil).want(http.StatusOK, &c)
	return c
}

// buy checks out with a key and a token, for a new address where email is "".
func (v *visitor) buy(key, token, email string) reply {
	v.shop.t.Helper()
	if email == "" {
		email = key + "@example.com"
	}
	return v.do("POST", "/v1/checkout", map[string]any{"email": email, "payment_token": token}, "Idempotency-Key", key)
}

// one runs a query for a single value.
func one[T any](s *shop, query string, args ...any) T {
	s.t.Helper()
	var v T
	if err := s.pool.QueryRow(context.Background(), query, args...).Scan(&v); err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
	return v
}

func (s *shop) units(sku string) int {
	s.t.Helper()
	return one[int](s, "SELECT available FROM stock JOIN sku ON sku.id = sku_id WHERE code = $1", sku)
}
