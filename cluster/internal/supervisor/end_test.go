package supervisor_test

import (
	"testing"
	"time"

	. "doorbuster/cluster/internal/supervisor"
)

// Promises M4, M10, M15: once shutdown has begun nothing is forked, everyone leaves or is killed, and the master ends when
// the last one was reaped. At every phase of a process, however often it is said.
func TestShutdown(t *testing.T) {
	t.Run("all serve", func(t *testing.T) {
		cfg := defaults(2)
		cfg.ShutdownDelay = 3 * second
		c := servingWith(t, cfg)
		c.step(Shutdown{})
		c.noted(NoteShutdown)
		c.want("all together, when the world has noticed", "drain 1 after 3s", "drain 2 after 3s")
		c.step(Scale{Workers: 4})
		if c.s.Target != 2 || len(c.notes) != 0 {
			t.Errorf("target %d, %+v", c.s.Target, c.notes)
		}
		c.ends(1, "exited with code 1")
		c.noted(NoteLeft)
		c.want("nothing is forked")
		c.pass(33*second - 1)
		c.want("time to leave")
		c.pass(1)
		c.want("the limit counts from the delay", "kill 2")
		c.pass(time.Hour)
		c.want("not before it is reaped")
		c.leaves(2)
		c.want("the end", "exit: ok")
		c.step(Shutdown{})
		c.pass(time.Hour)
		c.want("nothing follows")
		if c.s.Next() < 1<<62 {
			t.Errorf("waits for %v", c.s.Next())
		}
	})
	t.Run("starting", func(t *testing.T) {
		c := stage(t, defaults(2))
		c.ready(2)
		c.did = nil
		c.step(Shutdown{})
		c.want("who has nothing to finish is killed", "kill 1", "drain 2")
		c.ready(1)
		c.leaves(2, 1)
		c.want("the end", "exit: ok")
	})
	t.Run("all wait", func(t *testing.T) {
		c := serving(t, 1)
		c.ends(1, "exited with code 3")
		c.step(Shutdown{})
		c.want("the end", "exit: ok")
	})
	t.Run("crash and silence", func(t *testing.T) {
		c := serving(t, 3)
		c.muted[1] = true
		c.pass(30 * second)
		c.step(Shutdown{})
		c.want("silent, and then", "kill 1", "drain 2", "drain 3")
		c.ends(2, "killed by SIGSEGV")
		c.noted(NoteLeft)
		c.leaves(1, 3)
		for _, n := range c.notes {
			if n.Kind == NoteCrashed {
				t.Errorf("got %+v", n)
			}
		}
		c.want("the end", "exit: ok")
	})
	t.Run("leaving already", func(t *testing.T) {
		c := serving(t, 2)
		c.step(Scale{Workers: 1})
		c.pass(20 * second)
		c.step(Shutdown{})
		c.want("told once", "drain 2", "drain 1")
		c.pass(10 * second)
		c.want("its time goes on", "kill 2")
	})
	t.Run("in a rollout", func(t *testing.T) {
		c := halfway(t)
		c.step(Shutdown{})
		c.want("everyone", "verdict shut down 1: the master is shutting down", "drain 2", "drain 3", "drain 4", "kill 5")
		c.leaves(2, 3, 4, 5)
		c.want("the end", "exit: ok")
	})
	t.Run("on the way back", func(t *testing.T) {
		c := halfway(t)
		c.ends(5, "exited with code 3")
		c.did = nil
		c.step(Shutdown{})
		c.want("everyone", "verdict 1: exited with code 3 before it was ready; the way back was cut short: the master is shutting down [5]",
			"drain 2", "drain 3", "drain 4", "kill 6")
	})
	t.Run("twice", func(t *testing.T) {
		c := serving(t, 3)
		c.step(Scale{Workers: 2})
		c.pass(29 * second)
		c.step(Shutdown{})
		c.step(Shutdown{})
		c.noted(NoteShutdownNow)
		c.want("hurry", "drain 3", "drain 1", "drain 2", "hurry 1", "hurry 2", "hurry 3")
		c.pass(second)
		c.want("no limit gets longer", "kill 3")
		c.pass(second)
		c.want("two seconds", "kill 1", "kill 2")
	})
	t.Run("three times", func(t *testing.T) {
		c := serving(t, 2)
		for range 4 {
			c.step(Shutdown{})
		}
		c.want("at once, and once", "drain 1", "drain 2", "hurry 1", "hurry 2", "kill 1", "kill 2")
		c.leaves(1, 2)
		c.want("the end", "exit: ok")
	})
	t.Run("before the beginning", func(t *testing.T) {
		c := &scene{T: t, s: New(defaults(2), 1, 0)}
		c.step(Shutdown{})
		c.want("the end", "exit: ok")
		c.step(Begin{})
		c.want("nothing follows")
	})
}
