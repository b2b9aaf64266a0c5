package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"doorbuster/app/catalog"
)

// Time limits of cached answers. A change of the catalogue is heard of at once. Where it is not, because the connection that
// listens is away, freshFor and staleWait together keep the promise that a changed price is seen everywhere within a
// second (S3).
const (
	// freshFor is how long an answer is given without asking PostgreSQL, as long as no change was heard of. An availability
	// that changes is not looked at more often either: on the night they all change.
	freshFor = 500 * time.Millisecond
	// knownFor is how long it is given while everything that happens is heard of.
	knownFor = 10 * time.Second
	// staleWait is how long a request waits for PostgreSQL when there is an older answer to fall back on.
	staleWait = 250 * time.Millisecond
	// staleFor is how long an answer can be fallen back on while PostgreSQL is away.
	staleFor = 10 * time.Minute
	// retryAfterFailure is the pause between two tries to reach a PostgreSQL that is away, per answer.
	retryAfterFailure = time.Second
	// loadTimeout bounds one try.
	loadTimeout = 2 * time.Second
)

var errLoadTimeout = errors.New("reading the catalogue timed out")

// renderer encodes what was read for an instant of the database's clock. It also returns the next instant at which the
// result changes by itself, because a sale starts or ends; the zero time means never.
type renderer func(now time.Time) (body []byte, link string, next time.Time, err error)

// answerCache keeps encoded answers of the catalogue: a worker's hint, never the truth. For each key one request at a
// time asks PostgreSQL; answers that crossed the start of a sale are encoded again without asking; and when PostgreSQL
// is away the last answer serves on, with the prices of the right side of midnight.
type answerCache struct {
	entries *lru.Cache[string, *answer]
	flights singleflight.Group
	load    func(ctx context.Context, key string) (renderer, time.Time, error)
	news    *news
	log     *slog.Logger
}

// answer is an encoded answer. Its headers are shared by all responses and never changed.
type answer struct {
	render     renderer
	clock      dbClock
	loadedAt   time.Time // by our monotonic clock, when PostgreSQL was asked
	freshUntil time.Time
	catalogue  uint64 // news when PostgreSQL was asked
	stock      uint64
	postponed  bool      // it is old, and PostgreSQL can't be asked
	next       time.Time // when a sale edge makes it another answer; zero: never

	body   []byte
	etag   []string
	length []string
	link   []string // nil: none
}

// dbClock tells the database's time from elapsed time. Our own idea of the time of day plays no part.
type dbClock struct{ db, ours time.Time }

func (c dbClock) at(ours time.Time) time.Time { return c.db.Add(ours.Sub(c.ours)) }
func (c dbClock) when(db time.Time) time.Time { return c.ours.Add(db.Sub(c.db)) }

func newAnswerCache(size int, load func(context.Context, string) (renderer, time.Time, error), news *news, log *slog.Logger) *answerCache {
	entries, err := lru.New[string, *answer](size)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return &answerCache{entries: entries, load: load, news: news, log: log}
}

// fresh reports whether an answer can be given without asking PostgreSQL.
func (c *answerCache) fresh(a *answer, now time.Time) bool {
	switch {
	case a.postponed:
		return now.Before(a.freshUntil)
	case a.catalogue != c.news.catalogue.Load():
		return false
	case now.Before(a.freshUntil):
		return true
	}
	return a.stock == c.news.stock.Load() && now.Sub(a.loadedAt) < knownFor && c.news.current(now)
}

