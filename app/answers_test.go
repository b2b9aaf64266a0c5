package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"doorbuster/app/catalog"
)

// shelfOf is a catalogue for one answer, in virtual time.
type shelfOf struct {
	mu      sync.Mutex
	price   int           // what PostgreSQL says now
	err     error         // what it fails with, if it does
	slow    time.Duration // how long it takes
	offset  time.Duration // its clock minus ours
	sale    time.Time     // when the price halves, by its clock; zero: never
	queries int
	news    news
}

func (s *shelfOf) cache() *answerCache {
	return newAnswerCache(cacheConfig{size: 10, gate: newMissGate(2, missPatience), news: &s.news, log: slog.New(slog.DiscardHandler), load: s.load})
}

func (s *shelfOf) load(ctx context.Context, _ string) (loaded, error) {
	s.mu.Lock()
	s.queries++
	price, sale, slow, offset, err := s.price, s.sale, s.slow, s.offset, s.err
	s.mu.Unlock()
	if slow > 0 {
		select {
		case <-time.After(slow):
		case <-ctx.Done():
			return loaded{}, context.Cause(ctx)
		}
	}
	if err != nil {
		return loaded{}, err
	}
	return loaded{now: time.Now().Add(offset), render: func(now time.Time) ([]byte, string, time.Time, error) {
		if sale.IsZero() || now.Before(sale) {
			return fmt.Append(nil, price), "", sale, nil
		}
		return fmt.Append(nil, price/2), "", time.Time{}, nil
	}}, nil
}

// now changes the shelf and forgets how often it was asked; it returns how often that was.
func (s *shelfOf) now(change func(*shelfOf)) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	queries := s.queries
	s.queries = 0
	change(s)
	return queries
}

func unchanged(*shelfOf) {}

func read(t *testing.T, c *answerCache) string {
	t.Helper()
	a, err := c.get(t.Context(), "key", time.Now())
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	return string(a.body)
}

// S3: what PostgreSQL says is seen within a second, however often it is asked for; and it is not asked every time.
func TestAnswersAreFresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shelf := &shelfOf{price: 100}
		cache := shelf.cache()
		changed, since, queries := 100, time.Now(), 0
		for i := range 10_000 {
			time.Sleep(time.Millisecond) // virtual
			if i%1700 == 0 {
				changed, since = i, time.Now()
				queries += shelf.now(func(s *shelfOf) { s.price = i })
			}
			if got := read(t, cache); got != fmt.Sprint(changed) && time.Since(since) > time.Second {
				t.Fatalf("got %s, want %d: it changed %v ago", got, changed, time.Since(since))
			}
		}
		if queries += shelf.now(unchanged); queries > 25 {
			t.Errorf("PostgreSQL was asked %d times in 10 s, want about 20", queries)
		}
	})
}

// S3: while all that happens is heard of, PostgreSQL is asked when there is news, and every ten seconds. News of the catalogue
// count at once; those of shelves, of which there are many on the night, every half second. Without trust in what is
// heard it is asked as if nothing were.
func TestAnswersFollowTheNews(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shelf := &shelfOf{price: 100}
		cache := shelf.cache()
		trust := func(d time.Duration) {
			until := time.Now().Add(d)
			shelf.news.trusted.Store(&until)
		}
		asks := func(what string, during time.Duration, want int, each func()) {
			t.Helper()
			shelf.now(unchanged)
			for end := time.Now().Add(during); time.Now().Before(end); {
				if each != nil {
					each()
				}
				read(t, cache)
				time.Sleep(10 * time.Millisecond) // virtual
			}
			if n := shelf.now(unchanged); n != want {
				t.Errorf("%s PostgreSQL was asked %d times in %v, want %d", what, n, during, want)
			}
		}
		trust(time.Hour)
		read(t, cache)
		asks("without news", 9*time.Second, 0, nil)
		asks("after ten seconds", 2*time.Second, 1, nil)
		shelf.now(func(s *shelfOf) { s.price = 200 })
		shelf.news.catalogue.Add(1)
		if got := read(t, cache); got != "200" {
			t.Errorf("got %s after news of the catalogue", got)
		}
		asks("with news of shelves all the time", 5*time.Second, 9, func() { shelf.news.stock.Add(1) })
		trust(-time.Second)
		asks("without trust", 5*time.Second, 10, nil)
	})
}

