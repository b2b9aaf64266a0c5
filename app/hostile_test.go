package app_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"doorbuster/app"
)

// shut holds up whatever reads the catalogue for strangers, and nothing that an
// order needs. It returns what lets it go on.
func (s *shop) shut() (release func()) {
	s.t.Helper()
	tx, err := s.pool.Begin(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := tx.Exec(s.t.Context(), "LOCK TABLE category IN ACCESS EXCLUSIVE MODE"); err != nil {
		s.t.Fatal(err)
	}
	release = sync.OnceFunc(func() { tx.Rollback(context.Background()) })
	s.t.Cleanup(release)
	return release
}

// crowd asks for things that nobody has asked for before, again and again, until
// it is ended. Each is turned away or waits.
func (s *shop) crowd(paths ...func(i int) string) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for n := range 40 {
		wg.Go(func() {
			client := s.visitor().client
			for i := 0; ctx.Err() == nil; i++ {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+paths[n%len(paths)](1000*n+i), nil)
				if err != nil {
					s.t.Error(err)
					return
				}
				if resp, err := client.Do(req); err == nil {
					resp.Body.Close()
				}
			}
		})
	}
	end = sync.OnceFunc(func() { cancel(); wg.Wait() })
	s.t.Cleanup(end)
	return end
}

// The ways in which a stranger asks for what no cache holds.
func newSearch(i int) string   { return fmt.Sprintf("/v1/products?q=thing+-x%d", i) }
func newSlug(i int) string     { return fmt.Sprintf("/v1/products/nothing-%d", i) }
func newPage(i int) string     { return fmt.Sprintf("/v1/products?limit=%d", 1+i%99) }
func newCategory(i int) string { return fmt.Sprintf("/v1/products?category=plain&limit=%d", 1+i%99) }

// D1: whatever strangers read, and however long it takes, an order finds its
// connections, for any number of them; and what is in memory is served.
func TestReadersKeepNoOrderWaiting(t *testing.T) {
	t.Parallel()
	for _, connections := range []int32{2, 3, 4, 10} {
		t.Run(fmt.Sprint(connections), func(t *testing.T) {
			t.Parallel()
			s := open(t, func(c *app.Config) { c.MaxConns = connections })
			v := s.visitor()
			for range 2 {
				v.do("GET", "/v1/products/kettle", nil).want(http.StatusOK, nil)
				v.do("GET", "/v1/products", nil).want(http.StatusOK, nil)
				v.do("GET", "/v1/categories", nil).want(http.StatusOK, nil)
			}
			release := s.shut()
			end := s.crowd(newSearch, newSlug, newPage, newCategory)
			s.until("strangers hold all places that they can have", func() bool {
				return s.ofClass("postgres_connections_in_use", "catalogue") > 0 && s.gate("shop_waiting_requests", "catalogue") > 0
			})
			for i := range 3 {
				buyer := s.visitor()
				buyer.add(kettle, 1)
				buyer.buy(fmt.Sprintf("order-%d-of-%d", i, connections), "tok_ok", "").want(http.StatusCreated, nil)
			}
			for _, path := range []string{"/v1/products/kettle", "/v1/products", "/v1/categories"} {
				v.do("GET", path, nil).want(http.StatusOK, nil)
			}
			s.until("strangers are turned away", func() bool { return s.gate("shop_turned_away_total", "catalogue") > 0 })
			v.do("GET", "/v1/products/last-ten", nil).problem(http.StatusServiceUnavailable, "unavailable") // PostgreSQL answers nobody
			end()
			release()
			v.eventually(http.StatusOK, "GET", "/v1/products/last-ten", nil)
		})
	}
}

