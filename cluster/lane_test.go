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

// A setting that comes before OnSetting waits for it while the worker starts. Once it serves, nobody will apply it.
func TestSettingWithoutHandler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := new(Worker)
		var answers []error
		set := func(key string) { w.heardSetting(key, "x", func(err error) { answers = append(answers, err) }) }
		set("early")
		w.application.ready = true
		set("late")
		if len(answers) != 2 || answers[0] != nil || !errors.Is(answers[1], errNoSettings) {
			t.Errorf("answered %v", answers)
		}
		var applied []string
		if err := w.OnSetting(func(key, _ string) error { applied = append(applied, key); return nil }); err != nil {
			t.Error(err)
		}
		set("later")
		synctest.Wait()
		if len(answers) != 3 || answers[2] != nil || strings.Join(applied, " ") != "early later" {
			t.Errorf("answered %v, applied %v", answers, applied)
		}
	})
}

// Settings that were made before are applied in the order of their names, and the error tells which are refused, or that
// they take too long.
func TestEarlySettings(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		early := []setting{{"a", "1"}, {"b", "2"}, {"c", "3"}}
		w := &Worker{application: application{early: early}}
		err := w.OnSetting(func(key, _ string) error {
			switch key {
			case "b":
				return errors.New("no")
			case "c":
				panic("never")
			}
			return nil
		})
		if err == nil || err.Error() != "setting b=2: no\nsetting c=3: OnSetting(c) panicked: never" {
			t.Errorf("got %v", err)
		}
		w = &Worker{application: application{early: early[:1]}}
		hold := make(chan struct{})
		began := time.Now()
		err = w.OnSetting(func(string, string) error { <-hold; return nil })
		if err == nil || !strings.Contains(err.Error(), "setting a is not applied within 2s") || time.Since(began) != settingLimit {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		close(hold)
	})
}
