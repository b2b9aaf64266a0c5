package app

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// A turnstile lets a bounded number of requests in at once, in the order of their arrival. At midnight tens of thousands come
// in one moment. Let in together, all of them wait for the same few connections to Redis and PostgreSQL, each for as long
// as all the others take, until their time limits end them in heaps; and a request that waits deep inside takes twice the
// memory of one that waits here (30,000 buyers on two workers: 23 s and tens of thousands of 503, against 12 s and none).
type turnstile struct {
	name     string // for the metrics
	patience time.Duration
	places   *semaphore.Weighted

	waiting    atomic.Int64
	turnedAway atomic.Int64
}

// Places, per worker. What a worker serves in a second is at most its places divided by the seconds that one request takes:
// 1,024 checkouts are 3,400 a second with a payment provider that takes 300 ms, more than PostgreSQL takes of one worker.
// The other requests of customers are statements of a millisecond.
const (
	checkoutPlaces   = 1024
	checkoutPatience = 15 * time.Second
	customerPlaces   = 256
	customerPatience = requestTimeout
)

func newTurnstile(name string, places int64, patience time.Duration) *turnstile {
	return &turnstile{name: name, patience: patience, places: semaphore.NewWeighted(places)}
}

// pass is the middleware. It comes after the request was read as a whole: a client that sends slowly holds no place.
func (t *turnstile) pass(a *App) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := t.enter(r.Context()); err != nil {
				a.writeProblem(w, r, err)
				return
			}
			defer t.places.Release(1)
			next.ServeHTTP(w, r)
		})
	}
}

var errCrowd = errors.New("too many requests came before this one")

// enter waits for a place. It fails when the patience or ctx ends first: then nothing of the request was done.
func (t *turnstile) enter(ctx context.Context) error {
	if t.places.TryAcquire(1) { // when nobody waits
		return nil
	}
	t.waiting.Add(1)
	defer t.waiting.Add(-1)
	ctx, cancel := context.WithTimeoutCause(ctx, t.patience, errCrowd)
	defer cancel()
	if err := t.places.Acquire(ctx, 1); err != nil {
		t.turnedAway.Add(1)
		if context.Cause(ctx) == errCrowd { //nolint:errorlint // it is ours, and nobody wraps a cause
			return &crowded{t.patience}
		}
		return fmt.Errorf("wait at the turnstile: %w (%w)", err, context.Cause(ctx))
	}
	return nil
}

// crowded says that the patience of a request ended before its turn came.
type crowded struct{ waited time.Duration }

func (e *crowded) Error() string { return errCrowd.Error() }

// Unwrap makes it a time-out like others.
func (*crowded) Unwrap() error { return context.DeadlineExceeded }

// comeBack is when to try again. The queue is longer than the wait was, so those who did not get through come back one by one
// while it is being served.
func (e *crowded) comeBack() time.Duration { return e.waited/3 + rand.N(2*e.waited/3) }
