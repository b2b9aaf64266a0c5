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
	c.noted(NoteLeft) // it was asked to, and not for a crash of its own
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

// Promise M8: all slots serve before a rollout has succeeded, and a process that is to leave is none.
func TestRolloutEnds(t *testing.T) {
	t.Run("the last old one crashes", func(t *testing.T) {
		c := serving(t, 2)
		c.reload()
		c.ready(3)
		c.pass(5 * second)
		c.beat(3)
		c.ends(2, "exited with code 1")
		c.leaves(1)
		c.want("two more", "fork 3: slot 1, release 2", "ask 3", "drain 1", "fork 4: slot 2, release 2")
		c.ready(4)
		c.want("one more", "verdict 1: ok", "retire 1")
		c.settled(2)
	})
	t.Run("nothing was there", func(t *testing.T) {
		c := serving(t, 1)
		c.ends(1, "exited with code 1")
		c.reload()
		c.ready(2)
		c.want("it has not proven itself", "fork 2: slot 1, release 2")
		c.pass(5 * second)
		c.beat(2)
		c.want("now it has", "ask 2", "verdict 1: ok", "retire 1")
		c.settled(2)
	})
	t.Run("in a slot that is no more", func(t *testing.T) {
		c := serving(t, 3)
		c.ends(3, "exited with code 1")
		c.reload()
		c.ready(4)
		c.pass(5 * second)
		c.beat(4)
		c.ready(5)
		c.leaves(1)
		c.want("slots 3 and 1", "fork 4: slot 3, release 2", "ask 4", "fork 5: slot 1, release 2", "drain 1", "fork 6: slot 2, release 2")
		c.ends(2, "exited with code 1")
		c.step(Scale{Workers: 2})
		c.want("slot 2 is missing, and slot 3 does not count")
		c.ready(6)
		c.leaves(4)
		c.want("now", "verdict 1: ok", "drain 4", "retire 1")
		c.settled(2)
	})
}

// Promise M9: a rollout that goes forward slowly is not ended: each process that leaves counts, those of a smaller
// cluster too, and so does what the operator does.
func TestRolloutIsSlow(t *testing.T) {
	slowly := func(c *scene) { // everyone takes its time to leave
		for range 40 {
			for _, p := range c.s.Processes {
				if p.Phase == Starting {
					c.ready(p.ID)
				}
			}
			c.pass(29 * second)
			for _, p := range c.s.Processes {
				if p.Phase == Leaving {
					c.leaves(p.ID)
					break
				}
			}
		}
	}
	t.Run("all of them", func(t *testing.T) {
		c := serving(t, 8)
		c.reload()
		slowly(c)
		c.settled(2)
	})
	t.Run("all crash, just before they are replaced", func(t *testing.T) {
		c := serving(t, 8)
		c.reload()
		c.ready(9)
		c.pass(5 * second)
		c.ends(1, "exited with code 1")
		c.beat(9)
		for id := ID(2); id <= 8; id++ {
			c.ends(id, "exited with code 1")
			c.pass(29 * second)
			c.ready(id + 8)
		}
		c.settled(2)
	})
	t.Run("fewer", func(t *testing.T) {
		c := serving(t, 8)
		c.reload()
		c.ready(9)
		c.step(Scale{Workers: 1})
		slowly(c)
		c.settled(2)
	})
	t.Run("more", func(t *testing.T) {
		c := serving(t, 2)
		c.muted[2] = true
		c.pass(30 * second)
		c.reload()
		c.pass(162 * second)
		c.step(Scale{Workers: 3})
		c.want("a new slot", "kill 2", "fork 3: slot 3, release 1")
		c.pass(29 * second)
		c.want("patience")
	})
}

// Promise M8: there is one process above target at most.
func TestOneAboveTarget(t *testing.T) {
	t.Run("surplus", func(t *testing.T) {
		c := serving(t, 3)
		c.reload()
		c.ready(4)
		c.ends(3, "exited with code 1")
		c.pass(2 * second)
		c.want("slot 1 has two", "fork 4: slot 1, release 2", "fork 5: slot 3, release 1")
		c.reload()
		c.want("no other gets another", "verdict superseded 1: a newer reload took its place")
		c.ready(5)
		c.want("until one of the two has left", "drain 4")
		c.leaves(4)
		c.want("on", "fork 6: slot 1, release 3", "retire 2")
	})
	t.Run("held", func(t *testing.T) {
		c := serving(t, 5)
		c.muted[5] = true
		c.pass(30 * second)
		c.reload()
		c.want("slot 5 is held by one that can't be killed", "kill 5")
		c.leaves(5)
		c.want("and then it is the candidate's", "fork 6: slot 5, release 2")
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
