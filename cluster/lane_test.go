package cluster

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A lane runs what it is given in order, one at a time, takes laneRoom while it is held up, and keeps no goroutine.
func TestLane(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lane
		var ran []int
		hold := make(chan struct{})
		if !l.put(func() { <-hold }) {
			t.Fatal("an empty lane refuses")
		}
		synctest.Wait() // it is under way, and takes no room
		for i := range laneRoom {
			if !l.put(func() { ran = append(ran, i) }) {
				t.Fatalf("refused after %d", i)
			}
		}
		if l.put(func() { t.Error("it was refused") }) {
			t.Error("there is no bound")
		}
		close(hold)
		synctest.Wait() // the bubble fails if a goroutine is left
		for i, got := range ran {
			if got != i {
				t.Fatalf("ran in the order %v", ran)
			}
		}
		if len(ran) != laneRoom || !l.put(func() {}) {
			t.Errorf("%d of %d ran", len(ran), laneRoom)
		}
	})
}

// A panic in the application is an error, and a line with its stack.
func TestContained(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	log := func() *slog.Logger { return slog.New(slog.NewTextHandler(&text, nil)) }
	err := contained(log, "OnSetting(k)", func() error { panic("too much") })
	if err == nil || err.Error() != "OnSetting(k) panicked: too much" || !strings.Contains(text.String(), "lane_test.go") {
		t.Errorf("got %v and the log %s", err, text.String())
	}
	if err := contained(log, "", func() error { return context.Canceled }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// What happens on and on is said once each complaintInterval, with how often it was not, and holds nobody up.
func TestComplaints(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c complaints
		var said []int
		hold := make(chan struct{})
		say := func() { c.say(func(before int) { said = append(said, before); <-hold }) }
		for range 3 {
			say()
		}
		time.Sleep(complaintInterval)
		say() // nobody has read the line before yet
		close(hold)
		synctest.Wait()
		say()
		synctest.Wait()
		say()
		time.Sleep(complaintInterval)
		say()
		synctest.Wait()
		if len(said) != 3 || said[0] != 0 || said[1] != 3 || said[2] != 1 {
			t.Errorf("said, and not said before: %v", said)
		}
	})
}

// A health check is asked before a heartbeat, and not twice at the same time; one that is slow is told of by the heartbeat
// after it, and one that does not return is unhealthy by itself.
func TestHealthCheck(t *testing.T) {
	t.Parallel()
	quiet := func() *slog.Logger { return slog.New(slog.DiscardHandler) }
	const heartbeat = 10 * time.Second
	for name, test := range map[string]func(t *testing.T, w *Worker, ask func() string){
		"none": func(t *testing.T, _ *Worker, ask func() string) {
			if got := ask(); got != "" {
				t.Errorf("got %q", got)
			}
		},
		"healthy, then not, then again": func(t *testing.T, w *Worker, ask func() string) {
			var err error
			calls := 0
			w.Healthy(func(context.Context) error { calls++; return err })
			for _, want := range []string{"", "the batcher is dead", ""} {
				if err = nil; want != "" {
					err = errors.New(want)
				}
				if got := ask(); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
				if got := ask(); got != want { // at once: the answer is good for a while
					t.Errorf("got %q, want %q", got, want)
				}
				time.Sleep(heartbeat)
			}
			if calls != 3 {
				t.Errorf("%d checks", calls)
			}
		},
		"panics": func(t *testing.T, w *Worker, ask func() string) {
			w.Healthy(func(context.Context) error { panic("ouch") })
			if got := ask(); got != "Healthy panicked: ouch" {
				t.Errorf("got %q", got)
			}
		},
		"says nothing": func(t *testing.T, w *Worker, ask func() string) {
			w.Healthy(func(context.Context) error { return errors.New("") })
			if got := ask(); got == "" {
				t.Error("it is healthy")
			}
		},
		"says too much": func(t *testing.T, w *Worker, ask func() string) {
			w.Healthy(func(context.Context) error { return errors.New(strings.Repeat("x", 1<<20)) })
			if got := ask(); len(got) != maxVerdict {
				t.Errorf("got %d bytes", len(got))
			}
		},
		"is slow": func(t *testing.T, w *Worker, ask func() string) {
			w.Healthy(func(context.Context) error { <-time.After(heartbeat / 2); return errors.New("too late") })
			if got := ask(); got != "" {
				t.Errorf("got %q while it is under way", got)
			}
			time.Sleep(heartbeat)
			if got := ask(); got != "too late" {
				t.Errorf("got %q", got)
			}
		},
		"ends with its context": func(t *testing.T, w *Worker, ask func() string) {
			w.Healthy(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
			ask()
			time.Sleep(heartbeat)
			if got := ask(); got != context.DeadlineExceeded.Error() {
				t.Errorf("got %q", got)
			}
		},
		"does not return": func(t *testing.T, w *Worker, ask func() string) {
			hold := make(chan struct{})
			var calls atomic.Int64
			w.Healthy(func(context.Context) error { calls.Add(1); <-hold; return nil })
			ask()
			time.Sleep(2 * heartbeat)
			if got := ask(); got != "its health check has not returned for 20s" || calls.Load() != 1 {
				t.Errorf("got %q after %d calls", got, calls.Load())
			}
			close(hold)
			synctest.Wait()
			if got := ask(); got != "" {
				t.Errorf("got %q after it has returned", got)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := new(Worker)
				test(t, w, func() string { return w.application.health.ask(quiet, heartbeat) })
				time.Sleep(2 * heartbeat) // for a check that is under way
			})
		})
	}
}

// Limits that contradict each other are refused in one sentence, which names both.
func TestCheckLimits(t *testing.T) {
	t.Parallel()
	w := &Worker{killTimeout: 3 * time.Second}
	for drain, ok := range map[time.Duration]bool{time.Second: true, 3 * time.Second: true, 3*time.Second + 1: false, 0: false} {
		err := w.checkLimits(&Server{DrainTimeout: drain})
		if (err == nil) != ok {
			t.Errorf("DrainTimeout %v: %v", drain, err)
		}
		if err != nil && (!strings.Contains(err.Error(), "Config.KillTimeout") || !strings.Contains(err.Error(), "Server.DrainTimeout")) {
			t.Errorf("it does not name them: %v", err)
		}
	}
}
