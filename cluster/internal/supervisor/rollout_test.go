package supervisor_test

import (
	"testing"

	. "doorbuster/cluster/internal/supervisor"
)

// Promise M8: one at a time; the replacement is ready, and the first one has baked and answered, before the old process
// is told to leave.
func TestRollout(t *testing.T) {
	c := serving(t, 3)
	c.pass(second)
	c.reload()
	if n := c.noted(NoteRollout); n.Release != 2 {
		t.Errorf("got %+v", n)
	}
	c.want("one replacement", "fork 4: slot 1, release 2")
	c.pass(2 * second)
	c.ready(4)
	if n := c.noted(NoteBaking); n.ID != 4 || n.Wait != 5*second {
		t.Errorf("got %+v", n)
	}
	c.pass(5*second - 1)
	c.want("it bakes")
	c.beat(4)
	c.pass(1)
	c.want("it is asked", "ask 4")
	c.pass(second)
	c.want("and has to answer")
	c.beat(1)
	c.want("itself")
	c.beat(4)
	if n := c.noted(NoteReplaced); n.ID != 4 || n.Slot != 1 {
		t.Errorf("got %+v", n)
	}
	c.want("the first gives way", "drain 1")
	c.pass(5 * second)
	c.want("and is waited for")
	c.leaves(1)
	c.want("the second", "fork 5: slot 2, release 2")
	c.ready(5)
	c.want("only the first one bakes", "drain 2")
	c.leaves(2)
	c.ready(6)
	c.want("the third", "fork 6: slot 3, release 2", "drain 3")
	c.pass(second)
	c.want("all leave before the verdict")
	c.leaves(3)
	c.want("done", "verdict 1: ok", "retire 1")
	c.settled(2)
	c.ends(5, "exited with code 1")
	c.pass(2 * second)
	c.want("a crash restart runs what serves now", "fork 7: slot 2, release 2")
}

// Promise M8: a quarter of target may be on its way out at the same time, and not one more.
func TestRolloutOverlaps(t *testing.T) {
	c := serving(t, 5)
	c.reload()
	c.ready(6)
	c.pass(5 * second)
	c.beat(6)
	c.want("one leaves, the next starts", "fork 6: slot 1, release 2", "ask 6", "drain 1", "fork 7: slot 2, release 2")
	c.ready(7)
	c.want("two leave, and the third waits", "drain 2")
	c.leaves(2)
	c.want("for one of them", "fork 8: slot 3, release 2")
	c.rolls()
	c.settled(2)
}

// Promise M8: nobody is told to leave while another process is missing, and what is missing is filled by what has proven itself.
func TestRolloutWaitsForCapacity(t *testing.T) {
	c := serving(t, 3)
	c.reload()
	c.ready(4)
	c.pass(5 * second)
	c.ends(3, "killed by SIGSEGV")
	c.want("one is missing", "fork 4: slot 1, release 2", "ask 4")
	c.beat(4)
	c.want("its slot runs the new release", "fork 5: slot 3, release 2")
	c.pass(second)
	c.want("and the old one stays")
	c.ready(5)
	c.want("until there are enough", "drain 1")
	c.leaves(1)
	c.rolls()
	c.settled(2)
}

// Promises M8, M6: while slots wait for the release that serves, the candidate takes one of them, and nobody gives way.
func TestRolloutFillsEmptySlotsFirst(t *testing.T) {
	c := serving(t, 2)
	c.crash(2)
	c.ends(3, "exited with code 3")
	c.want("slot 2 waits", "fork 3: slot 2, release 1")
	c.reload()
	c.want("not for the candidate", "fork 4: slot 2, release 2")
	c.ready(4)
	c.pass(5 * second)
	c.beat(4)
	c.want("it has its place, and the next one is replaced", "ask 4", "fork 5: slot 1, release 2")
	c.rolls()
	c.settled(2)
}

// Promise M8: a process whose replacement is under way may crash. The replacement takes its place.
func TestRolloutOldCrashes(t *testing.T) {
	c := serving(t, 2)
	c.reload()
	c.ends(1, "exited with code 3")
	c.pass(3 * second)
	c.want("nothing else is forked", "fork 3: slot 1, release 2")
	c.ready(3)
	c.pass(5 * second)
	c.beat(3)
	c.want("it bakes all the same", "ask 3", "fork 4: slot 2, release 2")
	c.rolls()
	c.settled(2)
}