// One request asks, the others wait for its answer.
func TestAnswersAreAskedForOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shelf := &shelfOf{price: 100, slow: 100 * time.Millisecond}
		cache := shelf.cache()
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { read(t, cache) })
		}
		wg.Wait()
		if n := shelf.now(unchanged); n != 1 {
			t.Errorf("PostgreSQL was asked %d times, want once", n)
		}
	})
}

// S4: while PostgreSQL is away the last answer serves on, for ten minutes; no request waits long for it, and it is asked
// again about once a second; when it is back, so is the truth.
func TestAnswersOutliveAnOutage(t *testing.T) {
	t.Parallel()
	for name, down := range map[string]func(*shelfOf){
		"refuses": func(s *shelfOf) { s.err = errors.New("connection refused") },
		"hangs":   func(s *shelfOf) { s.slow = time.Hour },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				shelf := &shelfOf{price: 100}
				cache := shelf.cache()
				read(t, cache)
				shelf.now(down)
				began := time.Now()
				var waited time.Duration
				for time.Since(began) < staleFor-5*time.Second {
					time.Sleep(10 * time.Millisecond)
					before := time.Now()
					if got := read(t, cache); got != "100" {
						t.Fatalf("got %s after %v", got, time.Since(began))
					}
					waited = max(waited, time.Since(before))
				}
				if waited > staleWait {
					t.Errorf("a request waited for %v, want %v at most", waited, staleWait)
				}
				if perSecond := float64(shelf.now(unchanged)) / time.Since(began).Seconds(); perSecond > 1 {
					t.Errorf("PostgreSQL was asked %.2f times a second, want 1 at most", perSecond)
				}
				time.Sleep(10 * time.Second)
				if a, err := cache.get(t.Context(), "key", time.Now()); err == nil {
					t.Errorf("got %s after %v, want an error", a.body, time.Since(began))
				}
				shelf.now(func(s *shelfOf) { s.err, s.slow, s.price = nil, 0, 200 })
				time.Sleep(loadTimeout + retryAfterFailure) // what hangs, ends
				if got := read(t, cache); got != "200" {
					t.Errorf("got %s when it is back, want 200", got)
				}
			})
		})
	}
}

// W8: a panic while an answer is loaded fails its requests, not the worker: it happens in a goroutine of its own.
func TestAnswersSurviveAPanic(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	cache := newAnswerCache(cacheConfig{
		size: 10, gate: newMissGate(1, missPatience), news: new(news), log: slog.New(slog.NewTextHandler(&log, nil)),
		load: func(context.Context, string) (loaded, error) { panic("kettle exploded") },
	})
	for range 2 {
		if _, err := cache.get(t.Context(), "key", time.Now()); !errors.Is(err, errPanicked) {
			t.Errorf("got %v, want errPanicked", err)
		}
	}
	if !strings.Contains(log.String(), "kettle exploded") || !strings.Contains(log.String(), "answers_test.go") {
		t.Errorf("the log has no panic with its stack: %s", &log)
	}
}

// What is no longer in the catalogue is not served from memory.
func TestAnswersForgetWhatIsGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shelf := &shelfOf{price: 100}
		cache := shelf.cache()
		read(t, cache)
		shelf.now(func(s *shelfOf) { s.err = fmt.Errorf("product: %w", catalog.ErrNotFound) })
		time.Sleep(freshFor)
		if _, err := cache.get(t.Context(), "key", time.Now()); !errors.Is(err, catalog.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
		shelf.now(func(s *shelfOf) { s.err = errors.New("connection refused") })
		if _, err := cache.get(t.Context(), "key", time.Now()); err == nil {
			t.Error("it was still in memory")
		}
	})
}

