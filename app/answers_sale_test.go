package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// E1: a sale starts at its instant by the database's clock, even when
// PostgreSQL is away then and our clock is hours wrong; and no shared cache
// keeps the old price beyond it.
func TestAnswersChangeAtTheStartOfASale(t *testing.T) {
	t.Parallel()
	for _, offset := range []time.Duration{0, 7 * time.Hour, -7 * time.Hour} {
		t.Run(offset.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				begins := time.Now().Add(time.Minute)
				shelf := &shelfOf{price: 100, offset: offset, sale: begins.Add(offset)}
				cache := shelf.cache()
				read(t, cache)
				time.Sleep(50 * time.Second)
				shelf.now(func(s *shelfOf) { s.err = errors.New("connection refused") })
				time.Sleep(time.Until(begins) - time.Millisecond)
				if got := read(t, cache); got != "100" {
					t.Errorf("got %s a moment before, want 100", got)
				}
				a, err := cache.get(t.Context(), "key", time.Now())
				if err != nil {
					t.Fatal(err)
				}
				w := httptest.NewRecorder()
				a.write(w, httptest.NewRequest(http.MethodGet, "/", nil))
				if got := w.Header().Get("Cache-Control"); got != "public, max-age=0, must-revalidate" {
					t.Errorf("got Cache-Control %q a moment before", got)
				}
				time.Sleep(time.Millisecond)
				if got := read(t, cache); got != "50" {
					t.Errorf("got %s at the start, want 50", got)
				}
			})
		})
	}
}

// E1: an edge of a sale that comes while somebody waits for PostgreSQL, or while the
// answer is on its way, is seen by them too, at the start and at the end.
func TestAnswersChangeWhileTheyAreAskedFor(t *testing.T) {
	t.Parallel()
	for name, slow := range map[string]time.Duration{"PostgreSQL answers in time": staleWait * 4 / 5, "it does not": time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				edge := time.Now().Add(time.Minute)
				shelf := &shelfOf{price: 100, sale: edge}
				cache := shelf.cache()
				read(t, cache)
				time.Sleep(time.Until(edge) - staleWait/2) // it is asked before the edge, and answers behind it
				shelf.now(func(s *shelfOf) { s.slow = slow })
				load := cache.load
				cache.load = func(ctx context.Context, key string) (loaded, error) {
					asked := time.Now()
					found, err := load(ctx, key)
					found.now = asked // the statement's now() is that of its beginning
					return found, err
				}
				if got := read(t, cache); got != "50" {
					t.Errorf("got %s behind the edge, want 50", got)
				}
				if got := read(t, cache); got != "50" {
					t.Errorf("got %s the next time, want 50", got)
				}
				time.Sleep(loadTimeout) // what hangs, ends
			})
		})
	}
}

// S3: an answer and the time for which others may keep it are never older than a
// second together, whatever is heard of and on which side of a sale's edge.
func TestAnswersInSharedCaches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		edge := time.Now().Add(3 * time.Second)
		shelf := &shelfOf{price: 100, sale: edge}
		cache := shelf.cache()
		for time.Since(edge) < 3*time.Second {
			a, err := cache.get(t.Context(), "key", time.Now())
			if err != nil {
				t.Fatal(err)
			}
			w := httptest.NewRecorder()
			a.write(w, httptest.NewRequest(http.MethodGet, "/", nil))
			var kept int
			if _, err := fmt.Sscanf(w.Header().Get("Cache-Control"), "public, max-age=%d, must-revalidate", &kept); err != nil {
				t.Fatalf("Cache-Control %q: %v", w.Header().Get("Cache-Control"), err)
			}
			if age := time.Since(a.loadedAt) + time.Duration(kept)*time.Second; age > time.Second {
				t.Fatalf("%v from the edge an answer may be shown when it is %v old", time.Since(edge), age)
			}
			if want := map[bool]string{true: "50", false: "100"}[!time.Now().Before(edge)]; w.Body.String() != want {
				t.Fatalf("%v from the edge: got %s, want %s", time.Since(edge), w.Body, want)
			}
			w = httptest.NewRecorder()
			again := httptest.NewRequest(http.MethodGet, "/", nil)
			again.Header["If-None-Match"] = a.etag
			if a.write(w, again); w.Code != http.StatusNotModified {
				t.Fatalf("who asks again is answered %d, want 304", w.Code)
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
}
