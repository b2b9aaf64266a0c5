package supervisor_test

import (
	"fmt"
	"testing"

	. "doorbuster/cluster/internal/supervisor"
)

// doc.go, Scale: a few at a time, the next when one is ready; the verdict when all
// are.
func TestScaleUp(t *testing.T) {
	t.Run("a few at a time", func(t *testing.T) {
		c := serving(t, 2)
		c.scale(9)
		c.want("four", "fork 3: slot 3, release 1", "fork 4: slot 4, release 1", "fork 5: slot 5, release 1", "fork 6: slot 6, release 1")
		c.pass(second)
		c.want("no more until one is ready")
		c.ready(5)
		c.want("one more", "fork 7: slot 7, release 1")
		c.ready(3, 4, 6)
		c.want("to the last", "fork 8: slot 8, release 1", "fork 9: slot 9, release 1")
		c.ready(7, 9)
		c.want("and all of them count")
		c.ready(8)
		c.want("done", "verdict 1: ok")
		c.settled(1)
	})
	t.Run("a quarter where there are many", func(t *testing.T) {
		c := serving(t, 40)
		c.scale(80)
		if n := len(c.s.Processes) - 40; n != 10 {
			t.Errorf("%d are started at once", n)
		}
		for id := ID(41); id <= 80; id++ {
			c.ready(id)
		}
		c.settled(1)
		if last := c.did[len(c.did)-1]; last != "verdict 1: ok" {
			t.Errorf("the last is %q", last)
		}
	})
	t.Run("one that is missing", func(t *testing.T) {
		c := serving(t, 2)
		c.ends(1, "exited with code 3")
		c.scale(3)
		c.ready(3)
		c.want("is waited for", "fork 3: slot 3, release 1")
		c.pass(2 * second)
		c.ready(4)
		c.want("too", "fork 4: slot 1, release 1", "verdict 1: ok")
	})
	t.Run("those that have not left yet stay", func(t *testing.T) {
		c := serving(t, 8)
		c.step(Scale{Workers: 1})
		c.want("one by one", "drain 8")
		c.scale(7)
		c.want("none is started anew")
		c.leaves(8)
		c.want("done", "verdict 1: ok")
		c.settled(1)
	})
	t.Run("those beyond the gap stay", func(t *testing.T) {
		c := serving(t, 20)
		c.step(Scale{Workers: 1})
		for id := ID(2); id <= 5; id++ {
			c.ends(id, "exited with code 1")
		}
		c.want("one by one", "drain 20")
		c.leaves(20)
		c.did = nil
		c.scale(18)
		c.want("only what is missing is started", "fork 21: slot 2, release 1", "fork 22: slot 3, release 1", "fork 23: slot 4, release 1", "fork 24: slot 5, release 1")
	})
	t.Run("nothing to do", func(t *testing.T) {
		c := serving(t, 2)
		c.scale(2)
		c.want("done", "verdict 1: ok")
	})
}

