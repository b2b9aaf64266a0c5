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
// Most other requests of customers are statements of a millisecond; logins and registrations wait for their password's hash
// meanwhile, some 130 of them at the most (account.Config).
const (
	checkoutPlaces   = 1024
	checkoutPatience = 15 * time.Second
	customerPlaces   = 256
	customerPatience = requestTimeout
)

func newTurnstile(name string, places int64, patience time.Duration) *turnstile {
	return &turnstile{name: name, patience: patience, places: semaphore.NewWeighted(places)}
}

// pass is the middleware. It comes after the request was read as a whole, and a place is free again when the answer begins
// to be sent: a client that sends or reads slowly holds none.
func (t *turnstile) pass(a *App) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := t.enter(r.Context()); err != nil {
				a.writeProblem(w, r, err)
				return
			}
			inside := &visit{ResponseWriter: w, gate: t}
			defer inside.leave()
			next.ServeHTTP(inside, r)
		})
	}
}

// visit is the answer to a request that has a place.
type visit struct {
	http.ResponseWriter
	gate *turnstile
	left bool
}

func (v *visit) leave() {
	if !v.left {
		v.left = true
		v.gate.places.Release(1)
	}
}

// WriteHeader and Write are called when the work is done: all that is left is to send what has come of it.
func (v *visit) WriteHeader(status int) {
	v.leave()
	v.ResponseWriter.WriteHeader(status)
}

func (v *visit) Write(b []byte) (int, error) {
	v.leave()
	return v.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (v *visit) Unwrap() http.ResponseWriter { return v.ResponseWriter }

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
		return refusal(ctx, err, t.patience)
	}
	return nil
}

// refusal is what somebody is told who waited at a turnstile until ctx ended. ctx
// has errCrowd for its cause when the patience ended first.
func refusal(ctx context.Context, err error, patience time.Duration) error {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errCrowd):
		return &crowded{cause, patience}
	case !errors.Is(cause, context.Canceled): // not the client has gone, but the worker is about to
		return &crowded{cause, elsewhere}
	}
	return fmt.Errorf("wait at the turnstile: %w", err)
}

// crowded says that a request waited in vain.
type crowded struct {
	cause error
	wait  time.Duration
}

// elsewhere is the wait of those whose worker leaves: another has places.
const elsewhere = 3 * time.Second

func (e *crowded) Error() string { return e.cause.Error() }

// Unwrap makes it a time-out like others.
func (*crowded) Unwrap() error { return context.DeadlineExceeded }

// comeBack is when to try again. The queue is longer than the wait was, so those who did not get through come back one by one
// while it is being served.
func (e *crowded) comeBack() time.Duration { return e.wait/3 + rand.N(2*e.wait/3) }
