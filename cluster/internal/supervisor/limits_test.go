package supervisor_test

import (
	"fmt"
	"testing"
	"time"

	. "doorbuster/cluster/internal/supervisor"
)

// Promise M9: a process that is not ready in time is killed, and replaced when it is gone.
func TestLate(t *testing.T) {
	c := stage(t, defaults(1))
	c.pass(30*second - 1)
	c.want("it has time", "fork 1: slot 1, release 1")
	c.pass(1)
	if n := c.noted(NoteLate); n.Reason != "was not ready within 30s" || n.ID != 1 {
		t.Errorf("got %+v", n)
	}
	c.want("late", "kill 1")
	c.pass(100 * second)
	c.ready(1)
	c.want("one that can't be killed does not multiply")
	c.leaves(1)
	if n := c.noted(NoteCrashed); n.Reason != "was not ready within 30s" || n.Wait < second {
		t.Errorf("got %+v", n)
	}
	c.pass(2 * second)
	c.want("replaced", "fork 2: slot 1, release 1")
}

// Promise M11: silence for 30 s means SIGKILL and a replacement.
func TestSilence(t *testing.T) {
	c := serving(t, 2)
	c.muted[1] = true
	c.pass(29 * second)
	c.beat(1)
	c.pass(30*second - 1)
	c.want("it has just been heard")
	c.pass(1)
	if n := c.noted(NoteSilent); n.Reason != "sent no heartbeat for 30s" || n.ID != 1 {
		t.Errorf("got %+v", n)
	}
	c.want("silent", "kill 1")
	c.beat(1)
	c.leaves(1)
	c.pass(2 * second)
	c.want("replaced", "fork 3: slot 1, release 1")
	c.ready(3)
	c.settled(1)
}

// Promise M10: who was told to leave is killed at the limit, heartbeats or not, and once.
func TestStuck(t *testing.T) {
	c := serving(t, 2)
	c.pass(7 * second)
	c.muted[2] = true // a process that leaves may be too busy to say so
	c.step(Scale{Workers: 1})
	c.want("told", "drain 2")
	c.pass(30*second - 1)
	c.want("it has time")
	c.pass(1)
	if n := c.noted(NoteStuck); n.ID != 2 {
		t.Errorf("got %+v", n)
	}
	c.want("stuck", "kill 2")
	c.pass(time.Hour)
	c.want("once")
	c.leaves(2)
	c.noted(NoteLeft)
	c.want("no crash")
	c.settled(1)
}

// Promise M12: too much memory means a replacement first, then a graceful end.
func TestRecycle(t *testing.T) {
	c := serving(t, 2)
	c.memory[1] = 513 * mb
	c.memory[2] = 512 * mb
	c.pass(40*second - 1)
	c.want("not before it has been so for a while")
	c.pass(1)
	if n := c.noted(NoteRecycle); n.ID != 1 || n.Reason != "uses 513 MB of memory, and the limit is 512 MB" {
		t.Errorf("got %+v", n)
	}
	c.want("the replacement first", "fork 3: slot 1, release 1")
	c.memory[2] = 600 * mb
	c.pass(20 * second)
	c.ready(3)
	c.want("without a bake", "drain 1")
	c.pass(second)
	c.want("one at a time")
	c.leaves(1)
	c.pass(19 * second)
	c.ready(4)
	c.want("the next", "fork 4: slot 2, release 1", "drain 2")
	c.leaves(2)
	c.settled(1)

	c.memory[3] = 512 * mb
	c.pass(time.Hour)
	c.want("the limit itself is allowed")
}

// Promise M12: a crowd's peak is no leak.
func TestPeakOfMemory(t *testing.T) {
	c := serving(t, 1)
	for range 5 {
		c.memory[1] = 600 * mb
		c.pass(30 * second) // three heartbeats
		c.memory[1] = 500 * mb
		c.pass(10 * second)
	}
	c.want("never for long enough")
	c.memory[1] = 600 * mb
	c.pass(40 * second)
	c.want("the fourth", "fork 2: slot 1, release 1")
}

// Promise M12: recycling waits until a rollout has ended.
func TestRecycleAfterRollout(t *testing.T) {
	c := serving(t, 5)
	c.reload()
	c.ready(6)
	c.pass(5 * second)
	c.beat(6)
	c.leaves(1)
	for id := ID(7); id <= 10; id++ {
		c.ready(id)
		if id < 10 {
			c.leaves(id - 5)
		}
	}
	c.did = nil
	c.memory[6] = 600 * mb
	c.beat(6)
	c.pass(29 * second)
	c.want("6 is too large, and 5 is still leaving")
	c.leaves(5)
	c.want("first things first", "verdict 1: ok", "retire 1")
	c.pass(second)
	c.want("and now it is long enough", "fork 11: slot 1, release 2")
}

// Promise M12: without a limit nobody is too large.
func TestNoMemoryLimit(t *testing.T) {
	cfg := defaults(1)
	cfg.MaxMemory = 0
	c := servingWith(t, cfg)
	c.memory[1] = 1 << 40
	c.pass(time.Hour)
	c.want("nothing happens")
	c.reload()
	c.memory[2] = 1 << 40
	c.rolls()
	c.settled(2)
}

