package supervisor_test

import (
	"strings"
	"testing"
	"time"

	. "doorbuster/cluster/internal/supervisor"
)

// doc.go, Health: one that is unhealthy for HeartbeatTimeout is replaced, by one
// that says that it is healthy, and is never killed for it.
func TestCure(t *testing.T) {
	c := serving(t, 2)
	c.sick[1] = "no answer in 5s"
	c.pass(10 * second)
	if n := c.noted(NoteUnhealthy); n.ID != 1 || n.Reason != "no answer in 5s" {
		t.Errorf("got %+v", n)
	}
	c.pass(30*second - 1)
	c.want("it may recover")
	c.pass(1)
	if n := c.noted(NoteCure); n.ID != 1 || n.Reason != "is unhealthy: no answer in 5s" {
		t.Errorf("got %+v", n)
	}
	c.want("the replacement first", "fork 3: slot 1, release 1")
	c.ready(3)
	c.want("and it has to say that it is healthy")
	c.beat(1)
	c.want("itself")
	c.beat(3)
	c.want("then the other one leaves", "drain 1")
	c.leaves(1)
	c.settled(1)
}

// doc.go, Health: whoever recovers is not replaced.
func TestRecovery(t *testing.T) {
	t.Run("before", func(t *testing.T) {
		c := serving(t, 1)
		for range 5 {
			c.sick[1] = "slow"
			c.pass(30 * second)
			c.sick[1] = ""
			c.pass(10 * second)
			c.noted(NoteHealthy)
		}
		c.want("never for long enough")
	})
	t.Run("while the replacement starts", func(t *testing.T) {
		c := serving(t, 1)
		c.sick[1] = "slow"
		c.pass(40 * second)
		c.sick[1] = ""
		c.beat(1)
		c.ready(2)
		c.beat(2)
		c.want("the replacement goes", "fork 2: slot 1, release 1", "drain 2")
		c.leaves(2)
		c.settled(1)
	})
	t.Run("the old one crashes", func(t *testing.T) {
		c := serving(t, 2)
		c.sick[1] = "slow"
		c.pass(40 * second)
		c.ends(1, "exited with code 3")
		c.ready(3)
		c.sick[3] = "slow"
		c.pass(30*second - 1)
		c.wakes(1)
		c.pass(30 * second)
		c.want("the replacement has its place, whatever it says", "fork 3: slot 1, release 1")
		c.settled(1)
	})
}

// doc.go, Health: what all workers suffer from is no fault of theirs. However long
// that takes, hardly anybody is replaced, and nobody is missed meanwhile.
func TestDependencyIsBroken(t *testing.T) {
	for name, test := range map[string]struct {
		first string // what a new one says first
		most  int    // replacements in an hour
	}{
		"and everyone sees it at once":        {"the database is away", 12},
		"and who is new notices later":        {"", 12},
		"and nobody says it but a short time": {"flaps", 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := serving(t, 4)
			const away = "the database is away"
			forks, round := 0, 0
			for ; c.now < time.Hour; round++ {
				for _, p := range c.s.Processes {
					switch {
					case test.first == "flaps" && round%3 == 0:
						c.sick[p.ID] = ""
					case p.Heard || test.first != "":
						c.sick[p.ID] = away
					}
				}
				c.pass(10 * second)
				if c.s.Ready() < 4 {
					t.Fatalf("%d are ready", c.s.Ready())
				}
				for _, p := range append([]*Process(nil), c.s.Processes...) {
					switch p.Phase {
					case Starting:
						c.ready(p.ID)
					case Leaving:
						c.leaves(p.ID)
					case Killed:
						t.Fatalf("process %d is killed for it", p.ID)
					case Ready:
					}
				}
			}
			for _, a := range c.did {
				if strings.HasPrefix(a, "fork") {
					forks++
				}
			}
			if forks > test.most || forks == 0 && test.most > 0 {
				t.Errorf("%d were forked: %q", forks, c.did)
			}
		})
	}
}

