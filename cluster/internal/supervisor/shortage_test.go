package supervisor_test

import (
	"testing"

	. "doorbuster/cluster/internal/supervisor"
)

// doc.go, Failures: a machine that runs short of something is no fault of the release that serves.
func TestShortageIsNoFaultOfTheRelease(t *testing.T) {
	const short = "could not be started: resource temporarily unavailable"
	t.Run("while it serves", func(t *testing.T) {
		c := serving(t, 2)
		c.ends(1, "exited with code 3")
		for range 20 {
			c.pass(c.noted(NoteCrashed).Wait)
			c.step(ForkFailed{ID: c.s.LastID, Reason: short, Shortage: true})
			if n := c.noted(NoteCrashed); n.Reason != short || n.Wait < second {
				t.Fatalf("got %+v", n)
			}
		}
		if c.s.Breakers[0].Open {
			t.Error("the breaker of a healthy release is open")
		}
		c.pass(c.noted(NoteCrashed).Wait)
		c.ready(c.s.LastID)
		c.settled(1)
	})
	t.Run("in a rollout it is a reason to stop", func(t *testing.T) {
		c := serving(t, 2)
		c.reload()
		c.did = nil
		c.step(ForkFailed{ID: 3, Reason: short, Shortage: true})
		c.want("the old one stays", "verdict 1: "+short+" [3]", "retire 2")
		c.settled(1)
	})
	t.Run("a probe that could not be forked is tried again", func(t *testing.T) {
		c := serving(t, 2)
		id := ID(1)
		for range 4 {
			id = c.crash(id)
		}
		c.ends(id, "exited with code 3")
		c.did = nil
		c.pass(c.noted(NoteOpened).Wait)
		c.noted(NoteProbe)
		c.step(ForkFailed{ID: c.s.LastID, Reason: short, Shortage: true})
		wait := max(c.noted(NoteCrashed).Wait, c.s.Config.BreakerPause)
		c.want("not at once", "fork 7: slot 1, release 1")
		c.pass(wait)
		c.noted(NoteProbe)
		c.ready(c.s.LastID)
		c.pass(c.s.Config.BreakerProbe)
		c.noted(NoteClosed)
	})
	t.Run("but before anything was ever ready it ends", func(t *testing.T) {
		c := stage(t, defaults(1))
		for i := range 6 {
			if c.s.Ended {
				t.Fatalf("it ends after %d failures", i)
			}
			c.step(ForkFailed{ID: c.s.LastID, Reason: short, Shortage: true})
			if !c.s.Ended {
				c.pass(c.noted(NoteCrashed).Wait)
			}
		}
		if !c.s.Ended {
			t.Error("a master that can't fork goes on for ever")
		}
	})
	t.Run("after another try of each", func(t *testing.T) {
		c := stage(t, defaults(6))
		for id := ID(1); id <= 6; id++ {
			c.step(ForkFailed{ID: id, Reason: short, Shortage: true})
		}
		if c.s.Ended {
			t.Fatal("it ends at once")
		}
		c.pass(2 * second)
		c.ready(c.s.LastID)
		if c.s.Ready() != 1 {
			t.Error("no worker is ready when the shortage is over")
		}
	})
}

// Promise M6, last sentence: a first start ends, also one whose workers hang each time, so that five crashes never fall into one
// window.
func TestFirstStartThatHangsEnds(t *testing.T) {
	c := stage(t, defaults(2))
	for range 20 {
		c.pass(c.s.Config.ReadyTimeout)
		for _, p := range append([]*Process(nil), c.s.Processes...) {
			if p.Phase == Killed {
				c.ends(p.ID, "was killed by SIGKILL")
			}
		}
		if c.s.Ended {
			if last := c.did[len(c.did)-1]; last != "exit: was not ready within 30s [4]" && last != "exit: was not ready within 30s [5]" {
				t.Errorf("its last word is %q", last)
			}
			return
		}
	}
	t.Errorf("still trying after %v: %s", c.now, picture(c.s))
}
