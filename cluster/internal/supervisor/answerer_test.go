package supervisor_test

import (
	"strings"
	"testing"
	"time"

	. "doorbuster/cluster/internal/supervisor"
)

// doc.go, The answerer.
func TestAnswerer(t *testing.T) {
	t.Run("stands while nobody is ready", func(t *testing.T) {
		c := dark(t, 2)
		c.pass(second/4 - 1)
		c.want("a crash is over soon")
		c.pass(1)
		c.noted(NoteAnswering)
		c.want("this one is not", "stand")
		c.pass(second)
		c.want("workers are started as ever", "fork 3: slot 2, release 1", "fork 4: slot 1, release 1")
		c.ready(3)
		if n := c.noted(NoteAnswered); n.PID != 99 {
			t.Errorf("got %+v", n)
		}
		c.want("one is enough", "stand down")
		c.ready(4)
		c.step(AnswererEnded{Reason: "exited with code 0"})
		c.pass(time.Hour)
		c.want("once")
		c.settled(1)
	})
	t.Run("not before anybody was ready", func(t *testing.T) {
		cfg := defaults(1)
		cfg.AnswerAfter = second / 4
		c := stage(t, cfg)
		c.pass(20 * second)
		c.want("they wait in the kernel", "fork 1: slot 1, release 1")
	})
	t.Run("not where there is none", func(t *testing.T) {
		c := serving(t, 1)
		c.ends(1, "exited with code 3")
		c.pass(second)
		c.want("nothing")
		if c.s.Answerer.Up {
			t.Error("it is up")
		}
	})
	t.Run("does not leave", func(t *testing.T) {
		c := dark(t, 1)
		c.pass(5 * second / 4)
		c.ready(2)
		c.pass(2*second - 1)
		c.want("it has time", "stand", "fork 2: slot 1, release 1", "stand down")
		c.pass(1)
		c.want("no more", "kill the answerer")
		c.pass(time.Minute)
		c.want("once")
		c.ends(2, "exited with code 3")
		c.pass(second)
		c.want("it is still there, and no second one comes")
		c.step(AnswererEnded{Reason: "was killed by SIGKILL"})
		c.want("now it may", "stand")
	})
	t.Run("is no good", func(t *testing.T) {
		c := dark(t, 2)
		c.pass(second / 4)
		c.want("up", "stand")
		for _, wait := range []time.Duration{second, 2 * second, 4 * second, 8 * second, 16 * second, 30 * second, 30 * second} {
			c.step(AnswererEnded{Reason: "could not be started"})
			if n := c.noted(NoteAnswererEnd); n.Wait != wait || n.Reason != "could not be started" {
				t.Errorf("got %+v, want a pause of %v", n, wait)
			}
			for until := c.now + wait; c.now < until-1; {
				c.pass(min(second, until-1-c.now))
				c.all("exited with code 3") // nor is anybody else
			}
			if strings.Contains(strings.Join(c.did, " "), "stand") {
				t.Errorf("it is started too early: %q", c.did)
			}
			c.did = nil
			c.pass(1)
			if len(c.did) == 0 || c.did[0] != "stand" {
				t.Errorf("it is not tried again: %q", c.did)
			}
			c.did = nil
		}
		c.pass(2 * second)
		c.ready(c.s.LastID)
		c.step(AnswererEnded{Reason: "exited with code 0"})
		c.ends(c.s.LastID, "exited with code 3")
		c.did = nil
		c.all("exited with code 3")
		c.pass(second / 4)
		c.want("the next time it is as at first", "stand")
		c.pass(second)
		c.step(AnswererEnded{Reason: "exited with code 1"})
		if n := c.noted(NoteAnswererEnd); n.Wait != second {
			t.Errorf("got %+v", n)
		}
		c.ready(c.s.LastID)
		c.did = nil
		c.all("exited with code 3")
		c.pass(second / 4)
		c.want("and so is the one after that", "stand")
	})
	t.Run("is tried at once after a reset", func(t *testing.T) {
		c := dark(t, 2)
		c.pass(second / 4)
		c.step(AnswererEnded{Reason: "exited with code 1"})
		c.step(AnswererEnded{Reason: "twice"})
		c.did = nil
		c.step(Reset{})
		c.want("with those that wait", "fork 3: slot 1, release 1", "fork 4: slot 2, release 1", "stand")
		c.step(AnswererEnded{Reason: "exited with code 1"})
		if n := c.noted(NoteAnswererEnd); n.Wait != second {
			t.Errorf("got %+v", n)
		}
	})
	t.Run("and the end", func(t *testing.T) {
		c := dark(t, 1)
		c.pass(second / 4)
		c.step(Shutdown{})
		c.want("it goes", "stand", "stand down")
		c.step(Shutdown{})
		c.want("in its time")
		c.step(Shutdown{})
		c.want("or at once", "kill the answerer")
		c.step(AnswererEnded{Reason: "was killed by SIGKILL"})
		c.want("and is waited for", "exit: ok")
	})
	t.Run("does not come for the end", func(t *testing.T) {
		cfg := defaults(1)
		cfg.AnswerAfter = second / 4
		c := servingWith(t, cfg)
		c.step(Shutdown{})
		c.pass(10 * second)
		c.want("those who leave are not missed", "drain 1")
	})
}

