package app

import (
	"testing"
	"time"
)

// E3, S4: a request is answered within a few seconds whatever is stuck, but a checkout that waits for its turn is not cut short by
// that: its own limits end it.
func TestLimitsOfOperations(t *testing.T) {
	t.Parallel()
	for operation, wantLimit := range map[string]bool{"get-cart": true, "add-cart-item": true, checkoutOperation: false} {
		ctx, cancel := limited(t.Context(), operation)
		deadline, limit := ctx.Deadline()
		own, _ := t.Context().Deadline() // of the test, if it has one
		if limit = limit && deadline != own; limit != wantLimit || limit && time.Until(deadline) > requestTimeout {
			t.Errorf("%s: limit %t, in %v", operation, limit, time.Until(deadline))
		}
		cancel()
		if ctx.Err() == nil {
			t.Errorf("%s: it goes on after the end of its request", operation)
		}
	}
}
