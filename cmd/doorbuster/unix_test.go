//go:build unix

package main_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// The shop serves on a Unix socket, also after a reload. Commands without
// a master refuse one in words.
func TestUnixSocketAddress(t *testing.T) {
	t.Parallel()
	path := filepath.Join(shortTempDir(t), "shop.sock")
	s := openShop(t, "ADDR=unix:"+path)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	get := func() {
		t.Helper()
		resp, err := client.Get("http://shop/v1/products")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK || err != nil {
			t.Errorf("%d %s %v", resp.StatusCode, body, err)
		}
	}
	get()
	s.reload()
	get()
	for _, command := range []string{"worker", "dev"} {
		code, _, stderr := do(t, []string{"ADDR=unix:" + path, "XDG_RUNTIME_DIR=" + shortTempDir(t), "DATABASE_URL=postgres://nobody@localhost/none", "REDIS_URL=redis://localhost:1"}, command)
		if code == 0 || !strings.Contains(stderr, "takes a master") {
			t.Errorf("%s ended with %d: %s", command, code, stderr)
		}
	}
}
