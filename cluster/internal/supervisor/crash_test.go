package supervisor_test

import (
	"testing"
	"time"

	. "doorbuster/cluster/internal/supervisor"
)

// Promise M3: whoever ends without being told to has crashed, whatever the exit code.
func TestExitsAreClassified(t *testing.T) {
	t.Run("code 0 before ready is a failure", func(t *testing.T) {
		c := stage(t, defaults(1))
		c.want("start", "fork 1: slot 1, release 1")
		c.ends(1, "exited with code 0")
		if n := c.noted(NoteCrashed); n.Reason != "exited with code 0 before it was ready" || n.PID != 1001 || n.Slot != 1 || n.Crashes != 1 {
			t.Errorf("got %+v", n)
		}
		c.pass(c.noted(NoteCrashed).Wait)
		c.want("and is replaced", "fork 2: slot 1, release 1")
	})
	t.Run("code 0 unasked is a crash", func(t *testing.T) {
		c := serving(t, 1)
		c.pass(90 * second)
		c.ends(1, "exited with code 0")
		if n := c.noted(NoteCrashed); n.Reason != "exited with code 0 1m30s after it was ready" {
			t.Errorf("got %+v", n)
		}
		c.pass(2 * second)
		c.want("it is replaced", "fork 2: slot 1, release 1")
	})
	t.Run("what can't be started is a crash", func(t *testing.T) {
		c := stage(t, defaults(1))
		c.step(ForkFailed{ID: 1, Reason: "could not be started: exec format error"})
		if n := c.noted(NoteCrashed); n.Reason != "could not be started: exec format error" {
			t.Errorf("got %+v", n)
		}
	})
	t.Run("an exit that was asked for is none", func(t *testing.T) {
		c := serving(t, 2)
		c.step(Scale{Workers: 1})
		c.want("one has to go", "drain 2")
		c.ends(2, "exited with code 1")
		c.noted(NoteLeft)
		c.pass(100 * second)
		c.want("and is not replaced")
		c.settled(1)
	})
}

// Promise M9: only the word of the process itself makes it ready, and only its first one counts.
func TestReadyIsSaidOnce(t *testing.T) {
	c := serving(t, 1)
	c.pass(10 * second)
	c.ready(1)
	if p := c.s.Process(1); p.ReadyAt != 0 {
		t.Errorf("ready since %v", p.ReadyAt)
	}
	c.step(Scale{Workers: 2})
	c.step(Scale{Workers: 1})
	c.want("killed while starting", "fork 2: slot 2, release 1", "kill 2")
	c.ready(2)
	c.leaves(2)
	c.ready(2)
	c.ends(1, "exited with code 1")
	c.step(Exited{ID: 1, Reason: "exited with code 1"})
	c.step(ForkFailed{ID: 1, Reason: "late"})
	c.step(Beat{ID: 1})
	c.step(Forked{ID: 1})
	c.want("what is gone says nothing")
}

// Promise M5: 1, 2, 4, 8, 16, 30, 30 s and at most a quarter more.
func TestBackoff(t *testing.T) {
	cfg := defaults(2)
	cfg.BreakerCrashes = 100
	c := servingWith(t, cfg)
	jittered := false
	id := ID(1)
	for i, seconds := range []int{1, 2, 4, 8, 16, 30, 30} {
		want := time.Duration(seconds) * second
		c.ends(id, "exited with code 3")
		n := c.noted(NoteCrashed)
		if n.Wait < want || n.Wait > want+want/4 || n.Crashes != i+1 {
			t.Errorf("crash %d: waits %v for %d crashes, want %v and at most a quarter", i+1, n.Wait, n.Crashes, want)
		}
		jittered = jittered || n.Wait != want
		c.want("nothing at once")
		c.pass(n.Wait - 1)
		c.want("nor too early")
		c.pass(1)
		id = c.s.LastID
		c.want("but then", words(Fork{ID: ID(i + 3), Slot: 1, Release: 1}))
		c.ready(id)
	}
	if !jittered {
		t.Error("nothing keeps slots apart")
	}
}