// Promises M12, M5: a replacement that crashes counts as any other; the large one stays, and the next try waits.
func TestRecycleFails(t *testing.T) {
	c := serving(t, 1)
	c.memory[1] = 600 * mb
	c.pass(40 * second)
	c.ends(2, "exited with code 3")
	wait := c.noted(NoteCrashed).Wait
	c.want("a replacement", "fork 2: slot 1, release 1")
	c.pass(wait - 1)
	c.want("it waits")
	c.pass(1)
	c.want("and is tried again", "fork 3: slot 1, release 1")
	c.pass(30 * second)
	c.want("late", "kill 3")
	c.ends(1, "killed by SIGKILL")
	c.leaves(3)
	c.ready(4)
	c.want("the large one is gone while the slot was held")
}

// Promise M12: lag over a second is a warning, once until it is over.
func TestLag(t *testing.T) {
	c := serving(t, 1)
	for _, lag := range []time.Duration{second, second + 1, 5 * second, 0, 2 * second} {
		c.step(Beat{ID: 1, Lag: lag})
	}
	if len(c.notes) != 2 || c.notes[0].Wait != second+1 || c.notes[1].Wait != 2*second || c.notes[0].Kind != NoteLag {
		t.Errorf("got %+v", c.notes)
	}
	c.want("no more than that")
}

// A master that was stopped for an hour kills nobody on waking, but kills who is really silent a HeartbeatTimeout later.
func TestAway(t *testing.T) {
	c := serving(t, 3)
	c.pass(11 * second)
	c.step(Scale{Workers: 2})
	c.ends(1, "exited with code 3")
	c.pass(1500 * time.Millisecond) // and so 4 is starting, 2 ready and 3 leaving
	c.want("before", "drain 3", "fork 4: slot 1, release 1")
	c.now += time.Hour
	c.step(Tick{})
	if n := c.noted(NoteAway); n.Wait < 59*time.Minute || n.Wait > time.Hour {
		t.Errorf("got %+v", n)
	}
	c.want("awake")
	c.ready(4)
	c.muted[2] = true
	c.pass(10*second - 1)
	c.want("told to leave before: it has a moment at least")
	c.pass(20 * second)
	c.want("no more", "kill 3")
	c.pass(1)
	c.want("silent", "kill 2")
}

// What was under way has the time that was left.
func TestAwayMovesLimits(t *testing.T) {
	c := serving(t, 2)
	c.muted[1] = true
	c.pass(25 * second)
	c.step(Scale{Workers: 1})
	c.reload()
	c.want("30 s to leave, and a rollout waits for it", "drain 2")
	c.now += 200 * second
	c.step(Tick{}) // due at 30 s, for the silence of process 1
	c.want("nobody, and the rollout goes on")
	c.muted[1] = false
	c.pass(25*second - 1)
	c.want("at 30 s there were 25 s left")
	c.pass(1)
	c.want("which are over", "kill 2")
}

// Whoever the master wanted to look after when it was stopped has a moment to be heard; then the limits hold.
func TestAwayAtTheLimit(t *testing.T) {
	c := stage(t, defaults(1))
	c.now = 40 * second
	c.step(Tick{})
	c.want("its word may be waiting", "fork 1: slot 1, release 1")
	c.pass(20*second - 1) // of its 30 s there were 10 when the master was missed
	c.want("still")
	c.pass(1)
	c.want("but it is late", "kill 1")
	c.leaves(1)

	c.now += 11 * second
	c.step(Tick{})
	c.pass(29 * second)
	c.now += second + 10*second - 1
	c.step(Tick{})
	c.want("a little late is not away", "fork 2: slot 1, release 1", "kill 2")
}

// However long a master was stopped, and whenever, it finds nobody silent who has beaten all the time: also where it wakes
// just after the heartbeat timeout, and before it has read anything.
func TestAwayForAnyTime(t *testing.T) {
	t.Parallel()
	for stopped := second; stopped < 70*second; stopped += second / 2 {
		for _, since := range []time.Duration{0, second, 9 * second, 10*second - 1} {
			t.Run(fmt.Sprint(stopped, " after ", since), func(t *testing.T) {
				c := serving(t, 3)
				c.pass(40*second + since)
				c.now += stopped
				c.step(Tick{})
				c.want("nobody is silent")
			})
		}
	}
}

// Time never runs backwards: an earlier reading counts as the last one.
func TestTimeRunsForward(t *testing.T) {
	c := serving(t, 1)
	c.pass(20 * second)
	c.now = 5 * second
	c.beat(1)
	if c.s.Now != 20*second || c.s.Process(1).LastBeat != 20*second {
		t.Errorf("it is %v", c.s.Now)
	}
	c.now = 20 * second
	c.muted[1] = true
	c.pass(30*second - 1)
	c.want("heard at 20 s")
	c.pass(1)
	c.want("silent", "kill 1")
}
