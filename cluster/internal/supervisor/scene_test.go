package supervisor_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	. "doorbuster/cluster/internal/supervisor"
)

const (
	second = time.Second
	mb     = 1 << 20
)

// defaults are the numbers of the promises.
func defaults(workers int) Config {
	return Config{
		Workers: workers, ReadyTimeout: 30 * second, Bake: 5 * second, KillTimeout: 30 * second, HurryTimeout: 2 * second,
		HeartbeatTimeout: 30 * second, AwayLimit: 10 * second, MaxMemory: 512 * mb, MaxLag: second,
		BackoffMin: second, BackoffMax: 30 * second, BackoffDecay: 60 * second,
		BreakerCrashes: 5, BreakerWindow: 60 * second, BreakerPause: 30 * second, BreakerPauseMax: 300 * second, BreakerProbe: 10 * second,
		UnhealthyPause: 300 * second, Seed: 1,
	}
}

// scene plays a story in virtual time. Processes are forked at once, beat every ten seconds, and do nothing else unless
// the story says so.
type scene struct {
	*testing.T
	s      *State
	now    time.Duration
	muted  map[ID]bool
	memory map[ID]int64
	sick   map[ID]string // what they say about their health
	did    []string      // actions since the last want
	notes  []Note
	ticket Ticket
}

func stage(t *testing.T, cfg Config) *scene {
	t.Helper()
	t.Parallel()
	c := &scene{T: t, s: New(cfg, 1, 0), muted: map[ID]bool{}, memory: map[ID]int64{}, sick: map[ID]string{}}
	c.step(Begin{})
	return c
}

// serving is a scene whose processes 1 to n are ready, in slots 1 to n.
func serving(t *testing.T, n int) *scene {
	t.Helper()
	return servingWith(t, defaults(n))
}

func servingWith(t *testing.T, cfg Config) *scene {
	t.Helper()
	c := stage(t, cfg)
	for id := range cfg.Workers {
		c.ready(ID(id + 1))
	}
	c.did, c.notes = nil, nil
	return c
}

func (c *scene) step(e Event) {
	for _, a := range slices.Clone(c.s.Step(c.now, e)) {
		if n, ok := a.(Note); ok {
			c.notes = append(c.notes, n)
			continue
		}
		c.did = append(c.did, words(a))
		switch a := a.(type) {
		case Fork:
			c.step(Forked{ID: a.ID, PID: 1000 + int(a.ID)})
		case Stand:
			c.step(AnswererStarted{PID: 99})
		}
	}
}

func (c *scene) ready(ids ...ID) {
	for _, id := range ids {
		c.step(ProcessReady{ID: id})
	}
}

func (c *scene) beat(id ID) { c.step(Beat{ID: id, Memory: c.memory[id], Unhealthy: c.sick[id]}) }

// ends reaps a process.
func (c *scene) ends(id ID, reason string) {
	c.Helper()
	if c.s.Process(id) == nil {
		c.Fatalf("process %d is gone already", id)
	}
	c.step(Exited{ID: id, Reason: reason})
}

// killed reaps a process that somebody has killed.
func (c *scene) killed(id ID) {
	c.Helper()
	if c.s.Process(id) == nil {
		c.Fatalf("process %d is gone already", id)
	}
	c.step(Exited{ID: id, Reason: "was killed by SIGKILL", Outside: true})
}

// leaves reaps processes that were told to leave.
func (c *scene) leaves(ids ...ID) {
	c.Helper()
	for _, id := range ids {
		if p := c.s.Process(id); p == nil || p.Phase != Leaving && p.Phase != Killed {
			c.Fatalf("process %d was not told to leave: %+v", id, p)
		}
		c.step(Exited{ID: id, Reason: "exited with code 0"})
	}
}

// crash makes a process crash and come back ready: the new one's id is returned.
func (c *scene) crash(id ID) ID {
	c.Helper()
	slot := c.s.Process(id).Slot
	c.ends(id, "exited with code 3")
	c.pass(c.s.Slots[slot-1].NotBefore - c.now)
	c.ready(c.s.LastID)
	return c.s.LastID
}

// reload asks for the next release, whose number is one more than that of its ticket.
func (c *scene) reload() {
	c.ticket++
	c.step(Reload{Ticket: c.ticket, Release: Release(c.ticket) + 1})
}

// scale asks for a number of processes, and wants to hear how it went.
func (c *scene) scale(workers int) {
	c.ticket++
	c.step(Scale{Ticket: c.ticket, Workers: workers})
}

// restart asks for another process in a slot.
func (c *scene) restart(slot int) {
	c.ticket++
	c.step(Restart{Ticket: c.ticket, Slot: slot})
}

// leave asks the process in a slot to leave.
func (c *scene) leave(slot int) {
	c.ticket++
	c.step(Leave{Ticket: c.ticket, Slot: slot})
}

// rolls finishes the rollout under way, or its way back, with healthy processes.
func (c *scene) rolls() {
	c.Helper()
	for range 100 * len(c.s.Slots) {
		if c.s.Rollout == nil {
			return
		}
		for _, p := range slices.Clone(c.s.Processes) {
			switch p.Phase {
			case Starting:
				c.ready(p.ID)
			case Leaving, Killed:
				c.leaves(p.ID)
			case Ready:
			}
		}
		c.pass(second)
		for _, p := range slices.Clone(c.s.Processes) {
			c.beat(p.ID)
		}
	}
	c.Fatal("the rollout does not end")
}

