package supervisor_test

import (
	"testing"

	. "doorbuster/cluster/internal/supervisor"
)

// Promise M9: the newest release wins, and everybody gets a verdict of his own.
func TestReloadOnReload(t *testing.T) {
	const replaced = "verdict superseded 1: a newer reload took its place"
	t.Run("starting", func(t *testing.T) {
		c := serving(t, 2)
		c.reload()
		c.want("a candidate", "fork 3: slot 1, release 2")
		c.reload()
		c.want("it goes, and is waited for", replaced, "kill 3")
		c.leaves(3)
		c.want("the next", "fork 4: slot 1, release 3", "retire 2")
		c.rolls()
		c.settled(3)
	})
	t.Run("baking", func(t *testing.T) {
		c := serving(t, 2)
		c.reload()
		c.ready(3)
		c.reload()
		c.want("it leaves as anyone does", "fork 3: slot 1, release 2", replaced, "drain 3")
		c.leaves(3)
		c.want("the next", "fork 4: slot 1, release 3", "retire 2")
		c.rolls()
		c.settled(3)
	})
	t.Run("baking in an empty slot", func(t *testing.T) {
		c := serving(t, 2)
		c.ends(1, "exited with code 3")
		c.reload()
		c.ready(3)
		c.want("a candidate", "fork 3: slot 1, release 2")
		c.reload()
		c.want("it serves on as long as it is needed", replaced, "fork 4: slot 2, release 3")
		c.pass(2 * second)
		c.want("its slot does not wait for another")
		c.rolls()
		c.settled(3)
	})
	t.Run("baking while another is missing", func(t *testing.T) {
		c := serving(t, 2)
		c.reload()
		c.ready(3)
		c.ends(2, "exited with code 3")
		c.reload()
		c.want("it stays until it can be spared, and the empty slot is first", "fork 3: slot 1, release 2", replaced, "fork 4: slot 2, release 3")
		c.ready(4)
		c.want("now it can", "drain 3")
		c.leaves(3)
		c.pass(5 * second)
		c.beat(4)
		c.want("on", "retire 2", "ask 4", "fork 5: slot 1, release 3")
		c.rolls()
		c.settled(3)
	})
	t.Run("half-way", func(t *testing.T) {
		c := halfway(t)
		c.reload()
		c.leaves(5)
		c.want("what was replaced stays until it is replaced again", replaced, "kill 5", "fork 6: slot 2, release 3")
		c.ends(6, "exited with code 5")
		c.noted(NoteCrashed)
		c.want("and goes back to what served", "fork 7: slot 1, release 1", "retire 3")
		c.ready(7)
		c.leaves(4)
		c.want("there", "drain 4", "verdict 2: exited with code 5 before it was ready [6]", "retire 2")
		c.settled(1)
	})
	t.Run("on the way back", func(t *testing.T) {
		c := halfway(t)
		c.ends(5, "exited with code 3")
		c.reload()
		c.leaves(6)
		c.want("the reason is told", "fork 6: slot 1, release 1",
			"verdict 1: exited with code 3 before it was ready; the way back was cut short: a newer reload took its place [5]", "kill 6", "fork 7: slot 2, release 3")
		c.rolls()
		c.settled(3)
	})
	t.Run("the same file", func(t *testing.T) {
		c := serving(t, 1)
		c.reload()
		c.step(Reload{Ticket: 2, Release: 3, Same: true})
		c.leaves(2)
		c.want("done in full", "fork 2: slot 1, release 2", "kill 2", "fork 3: slot 1, release 3", "retire 2")
		c.rolls()
		c.want("for both", "ask 3", "drain 1", "verdict 1: ok", "verdict 2: ok", "retire 1")
	})
	t.Run("the same file as one that failed", func(t *testing.T) {
		c := halfway(t)
		c.ends(5, "exited with code 3")
		c.step(Reload{Ticket: 2, Release: 3, Same: true})
		c.leaves(6)
		c.rolls()
		c.settled(3)
		if c.did[1] != "verdict 1: exited with code 3 before it was ready; the way back was cut short: a newer reload took its place [5]" {
			t.Errorf("got %q", c.did)
		}
	})
}

// Promise M9: what a rollout that was overtaken has left crashes: its slot waits for nobody.
func TestLeftoverCrashes(t *testing.T) {
	c := halfway(t)
	c.reload()
	c.leaves(5)
	c.did = nil
	c.ends(4, "exited with code 3")
	if n := c.noted(NoteCrashed); n.Wait != 0 {
		t.Errorf("got %+v", n)
	}
	c.want("what serves fills it", "fork 7: slot 1, release 1", "retire 2")
	c.ready(7)
	c.rolls()
	c.settled(3)
}

// Promise M9: nor does it say anything about the way back of the one that has overtaken it.
func TestLeftoverCrashesOnTheWayBack(t *testing.T) {
	c := halfway(t)
	c.ends(3, "exited with code 1")
	c.reload()
	c.leaves(5)
	c.ends(7, "exited with code 2")
	c.did = nil
	c.ends(6, "exited with code 3")
	c.want("the way back is the other release's", "fork 9: slot 3, release 1")
	c.ready(8, 9)
	c.leaves(4)
	c.want("it ends well", "drain 4", "verdict 2: exited with code 2 before it was ready [7]", "retire 2")
}

