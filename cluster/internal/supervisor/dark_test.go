package supervisor_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	. "doorbuster/cluster/internal/supervisor"
)

// doc.go, Crashes: the third list. What does not speak against a release does not
// open its breaker, however often it happens.
func TestEvidence(t *testing.T) {
	crashes := func(c *scene, n int, age time.Duration, end func(ID)) {
		for range n {
			c.ready(c.s.LastID)
			c.pass(age)
			id := c.s.LastID
			end(id)
			c.pass(c.noted(NoteCrashed).Wait)
		}
	}
	for _, test := range []struct {
		name string
		age  time.Duration
		end  func(*scene) func(ID)
		open bool
	}{
		{"by itself, at once", 0, func(c *scene) func(ID) { return func(id ID) { c.ends(id, "exited with code 3") } }, true},
		{"by itself, just before it has proven itself", 10*second - 1, func(c *scene) func(ID) {
			return func(id ID) { c.ends(id, "exited with code 3") }
		}, true},
		{"by itself, after it has", 10 * second, func(c *scene) func(ID) {
			return func(id ID) { c.ends(id, "exited with code 3") }
		}, false},
		{"by a signal from outside, at once", 0, func(c *scene) func(ID) { return c.killed }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := defaults(2)
			cfg.BackoffMax = second // or they would not fall into one window
			c := servingWith(t, cfg)
			c.s.LastID = 2
			crashes(c, 5, test.age, test.end(c))
			if open := c.s.Breakers[0].Open; open != test.open {
				t.Errorf("the breaker is open: %v, and should be: %v", open, test.open)
			}
			if last := c.s.LastCrash; last == nil || last.Evidence != test.open || last.Slot != 2 {
				t.Errorf("the last crash is %+v", last)
			}
		})
	}
	t.Run("before anything was ready", func(t *testing.T) {
		c := stage(t, defaults(1))
		for range 5 {
			c.killed(c.s.LastID)
			c.pass(2 * 16 * second)
		}
		if !c.s.Ended {
			t.Error("a master whose workers are killed each time goes on for ever")
		}
	})
	t.Run("killed by the master", func(t *testing.T) {
		cfg := defaults(2)
		cfg.BreakerCrashes = 1
		c := servingWith(t, cfg)
		c.ends(2, "exited with code 3")
		c.step(Reset{})
		c.pass(30 * second)
		c.killed(3) // which is how the kernel tells of the master's own SIGKILL
		if !c.s.Breakers[0].Open {
			t.Error("a worker that is late is no evidence")
		}
	})
}

// doc.go, Crashes: workers that scale adds, and for which there is no room, don't
// hold back those that serve.
func TestAdditionalWorkersAreNoEvidence(t *testing.T) {
	c := serving(t, 2)
	c.step(Scale{Workers: 10})
	for id := ID(3); id <= 10; id++ {
		c.ends(id, "exited with code 1")
	}
	if c.s.Breakers[0].Open {
		t.Fatal("the breaker of a release that serves is open")
	}
	c.pass(2 * second)
	c.ready(c.s.LastID)
	slot := c.s.Process(c.s.LastID).Slot
	c.ends(c.s.LastID, "exited with code 1") // now it is one as any other
	c.pass(3 * second)
	c.did = nil
	if c.s.Slots[slot-1].Added {
		t.Error("a slot that somebody was ready in is still an additional one")
	}
	c.ends(1, "exited with code 1")
	c.ends(2, "exited with code 1")
	if n := len(c.s.Breakers[0].Crashes); n != 3 {
		t.Errorf("%d crashes count", n)
	}
	c.ends(c.s.Processes[0].ID, "exited with code 1")
	if n := len(c.s.Breakers[0].Crashes); n != 4 {
		t.Errorf("%d crashes count; when nobody else serves all do", n)
	}
}

// doc.go, In the dark: five crashes in a minute, the last of them of the last
// worker, with nobody left.
func TestBreakerNeverClosesTheShop(t *testing.T) {
	c := serving(t, 5)
	for id := ID(1); id <= 5; id++ {
		c.ends(id, "exited with code 3")
	}
	opened := c.noted(NoteOpened)
	c.did = nil
	c.pass(second - 1)
	c.want("a breather")
	c.pass(second / 4)
	if n := c.noted(NoteForced); n.ID != 6 || n.Slot == 0 {
		t.Errorf("got %+v", n)
	}
	c.want("somebody is tried, and only one", c.forked(6))
	for id := ID(6); id < 20; id++ { // again and again, never the same long pauses
		c.ends(id, "exited with code 3")
		c.pass(second - 1)
		c.want("not at once")
		c.pass(second/4 + 1)
		c.want("but soon", c.forked(id+1))
	}
	if c.now > opened.Wait {
		t.Fatal("that took too long for what it is about")
	}
	c.ready(20)
	c.want("it serves, and is the probe")
	c.pass(10 * second)
	if n := c.noted(NoteClosed); n.ID != 20 {
		t.Errorf("got %+v", n)
	}
	c.pass(20 * second)
	if len(c.s.Processes) != 5 {
		t.Error("the others are not there again: ", picture(c.s))
	}
}

