package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

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
	// absentFor is how long it is remembered that there is nothing, unless there are news of the catalogue.
	absentFor = time.Second
)

// absentSize bounds what is remembered not to be there, in keys of at most 500 bytes or so. Whoever asks for more in a
// second waits at the gate for each.
const absentSize = 1024

var errLoadTimeout = errors.New("reading the catalogue timed out")

// renderer encodes what was read for an instant of the database's clock. It also returns the next instant at which the
// result changes by itself, because a sale starts or ends; the zero time means never.
type renderer func(now time.Time) (body []byte, link string, next time.Time, err error)

// loaded is what was read for a key.
type loaded struct {
	render renderer
	now    time.Time // by the database's clock, when it was read
	empty  bool      // a list on which there is nothing
}

// A loader reads what stands under a key. Its errors wrap [catalog.ErrNotFound]
// where nothing does.
type loader func(ctx context.Context, key string) (loaded, error)

// answerCache keeps encoded answers of the catalogue: a worker's hint, never the truth. For each key one request at a
// time asks PostgreSQL; answers that crossed the start of a sale are encoded again without asking; and when PostgreSQL
// is away the last answer serves on, with the prices of the right side of midnight.
//
// An answer that was asked for once doesn't displace one that was asked for
// twice, so that a crawler doesn't wipe the cache: new ones have a quarter of it.
// That there is nothing is remembered apart, for absentFor.
type answerCache struct {
	cacheConfig
	entries *lru.Cache[string, *answer] // that were asked for again
	recent  *lru.Cache[string, *answer] // that were not, yet
	absent  *lru.Cache[string, absence]

	mu      sync.Mutex
	flights map[string]*flight

	throttle logThrottle
}