// doc.go, Health: the pause after a replacement that was of no use, and what ends it.
func TestIncurable(t *testing.T) {
	c := serving(t, 3)
	c.sick[1], c.sick[2] = "ill", "ill"
	c.pass(40 * second)
	c.ready(4)
	c.sick[4] = "ill"
	c.want("one of them", "fork 4: slot 1, release 1")
	c.pass(30*second - 1)
	for _, n := range c.notes {
		if n.Kind == NoteIncurable {
			t.Errorf("too early: %+v", n)
		}
	}
	c.want("it may take a while to be healthy")
	c.wakes(1)
	c.pass(1)
	if n := c.noted(NoteIncurable); n.ID != 4 || n.Wait != 300*second {
		t.Errorf("got %+v", n)
	}
	c.leaves(4)
	c.want("it does not", "drain 4")
	c.pass(300*second - 1)
	c.want("a pause")
	c.pass(1)
	c.ready(5)
	c.want("again", "fork 5: slot 1, release 1")
	c.beat(5)
	c.leaves(1)
	c.pass(10 * second)
	c.want("it is better", "drain 1")
	c.sick[5] = "ill"
	c.pass(10 * second)
	if n := c.noted(NoteIncurable); n.ID != 5 {
		t.Errorf("got %+v", n)
	}
	c.pass(200 * second)
	c.want("but not for long: a pause")
	c.sick[5] = ""
	c.pass(10 * second)
	c.ready(6)
	c.want("somebody is healthy again, and the next has his turn", "fork 6: slot 2, release 1")
	c.beat(6)
	c.leaves(2)
	c.settled(1)
}

// doc.go, Health: no more than one in HeartbeatTimeout, also when each is of use.
func TestCuresAreFewAndFarBetween(t *testing.T) {
	c := serving(t, 3)
	c.sick[1], c.sick[2], c.sick[3] = "ill", "ill", "ill"
	c.pass(60 * second)
	c.ready(4)
	c.beat(4)
	c.leaves(1)
	c.want("one", "fork 4: slot 1, release 1", "drain 1")
	c.pass(30*second - 1)
	c.want("which has to stay healthy")
	c.pass(1)
	c.want("before the next", "fork 5: slot 2, release 1")
}

// doc.go, Health: a replacement that was healthy for long enough was of use.
func TestUnhealthyAgain(t *testing.T) {
	c := serving(t, 1)
	c.sick[1] = "ill"
	c.pass(40 * second)
	c.ready(2)
	c.beat(2)
	c.leaves(1)
	c.pass(30 * second)
	c.did, c.notes = nil, nil
	c.sick[2] = "ill"
	c.pass(39 * second)
	for _, n := range c.notes {
		if n.Kind == NoteIncurable {
			t.Errorf("got %+v", n)
		}
	}
	c.pass(second)
	c.want("the next", "fork 3: slot 1, release 1")
}

// doc.go, Health: who leaves is nobody's concern.
func TestUnhealthyWhileLeaving(t *testing.T) {
	c := serving(t, 2)
	c.step(Scale{Workers: 1})
	c.want("one of them", "drain 2")
	c.sick[2] = "ill"
	c.beat(2)
	if len(c.notes) > 0 || c.s.Process(2).Unhealthy != "" {
		t.Errorf("got %+v", c.notes)
	}
}

// doc.go, Orders: reset ends that pause too.
func TestResetAndHealth(t *testing.T) {
	c := serving(t, 2)
	c.sick[1] = "ill"
	c.pass(40 * second)
	c.ready(3)
	c.sick[3] = "ill"
	c.pass(30 * second)
	c.leaves(3)
	c.want("of no use", "fork 3: slot 1, release 1", "drain 3")
	c.step(Reset{})
	c.want("again", "fork 4: slot 1, release 1")
}

// doc.go, Health: the first replacement of a rollout has to be healthy when it is
// asked.
func TestUnhealthyInTheBake(t *testing.T) {
	c := serving(t, 2)
	c.reload()
	c.ready(3)
	c.sick[3] = "the cache is empty"
	c.beat(3)
	c.pass(5 * second)
	c.want("it has the whole bake", "fork 3: slot 1, release 2", "ask 3")
	c.beat(3)
	c.leaves(3)
	c.want("no longer", "drain 3", "verdict 1: is unhealthy: the cache is empty [3]", "retire 2")
	c.settled(1)

	c.reload()
	c.ready(4)
	c.sick[4] = "the cache is empty"
	c.beat(4)
	c.sick[4] = ""
	c.rolls()
	c.settled(3)
}

// doc.go, Health: a rollout replaces everyone anyway, and nobody is replaced for his
// health before it has ended.
func TestUnhealthyDuringARollout(t *testing.T) {
	c := serving(t, 5)
	c.reload()
	c.ready(6)
	c.pass(5 * second)
	c.beat(6)
	c.sick[6] = "ill"
	c.beat(6)
	c.leaves(1)
	for id := ID(7); id <= 10; id++ {
		c.ready(id)
		c.pass(10 * second)
		c.did = nil
		c.leaves(id - 5)
	}
	c.want("not before", "verdict 1: ok", "fork 11: slot 1, release 2", "retire 1")
}
