package app_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"doorbuster/app"
)

// far is PostgreSQL on the other side of a network: what goes there takes a while.
type far struct {
	listener net.Listener
	delay    time.Duration
	frozen   chan struct{} // closed: nothing gets through any more
	wg       sync.WaitGroup
}

// farFrom opens a way to a database, and returns the URL by which it is reached.
func farFrom(t *testing.T, databaseURL string, delay time.Duration) (*far, string) {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	network, address := "tcp", u.Host
	if dir := u.Query().Get("host"); dir != "" {
		port := u.Query().Get("port")
		if port == "" {
			port = "5432"
		}
		network, address = "unix", dir+"/.s.PGSQL."+port
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &far{listener: listener, delay: delay, frozen: make(chan struct{})}
	over, end := context.WithCancel(context.Background())
	t.Cleanup(func() {
		end()
		listener.Close()
		f.wg.Wait()
	})
	f.wg.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			there, err := net.Dial(network, address)
			if err != nil {
				near.Close()
				continue
			}
			stop := context.AfterFunc(over, func() { near.Close(); there.Close() })
			f.wg.Go(func() { f.carry(over, there, near); there.Close() })
			f.wg.Go(func() { defer stop(); io.Copy(near, there); near.Close() })
		}
	})
	query := u.Query()
	query.Del("host")
	query.Del("port")
	query.Set("sslmode", "disable")
	u.Host, u.RawQuery = listener.Addr().String(), query.Encode()
	return f, u.String()
}

// carry copies what is asked, each time a while later.
func (f *far) carry(over context.Context, to io.Writer, from io.Reader) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		select {
		case <-f.frozen:
			<-over.Done()
			return
		case <-time.After(f.delay):
		case <-over.Done():
			return
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// A worker that says that it is ready has the front pages in memory, and the products
// on them, also where PostgreSQL is slow: the first who ask wait for nothing.
func TestWarmWorker(t *testing.T) {
	t.Parallel()
	s := open(t, func(c *app.Config) { _, c.DatabaseURL = farFrom(t, c.DatabaseURL, 20*time.Millisecond) })
	for err := s.app.Warm(t.Context()); err != nil; err = s.app.Warm(t.Context()) {
		t.Logf("the machine is too slow for the limit: %v", err)
	}
	before := s.app.NewPages() // the categories
	v := s.visitor()
	paths := []string{"/v1/categories", "/v1/products", "/v1/products?category=special", "/v1/products?category=plain", "/v1/products?limit=20", "/v1/products/kettle", "/v1/products/doorbuster"}
	for i := range 20 {
		paths = append(paths, fmt.Sprintf("/v1/products/plain-%02d", i))
	}
	for _, path := range paths {
		v.do("GET", path, nil).want(http.StatusOK, nil)
	}
	if after := s.app.NewPages(); after != before {
		t.Errorf("%d pages were not in memory", after-before)
	}
	var here, there app.ProductList
	v.do("GET", "/v1/products", nil).want(http.StatusOK, &here)
	open(t).visitor().do("GET", "/v1/products", nil).want(http.StatusOK, &there)
	if len(here.Items) != len(there.Items) || here.Items[0].Slug != there.Items[0].Slug {
		t.Errorf("got %d products and %d from a cold worker", len(here.Items), len(there.Items))
	}
	v.add(kettle, 1)
}

// A database that does not answer keeps no worker from its work, and a worker that is
// told to leave does not begin it.
func TestWarmWorkerWithoutADatabase(t *testing.T) {
	t.Parallel()
	var way *far
	s := open(t, func(c *app.Config) { way, c.DatabaseURL = farFrom(t, c.DatabaseURL, 0) })
	close(way.frozen)
	told, tell := context.WithCancel(t.Context())
	tell()
	for _, ctx := range []context.Context{t.Context(), told} { // and it returns
		if s.app.Warm(ctx) == nil {
			t.Error("Warm says that all is in memory")
		}
	}
	s.visitor().do("GET", "/livez", nil).want(http.StatusOK, nil)
}