// all reaps everybody.
func (c *scene) all(reason string) {
	c.Helper()
	for _, p := range slices.Clone(c.s.Processes) {
		c.ends(p.ID, reason)
	}
}

// forked puts the fork of a process into words, whatever its slot.
func (c *scene) forked(id ID) string {
	c.Helper()
	p := c.s.Process(id)
	if p == nil {
		c.Fatalf("process %d is not there: %s", id, picture(c.s))
	}
	return words(Fork{ID: id, Slot: p.Slot, Release: p.Release})
}

// doc.go, In the dark: who is tried before the probe is due changes nothing about
// that: the operator is alerted as often as before.
func TestAlertsInTheDark(t *testing.T) {
	c := serving(t, 5)
	for id := ID(1); id <= 5; id++ {
		c.ends(id, "exited with code 3")
	}
	var alerts []time.Duration
	for c.now < 300*second {
		seen := len(c.notes)
		c.pass(second / 10)
		c.all("exited with code 3")
		for _, n := range c.notes[seen:] {
			if n.Kind == NoteOpened {
				alerts = append(alerts, c.now.Round(10*second))
			}
		}
	}
	if got := fmt.Sprint(alerts); got != "[30s 1m30s 3m30s]" {
		t.Errorf("alerts at %s", got)
	}
}

// doc.go, In the dark: while somebody else is ready, an open breaker and a back-off
// hold as they always did.
func TestBreakerHoldsInTheLight(t *testing.T) {
	c := opened(t, 6)
	c.pass(30*second - 1)
	c.want("one serves")
	c.ends(6, "killed by SIGSEGV")
	c.pass(2 * second)
	c.want("nobody does", c.forked(7))
}

// doc.go, In the dark: when the processes that hold the slots can't be killed, one
// more is forked, and not a second one.
func TestDarkWithoutSlots(t *testing.T) {
	c := serving(t, 2)
	c.muted[1], c.muted[2] = true, true
	c.pass(30 * second)
	c.want("silent", "kill 1", "kill 2")
	c.pass(second - 1)
	c.want("a breather")
	c.pass(second / 4)
	c.want("one more than there are slots", "fork 3: slot 1, release 1")
	c.pass(30 * second)
	c.want("late", "kill 3")
	c.pass(time.Hour)
	c.want("and that is that")
	c.leaves(2)
	c.pass(2 * second)
	c.want("when one is gone there is room", "fork 4: slot 2, release 1")
	c.ready(4)
	c.leaves(1, 3)
	c.pass(3 * second)
	c.ready(c.s.LastID)
	c.settled(1)
}

// doc.go, In the dark: a candidate is no substitute for what is known to work.
func TestDarkDuringARollout(t *testing.T) {
	t.Run("it hangs", func(t *testing.T) {
		c := serving(t, 1)
		c.reload()
		c.ends(1, "exited with code 3")
		c.pass(second * 5 / 4)
		c.want("what served is tried beside it", "fork 2: slot 1, release 2", "fork 3: slot 1, release 1")
		c.ready(3)
		c.pass(30 * second)
		c.leaves(2)
		c.want("and stays", "kill 2", "verdict 1: was not ready within 30s [2]", "retire 2")
		c.settled(1)
	})
	t.Run("it is good", func(t *testing.T) {
		c := serving(t, 1)
		c.reload()
		c.ends(1, "exited with code 3")
		c.pass(second * 5 / 4)
		c.ready(3)
		c.ready(2)
		c.pass(5*second - 1)
		c.want("it bakes, and the other one serves on", "fork 2: slot 1, release 2", "fork 3: slot 1, release 1")
		c.pass(1)
		c.beat(2)
		c.leaves(3)
		c.want("then that one leaves", "ask 2", "drain 3", "verdict 1: ok", "retire 1")
		c.settled(2)
	})
	t.Run("it is too large", func(t *testing.T) {
		c := serving(t, 1)
		c.reload()
		c.ends(1, "exited with code 3")
		c.pass(second * 5 / 4)
		c.ready(3)
		c.ready(2)
		c.did = nil
		c.memory[2] = 600 * mb
		c.beat(2)
		c.leaves(2)
		c.want("it is the one that leaves", "drain 2", "verdict 1: uses 600 MB of memory, and the limit is 512 MB [2]", "retire 2")
		c.settled(1)
	})
}

// dark is a scene with an answerer in which nobody is ready any more.
func dark(t *testing.T, n int) *scene {
	t.Helper()
	cfg := defaults(n)
	cfg.AnswerAfter, cfg.AnswerTimeout = second/4, 2*second
	c := servingWith(t, cfg)
	for id := range n {
		c.ends(ID(id+1), "exited with code 3")
	}
	return c
}