// Promise M12, M9: a reload does not wait for recycling, and replaces that process too.
func TestReloadDuringRecycling(t *testing.T) {
	c := serving(t, 2)
	c.memory[2] = 600 * mb
	c.pass(40 * second)
	c.want("recycling", "fork 3: slot 2, release 1")
	c.reload()
	c.leaves(3)
	c.want("given up", "kill 3", "fork 4: slot 1, release 2")
	c.ready(4)
	c.pass(5 * second)
	c.beat(4)
	c.leaves(1)
	c.want("and done on the way", "ask 4", "drain 1", "fork 5: slot 2, release 2")
	c.rolls()
	c.settled(2)
}

// Promise M8: the candidate does not wait for a slot's crashes: they were of another release.
func TestReloadAfterFailedRecycling(t *testing.T) {
	c := serving(t, 1)
	c.memory[1] = 600 * mb
	c.pass(40 * second)
	c.ends(2, "exited with code 3")
	c.reload()
	c.want("at once", "fork 2: slot 1, release 1", "fork 3: slot 1, release 2")
	c.rolls()
	c.settled(2)
}

// Promise M4: whoever asks for a reload during shutdown is told, and so is whoever waits for one.
func TestReloadAndShutdown(t *testing.T) {
	c := serving(t, 1)
	c.reload()
	c.step(Shutdown{})
	c.want("it ends", "fork 2: slot 1, release 2", "verdict shut down 1: the master is shutting down", "drain 1", "kill 2")
	c.reload()
	c.want("it does not begin", "verdict shut down 2: the master is shutting down", "retire 3")
	c.leaves(2, 1)
	c.want("end", "exit: ok")
}

// Promises M8, M4: the target may change at any time; surplus processes leave one by one, when enough others are ready.
func TestScale(t *testing.T) {
	t.Run("up and down", func(t *testing.T) {
		c := serving(t, 2)
		c.step(Scale{Workers: 5})
		c.noted(NoteScaled)
		c.want("all at once", "fork 3: slot 3, release 1", "fork 4: slot 4, release 1", "fork 5: slot 5, release 1")
		c.ready(3, 4)
		c.step(Scale{Workers: 2})
		c.want("who has not started is killed", "kill 5")
		c.leaves(5)
		c.want("who serves is told", "drain 4")
		c.leaves(4)
		c.want("one by one", "drain 3")
		c.leaves(3)
		c.settled(1)
		c.step(Scale{Workers: 2})
		c.step(Scale{Workers: 0})
		c.want("one at least", "drain 2")
		c.step(Scale{Workers: 2})
		c.want("one that leaves holds no slot", "fork 6: slot 2, release 1")
		c.leaves(2)
		c.ready(6)
		c.settled(1)
	})
	t.Run("a missing process is waited for", func(t *testing.T) {
		c := serving(t, 3)
		c.ends(1, "exited with code 3")
		c.step(Scale{Workers: 2})
		c.pass(2 * second)
		c.want("slot 3 stays", "fork 4: slot 1, release 1")
		c.ready(4)
		c.want("until slot 1 is ready", "drain 3")
	})
	t.Run("a crash in a slot that is no more", func(t *testing.T) {
		c := serving(t, 3)
		c.ends(1, "exited with code 3")
		c.step(Scale{Workers: 2})
		c.did = nil
		c.ends(3, "exited with code 3")
		c.want("nothing to wait for")
		c.pass(2 * second)
		c.ready(4)
		c.settled(1)
	})
	t.Run("down in the bake", func(t *testing.T) {
		c := serving(t, 5)
		c.reload()
		c.ready(6)
		c.step(Scale{Workers: 2})
		c.want("the candidate stays", "fork 6: slot 1, release 2", "drain 5")
		c.rolls()
		c.settled(2)
	})
	t.Run("down takes the candidate", func(t *testing.T) {
		c := serving(t, 2)
		c.ends(2, "exited with code 3")
		c.reload()
		c.want("in slot 2", "fork 3: slot 2, release 2")
		c.step(Scale{Workers: 1})
		c.leaves(3)
		c.want("another one is needed", "kill 3", "fork 4: slot 1, release 2")
		c.rolls()
		c.settled(2)
	})
	t.Run("up before it is proven", func(t *testing.T) {
		c := serving(t, 1)
		c.reload()
		c.step(Scale{Workers: 2})
		c.want("new slots run what serves", "fork 2: slot 1, release 2", "fork 3: slot 2, release 1")
		c.rolls()
		c.settled(2)
	})
	t.Run("down ends a rollout", func(t *testing.T) {
		c := serving(t, 1)
		c.reload()
		c.step(Scale{Workers: 2})
		c.ready(2)
		c.ends(1, "exited with code 1")
		c.pass(5 * second)
		c.beat(2)
		c.want("slot 2 is still starting", "fork 2: slot 1, release 2", "fork 3: slot 2, release 1", "ask 2")
		c.step(Scale{Workers: 1})
		c.want("in the same step", "kill 3", "verdict 1: ok")
	})
	t.Run("up after it is proven", func(t *testing.T) {
		c := halfway(t)
		c.step(Scale{Workers: 4})
		c.want("new slots run the new one", "fork 6: slot 4, release 2")
		c.rolls()
		c.settled(2)
	})
	t.Run("down on the way back", func(t *testing.T) {
		c := halfway(t)
		c.ends(5, "exited with code 3")
		c.step(Scale{Workers: 1})
		c.want("slots that are no more need no replacement", "fork 6: slot 1, release 1", "drain 3")
		c.leaves(3)
		c.want("one by one", "drain 2")
		c.leaves(2)
		c.ready(6)
		c.leaves(4)
		c.want("there", "drain 4", "verdict 1: exited with code 3 before it was ready [5]", "retire 2")
		c.settled(1)
	})
}
