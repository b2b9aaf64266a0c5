package supervisor_test

import (
	"testing"

	. "doorbuster/cluster/internal/supervisor"
)

// doc.go, Orders: the replacement is ready first.
func TestRestart(t *testing.T) {
	t.Run("in order", func(t *testing.T) {
		c := serving(t, 2)
		c.restart(2)
		c.want("the replacement", "fork 3: slot 2, release 1")
		c.pass(second)
		c.want("first")
		c.ready(3)
		c.want("then the other one leaves", "drain 2")
		c.leaves(2)
		c.want("done", "verdict 1: ok")
		c.settled(1)
	})
	t.Run("several", func(t *testing.T) {
		c := serving(t, 3)
		c.restart(2)
		c.restart(1)
		c.restart(2)
		c.want("one at a time", "fork 4: slot 2, release 1")
		c.ready(4)
		c.leaves(2)
		c.want("both who asked for it", "drain 2", "verdict 1: ok", "verdict 3: ok", "fork 5: slot 1, release 1")
		c.ready(5)
		c.pass(30 * second)
		c.want("one that is killed serves nobody", "drain 1", "kill 1", "verdict 2: ok")
		c.leaves(1)
		c.settled(1)
	})
	t.Run("it fails", func(t *testing.T) {
		c := serving(t, 2)
		c.restart(2)
		c.ends(3, "exited with code 3")
		c.want("the old one stays", "fork 3: slot 2, release 1", "verdict 1: exited with code 3 before it was ready [3]")
		c.pass(60 * second)
		c.want("and that is that")
		c.settled(1)
		c.restart(2)
		c.restart(1)
		c.pass(2 * second)
		c.want("again, without a pause", "fork 4: slot 2, release 1")
	})
	t.Run("the old one crashes meanwhile", func(t *testing.T) {
		c := serving(t, 2)
		c.restart(2)
		c.ends(2, "exited with code 3")
		c.ready(3)
		c.want("the replacement takes its place", "fork 3: slot 2, release 1", "verdict 1: ok")
		c.settled(1)
	})
	t.Run("another one crashes meanwhile", func(t *testing.T) {
		c := serving(t, 3)
		c.restart(2)
		c.ends(3, "exited with code 3")
		c.pass(2 * second)
		c.want("that is another matter", "fork 4: slot 2, release 1", "fork 5: slot 3, release 1")
		c.ready(4, 5)
		c.leaves(2)
		c.want("and the restart goes on", "drain 2", "verdict 1: ok")
	})
	t.Run("many, and slowly", func(t *testing.T) {
		c := serving(t, 4)
		for slot := 1; slot <= 4; slot++ {
			c.restart(slot)
		}
		for id := ID(5); id <= 8; id++ {
			c.pass(29 * second)
			c.ready(id)
			c.pass(29 * second)
			c.did = nil
			c.leaves(id - 4)
			if len(c.did) == 0 || c.did[0] != words(Verdict{Ticket: Ticket(id - 4)}) {
				t.Errorf("the restart of slot %d: %q", id-4, c.did)
			}
		}
		c.settled(1)
	})
	t.Run("although the breaker is open", func(t *testing.T) {
		c := opened(t, 6)
		c.restart(6)
		if n := c.noted(NoteForced); n.ID != 7 {
			t.Errorf("got %+v", n)
		}
		c.want("it is the probe", "fork 7: slot 6, release 1")
		c.ready(7)
		c.restart(6)
		c.pass(10*second - 1)
		c.want("as such it lets nobody leave, and there is no other")
		c.pass(1)
		c.ready(8, 9, 10, 11)
		c.want("and the others are missing", "fork 8: slot 1, release 1", "fork 9: slot 2, release 1",
			"fork 10: slot 3, release 1", "fork 11: slot 4, release 1", "fork 12: slot 5, release 1")
		c.ready(12)
		c.leaves(6)
		c.want("but then", "drain 6", "verdict 1: ok", "verdict 2: ok")
	})
	t.Run("beside a probe", func(t *testing.T) {
		c := opened(t, 6)
		c.pass(30 * second)
		c.want("the probe", "fork 7: slot 1, release 1")
		c.restart(6)
		c.ready(7)
		c.pass(10*second - 1)
		c.want("there is no other")
		c.ends(7, "exited with code 3")
		c.want("until that one has failed", "fork 8: slot 6, release 1")
	})
	t.Run("it gets nowhere", func(t *testing.T) {
		c := serving(t, 2)
		c.muted[2] = true
		c.pass(30 * second)
		c.want("one can't be killed", "kill 2")
		c.restart(1)
		c.pass(standstill(&c.s.Config) - 1)
		c.want("patience")
		c.wakes(1)
		c.pass(1)
		c.want("told", "verdict 1: stood still for 2m42.5s: it waited for ready workers, or for some to leave")
	})
}

