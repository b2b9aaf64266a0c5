package supervisor_test

import (
	"testing"

	. "doorbuster/cluster/internal/supervisor"
)

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
		c.want("its place goes back at once", "kill 5", "verdict 1: exited with code 3 5s after it was ready [4]", "fork 6: slot 1, release 1")
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
	t.Run("those that fill slots", func(t *testing.T) {
		c := halfway(t)
		c.ends(3, "exited with code 1")
		c.want("proven, it fills all", "fork 6: slot 3, release 2")
		c.ends(4, "exited with code 3")
		c.leaves(5, 6)
		c.want("and none of them is wanted now", "kill 5", "kill 6", "verdict 1: exited with code 3 5s after it was ready [4]",
			"fork 7: slot 1, release 1", "fork 8: slot 3, release 1", "retire 2")
		c.ready(7, 8)
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
	t.Run("crash in an empty slot", func(t *testing.T) {
		c := halfway(t)
		c.ready(5)
		c.leaves(2)
		c.ends(4, "exited with code 3")
		c.leaves(6)
		c.did = nil
		c.ends(3, "exited with code 4")
		c.want("one that served until now crashes as any other")
		c.ends(7, "exited with code 5")
		c.want("but there is no way back", "verdict 1: exited with code 3 5s after it was ready; "+
			"the way back to the release before failed too: exited with code 5 before it was ready [4]")
		c.pass(2 * second)
		c.rolls()
		c.pass(second)
		c.rolls()
		if c.s.Serving != 1 {
			t.Error(picture(c.s))
		}
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
		c.pass(10 * second)
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
