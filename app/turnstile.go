package app

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"golang.org/x/sync/semaphore"
)

// A turnstile lets a bounded number of requests in at once, in the order of their arrival. At midnight tens of thousands come
// in one moment. Let in together, all of them wait for the same few connections to Redis and PostgreSQL, each for as long
// as all the others take, until their time limits end them in heaps; and a request at work takes ten times the memory of
// one that waits here, where it has a small stack and no session yet. With 15,000 at once a worker spent 6 of 10 CPU
// seconds on garbage collection.
type turnstile struct {
	places   *semaphore.Weighted
	patience time.Duration
}

// Places at work, per worker. What a worker can serve in a second, divided by them, is how slow a request may be before a
// queue begins: 1,024 checkouts are 3,400 a second at a payment provider that takes 300 ms, which is more than PostgreSQL
// takes of a worker. All other requests of customers are statements of a millisecond.
const (
	checkoutPlaces   = 1024
	checkoutPatience = 15 * time.Second
	customerPlaces   = 256
	customerPatience = requestTimeout
)

func newTurnstile(places int64, patience time.Duration) *turnstile {
	return &turnstile{semaphore.NewWeighted(places), patience}
}

var errCrowd = errors.New("too many requests came before this one")

// pass is the middleware. A request whose turn does not come in time was not even looked at.
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

func (t *turnstile) enter(ctx context.Context) error {
	if t.places.TryAcquire(1) { // only when nobody waits
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, t.patience, errCrowd)
	defer cancel()
	switch err := t.places.Acquire(ctx, 1); {
	case err == nil:
		return nil
	case context.Cause(ctx) == errCrowd: //nolint:errorlint // it is ours, and nobody wraps a cause
		return &crowded{t.patience}
	default:
		return fmt.Errorf("wait at the turnstile: %w (%w)", err, context.Cause(ctx))
	}
}

// crowded says that the patience of a request ended before its turn came.
type crowded struct{ waited time.Duration }

func (e *crowded) Error() string { return errCrowd.Error() }

// Unwrap makes it a time-out like others.
func (*crowded) Unwrap() error { return context.DeadlineExceeded }

// comeBack is when to try again. The queue is longer than the wait was, so those who did not get through come back one by one
// while it is being served.
func (e *crowded) comeBack() time.Duration { return e.waited/3 + rand.N(2*e.waited/3) }