// Promise M5: each BackoffDecay that a process was ready takes one crash back.
func TestBackoffDecays(t *testing.T) {
	c := serving(t, 1)
	id := ID(1)
	for range 3 {
		id = c.crash(id)
	}
	for _, step := range []struct {
		healthy time.Duration
		crashes int
	}{{59 * second, 4}, {120 * second, 3}, {180 * second, 1}, {time.Hour, 1}} {
		c.pass(step.healthy)
		c.ends(id, "killed by SIGSEGV")
		n := c.noted(NoteCrashed)
		if n.Crashes != step.crashes {
			t.Errorf("after %v: got %d crashes, want %d", step.healthy, n.Crashes, step.crashes)
		}
		c.pass(n.Wait)
		id = c.s.LastID
		c.ready(id)
	}
}

// Promise M5: slots wait each for themselves, and a crash restart runs the release that serves.
func TestSlotsWaitEachForItself(t *testing.T) {
	c := serving(t, 3)
	for range 3 {
		c.crash(c.s.Processes[len(c.s.Processes)-1].ID)
	}
	c.want("one slot", "fork 4: slot 3, release 1", "fork 5: slot 3, release 1", "fork 6: slot 3, release 1")
	c.ends(1, "exited with code 3")
	if n := c.noted(NoteCrashed); n.Crashes != 1 {
		t.Errorf("got %+v", n)
	}
	if c.s.Ready() != 2 {
		t.Error("the siblings serve on")
	}
}

// Promise M6: the breaker opens at the fifth crash within a minute, not at five in a minute and a second.
func TestBreakerOpens(t *testing.T) {
	for _, test := range []struct {
		span time.Duration
		open bool
	}{{59 * second, true}, {61 * second, false}} {
		t.Run(test.span.String(), func(t *testing.T) {
			c := serving(t, 6)
			c.ends(1, "exited with code 3")
			c.pass(test.span - second)
			c.step(Scale{Workers: 10})
			c.ready(8, 9, 10, 11)
			for id := ID(8); id <= 10; id++ {
				c.ends(id, "exited with code 3")
			}
			c.pass(second)
			c.did = nil
			c.ends(11, "exited with code 4")
			c.pass(20 * second)
			if !test.open {
				if len(c.did) == 0 || c.s.Breakers[0].Open {
					t.Errorf("the breaker opened: %s", picture(c.s))
				}
				return
			}
			n := c.noted(NoteOpened)
			if n.ID != 11 || n.Wait != 30*second || n.Release != 1 || n.Reason != "exited with code 4 1s after it was ready" {
				t.Errorf("got %+v", n)
			}
			c.want("nothing is forked")
			if p := c.s.Process(6); p == nil || p.Phase != Ready {
				t.Error("the healthy one serves on")
			}
		})
	}
}

// opened is a scene whose breaker has just opened; process n serves on.
func opened(t *testing.T, n int) *scene {
	t.Helper()
	c := serving(t, n)
	for id := ID(1); id <= 5; id++ {
		c.ends(id, "exited with code 3")
	}
	c.want("all wait")
	return c
}

// Promise M6: after the pause there is one probe; it closes the breaker when it stays, and doubles the pause when it crashes.
func TestBreakerProbe(t *testing.T) {
	c := opened(t, 6)
	probe := ID(7)
	for _, seconds := range []int{30, 60, 120, 240, 300, 300} {
		pause := time.Duration(seconds) * second
		c.pass(pause - 1)
		c.want("too early")
		c.pass(1)
		if n := c.noted(NoteProbe); n.ID != probe {
			t.Errorf("got %+v", n)
		}
		c.want("a probe", words(Fork{ID: probe, Slot: 1, Release: 1}))
		c.pass(second)
		c.ready(probe)
		c.pass(9 * second)
		c.want("one at a time")
		c.ends(probe, "exited with code 3")
		if n := c.noted(NoteOpened); n.Wait != min(2*pause, 300*second) {
			t.Errorf("got a pause of %v after one of %v", n.Wait, pause)
		}
		c.want("no other")
		probe++
	}
	c.pass(300 * second)
	c.ready(probe)
	c.want("the last probe", words(Fork{ID: probe, Slot: 1, Release: 1}))
	c.pass(10*second - 1)
	c.want("not proven")
	c.pass(1)
	if n := c.noted(NoteClosed); n.ID != probe {
		t.Errorf("got %+v", n)
	}
	c.want("closed", "fork 14: slot 2, release 1", "fork 15: slot 3, release 1", "fork 16: slot 4, release 1", "fork 17: slot 5, release 1")
	c.ready(14, 15, 16, 17)
	c.settled(1)
	c.ends(17, "exited with code 3")
	c.pass(5 * second)
	c.want("crashes are counted anew", "fork 18: slot 5, release 1")
}

