package app

import (
	"context"
	"errors"
	"runtime/debug"
)

// A flight is one question to PostgreSQL and those who wait for its answer. It
// ends when nobody waits any more: a client that hangs up costs no query.
type flight struct {
	landed chan struct{} // closed when there is an answer or an error
	answer *answer
	err    error

	waiting int // under answerCache.mu
	cancel  context.CancelCauseFunc
}

var errAbandoned = errors.New("nobody waits for the answer any more")

// board joins those who wait for a key, and asks when nobody did before. Who goes
// away calls [answerCache.getOff].
func (c *answerCache) board(ctx context.Context, key string, known bool) *flight {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.flights[key]; f != nil {
		f.waiting++
		return f
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx)) // it is not for the first one only
	f := &flight{landed: make(chan struct{}), waiting: 1, cancel: cancel}
	c.flights[key] = f
	go c.fly(ctx, key, known, f)
	return f
}

func (c *answerCache) fly(ctx context.Context, key string, known bool, f *flight) {
	defer f.cancel(nil)
	f.answer, f.err = c.fetchSafely(ctx, key, known)
	c.mu.Lock()
	c.forget(key, f)
	c.mu.Unlock()
	close(f.landed)
}

// fetchSafely makes a panic an error of those who wait. A flight has a goroutine of its own, where no request's recovery
// reaches, and it would end the worker (W8).
func (c *answerCache) fetchSafely(ctx context.Context, key string, known bool) (_ *answer, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			c.log.ErrorContext(ctx, "loading an answer panicked", "panic", cause, "key", key, "stack", string(debug.Stack()))
			err = errPanicked
		}
	}()
	return c.fetch(ctx, key, known)
}

// getOff says that somebody has gone. The last one calls the question off; whoever
// comes then asks anew.
func (c *answerCache) getOff(key string, f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
		c.forget(key, f)
		f.cancel(errAbandoned)
	}
}

// forget makes a flight one that nobody can join. c.mu is held.
func (c *answerCache) forget(key string, f *flight) {
	if c.flights[key] == f {
		delete(c.flights, key)
	}
}