// A client that hangs up costs no query: it is cancelled in PostgreSQL, and the
// connection is kept. One that began before and is waited for goes on, so it was
// no time limit that ended it.
func TestAbandonedReadIsCancelled(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{
		"search": "/v1/products?q=kettle", "page": "/v1/products?limit=7", "category": "/v1/products?category=plain", "product": "/v1/products/kettle",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, func(c *app.Config) { c.MaxConns = 15 }) // three for the catalogue
			s.visitor().do("GET", "/v1/categories", nil).want(http.StatusOK, nil)
			s.shut()
			waited := s.ask(t.Context(), "/v1/products/shirt")
			kept := s.reader()
			ctx, hangUp := context.WithCancel(t.Context())
			abandoned := s.ask(ctx, path)
			var pid int32
			s.until("the second query waits", func() bool {
				pid = s.reader(kept)
				return pid != 0
			})
			hangUp()
			<-abandoned
			s.until("the query of the client that hung up is cancelled", func() bool { return s.reader(kept) == 0 })
			if s.reader() != kept {
				t.Error("a query that is waited for has ended, too")
			}
			s.until("its connection is free again", func() bool {
				state := one[string](s, "SELECT coalesce((SELECT state FROM pg_stat_activity WHERE pid = $1), 'gone')", pid)
				if state == "gone" {
					t.Fatal("its connection was given up")
				}
				return state == "idle"
			})
			s.t.Cleanup(func() { <-waited })
		})
	}
}

// ask sends a request whose answer does not matter. What it returns is closed when
// it is over.
func (s *shop) ask(ctx context.Context, path string) <-chan struct{} {
	s.t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	client, over := s.visitor().client, make(chan struct{})
	go func() {
		defer close(over)
		if resp, err := client.Do(req); err == nil {
			resp.Body.Close()
		}
	}()
	if ctx == s.t.Context() {
		s.until("the query waits", func() bool { return s.reader() != 0 })
	}
	return over
}

// reader is the process of PostgreSQL that reads the catalogue for somebody and
// waits for a lock; 0: there is none besides the ones given.
func (s *shop) reader(besides ...int32) int32 {
	s.t.Helper()
	const find = `SELECT coalesce(min(pid), 0) FROM pg_stat_activity
 WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '-- name: catalog.%' AND NOT pid = ANY ($1)`
	return one[int32](s, find, append([]int32{}, besides...))
}

// A crawler that reads every page once, or twice, leaves the front pages where
// they are: they are served while PostgreSQL can't be asked.
func TestCrawlerLeavesTheFrontPages(t *testing.T) {
	t.Parallel()
	s := open(t)
	v := s.visitor()
	front := []string{"/v1/products", "/v1/products?category=plain", "/v1/products?category=special", "/v1/products?limit=20", "/v1/products/kettle"}
	for _, path := range front {
		v.do("GET", path, nil).want(http.StatusOK, nil)
	}
	v.do("GET", "/v1/products/kettle", nil).want(http.StatusOK, nil)
	for i := range app.ListCacheSize + 20 {
		for range 2 {
			v.do("GET", newSearch(i), nil).want(http.StatusOK, nil)
			v.do("GET", newPage(i), nil).want(http.StatusOK, nil)
		}
	}
	s.shut()
	for _, path := range front {
		v.do("GET", path, nil).want(http.StatusOK, nil)
	}
	v.do("GET", "/v1/products?q=never+asked", nil).problem(http.StatusServiceUnavailable, "unavailable")
}

// Names that somebody made up are not looked for again within a second, and a
// category's not at all: all of them are in memory.
func TestMadeUpNamesAreRemembered(t *testing.T) {
	t.Parallel()
	s := open(t)
	v := s.visitor()
	v.do("GET", "/v1/categories", nil).want(http.StatusOK, nil)
	s.until("the listener has come", s.app.Listens) // or the categories are read twice a second
	before := s.app.CatalogueAcquires()
	for i := range 50 {
		v.do("GET", fmt.Sprintf("/v1/products?category=nonsense-%d", i), nil).problem(http.StatusNotFound, "not-found")
	}
	if n := s.app.CatalogueAcquires() - before; n > 5 { // the categories themselves grow old
		t.Errorf("PostgreSQL was asked %d times for 50 made-up categories", n)
	}
	// A name of which it is known that it does not exist is on the shelf the moment it is told of.
	v.do("GET", "/v1/products/new-thing", nil).problem(http.StatusNotFound, "not-found")
	_, err := s.pool.Exec(t.Context(), `WITH p AS (INSERT INTO product (category_id, slug, name, description)
  SELECT id, 'new-thing', 'New Thing', '' FROM category LIMIT 1 RETURNING id)
INSERT INTO sku (product_id, code, name, position, currency, list_price_minor) SELECT id, 'NEW-THING', 'Standard', 0, 'USD', 100 FROM p`)
	if err != nil {
		t.Fatal(err)
	}
	s.until("the new product is there", func() bool {
		return v.do("GET", "/v1/products/new-thing", nil).status == http.StatusOK
	})
	v.add("NEW-THING", 1)
}