// doc.go, Orders: what can't be is refused in words.
func TestOrdersRefused(t *testing.T) {
	c := serving(t, 3)
	c.restart(4)
	c.leave(0)
	c.want("no such slot", "verdict 1: there is no slot 4: there are 1 to 3", "verdict 2: there is no slot 0: there are 1 to 3")
	c.ends(3, "exited with code 3")
	c.restart(3)
	c.leave(3)
	c.want("nobody there", "verdict 3: no worker serves in slot 3", "verdict 4: no worker serves in slot 3")
	c.pass(2 * second)
	c.did = nil
	c.leave(3)
	c.want("not yet", "verdict 5: no worker serves in slot 3")
	c.ready(4)
	c.leave(3)
	c.leave(2)
	c.want("one at a time", "drain 4", "fork 5: slot 3, release 1", "verdict 7: 1 workers are on their way out already: try again when they are gone")
	c.leaves(4)
	c.ready(5)
	c.want("done", "verdict 6: ok")
	c.ticket = 10
	c.reload()
	c.did = nil
	c.restart(1)
	c.want("a reload replaces all", "verdict 12: a reload is under way, which replaces every worker: wait for its verdict")
	c.rolls()
	c.did = nil
	c.step(Shutdown{})
	c.did = nil
	c.restart(1)
	c.want("the end", "verdict shut down 13: the master is shutting down")

	one := serving2(t)
	one.leave(1)
	one.want("the last one", "verdict 1: nobody else is ready: restart it instead, or scale up first")
}

func serving2(t *testing.T) *scene {
	t.Helper()
	c := &scene{T: t, s: New(defaults(1), 1, 0), muted: map[ID]bool{}, memory: map[ID]int64{}}
	c.step(Begin{})
	c.ready(1)
	c.did = nil
	return c
}

// doc.go, Orders: what else may end them.
func TestOrdersDropped(t *testing.T) {
	t.Run("reload", func(t *testing.T) {
		c := serving(t, 2)
		c.restart(2)
		c.reload()
		c.leaves(3)
		c.want("it replaces all", "fork 3: slot 2, release 1", "kill 3", "verdict superseded 1: a newer reload took its place", "fork 4: slot 1, release 3")
	})
	t.Run("shutdown", func(t *testing.T) {
		c := serving(t, 2)
		c.restart(2)
		c.step(Shutdown{})
		c.want("all leave", "fork 3: slot 2, release 1", "verdict shut down 1: the master is shutting down", "drain 1", "drain 2", "kill 3")
	})
	t.Run("scale", func(t *testing.T) {
		c := serving(t, 3)
		c.restart(3)
		c.step(Scale{Workers: 2})
		c.want("the slot is no more", "fork 4: slot 3, release 1", "verdict 1: the cluster was made smaller: there is no slot 3 any more", "kill 4")
		c.leaves(4)
		c.want("its process leaves", "drain 3")
	})
}

// doc.go, Orders: who is told to leave at once is missed until the slot is filled.
func TestLeave(t *testing.T) {
	t.Run("in order", func(t *testing.T) {
		c := serving(t, 2)
		c.leave(2)
		c.want("both at once", "drain 2", "fork 3: slot 2, release 1")
		c.leaves(2)
		c.want("half of it")
		c.ready(3)
		c.want("done", "verdict 1: ok")
		c.settled(1)
	})
	t.Run("the new one fails", func(t *testing.T) {
		c := serving(t, 2)
		c.leave(2)
		c.leaves(2)
		c.ends(3, "exited with code 3")
		c.want("told", "drain 2", "fork 3: slot 2, release 1", "verdict 1: exited with code 3 before it was ready [3]")
		c.pass(2 * second)
		c.want("and tried again", "fork 4: slot 2, release 1")
	})
	t.Run("nobody would take its place", func(t *testing.T) {
		c := serving(t, 7)
		for id := ID(1); id <= 5; id++ {
			c.ends(id, "exited with code 3")
		}
		c.want("the breaker is open")
		c.leave(6)
		c.want("refused", "verdict 1: nobody would take its place while the release crashes: exited with code 3 0s after it was ready; "+
			"reload another one, or reset the breaker [5]")
	})
}

// doc.go, Orders: reset makes everybody who waits be tried now.
func TestReset(t *testing.T) {
	c := opened(t, 6)
	c.step(Reset{})
	c.noted(NoteReset)
	c.want("all at once", "fork 7: slot 1, release 1", "fork 8: slot 2, release 1", "fork 9: slot 3, release 1",
		"fork 10: slot 4, release 1", "fork 11: slot 5, release 1")
	for id := ID(7); id <= 10; id++ {
		c.ends(id, "exited with code 3")
		if n := c.noted(NoteCrashed); n.Crashes != 1 {
			t.Errorf("got %+v", n)
		}
	}
	if c.s.Breakers[0].Open {
		t.Error("crashes of before count")
	}
	if last := c.s.Slots[0].Last; last == nil || last.ID != 7 || last.Reason != "exited with code 3 before it was ready" || last.PID != 1007 {
		t.Errorf("the last crash of slot 1 is %+v", last)
	}
}