// doc.go, Scale: the first that fails ends it, and the target goes back to what was
// reached.
func TestScaleFails(t *testing.T) {
	const reason = "exited with code 1 before it was ready"
	t.Run("at once", func(t *testing.T) {
		c := serving(t, 2)
		c.scale(1000)
		c.ready(3)
		c.did = nil
		c.ends(4, "exited with code 1")
		if n := c.noted(NoteScaleFailed); n.Reason != reason {
			t.Errorf("got %+v", n)
		}
		c.want("slots have no gaps", fmt.Sprintf("verdict 1: %s; the target is 3 now, and not 1000 [4]", reason), "kill 7", "kill 6", "kill 5")
		c.leaves(5, 6, 7)
		c.pass(60 * second)
		c.want("and nothing is tried again")
		c.settled(1)
	})
	t.Run("those beyond leave in order", func(t *testing.T) {
		c := serving(t, 2)
		c.scale(6)
		c.ready(4, 5, 6)
		c.did = nil
		c.ends(3, "exited with code 1")
		c.want("one by one", fmt.Sprintf("verdict 1: %s; the target is 2 now, and not 6 [3]", reason), "drain 6")
		c.leaves(6)
		c.leaves(5)
		c.leaves(4)
		c.settled(1)
	})
	t.Run("late", func(t *testing.T) {
		c := serving(t, 1)
		c.scale(2)
		c.pass(30 * second)
		c.leaves(2)
		c.want("the kernel has the last word", "fork 2: slot 2, release 1", "kill 2", "verdict 1: was not ready within 30s; the target is 1 now, and not 2 [2]")
		c.settled(1)
	})
	t.Run("after it was ready", func(t *testing.T) {
		c := serving(t, 1)
		c.scale(3)
		c.ready(3)
		c.ends(3, "exited with code 1")
		c.want("is no better", "fork 2: slot 2, release 1", "fork 3: slot 3, release 1",
			"verdict 1: exited with code 1 0s after it was ready; the target is 1 now, and not 3 [3]", "kill 2")
	})
	t.Run("one that served before does not count", func(t *testing.T) {
		c := serving(t, 2)
		c.scale(3)
		c.ends(2, "exited with code 1")
		c.ready(3)
		c.pass(2 * second)
		c.ready(4)
		c.want("it goes on", "fork 3: slot 3, release 1", "fork 4: slot 2, release 1", "verdict 1: ok")
	})
	t.Run("the release crashes already", func(t *testing.T) {
		c := opened(t, 6)
		c.scale(8)
		c.want("refused", "verdict 1: no worker can be added while the release crashes: exited with code 3 0s after it was ready; "+
			"reload another one, or reset the breaker [5]")
		c.scale(5)
		c.want("fewer are always possible")
		if c.s.Target != 5 {
			t.Errorf("the target is %d", c.s.Target)
		}
	})
	t.Run("with the rollout that it runs into", func(t *testing.T) {
		c := halfway(t)
		c.scale(4) // ticket 2
		c.ends(6, "exited with code 1")
		c.want("both", "fork 6: slot 4, release 2", fmt.Sprintf("verdict 2: %s; the target is 3 now, and not 4 [6]", reason), "kill 5")
	})
	t.Run("it gets nowhere down", func(t *testing.T) {
		c := serving(t, 3)
		c.muted[1] = true
		c.pass(30 * second)
		c.scale(2)
		c.pass(c.s.Scaling.Progress + standstill(&c.s.Config) - c.now)
		c.want("one is missing, and the surplus is needed", "kill 1",
			"verdict 1: stood still for 2m42.5s: it waited for ready workers, or for some to leave; the target is 2 now, and not 2")
	})
	t.Run("it gets nowhere", func(t *testing.T) {
		c := serving(t, 2)
		c.muted[2] = true
		c.pass(30 * second)
		c.want("one can't be killed", "kill 2")
		c.scale(3)
		c.ready(3)
		c.pass(c.s.Scaling.Progress + standstill(&c.s.Config) - c.now - 1)
		c.want("patience", "fork 3: slot 3, release 1")
		c.wakes(1)
		c.pass(1)
		c.want("told", "verdict 1: stood still for 2m42.5s: it waited for ready workers, or for some to leave; the target is 3 now, and not 3")
	})
}

// doc.go, Scale: down, the verdict comes when the surplus has left.
func TestScaleDown(t *testing.T) {
	c := serving(t, 3)
	c.scale(1)
	c.want("one by one", "drain 3")
	c.leaves(3)
	c.want("the next", "drain 2")
	c.pass(30 * second)
	c.want("one that is killed serves nobody", "kill 2", "verdict 1: ok")
	c.leaves(2)
	c.settled(1)

	c.step(Scale{Workers: 3})
	c.ready(4, 5)
	c.did = nil
	c.scale(2)
	c.ends(4, "exited with code 3")
	c.leaves(5)
	c.want("one that crashes meanwhile is another matter", "drain 5", "verdict 2: ok")
}

// doc.go, Scale: the newest wins.
func TestScaleOnScale(t *testing.T) {
	c := serving(t, 2)
	c.scale(6)
	c.did = nil
	c.scale(3)
	c.want("at once", "verdict superseded 1: a newer scale took its place", "kill 6", "kill 5", "kill 4")
	c.step(Scale{Workers: 2})
	c.want("by a signal too", "verdict superseded 2: a newer scale took its place", "kill 3")
	c.leaves(3, 4, 5, 6)
	c.scale(3)
	c.want("one more", "fork 7: slot 3, release 1")
	c.step(Shutdown{})
	c.scale(4)
	c.want("and the end is the end", "verdict shut down 3: the master is shutting down", "drain 1", "drain 2", "kill 7",
		"verdict shut down 4: the master is shutting down")
}
