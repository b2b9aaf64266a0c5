package checkout

import (
	"context"
	"fmt"
)

// A turnstile lets a few callers through at once and a bounded number wait.
type turnstile struct {
	inside  chan struct{} // a token for each caller inside
	present chan struct{} // a token for each caller inside or waiting
}

func newTurnstile(concurrency, queue int) *turnstile {
	return &turnstile{make(chan struct{}, concurrency), make(chan struct{}, concurrency+queue)}
}

// enter waits for a turn; the caller must leave afterwards. It fails with [ErrBusy] at once when too many wait, and when
// ctx ends first.
func (t *turnstile) enter(ctx context.Context) error {
	select {
	case t.present <- struct{}{}:
	default:
		return fmt.Errorf("%w: %d requests are waiting", ErrBusy, cap(t.present)-cap(t.inside))
	}
	if ctx.Err() == nil { // or a free place could be taken by somebody who has left
		select {
		case t.inside <- struct{}{}:
			return nil
		case <-ctx.Done():
		}
	}
	<-t.present
	return fmt.Errorf("%w: %w", ErrBusy, context.Cause(ctx))
}

func (t *turnstile) leave() {
	<-t.inside
	<-t.present
}