// Promise M9: every way in which the first replacement can fail ends the rollout. The old release never loses a process,
// and whoever asked is told the reason once.
func TestRolloutFails(t *testing.T) {
	for _, test := range []struct {
		name string
		fail func(c *scene)
		want []string // after the fork of process 3
	}{
		{"not started", func(c *scene) {
			c.step(ForkFailed{ID: 3, Reason: "could not be started: exec format error"})
		}, []string{"verdict 1: could not be started: exec format error [3]", "retire 2"}},
		{"crash before ready", func(c *scene) {
			c.pass(second)
			c.ends(3, "exited with code 2")
		}, []string{"verdict 1: exited with code 2 before it was ready [3]", "retire 2"}},
		{"code 0 before ready", func(c *scene) {
			c.ends(3, "exited with code 0")
		}, []string{"verdict 1: exited with code 0 before it was ready [3]", "retire 2"}},
		{"late", func(c *scene) {
			c.pass(30*second - 1)
			c.want("not yet")
			c.pass(1)
			c.noted(NoteLate)
			c.leaves(3)
		}, []string{"kill 3", "verdict 1: was not ready within 30s [3]", "retire 2"}},
		{"crash in the bake", func(c *scene) {
			c.ready(3)
			c.pass(4 * second)
			c.ends(3, "killed by SIGSEGV")
		}, []string{"verdict 1: killed by SIGSEGV 4s after it was ready [3]", "retire 2"}},
		{"code 0 in the bake", func(c *scene) {
			c.ready(3)
			c.ends(3, "exited with code 0")
		}, []string{"verdict 1: exited with code 0 0s after it was ready [3]", "retire 2"}},
		{"stopped in the bake", func(c *scene) {
			c.ready(3)
			c.muted[3] = true
			c.pass(30*second - 1)
			c.want("asked for nothing", "ask 3")
			c.pass(1)
			c.noted(NoteSilent)
			c.leaves(3)
		}, []string{"kill 3", "verdict 1: sent no heartbeat for 30s [3]", "retire 2"}},
		{"too large in the bake", func(c *scene) {
			c.ready(3)
			c.memory[3] = 600 * mb
			c.beat(3)
			c.leaves(3)
		}, []string{"drain 3", "verdict 1: uses 600 MB of memory, and the limit is 512 MB [3]", "retire 2"}},
		{"too large in its answer", func(c *scene) {
			c.ready(3)
			c.pass(5 * second)
			c.memory[3] = 600 * mb
			c.beat(3)
			c.leaves(3)
		}, []string{"ask 3", "drain 3", "verdict 1: uses 600 MB of memory, and the limit is 512 MB [3]", "retire 2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := serving(t, 2)
			c.reload()
			c.want("a candidate", "fork 3: slot 1, release 2")
			test.fail(c)
			c.want("it is the one that dies", test.want...)
			c.settled(1)
			if c.s.Process(1) == nil || c.s.Process(2) == nil {
				t.Error("the old release lost a process")
			}
			c.reload()
			c.want("the next reload is another release", "fork 4: slot 1, release 3")
			c.rolls()
			c.settled(3)
		})
	}
}

// Promise M9: the verdict does not wait for a process that was killed, only the release does.
func TestVerdictDoesNotWaitForTheKernel(t *testing.T) {
	c := serving(t, 2)
	c.reload()
	c.pass(30 * second)
	c.want("late", "fork 3: slot 1, release 2", "kill 3", "verdict 1: was not ready within 30s [3]")
	c.leaves(3)
	c.want("gone", "retire 2")
	c.reload()
	c.ready(4)
	c.pass(5 * second)
	c.beat(4)
	c.leaves(1)
	c.ready(5)
	c.pass(30 * second)
	c.want("the last old process can't be killed", "fork 4: slot 1, release 3", "ask 4", "drain 1", "fork 5: slot 2, release 3", "drain 2", "kill 2",
		"verdict 2: ok")
	c.pass(100 * second)
	c.leaves(2)
	c.want("at last", "retire 1")
	c.settled(3)
}

// halfway is a scene in a rollout of release 2: process 4 has replaced 1, and 5 is about to replace 2; 3 is still to come.
func halfway(t *testing.T) *scene {
	t.Helper()
	c := serving(t, 3)
	c.reload()
	c.ready(4)
	c.pass(5 * second)
	c.beat(4)
	c.leaves(1)
	c.want("half-way", "fork 4: slot 1, release 2", "ask 4", "drain 1", "fork 5: slot 2, release 2")
	return c
}

