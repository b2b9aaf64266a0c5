//go:build unix

package devstack

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// archive is what a release for one platform holds, in small: bin/postgres and bin/initdb, which only say
// "postgres (PostgreSQL) 17.5", as .tar.xz. (Go has no compressor for xz.)
const archive = `
/Td6WFoAAAFpIt42AgAhARwAAAAQz1jM4Cf/AJpdADEaShsJm84iHsbLRwPoGC75j1TR0bLwgHrZQah4q5kOCk1Lotwx8u+Lx60T
xBADlN2SrIMJfX8GMrEycr4RhY60QJLhU1uIXUuXrTiUaOa1lqyoPaUlFYwCY2wOf/Ei2xZBQ1sDhcNhV9jjMLOrA0Z9OChHt21w
TAeLrAj55DqQZ+5bZbS4a3gzmTjNAb5ekTBqi+P64MyBcaAAAACiGdOcAAGyAYBQAACY19IoPjANiwIAAAAAAVla
`

// repository is a Maven repository with one release, the one that is asked for.
func repository(t *testing.T, damage func([]byte) []byte) (url string, downloads *atomic.Int32) {
	t.Helper()
	txz, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(archive, "\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	var jar bytes.Buffer
	z := zip.NewWriter(&jar)
	w, err := z.Create("postgres-platform.txz")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(txz); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(jar.Bytes())
	downloads = new(atomic.Int32)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, ".jar.sha256"):
			_, _ = w.Write([]byte(hex.EncodeToString(sum[:])))
		case strings.HasSuffix(r.URL.Path, ".jar") && strings.Contains(r.URL.Path, string(fetchVersion)):
			downloads.Add(1)
			_, _ = w.Write(damage(jar.Bytes()))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(func() {
		s.Close()
		http.DefaultClient.CloseIdleConnections() // the library's, which goleak would find
	})
	return s.URL, downloads
}

func whole(b []byte) []byte { return b }

func TestFetchUnpacksOnceIntoTheCache(t *testing.T) {
	t.Parallel()
	url, downloads := repository(t, whole)
	cache := filepath.Join(t.TempDir(), "cache")
	var said []string
	for range 2 {
		bin, err := fetch(t.Context(), url, cache, func(msg string) { said = append(said, msg) })
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"postgres", "initdb"} {
			info, err := os.Stat(filepath.Join(bin, name))
			if err != nil || info.Mode().Perm() != 0o755 {
				t.Errorf("%s: got %v, %v, want an executable", name, info, err)
			}
		}
	}
	if got := downloads.Load(); got != 1 || len(said) != 1 {
		t.Errorf("got %d downloads and progress %q, want one", got, said)
	}
	checkEntries(t, cache, 1)
}

func TestFetchRefusesDamage(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func([]byte) []byte{
		"cut":     func(b []byte) []byte { return b[:len(b)/2] },
		"changed": func(b []byte) []byte { return append(bytes.Clone(b), 'x') },
	} {
		url, _ := repository(t, damage)
		cache := t.TempDir()
		if _, err := fetch(t.Context(), url, cache, func(string) {}); err == nil {
			t.Errorf("%s: got no error", name)
		}
		checkEntries(t, cache, 0)
	}
}

// checkEntries wants so many entries in dir: nothing half unpacked may stay.
func checkEntries(t *testing.T, dir string, want int) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != want {
		t.Errorf("%s: got %v, %v, want %d entries", dir, entries, err, want)
	}
}
