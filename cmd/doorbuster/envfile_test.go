//go:build unix

package main_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"doorbuster/app/dbtest"
	"doorbuster/cluster"
)

// A reload brings what is in ENV_FILE by then: the address of the database, say.
func TestEnvFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(shortTempDir(t), "environment")
	write := func(lines ...string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old, fresh := dbtest.Database(t), catalogue(t)
	write("# the shop", "DATABASE_URL='"+old+"'")
	s := openShop(t, "DATABASE_URL=", "ENV_FILE="+file)
	const product = "/v1/products/aurora-55-oled-tv"
	if code, body := get(t, stranger(), "GET", s.url(product), ""); code != http.StatusNotFound {
		t.Errorf("got %d: %s", code, body)
	}
	write("# the shop", `DATABASE_URL="`+strings.TrimPrefix(fresh, "DATABASE_URL=")+`"`)
	s.reload()
	if code, body := get(t, stranger(), "GET", s.url(product), ""); code != http.StatusOK {
		t.Errorf("after the reload: got %d: %s", code, body)
	}
	write("DATABASE_URL='never ends")
	verdict := new(cluster.VerdictError)
	if err := s.client.Reload(t.Context(), nil); !errors.As(err, &verdict) || !strings.Contains(verdict.Reason, "line 1: the quotation by ' has no end") {
		t.Errorf("a damaged file: %v", err)
	}
	s.close()
}
