//go:build unix

package devstack

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// With a umask of 077 nobody but root could enter what root makes. The umask is
// the whole process's, so this test runs alone: it is not parallel.
func TestUmaskThatHidesEverything(t *testing.T) {
	before := syscall.Umask(0o077)
	defer syscall.Umask(before)
	top, err := os.MkdirTemp("", "devstack-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(top)
	if err := os.Chmod(top, 0o755); err != nil {
		t.Fatal(err)
	}

	t.Run("kept data", func(t *testing.T) {
		p, err := StartPostgres(t.Context(), Options{Dir: filepath.Join(top, "new", "data")})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})

	t.Run("downloaded programs", func(t *testing.T) {
		url, _ := repository(t, whole)
		as, err := serverAccount("")
		if err != nil {
			t.Fatal(err)
		}
		bin, err := fetch(t.Context(), url, filepath.Join(top, "new", "cache"), func(string) {})
		if err != nil {
			t.Fatal(err)
		}
		if b, err := inspect(t.Context(), bin, as); err != nil || b.version != "17.5" {
			t.Errorf("as %s: got version %q, %v, want 17.5", as, b.version, err)
		}
	})
}
