package app

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// A missGate is the turnstile in front of PostgreSQL for what the catalogue's
// caches don't hold. A hit never comes here. There are as many places as the
// catalogue has connections, so that who has a place has a connection, and
// whoever waits does so here, where the order can be chosen:
//
//   - Lanes take turns, each in the order of arrival. A flood of searches doesn't
//     keep a product's page waiting for longer than one search takes.
//   - A place that was had for a new search, or for a page that is not there, rests
//     for three times as long before it is free again, 50 ms at the most. A question that takes a tenth of a
//     millisecond takes the processors as much as a slow one when strangers ask
//     thousands of them: they get a quarter of the time that there is.
//   - One place is never taken by new answers, and one never by searches, where
//     there is more than one. What is shown to many stays fresh while strangers
//     ask for what nobody has asked for before.
//
// Who waits longer than the patience is turned away: 503 "busy" when others got an
// answer meanwhile, and "unavailable" when PostgreSQL gave none. The worst case
// is a worker with a single place: then one statement of a stranger, loadTimeout
// at the longest, is what everybody waits for before the lanes take turns again.
type missGate struct {
	places   int
	most     int // for new answers, and for searches
	patience time.Duration

	mu    sync.Mutex
	held  [lanes]int
	lines [lanes]list.List // of chan struct{}, closed when it is one's turn
	last  lane             // that had its turn
	done  uint64           // answers that PostgreSQL gave

	asked      [lanes]atomic.Int64
	waiting    atomic.Int64
	turnedAway atomic.Int64
}

// missPatience is short: who waits for a page has better things to do, and an old
// answer is given earlier than that.
const missPatience = time.Second

// pagePatience is how many times as long as for a search somebody waits for a page.
const pagePatience = 3

// How long a place rests after a new answer.
const (
	restFactor = 3 // times as long as it was had
	maxRest    = 50 * time.Millisecond
)

// A lane is a kind of answer that is waited for.
type lane int

const (
	refreshPage   lane = iota // a product, a front page or the categories, known but old
	newPage                   // one that the cache does not hold
	refreshSearch             // any other page of a list, known but old
	newSearch
	lanes
)

// laneNames are for the metrics.
var laneNames = [lanes]string{"old-page", "new-page", "old-search", "new-search"}

func (l lane) isNew() bool    { return l == newPage || l == newSearch }
func (l lane) isSearch() bool { return l == refreshSearch || l == newSearch }

func newMissGate(places int, patience time.Duration) *missGate {
	return &missGate{places: places, most: max(1, places-1), patience: patience}
}

// enter waits for a place. leave gives it back, and says whether PostgreSQL gave
// an answer. It fails when the patience or ctx ends first.
func (g *missGate) enter(ctx context.Context, l lane) (leave func(answered, found bool), err error) {
	g.asked[l].Add(1)
	turn := make(chan struct{})
	g.mu.Lock()
	done := g.done
	place := g.lines[l].PushBack(turn)
	g.admit()
	g.mu.Unlock()
	select {
	case <-turn:
		return g.leaving(l), nil
	default:
	}
	g.waiting.Add(1)
	defer g.waiting.Add(-1)
	ctx, cancel := context.WithTimeoutCause(ctx, g.patienceOf(l), errCrowd)
	defer cancel()
	select {
	case <-turn:
		return g.leaving(l), nil
	case <-ctx.Done():
		g.turnedAway.Add(1)
		if g.withdraw(l, place, turn) == done && errors.Is(context.Cause(ctx), errCrowd) {
			return nil, fmt.Errorf("%w: %w", errLoadTimeout, context.DeadlineExceeded) // those with a place wait as well
		}
		return nil, refusal(ctx, ctx.Err(), g.patienceOf(l))
	}
}

// patienceOf is how long somebody waits in a lane. Pages that everybody sees wait for
// three times as long as searches: a worker that has just replaced another has none
// of them in memory, and would turn customers away in a moment of slowness that its
// predecessor sat out.
func (g *missGate) patienceOf(l lane) time.Duration {
	if l.isSearch() {
		return g.patience
	}
	return pagePatience * g.patience
}

// withdraw gives up waiting, or a place that was had in the same moment. It returns
// how many answers there were.
func (g *missGate) withdraw(l lane, place *list.Element, turn chan struct{}) (done uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-turn:
		g.held[l]--
		g.admit()
	default:
		g.lines[l].Remove(place)
	}
	return g.done
}

// leaving is how somebody who has got a place gives it back.
func (g *missGate) leaving(l lane) func(answered, found bool) {
	came := time.Now()
	return func(answered, found bool) {
		if answered {
			g.mu.Lock()
			g.done++
			g.mu.Unlock()
		}
		rest := min(restFactor*time.Since(came), maxRest)
		if !l.isNew() || l == newPage && found || rest == 0 { // a page that is there comes into memory, and does so once
			g.giveBack(l)
			return
		}
		time.AfterFunc(rest, func() { g.giveBack(l) })
	}
}

func (g *missGate) giveBack(l lane) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held[l]--
	g.admit()
}

// admit gives all places to those whose turn it is. g.mu is held.
func (g *missGate) admit() {
	for tried := range lanes {
		l := (g.last + 1 + tried) % lanes
		first := g.lines[l].Front()
		if first == nil || !g.free(l) {
			continue
		}
		close(g.lines[l].Remove(first).(chan struct{})) //nolint:forcetypeassert // nothing else is put there
		g.held[l]++
		g.last = l
		g.admit()
		return
	}
}

// free reports whether a lane may have one more place. g.mu is held.
func (g *missGate) free(l lane) bool {
	var all, fresh, searches int
	for other, n := range g.held {
		all += n
		if lane(other).isNew() {
			fresh += n
		}
		if lane(other).isSearch() {
			searches += n
		}
	}
	return all < g.places && (!l.isNew() || fresh < g.most) && (!l.isSearch() || searches < g.most)
}
