package app

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// So many are let in at once, the others in the order of their arrival.
func TestTurnstileOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := newTurnstile("test", 2, time.Hour)
		var in []int
		for i := range 7 {
			go func() {
				if err := gate.enter(t.Context()); err != nil {
					t.Error(err)
				}
				in = append(in, i) // one at a time: see below
			}()
			synctest.Wait()
		}
		if !slices.Equal(in, []int{0, 1}) || gate.waiting.Load() != 5 {
			t.Errorf("%v are in, %d wait", in, gate.waiting.Load())
		}
		for range 5 {
			gate.places.Release(1)
			synctest.Wait()
		}
		if !slices.IsSorted(in) || len(in) != 7 || gate.waiting.Load() != 0 || gate.turnedAway.Load() != 0 {
			t.Errorf("%v came in, %d wait, %d were turned away", in, gate.waiting.Load(), gate.turnedAway.Load())
		}
	})
}

// Who waits too long is told when to come back: soon enough to find a place, and not all in one moment. Who hangs up takes no
// place, and those behind move up.
func TestTurnstilePatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const patience = 15 * time.Second
		gate := newTurnstile("test", 1, patience)
		if err := gate.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		hungUp, hangUp := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() { left <- gate.enter(hungUp) }()
		synctest.Wait()
		var mu sync.Mutex
		waits := make(map[time.Duration]bool)
		for range 20 {
			go func() {
				err := gate.enter(t.Context())
				p := problemFor(err)
				if _, ok := errors.AsType[*crowded](err); !ok || p.Status != 503 || p.Code != "busy" || time.Since(began) != patience {
					t.Errorf("after %v: %v, which is %d %s", time.Since(began), err, p.Status, p.Code)
				}
				if p.retryAfter < patience/3 || p.retryAfter >= patience {
					t.Errorf("told to come back after %v", p.retryAfter)
				}
				mu.Lock()
				defer mu.Unlock()
				waits[p.retryAfter] = true
			}()
			synctest.Wait()
		}
		hangUp()
		if err := <-left; !errors.Is(err, context.Canceled) || problemFor(err).Status != 503 {
			t.Errorf("who hung up is told %v", err)
		}
		<-time.After(patience)
		synctest.Wait()
		if gate.waiting.Load() != 0 || gate.turnedAway.Load() != 21 {
			t.Errorf("%d wait, %d were turned away", gate.waiting.Load(), gate.turnedAway.Load())
		}
		if len(waits) < 2 {
			t.Errorf("all 20 are told the same: %v", waits)
		}
		gate.places.Release(1)
		if err := gate.enter(t.Context()); err != nil {
			t.Errorf("the place that became free: %v", err)
		}
	})
}

// A place is free again when the answer begins, however slowly it is read, and when the handler panics.
func TestTurnstilePlaceComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := newTurnstile("test", 1, time.Hour)
		read := make(chan struct{})
		slow := gate.pass(nil)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusOK)
			io.WriteString(w, "an answer that nobody reads")
		}))
		request := httptest.NewRequest(http.MethodGet, "/", nil)
		done := make(chan struct{})
		go func() {
			defer close(done)
			slow.ServeHTTP(stalled{httptest.NewRecorder(), read}, request)
		}()
		synctest.Wait()
		func() {
			defer func() { recover() }()
			gate.pass(nil)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("kettle") })).ServeHTTP(httptest.NewRecorder(), request)
		}()
		if !gate.places.TryAcquire(1) {
			t.Error("the place is taken")
		}
		close(read)
		<-done
		if gate.places.TryAcquire(1) {
			t.Error("a place came back twice")
		}
	})
}

// stalled is a client that does not read yet.
type stalled struct {
	http.ResponseWriter
	read <-chan struct{}
}

func (s stalled) Write(b []byte) (int, error) {
	<-s.read
	return s.ResponseWriter.Write(b)
}

// What happens to thousands is said a few times in a second, and how often it was not said; other kinds are not concerned.
func TestLogThrottle(t *testing.T) {
	t.Parallel()
	var throttle logThrottle
	now := time.Now()
	for second := range 3 {
		written, missing := 0, 0
		for i := range 1000 {
			more, ok := throttle.allow("crowd", now.Add(time.Duration(second)*time.Second+time.Duration(i)*time.Microsecond))
			if ok {
				written, missing = written+1, missing+more
			} else if more != 0 {
				t.Errorf("%d are missing before a line that is not written", more)
			}
		}
		if want := min(second, 1) * (1000 - logsPerSecond); written != logsPerSecond || missing != want {
			t.Errorf("second %d: %d were written, which told of %d others, want %d", second, written, missing, want)
		}
		if more, ok := throttle.allow("other", now.Add(time.Duration(second)*time.Second)); !ok || more != 0 {
			t.Errorf("the other kind: %v, %d", ok, more)
		}
	}
}