// A question that nobody waits for any more is called off, and only then: while
// one still waits it goes on. Who comes after that asks anew.
func TestAnswersThatNobodyWaitsFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shelf := &shelfOf{price: 100, slow: time.Second}
		cache := shelf.cache()
		ended := make(chan error, 10)
		load := cache.load
		cache.load = func(ctx context.Context, key string) (loaded, error) {
			found, err := load(ctx, key)
			ended <- err
			return found, err
		}
		first, firstGoes := context.WithCancel(t.Context())
		second, secondGoes := context.WithCancel(t.Context())
		defer secondGoes()
		for _, ctx := range []context.Context{first, second} {
			go cache.get(ctx, "key", time.Now())
		}
		synctest.Wait()
		firstGoes()
		synctest.Wait()
		if len(ended) != 0 {
			t.Fatalf("it ended with %v while somebody waited", <-ended)
		}
		secondGoes()
		synctest.Wait() // no time passes
		if len(ended) != 1 {
			t.Fatal("it goes on for nobody")
		}
		if err := <-ended; !errors.Is(err, errAbandoned) {
			t.Errorf("it ended with %v", err)
		}
		if got := read(t, cache); got != "100" {
			t.Errorf("who comes then is told %s", got)
		}
		if n := shelf.now(unchanged); n != 2 {
			t.Errorf("PostgreSQL was asked %d times, want twice", n)
		}
	})
}

// Who is given the old answer has not gone: the question goes on, and its answer
// is there for whoever asks next.
func TestAnswersThatAreLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shelf := &shelfOf{price: 100}
		cache := shelf.cache()
		read(t, cache)
		shelf.now(func(s *shelfOf) { s.price, s.slow = 200, staleWait+freshFor/4 })
		time.Sleep(freshFor)
		if got := read(t, cache); got != "100" {
			t.Errorf("got %s while PostgreSQL is slow", got)
		}
		time.Sleep(freshFor / 4)
		synctest.Wait()
		if got := read(t, cache); got != "200" {
			t.Errorf("got %s afterwards", got)
		}
		if n := shelf.now(unchanged); n != 1 {
			t.Errorf("PostgreSQL was asked %d times, want once", n)
		}
	})
}

// That there is nothing is remembered for a second, whether that is an error or
// an empty list, and forgotten at once when the catalogue changes. What is
// remembered is bounded.
func TestAnswersRememberNothing(t *testing.T) {
	t.Parallel()
	for name, empty := range map[string]bool{"no such product": false, "no result": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				shelf := new(shelfOf)
				cache := shelf.cache()
				load := cache.load
				cache.load = func(ctx context.Context, key string) (loaded, error) {
					found, err := load(ctx, key)
					if found.empty = empty; !empty {
						err = fmt.Errorf("product %q: %w", key, catalog.ErrNotFound)
					}
					return found, err
				}
				ask := func(key string) {
					t.Helper()
					if _, err := cache.get(t.Context(), key, time.Now()); errors.Is(err, catalog.ErrNotFound) == empty {
						t.Fatalf("got %v", err)
					}
				}
				asked := func(what string, want int) {
					t.Helper()
					if n := shelf.now(unchanged); n != want {
						t.Errorf("%s PostgreSQL was asked %d times, want %d", what, n, want)
					}
				}
				for range 1000 {
					ask("lamp")
					time.Sleep(absentFor/1000 - 1)
				}
				asked("within a second", 1)
				time.Sleep(time.Millisecond)
				ask("lamp")
				asked("after a second", 1)
				shelf.news.catalogue.Add(1)
				ask("lamp")
				asked("after news", 1)
				for i := range 3 * absentSize {
					ask(fmt.Sprint(i))
				}
				if n := cache.absent.Len() + cache.entries.Len() + cache.recent.Len(); n > absentSize {
					t.Errorf("%d absences are remembered", n)
				}
			})
		})
	}
}

// What is asked for again and again stays, whatever a crawler asks for once.
func TestAnswersOutliveACrawler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shelf := &shelfOf{price: 100}
		until := time.Now().Add(time.Hour)
		shelf.news.trusted.Store(&until)
		cache := shelf.cache()
		read(t, cache)
		read(t, cache)
		for i := range 1000 {
			if _, err := cache.get(t.Context(), fmt.Sprint("page ", i), time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		shelf.now(unchanged)
		read(t, cache)
		if n := shelf.now(unchanged); n != 0 {
			t.Error("the crawler has pushed it out")
		}
		if n := cache.entries.Len() + cache.recent.Len(); n > cache.size {
			t.Errorf("%d answers are kept, and there is room for %d", n, cache.size)
		}
	})
}