// cacheConfig is what an [answerCache] is made of.
type cacheConfig struct {
	size     int // in answers
	searches bool
	valid    func(key string) bool // whether anything can stand under a key; nil: always
	load     loader
	gate     *missGate
	news     *news
	log      *slog.Logger
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

// An absence remembers that there was nothing: no such product, or an empty list.
type absence struct {
	answer    *answer // the empty list
	err       error   // or that there is no such thing
	until     time.Time
	catalogue uint64 // news when PostgreSQL was asked
}

// dbClock tells the database's time from elapsed time. Our own idea of the time of day plays no part.
type dbClock struct{ db, ours time.Time }

func (c dbClock) at(ours time.Time) time.Time { return c.db.Add(ours.Sub(c.ours)) }
func (c dbClock) when(db time.Time) time.Time { return c.ours.Add(db.Sub(c.db)) }

func newAnswerCache(c cacheConfig) *answerCache {
	recent := max(1, c.size/4)
	return &answerCache{
		cacheConfig: c, flights: map[string]*flight{},
		entries: newLRU[*answer](c.size - recent), recent: newLRU[*answer](recent), absent: newLRU[absence](absentSize),
	}
}

// newLRU panics for a size that is not positive.
func newLRU[V any](size int) *lru.Cache[string, V] {
	c, err := lru.New[string, V](size)
	if err != nil {
		panic(err)
	}
	return c
}

// known returns the answer for a key. One that is asked for again is kept longer.
func (c *answerCache) known(key string) (*answer, bool) {
	if a, ok := c.entries.Get(key); ok {
		return a, true
	}
	a, ok := c.recent.Get(key)
	if ok {
		c.recent.Remove(key)
		c.entries.Add(key, a)
	}
	return a, ok
}

// peek returns the answer for a key without counting it as asked for.
func (c *answerCache) peek(key string) (*answer, bool) {
	if a, ok := c.entries.Peek(key); ok {
		return a, true
	}
	return c.recent.Peek(key)
}

// store keeps an answer, in the place of the one before it.
func (c *answerCache) store(key string, a *answer) {
	if c.entries.Contains(key) {
		c.entries.Add(key, a)
	} else {
		c.recent.Add(key, a)
	}
}

// count is how many answers there are.
func (c *answerCache) count() int { return c.entries.Len() + c.recent.Len() }

func (c *answerCache) drop(key string) {
	c.entries.Remove(key)
	c.recent.Remove(key)
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
	old, ok := c.known(key)
	if ok {
		var err error
		if old, err = c.pastEdge(key, old, now); err != nil {
			return nil, err
		}
	}
	if ok && c.fresh(old, now) {
		return old, nil
	}
	if c.valid != nil && !c.valid(key) {
		return nil, catalog.ErrNotFound
	}
	if nothing, ok := c.absent.Get(key); ok && now.Before(nothing.until) && nothing.catalogue == c.news.catalogue.Load() {
		return nothing.answer, nothing.err
	}
	var patience <-chan time.Time
	known := ok && now.Sub(old.loadedAt) < staleFor
	if known {
		timer := time.NewTimer(staleWait)
		defer timer.Stop()
		patience = timer.C
	}
	flight := c.board(ctx, key, known)
	select {
	case <-flight.landed:
		if flight.err == nil {
			return c.pastEdge(key, flight.answer, time.Now())
		}
		if patience == nil || errors.Is(flight.err, catalog.ErrNotFound) {
			return nil, flight.err
		}
		c.serveOld(ctx, now.Sub(old.loadedAt), flight.err)
	case <-patience: // the flight goes on: its answer is for whoever asks next
		c.serveOld(ctx, now.Sub(old.loadedAt), errSlow)
	case <-ctx.Done():
		c.getOff(key, flight)
		return nil, context.Cause(ctx)
	}
	return c.pastEdge(key, c.postpone(key, old), time.Now()) // an edge may have come meanwhile
}

// pastEdge returns an answer as it is at the time now: another one where a sale's
// edge has made it that.
func (c *answerCache) pastEdge(key string, a *answer, now time.Time) (*answer, error) {
	if a.next.IsZero() || now.Before(a.next) {
		return a, nil
	}
	again, err := a.again(now)
	if err != nil {
		return nil, err
	}
	if current, ok := c.peek(key); !ok || current == a {
		c.store(key, again)
	}
	return again, nil
}

var errSlow = errors.New("PostgreSQL is slow")

// serveOld says that an old answer is given, and why.
func (c *answerCache) serveOld(ctx context.Context, age time.Duration, why error) {
	if missing, ok := c.throttle.allow("old", time.Now()); ok {
		c.log.WarnContext(ctx, "catalogue is served from memory", "age", age, "error", why, "more_like_it", missing)
	}
}

// fetch asks PostgreSQL and stores the answer.
func (c *answerCache) fetch(ctx context.Context, key string, known bool) (*answer, error) {
	leave, err := c.gate.enter(ctx, c.lane(known))
	if err != nil {
		return nil, err
	}
	answered, isThere := false, false
	defer func() { leave(answered, isThere) }()
	ctx, cancel := context.WithTimeoutCause(ctx, loadTimeout, errLoadTimeout)
	defer cancel()
	asked := c.asks()
	found, err := c.load(ctx, key)
	answered, isThere = err == nil || errors.Is(err, catalog.ErrNotFound), err == nil
	if errors.Is(err, catalog.ErrNotFound) {
		c.drop(key)
		c.absent.Add(key, absence{err: err, until: asked.at.Add(absentFor), catalogue: asked.catalogue})
	}
	if err != nil {
		return nil, err
	}
	return c.keep(key, found, asked)
}

// A question is what was known when PostgreSQL was asked. What is heard of while
// it answers may not be in the answer.
type question struct {
	at               time.Time
	catalogue, stock uint64 // news
}

func (c *answerCache) asks() question {
	q := question{catalogue: c.news.catalogue.Load(), stock: c.news.stock.Load()}
	q.at = time.Now()
	return q
}

// keep encodes what was found, and stores the answer.
func (c *answerCache) keep(key string, found loaded, asked question) (*answer, error) {
	// The database looked at its clock a little after asked, so a sale starts at most that much early for us to look
	// again, and never late.
	a := &answer{
		render: found.render, clock: dbClock{found.now, asked.at}, loadedAt: asked.at, freshUntil: asked.at.Add(freshFor),
		catalogue: asked.catalogue, stock: asked.stock,
	}
	if err := a.encode(found.now); err != nil {
		return nil, err
	}
	if found.empty {
		c.drop(key)
		c.absent.Add(key, absence{answer: a, until: asked.at.Add(absentFor), catalogue: asked.catalogue})
		return a, nil
	}
	c.store(key, a)
	return a, nil
}

// lane is where this cache's misses wait.
func (c *answerCache) lane(known bool) lane {
	switch {
	case c.searches && known:
		return refreshSearch
	case c.searches:
		return newSearch
	case known:
		return refreshPage
	default:
		return newPage
	}
}

// postpone keeps an old answer for a while without asking again, unless a newer one has come.
func (c *answerCache) postpone(key string, old *answer) *answer {
	if current, ok := c.peek(key); ok && current.loadedAt.After(old.loadedAt) {
		return current
	}
	kept := *old
	kept.freshUntil, kept.postponed = time.Now().Add(retryAfterFailure), true
	c.store(key, &kept)
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
	// A cache may keep an answer, and has to ask each time whether it still
	// holds: the second that a change may take to be seen (S3) is ours, and
	// HTTP counts in whole ones. A 304 costs the worker half a microsecond.
	cacheControl = []string{"public, max-age=0, must-revalidate"}
)

// write answers a request from memory.
func (a *answer) write(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h["Etag"] = a.etag
	h["Cache-Control"] = cacheControl
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
