package app

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// deadlineWriter notes the read deadline of its connection.
type deadlineWriter struct {
	*httptest.ResponseRecorder
	at time.Time
}

func (w *deadlineWriter) SetReadDeadline(t time.Time) error {
	w.at = t
	return nil
}

// A drain makes the time for a body shorter, and no longer for one that has little
// left. When the body is there, none of that holds any more.
func TestBodyDeadlines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		for after, want := range map[time.Duration]time.Duration{
			0:                              drainBodyTimeout,
			time.Second:                    time.Second + drainBodyTimeout,
			bodyTimeout - drainBodyTimeout: bodyTimeout,
			bodyTimeout - time.Second:      bodyTimeout,
		} {
			w := &deadlineWriter{ResponseRecorder: httptest.NewRecorder()}
			d := &bodyDeadline{conn: http.NewResponseController(w)}
			start := time.Now()
			d.within(bodyTimeout)
			if got := w.at.Sub(start); got != bodyTimeout {
				t.Errorf("at first: got %v", got)
			}
			time.Sleep(after) // virtual
			d.within(drainBodyTimeout)
			if got := w.at.Sub(start); got != want {
				t.Errorf("a drain after %v: got %v, want %v", after, got, want)
			}
			d.end(true)
			if d.within(drainBodyTimeout); !w.at.IsZero() {
				t.Errorf("when it has arrived: got %v", w.at.Sub(began))
			}
		}
	})
}