// Promise M9: a rollout that fails later goes back, by the same path, and its verdict comes when it is back.
func TestRollback(t *testing.T) {
	t.Run("a promoted one crashes", func(t *testing.T) {
		c := halfway(t)
		c.ends(4, "exited with code 3")
		if n := c.noted(NoteCrashed); n.Wait != 0 {
			t.Errorf("its slot waits: %+v", n)
		}
		c.want("its place goes back at once", "kill 5", "fork 6: slot 1, release 1", "verdict 1: exited with code 3 5s after it was ready [4]")
		c.leaves(5)
		c.ready(6)
		c.want("gone", "retire 2")
		c.settled(1)
	})
	t.Run("a promoted one is silent", func(t *testing.T) {
		c := halfway(t)
		c.muted[4] = true
		c.ready(5)
		c.leaves(2)
		c.pass(5 * second)
		c.want("on it goes", "drain 2", "fork 6: slot 3, release 2")
		c.pass(25 * second)
		if n := c.noted(NoteRollback); n.Release != 1 || n.Reason != "sent no heartbeat for 30s" {
			t.Errorf("got %+v", n)
		}
		c.want("killed, and the next one is none any more", "kill 4", "kill 6")
		c.leaves(4)
		c.want("its slot is free", "fork 7: slot 1, release 1")
		c.leaves(6)
		c.ready(7)
		c.want("the other way round", "fork 8: slot 2, release 1")
		c.ready(8)
		c.want("no bake", "drain 5")
		c.leaves(5)
		c.want("back", "verdict 1: sent no heartbeat for 30s [4]", "retire 2")
		c.settled(1)
	})
	t.Run("a later one crashes before it is ready", func(t *testing.T) {
		c := halfway(t)
		c.ends(5, "exited with code 3")
		c.noted(NoteRollback)
		c.want("back", "fork 6: slot 1, release 1")
		c.ready(6)
		c.leaves(4)
		c.want("there", "drain 4", "verdict 1: exited with code 3 before it was ready [5]", "retire 2")
		c.settled(1)
	})
	t.Run("another crash on the way back", func(t *testing.T) {
		c := halfway(t)
		c.ends(5, "exited with code 3")
		c.ends(4, "exited with code 3")
		c.want("the replacement has its place", "fork 6: slot 1, release 1", "verdict 1: exited with code 3 before it was ready [5]", "retire 2")
		c.ready(6)
		c.settled(1)
	})
}

// Promise M9: when the way back fails too, whoever waits is told at once, and it is tried on.
func TestRollbackFails(t *testing.T) {
	t.Run("crash", func(t *testing.T) {
		c := halfway(t)
		c.ends(5, "exited with code 3")
		c.ends(6, "exited with code 4")
		wait := c.noted(NoteCrashed).Wait
		c.want("told", "fork 6: slot 1, release 1", "verdict 1: exited with code 3 before it was ready; "+
			"the way back to the release before failed too: exited with code 4 before it was ready [5]")
		c.pass(wait - 1)
		c.want("what serves stays, and the slot waits")
		c.pass(1)
		c.ready(7)
		c.leaves(4)
		c.want("then it is tried again", "fork 7: slot 1, release 1", "drain 4", "retire 2")
		c.settled(1)
	})
	t.Run("breaker", func(t *testing.T) {
		c := halfway(t)
		c.ends(5, "exited with code 3")
		for id := ID(6); id <= 10; id++ {
			c.ends(id, "exited with code 4")
			c.pass(c.noted(NoteCrashed).Wait)
		}
		opened := c.noted(NoteOpened)
		c.did = nil
		c.pass(opened.Wait)
		c.want("a probe", "fork 11: slot 1, release 1")
		c.ready(11)
		c.pass(10*second - 1)
		c.want("it has to prove itself before anyone leaves")
		c.pass(1)
		c.leaves(4)
		c.want("then", "drain 4", "retire 2")
		c.settled(1)
	})
	t.Run("not enough to go back", func(t *testing.T) {
		c := halfway(t)
		c.ends(5, "exited with code 3")
		c.muted[3] = true
		c.pass(25 * second)
		c.ready(6)
		c.want("one is missing, and can't be killed", "fork 6: slot 1, release 1", "kill 3")
		c.pass(137*second + second/2 - 1)
		c.want("patience")
		c.pass(1)
		c.want("told", "verdict 1: exited with code 3 before it was ready; the way back to the release before is not finished [5]")
		c.leaves(3)
		c.pass(2 * second)
		c.ready(7)
		c.leaves(4)
		c.want("it goes on", "fork 7: slot 3, release 1", "drain 4", "retire 2")
		c.settled(1)
	})
}

// Promise M9: a rollout that gets nowhere ends: every reload is answered.
func TestRolloutStandsStill(t *testing.T) {
	c := serving(t, 2)
	c.muted[2] = true
	c.pass(30 * second)
	c.want("one can't be killed", "kill 2")
	c.reload()
	c.pass(162*second + second/2 - 1)
	c.want("that is one on its way out, and one that is missing")
	c.pass(1)
	c.want("so", "verdict 1: stood still for 2m42.5s: it waited for ready workers, or for some to leave", "retire 2")
	c.leaves(2)
	c.pass(2 * second)
	c.ready(3)
	c.want("when it is gone", "fork 3: slot 2, release 1")
	c.settled(1)
}
