package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"doorbuster/loadtest/internal/shop"
)

// open starts the databases and fills them, or skips the test where there is no k6.
func open(t *testing.T) (*shop.Shop, string) {
	t.Helper()
	if os.Getenv("K6") == "" {
		t.Skip("K6=../../bin/k6 names a k6 program, which \"make bin/k6\" builds, and runs this")
	}
	bin := filepath.Join(t.TempDir(), "doorbuster")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "../../cmd/doorbuster").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s, err := shop.Open(t.Context(), bin, 100, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.Background()) })
	t.Setenv("DATABASE_URL", s.Stack.Postgres.URL())
	t.Setenv("REDIS_URL", s.Stack.Redis.URL())
	for name, value := range map[string]string{"BUYERS": strconv.Itoa(buyers), "PREPARE": "4", "BROWSE": "10", "SKU": hotSKU} {
		t.Setenv(name, value)
	}
	return s, bin
}

const (
	hotSKU = "AURORA-55-OLED"
	buyers = 60
	units  = 40
	// which the books don't know of
	surplus = 7
)

// The sale passes for a shop that is in order, and fails for one that is slow, one whose books are wrong, and one that drops
// requests, by the limit that is meant for it.
func TestSale(t *testing.T) { //nolint:paralleltest // k6 reads the process's variables
	s, bin := open(t)
	for _, c := range []struct {
		name    string
		env     []string // of the shop
		corrupt string   // the books, while the sale is on
		drops   bool
		want    string // of the error; "": none
		broken  string // a limit that is
	}{
		{name: "in order"},
		{
			name: "slow", env: []string{"PAYMENT_LATENCY=2500ms"},
			want: "a limit of the sale was broken", broken: "http_req_duration{name:checkout}",
		},
		{
			name: "oversells", want: "the audit has found something",
			corrupt: "UPDATE stock SET available = available + " + strconv.Itoa(surplus) + " WHERE sku_id = (SELECT id FROM sku WHERE code = '" + hotSKU + "')",
		},
		{
			name: "drops requests", drops: true,
			want: "a limit of the sale was broken", broken: "sale_cut",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			deliver(t, s)
			if err := s.With(t.Context(), shop.Setup{Command: "serve", Env: append([]string{"WORKERS=2", "PLAIN_HTTP=true"}, c.env...)}, func(srv *shop.Server) error {
				admin, err := srv.Await(t.Context(), "admin address", 1)
				if err != nil {
					return err
				}
				if c.corrupt != "" {
					if _, err := s.DB.Exec(t.Context(), c.corrupt); err != nil {
						return err
					}
				}
				addr := "http://" + srv.Addr
				if c.drops {
					addr = dropper(t, addr)
				}
				var out strings.Builder
				dir := t.TempDir()
				sale := sale{
					out: &out, log: &out, k6: os.Getenv("K6"), bin: bin, script: "../midnight-sale.js", dir: dir,
					shop: addr, admin: "http://" + admin[0].Addr, database: true,
				}
				err = sale.hold(t.Context())
				if c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != c.want) {
					t.Errorf("got %v, want %q\n%s", err, c.want, out.String())
				}
				told := check(t, dir, c.broken)
				sold := units
				if c.corrupt != "" {
					sold += surplus
				}
				if !c.drops && (told.Orders != sold || told.SoldOut != buyers-sold || told.Failed != 0 || told.Undecided != 0) {
					t.Errorf("%d buyers, %d units: %+v", buyers, sold, told)
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
			if c.corrupt != "" { // what was too many is put on record
				if _, err := s.DB.Exec(t.Context(), "INSERT INTO stock_receipt (sku_id, quantity, note) SELECT id, $2, 'found' FROM sku WHERE code = $1", hotSKU, surplus); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// deliver makes the shelf hold as many units as the test wants, with a receipt.
func deliver(t *testing.T, s *shop.Shop) {
	t.Helper()
	const put = `WITH missing AS (SELECT id, $2 - available AS n FROM stock JOIN sku ON id = sku_id WHERE code = $1),
receipt AS (INSERT INTO stock_receipt (sku_id, quantity, note) SELECT id, n, 'test' FROM missing WHERE n <> 0)
UPDATE stock SET available = available + n FROM missing WHERE sku_id = id`
	if _, err := s.DB.Exec(t.Context(), put, hotSKU, units); err != nil {
		t.Fatal(err)
	}
}

// check reads what k6 has left.
func check(t *testing.T, dir, broken string) summary {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "summary.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s summary
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	if found := strings.Join(s.Broken, "; "); broken == "" && found != "" || !strings.Contains(found, broken) {
		t.Errorf("beyond the limits: %q, want %q", found, broken)
	}
	report, err := os.ReadFile(filepath.Join(dir, reportFile))
	if err != nil || !strings.Contains(string(report), "<html") {
		t.Errorf("the report is %d bytes, %v", len(report), err)
	}
	return s
}

// dropper stands before the shop and cuts the connection of every fifth checkout, after the shop has done it: the worst kind.
func dropper(t *testing.T, shop string) string {
	t.Helper()
	target, err := url.Parse(shop)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	var checkouts atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/checkout" && checkouts.Add(1)%5 == 0 {
			proxy.ServeHTTP(discard{http.Header{}}, r)
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// discard is an answer that nobody gets.
type discard struct{ header http.Header }

func (d discard) Header() http.Header       { return d.header }
func (discard) Write(b []byte) (int, error) { return io.Discard.Write(b) }
func (discard) WriteHeader(int)             {}