// doc.go, The answerer: it is one of the target + 1 children, and the first to go.
func TestAnswererMakesRoom(t *testing.T) {
	t.Run("for a candidate", func(t *testing.T) {
		c := dark(t, 1)
		c.pass(second / 4)
		c.want("there is room for the next try", "stand")
		c.reload()
		c.want("but not for two", "stand down")
		c.step(AnswererEnded{Reason: "exited with code 0"})
		c.want("first things first", "fork 2: slot 1, release 2")
		c.pass(second)
		c.want("and no answerer beside both", "fork 3: slot 1, release 1")
		c.ends(2, "exited with code 1")
		c.want("there is room again", "verdict 1: exited with code 1 before it was ready [2]", "retire 2", "stand")
	})
	t.Run("there is none", func(t *testing.T) {
		cfg := defaults(2)
		cfg.AnswerAfter, cfg.AnswerTimeout = second/4, 2*second
		c := servingWith(t, cfg)
		c.muted[1], c.muted[2] = true, true
		c.pass(30 * second)
		c.pass(second * 5 / 4)
		c.want("all are taken", "kill 1", "kill 2", "fork 3: slot 1, release 1")
		c.leaves(2)
		c.want("now not", "stand")
	})
	t.Run("for the next slot", func(t *testing.T) {
		cfg := defaults(3)
		cfg.AnswerAfter, cfg.AnswerTimeout = second/4, 2*second
		c := servingWith(t, cfg)
		c.reload()
		c.muted[1] = true
		c.pass(30 * second)
		c.want("two in slot 1 can't be killed", "fork 4: slot 1, release 2", "kill 1", "kill 4", "verdict 1: was not ready within 30s [4]")
		c.ends(2, "exited with code 3")
		c.ends(3, "exited with code 3")
		c.pass(second * 5 / 4)
		c.want("one is tried beside it, and it goes before the second is", "stand", "fork 5: slot 3, release 1", "stand down")
		c.step(AnswererEnded{Reason: "exited with code 0"})
		c.want("then there are as many as there may be", "fork 6: slot 2, release 1")
	})
	t.Run("for one who is tried", func(t *testing.T) {
		c := dark(t, 2)
		c.pass(3 * second)
		c.want("two start", "stand", "fork 3: slot 2, release 1", "fork 4: slot 1, release 1")
		c.pass(59 * second / 2)
		c.want("neither is ready, both can't be killed, and it has not gone yet", "kill 3", "kill 4", "stand down")
		c.step(AnswererEnded{Reason: "exited with code 0"})
		c.want("now it has", "fork 5: slot 1, release 1")
	})
}