// get returns the answer for a key at the time now. Errors are those of load.
func (c *answerCache) get(ctx context.Context, key string, now time.Time) (*answer, error) {
	old, ok := c.entries.Get(key)
	if ok && !old.next.IsZero() && !now.Before(old.next) {
		again, err := old.again(now)
		if err != nil {
			return nil, err
		}
		c.entries.Add(key, again)
		old = again
	}
	if ok && c.fresh(old, now) {
		return old, nil
	}
	flight := c.flights.DoChan(key, func() (_ any, err error) {
		defer c.recovered(ctx, key, &err)
		return c.fetch(context.WithoutCancel(ctx), key)
	})
	var patience <-chan time.Time
	if ok && now.Sub(old.loadedAt) < staleFor {
		timer := time.NewTimer(staleWait)
		defer timer.Stop()
		patience = timer.C
	}
	select {
	case result := <-flight:
		if result.Err == nil {
			return result.Val.(*answer), nil //nolint:forcetypeassert // fetch returns nothing else
		}
		if patience == nil || errors.Is(result.Err, catalog.ErrNotFound) {
			return nil, result.Err
		}
		c.log.WarnContext(ctx, "catalogue is served from memory", "age", now.Sub(old.loadedAt), "error", result.Err)
	case <-patience:
		c.log.WarnContext(ctx, "catalogue is served from memory", "age", now.Sub(old.loadedAt), "error", "PostgreSQL is slow")
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	return c.postpone(key, old), nil
}

// recovered makes a panic in a flight an error of its requests. A flight has a goroutine of its own, where no request's
// recovery reaches, and singleflight would end the process (W8).
func (c *answerCache) recovered(ctx context.Context, key string, err *error) {
	if cause := recover(); cause != nil {
		c.log.ErrorContext(ctx, "loading an answer panicked", "panic", cause, "key", key, "stack", string(debug.Stack()))
		*err = errPanicked
	}
}

// fetch asks PostgreSQL and stores the answer.
func (c *answerCache) fetch(ctx context.Context, key string) (*answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, loadTimeout, errLoadTimeout)
	defer cancel()
	// Before it is asked: what is heard of while it answers may not be in the answer.
	catalogueNews, stockNews, asked := c.news.catalogue.Load(), c.news.stock.Load(), time.Now()
	render, dbNow, err := c.load(ctx, key)
	if errors.Is(err, catalog.ErrNotFound) {
		c.entries.Remove(key)
	}
	if err != nil {
		return nil, err
	}
	// The database looked at its clock a little after asked, so a sale starts at most that much early for us to look
	// again, and never late.
	a := &answer{
		render: render, clock: dbClock{dbNow, asked}, loadedAt: asked, freshUntil: asked.Add(freshFor),
		catalogue: catalogueNews, stock: stockNews,
	}
	if err := a.encode(dbNow); err != nil {
		return nil, err
	}
	c.entries.Add(key, a)
	return a, nil
}

// postpone keeps an old answer for a while without asking again, unless a newer one has come.
func (c *answerCache) postpone(key string, old *answer) *answer {
	if current, ok := c.entries.Peek(key); ok && current.loadedAt.After(old.loadedAt) {
		return current
	}
	kept := *old
	kept.freshUntil, kept.postponed = time.Now().Add(retryAfterFailure), true
	c.entries.Add(key, &kept)
	return &kept
}

// again is the same answer on the other side of a sale's edge.
func (a *answer) again(now time.Time) (*answer, error) {
	next := *a
	next.link, next.next = nil, time.Time{}
	return &next, next.encode(a.clock.at(now))
}

func (a *answer) encode(dbNow time.Time) error {
	body, link, next, err := a.render(dbNow)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	a.body = body
	a.etag = []string{`"` + hex.EncodeToString(sum[:12]) + `"`}
	a.length = []string{strconv.Itoa(len(body))}
	if link != "" {
		a.link = []string{link}
	}
	if !next.IsZero() {
		a.next = a.clock.when(next)
	}
	return nil
}

var (
	contentJSON = []string{"application/json"}
	// A shared cache may keep an answer for a second, but not across the start of a sale.
	cacheASecond = []string{"public, max-age=1"}
	cacheNothing = []string{"public, max-age=0, must-revalidate"}
)

// write answers a request from memory, at the time now.
func (a *answer) write(w http.ResponseWriter, r *http.Request, now time.Time) {
	h := w.Header()
	h["Etag"] = a.etag
	h["Cache-Control"] = cacheASecond
	if !a.next.IsZero() && a.next.Sub(now) < time.Second {
		h["Cache-Control"] = cacheNothing
	}
	if a.link != nil {
		h["Link"] = a.link
	}
	if match := r.Header["If-None-Match"]; match != nil && matchesETag(match, a.etag[0]) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h["Content-Type"] = contentJSON
	h["Content-Length"] = a.length
	w.Write(a.body) //nolint:errcheck,gosec // the client may be gone; the body is our own JSON
}

// matchesETag compares as If-None-Match asks for: weakly (RFC 9110, section 13.1.2).
func matchesETag(fields []string, etag string) bool {
	for _, field := range fields {
		for part := range strings.SplitSeq(field, ",") {
			part = strings.TrimPrefix(strings.TrimSpace(part), "W/")
			if part == etag || part == "*" {
				return true
			}
		}
	}
	return false
}

// skuIDs remembers the ids of SKU codes: they never change.
type skuIDs struct {
	store *catalog.Store
	mu    sync.RWMutex
	known map[string]int64
}

func newSKUIDs(store *catalog.Store) *skuIDs {
	return &skuIDs{store: store, known: map[string]int64{}}
}

// forget makes the next question for a code one to PostgreSQL: the SKU is gone.
func (s *skuIDs) forget(code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, code)
}

// id returns the id of a code, or catalog.ErrNotFound. Only codes that exist are remembered, so the map is bounded by the
// catalogue.
func (s *skuIDs) id(ctx context.Context, code string) (int64, error) {
	s.mu.RLock()
	id, ok := s.known[code]
	s.mu.RUnlock()
	if ok {
		return id, nil
	}
	if !validText(code, maxQuery) {
		return 0, fmt.Errorf("SKU: %w", catalog.ErrNotFound)
	}
	id, err := s.store.SKUID(ctx, code)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[code] = id
	return id, nil
}
