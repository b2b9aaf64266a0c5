//go:build unix

package cluster_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"doorbuster/cluster"
)

// M15, M4, M8, M17; anchors/handoff.md C.3: every signal in every phase of a master, once and twice. Each has the end state
// that doc.go promises, whatever was under way.
func TestSignals(t *testing.T) {
	t.Parallel()
	reload := func(z *zoo) { go z.client.Reload(z.Context(), func(cluster.Event) {}) }
	phases := map[string]struct {
		runs    string // what all workers run in the end, if nothing else is deployed
		crashes int
		enter   func(t *testing.T) *zoo
	}{
		"starting": {"joined:gate", 0, func(t *testing.T) *zoo {
			z := newZoo(t, "joined:gate", nil)
			z.begin()
			z.dial()
			z.gate.wait("joined", 2)
			return z
		}},
		"running": {"drain:gate", 0, func(t *testing.T) *zoo { return startZoo(t, "drain:gate", nil) }},
		"rolling": {"joined:gate", 0, func(t *testing.T) *zoo {
			z := startZoo(t, "drain:gate", nil)
			z.deploy("joined:gate")
			reload(z)
			z.gate.wait("joined", 1)
			return z
		}},
		"baking": {"good next", 0, func(t *testing.T) *zoo {
			z := startZoo(t, "drain:gate", config{"Bake": 300 * time.Millisecond})
			z.deploy("good next")
			reload(z)
			z.logged("worker ready", 3)
			return z
		}},
		"rolling back": {"good", 1, func(t *testing.T) *zoo {
			z := startZoo(t, "good", nil)
			z.deploy("drain:gate joined@2:exit=3")
			reload(z)
			z.gate.wait("drain", 1) // the one that was replaced goes back
			return z
		}},
		"rolling, one leaves": {"good next", 0, func(t *testing.T) *zoo {
			z := startZoo(t, "drain:gate", nil)
			z.deploy("good next")
			reload(z)
			z.gate.wait("drain", 1)
			return z
		}},
		"stopping": {"", 0, func(t *testing.T) *zoo {
			z := startZoo(t, "drain:gate", nil)
			z.signal(syscall.SIGTERM)
			z.gate.wait("drain", 2)
			return z
		}},
	}
	for phase, p := range phases {
		for _, s := range []syscall.Signal{syscall.SIGUSR2, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGTTIN, syscall.SIGTTOU} {
			for times := 1; times <= 2; times++ {
				t.Run(fmt.Sprintf("%s/%v x %d", phase, s, times), func(t *testing.T) {
					t.Parallel()
					c := signalled{zoo: p.enter(t), stopping: phase == "stopping", runs: p.runs, crashes: p.crashes, workers: 2}
					c.deploy("good newest")
					for range times {
						c.send(s)
					}
					c.check()
				})
			}
		}
	}
}

// signalled is a cluster that gets signals, and what should become of it.
type signalled struct {
	*zoo
	stopping bool
	hurried  bool
	runs     string
	crashes  int
	workers  int
}

// send sends a signal and waits until the master has noticed: the kernel merges those that wait.
func (c *signalled) send(s syscall.Signal) {
	c.Helper()
	message := ""
	switch s {
	case syscall.SIGUSR2:
		message = "reloading"
		if c.stopping {
			message = "reload cut short"
		}
		c.runs = "good newest"
	case syscall.SIGTERM, syscall.SIGINT:
		message = "master stopping"
		if c.stopping {
			message, c.hurried = "stopping at once", true
		}
		c.stopping = true
	case syscall.SIGHUP:
		message = "SIGHUP is kept for replacing the master in place, which this version does not do: SIGUSR2 replaces the workers, SIGTERM stops"
	case syscall.SIGTTIN:
		message = "scaling"
		c.workers++
	case syscall.SIGTTOU:
		message = "scaling"
		if c.workers == 1 {
			message = "can't scale"
		}
		c.workers = max(1, c.workers-1)
	}
	before := c.times(message)
	// A master whose workers were all starting has ended already when the second one comes.
	if err := c.cmd.Process.Signal(s); errors.Is(err, os.ErrProcessDone) && c.hurried {
		return
	} else if err != nil {
		c.Fatal(err)
	}
	if c.stopping && slices.Contains([]syscall.Signal{syscall.SIGTTIN, syscall.SIGTTOU}, s) {
		return // these change nothing any more
	}
	if c.hurried { // it may have ended before it notices
		eventually(c.T, message, func() bool { return c.times(message) > before || isClosed(c.ended) })
		return
	}
	c.logged(message, before+1)
}

// check waits for the end state.
func (c *signalled) check() {
	c.Helper()
	if !c.hurried { // else they leave although nobody lets them
		c.gate.open()
	}
	if !c.stopping {
		s := c.settle(c.workers)
		for _, w := range s.Workers {
			if w.Release != s.Master.Release {
				c.Errorf("slot %d runs %s and the release is %s", w.Slot, w.Release, s.Master.Release)
			}
		}
		if behaviour, _ := c.running(); behaviour != c.runs {
			c.Errorf("the workers run %q and should run %q", behaviour, c.runs)
		}
		if s.Master.CrashesTotal != c.crashes {
			c.Errorf("%d crashes", s.Master.CrashesTotal)
		}
		c.stop()
		return
	}
	// One that comes when all is done and given back ends the process before it ends itself.
	if code := c.exit(); code != 0 && (!c.hurried || !c.cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled()) {
		c.Errorf("the master ended with %v", c.cmd.ProcessState)
	}
	c.nothingLeft()
	stopping := false
	for _, e := range c.log.list() {
		stopping = stopping || e.message == "master stopping"
		if stopping && e.message == "worker started" { // M4
			c.Errorf("a worker was started after the end had begun: %s", e.raw)
		}
		if e.message == "killing worker" { // they were asked to be quick, and are
			c.Errorf("a worker had to be killed: %s", e.raw)
		}
		if stopping && e.message == "scaling" {
			c.Errorf("the end changes its size: %s", e.raw)
		}
		if stopping && e.message == "worker crashed" {
			c.Errorf("an end that was asked for counts as a crash: %s", e.raw)
		}
	}
}