// Promise M6: after the breaker has closed, crashes are counted anew.
func TestBreakerForgets(t *testing.T) {
	c := opened(t, 6)
	c.pass(30 * second)
	c.ready(7)
	c.pass(10 * second)
	for id := ID(8); id <= 11; id++ {
		c.ends(id, "exited with code 3")
	}
	if c.s.Breakers[0].Open {
		t.Error("five crashes of before count, and one of now")
	}
}

// Promise M6: a probe that has to go for another reason has proven nothing, and makes room for the next.
func TestBreakerProbeLeaves(t *testing.T) {
	c := serving(t, 6)
	for id := ID(2); id <= 6; id++ {
		c.ends(id, "exited with code 3")
	}
	c.pass(30 * second)
	c.want("a probe", "fork 7: slot 2, release 1")
	c.ready(7)
	c.step(Scale{Workers: 1})
	c.want("it is not needed any more", "drain 7")
	c.leaves(7)
	c.step(Scale{Workers: 3})
	c.pass(30*second - 1)
	c.want("too early")
	c.pass(1)
	c.want("the next", "fork 8: slot 2, release 1")
	c.step(Scale{Workers: 1})
	c.want("it has not even started", "kill 8")
	c.leaves(8)
	c.step(Scale{Workers: 3})
	c.pass(30*second - 1)
	c.want("too early")
	c.pass(1)
	c.want("the next", "fork 9: slot 2, release 1")
}

// Promise M6: the breaker is the release's. A reload forks its own at once.
func TestBreakerIsPerRelease(t *testing.T) {
	c := opened(t, 6)
	c.reload()
	c.want("an empty slot comes first", "fork 7: slot 1, release 2")
	c.ready(7)
	c.pass(5 * second)
	c.want("bake", "ask 7")
	c.beat(7)
	c.want("then all of them", "fork 8: slot 2, release 2", "fork 9: slot 3, release 2", "fork 10: slot 4, release 2", "fork 11: slot 5, release 2",
		"fork 12: slot 6, release 2")
	c.rolls()
	c.want("done", "drain 6", "verdict 1: ok", "retire 1")
	c.settled(2)
}

// Promise M6, M7: the first start ends with the reason when nothing was ever ready.
func TestFirstStartIsHopeless(t *testing.T) {
	const reason = "exited with code 2"
	t.Run("one", func(t *testing.T) {
		c := stage(t, defaults(1))
		for id := ID(1); id <= 4; id++ {
			c.ends(id, reason)
			c.pass(c.noted(NoteCrashed).Wait)
		}
		c.did = nil
		c.ends(5, reason)
		c.want("end", "exit: exited with code 2 before it was ready [5]")
		c.pass(time.Hour)
		c.step(Shutdown{})
		c.reload()
		c.want("nothing follows")
	})
	t.Run("the last of many", func(t *testing.T) {
		c := stage(t, defaults(6))
		c.did = nil
		for id := ID(1); id <= 5; id++ {
			c.ends(id, reason)
		}
		c.pass(30*second - 1)
		c.want("one may still get ready")
		c.ends(6, "exited with code 1")
		c.want("the reason of the crash that was too many", "exit: exited with code 2 before it was ready [5]")
	})
	t.Run("not when one was ever ready", func(t *testing.T) {
		c := stage(t, defaults(6))
		c.did = nil
		c.ready(6)
		for id := ID(1); id <= 6; id++ {
			c.ends(id, reason)
		}
		c.pass(second * 5 / 4)
		c.noted(NoteForced)
		c.want("on and on", "fork 7: slot 2, release 1")
	})
	t.Run("not during a rollout", func(t *testing.T) {
		c := stage(t, defaults(5))
		c.reload()
		c.did = nil
		for id := ID(1); id <= 5; id++ {
			c.ends(id, reason)
		}
		c.want("the rollout may be the cure", "fork 6: slot 1, release 2")
		c.ends(6, "exited with code 4")
		c.want("it is not", "verdict 1: exited with code 4 before it was ready [6]", "retire 2", "exit: exited with code 2 before it was ready [5]")
	})
}
