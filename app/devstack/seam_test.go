//go:build unix

package devstack

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// These tests are inside the package for the seams: what is on the machine, and what the network gives.

func nothingHere(context.Context) []string { return nil }

func noRedis(name string) (string, error) {
	return "", &exec.Error{Name: name, Err: exec.ErrNotFound}
}

// unreachable is a repository where nobody listens.
func unreachable(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	return s.URL
}

func TestNoPostgresIsOneClearSentence(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	repository := unreachable(t)
	for name, search := range map[string]func(context.Context) []string{
		"nothing found":     nothingHere,
		"only nonsense":     func(context.Context) []string { return []string{"/no/such/dir", cache} },
		"only an old one":   func(context.Context) []string { return []string{fakePostgres(t, "12.22")} },
		"only a broken one": func(context.Context) []string { return []string{fakePostgres(t, "")} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := finder{search: search, fetch: func(ctx context.Context, say func(string)) (string, error) {
				return fetch(ctx, repository, cache, say)
			}}
			var said []string
			_, err := startPostgres(t.Context(), Options{Progress: func(msg string) { said = append(said, msg) }}, f)
			if err == nil {
				t.Fatal("got no error")
			}
			t.Log(err)
			for _, want := range []string{
				"PostgreSQL was not found on this machine", "unable to connect to " + repository,
				"apt-get install postgresql", "brew install postgresql@17", "set DATABASE_URL",
			} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v\nwant it to contain %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("got more than one line: %v", err)
			}
			if len(said) != 1 || !strings.HasPrefix(said[0], "downloading PostgreSQL ") {
				t.Errorf("progress: got %q, want that it downloads", said)
			}
		})
	}
}

// fakePostgres is an installation of which only the version number exists. The empty version cannot even be run.
func fakePostgres(t *testing.T, version string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "devstack-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\necho 'postgres (PostgreSQL) " + version + " (Fake)'\n"
	if version == "" {
		script = "#!/no/such/interpreter\n"
	}
	for _, name := range []string{"postgres", "initdb"} {
		// The shell writes it: a file that a Go test writes and executes may be held open by a fork ("text file busy").
		cmd := exec.Command("sh", "-c", `printf '%s' "$1" > "$0" && chmod 755 "$0"`, filepath.Join(dir, name), script)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	return dir
}

func TestFindPrefersTheVersionOfTheData(t *testing.T) {
	t.Parallel()
	as, err := serverAccount("")
	if err != nil {
		t.Fatal(err)
	}
	pg17, pg16, pg15rc := fakePostgres(t, "17.5"), fakePostgres(t, "16.9"), fakePostgres(t, "15rc1")
	f := finder{search: func(context.Context) []string { return []string{"/none", pg17, pg16, pg15rc} }}
	for major, want := range map[int]string{0: "17.5", 17: "17.5", 16: "16.9", 15: "15rc1", 14: "17.5"} {
		got, err := f.find(t.Context(), as, major, nil)
		if err != nil || got.version != want {
			t.Errorf("data of version %d: got %s, %v, want %s", major, got.version, err, want)
		}
	}
}

func TestFetchOfCancelledStart(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-release
	}))
	defer s.Close()
	cache := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	if _, err := fetch(ctx, s.URL, cache, func(string) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	close(release) // the download that was left alone ends, and cleans up
	for left := 1; left > 0; {
		entries, err := os.ReadDir(cache)
		if err != nil {
			t.Fatal(err)
		}
		left = len(entries)
	}
}

func TestMiniredisWhereThereIsNoRedis(t *testing.T) {
	t.Parallel()
	r, err := startRedis(t.Context(), Options{}, noRedis)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if want := "miniredis (in this process)"; r.Kind() != want {
		t.Errorf("kind: got %q, want %q", r.Kind(), want)
	}
	if err := r.Pause(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("pause: got %v, want ErrUnsupported", err)
	}
	o, err := redis.ParseURL(r.URL())
	if err != nil {
		t.Fatal(err)
	}
	o.MaxRetries = -1
	c := redis.NewClient(o)
	defer c.Close()

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.Set(ctx, "stays", "v", time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.Set(ctx, "goes", "v", 30*time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	for c.Exists(ctx, "goes").Val() == 1 { // by itself: nobody here tells miniredis the time
		if ctx.Err() != nil {
			t.Fatal("a key with a TTL of 30ms did not expire within a minute")
		}
	}

	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	if c.Ping(ctx).Err() == nil {
		t.Error("it answers after Stop")
	}
	if err := r.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if got := c.Get(ctx, "stays").Val(); got != "v" {
		t.Errorf("after Stop and Start: got %q, want v", got)
	}
	if err := errors.Join(r.Close(), r.Close()); err != nil {
		t.Error(err)
	}
	if c.Ping(ctx).Err() == nil {
		t.Error("it answers after Close")
	}
}

func TestLineage(t *testing.T) {
	t.Parallel()
	got := lineage(10, map[int]int{11: 10, 12: 11, 13: 12, 20: 1, 21: 20, 10: 1})
	if len(got) != 3 {
		t.Errorf("got %v, want 11, 12 and 13", got)
	}
}

func TestSweepLeavesWhatIsNotItsOwn(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	used := &home{}
	inUse, err := used.makeTemp(parent, "used")
	if err != nil {
		t.Fatal(err)
	}
	defer used.close()
	left := &home{}
	leftover, err := left.makeTemp(parent, "left")
	if err != nil {
		t.Fatal(err)
	}
	left.close() // lets go of the lock; the directory stays, as when its owner was killed
	unlocked := filepath.Join(parent, tempPrefix+"just-being-made")
	if err := os.Mkdir(unlocked, 0o700); err != nil {
		t.Fatal(err)
	}
	sweep(parent, nil)
	for dir, want := range map[string]bool{inUse: true, unlocked: true, leftover: false} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s is there: got %v, want %v", filepath.Base(dir), err == nil, want)
		}
	}
}