// pass lets time pass.
func (c *scene) pass(d time.Duration) {
	for end := c.now + d; c.now < end; {
		c.now = min(end, c.s.Next(), c.now-c.now%(10*second)+10*second)
		if c.now%(10*second) == 0 {
			for _, p := range slices.Clone(c.s.Processes) {
				if !c.muted[p.ID] && (p.Phase == Ready || p.Phase == Leaving) {
					c.beat(p.ID)
				}
			}
		}
		c.step(Tick{})
	}
}

// wakes checks that the machine asks to be woken after some time.
func (c *scene) wakes(after time.Duration) {
	c.Helper()
	if next := c.s.Next(); next != c.now+after {
		c.Errorf("at %v: the next tick is at %v, and should be at %v", c.now, next, c.now+after)
	}
}

// want compares what was done since it was last asked.
func (c *scene) want(when string, want ...string) {
	c.Helper()
	if !slices.Equal(c.did, want) {
		c.Errorf("%s (at %v):\n\tgot  %s\n\twant %s", when, c.now, strings.Join(c.did, " · "), strings.Join(want, " · "))
	}
	c.did, c.notes = nil, nil
}

// noted returns the last note of a kind since want was last asked.
func (c *scene) noted(kind NoteKind) Note {
	c.Helper()
	for _, n := range slices.Backward(c.notes) {
		if n.Kind == kind {
			return n
		}
	}
	c.Errorf("at %v: no note %q, only %+v", c.now, kind, c.notes)
	return Note{}
}

// settled checks that all is well with a release.
func (c *scene) settled(release Release) {
	c.Helper()
	if c.s.Plan != nil || c.s.Rollout != nil || c.s.Ready() != c.s.Target || len(c.s.Processes) != c.s.Target || c.s.Serving != release {
		c.Errorf("at %v: not settled with release %d: %s", c.now, release, picture(c.s))
	}
	for _, p := range c.s.Processes {
		if p.Release != release {
			c.Errorf("process %d runs release %d, want %d", p.ID, p.Release, release)
		}
	}
}

// words puts an action into words.
func words(a Action) string {
	switch a := a.(type) {
	case Fork:
		return fmt.Sprintf("fork %d: slot %d, release %d", a.ID, a.Slot, a.Release)
	case Drain:
		if a.Delay > 0 {
			return fmt.Sprintf("drain %d after %v", a.ID, a.Delay)
		}
		return fmt.Sprintf("drain %d", a.ID)
	case Hurry:
		return fmt.Sprintf("hurry %d", a.ID)
	case Kill:
		return fmt.Sprintf("kill %d", a.ID)
	case Ask:
		return fmt.Sprintf("ask %d", a.ID)
	case Retire:
		return fmt.Sprintf("retire %d", a.Release)
	case Stand:
		return "stand"
	case StandDown:
		return "stand down"
	case StandKill:
		return "kill the answerer"
	case Verdict:
		return fmt.Sprintf("verdict%s %d: %s", [...]string{"", " superseded", " shut down"}[a.End], a.Ticket, blame(a.Reason, a.Culprit))
	case Exit:
		return "exit: " + blame(a.Reason, a.Culprit)
	case Note:
		return fmt.Sprintf("(%s %d slot %d release %d %v %s)", a.Kind, a.ID, a.Slot, a.Release, a.Wait, a.Reason)
	}
	return fmt.Sprintf("%T", a)
}

func blame(reason string, culprit ID) string {
	switch {
	case reason == "":
		return "ok"
	case culprit == 0:
		return reason
	}
	return fmt.Sprintf("%s [%d]", reason, culprit)
}

// picture shows a state on one line.
func picture(s *State) string {
	var b strings.Builder
	fmt.Fprintf(&b, "target %d serving %d", s.Target, s.Serving)
	for _, p := range s.Processes {
		fmt.Fprintf(&b, " | %d: slot %d release %d %v", p.ID, p.Slot, p.Release, p.Phase)
	}
	if s.Plan != nil {
		fmt.Fprintf(&b, " | plan %+v", *s.Plan)
	}
	if s.Rollout != nil {
		fmt.Fprintf(&b, " | rollout %+v", *s.Rollout)
	}
	if s.Scaling != nil {
		fmt.Fprintf(&b, " | scaling %+v", *s.Scaling)
	}
	if len(s.Orders) > 0 {
		fmt.Fprintf(&b, " | orders %+v", s.Orders)
	}
	if s.Dark != nil {
		fmt.Fprintf(&b, " | dark %+v", *s.Dark)
	}
	if s.Answerer.Up {
		fmt.Fprintf(&b, " | answerer %+v", s.Answerer)
	}
	for i, slot := range s.Slots {
		if slot.NotBefore > s.Now {
			fmt.Fprintf(&b, " | slot %d waits until %v", i+1, slot.NotBefore)
		}
	}
	for _, r := range s.Breakers {
		if r.Open {
			fmt.Fprintf(&b, " | breaker of %d open, probe %d at %v", r.Release, r.Probe, r.ProbeAt)
		}
	}
	return b.String()
}
