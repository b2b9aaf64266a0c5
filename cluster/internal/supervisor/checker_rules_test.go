package supervisor_test

import (
	"time"

	. "doorbuster/cluster/internal/supervisor"
)

// held counts the processes that there may be target + 1 of.
func (c *checker) held() int {
	return c.count(func(m *member) bool {
		return m.slot <= c.s.Target && m.phase != Leaving && (m.phase != Killed || !m.wanted || !m.wasReady)
	})
}

func (c *checker) stand(action Action) {
	a, cfg := &c.answerer, &c.s.Config
	switch action.(type) {
	case Stand:
		if a.up || c.stopped > 0 || !c.everyUp || c.in(Ready) > 0 || c.darkSince < 0 || c.now < c.darkSince+cfg.AnswerAfter || c.held() > c.s.Target {
			c.failf("the answerer is started beside %d", c.held())
		}
		*a = answerer{up: true}
	case StandDown:
		room := c.held() < c.s.Target && (c.s.Rollout == nil || c.held()+1 < c.s.Target) // for one to be tried, and for a candidate
		if !a.up || a.leaving || c.stopped == 0 && c.in(Ready) == 0 && room {
			c.failf("the answerer is told to leave")
		}
		a.leaving, a.limit = true, c.now+cfg.AnswerTimeout
	case StandKill:
		if !a.up || a.killed || c.now < a.limit && c.stopped < 3 {
			c.failf("the answerer is killed")
		}
		a.killed = true
	}
}

// bare reports that nobody is ready, and nobody starts that runs what serves.
func (c *checker) bare() bool {
	fills := c.s.Serving
	if r := c.s.Rollout; r != nil && !r.Back && r.Baked {
		fills = r.Release
	}
	return c.everyUp && c.stopped == 0 && c.in(Ready) == 0 &&
		c.count(func(m *member) bool { return m.phase == Starting && m.release == fills }) == 0
}

// nextVacant returns the slot without a process that may be filled first.
func (c *checker) nextVacant() *memory {
	var next *memory
	for i := 1; i <= c.s.Target; i++ {
		taken := c.count(func(m *member) bool { return m.slot == i && m.phase != Leaving }) > 0
		if !taken && (next == nil || c.slot(i).notBefore < next.notBefore) {
			next = c.slot(i)
		}
	}
	return next
}

// dark checks what has to be done while nobody is ready.
func (c *checker) dark() {
	s, cfg, a := c.s, &c.s.Config, &c.answerer
	mark := func(since *time.Duration, is bool) {
		if !is {
			*since = -1
		} else if *since < 0 {
			*since = c.now
		}
	}
	mark(&c.darkSince, c.everyUp && c.stopped == 0 && c.in(Ready) == 0)
	mark(&c.bareSince, c.bare())
	toCome := 0
	if c.bareSince >= 0 {
		toCome = 1
		if next := c.nextVacant(); next != nil {
			next.notBefore = min(next.notBefore, c.bareSince+cfg.BackoffMin)
		}
	}
	// Only where a process that is killed lives on does it take longer.
	if c.bareSince >= 0 && c.now >= c.bareSince+2*second && c.held() <= s.Target && (!a.up || c.held() < s.Target || !a.leaving) {
		c.failf("nobody is ready or tried since %v", c.bareSince)
	}
	needed := c.darkSince >= 0 && c.now >= max(c.darkSince+cfg.AnswerAfter, a.notBefore) && c.held()+toCome <= s.Target
	if needed && !a.up || a.up && !a.leaving && (c.darkSince < 0 || c.stopped > 0) || a.leaving && !a.killed && c.now >= a.limit {
		c.failf("nobody is ready since %v, and the answerer is %+v", c.darkSince, *a)
	}
	if a.up != s.Answerer.Up || a.leaving != s.Answerer.Leaving {
		c.failf("the answerer is %+v and should be %+v", s.Answerer, *a)
	}
}

// order notes who serves in a slot, the older if there are two.
func (c *checker) order(t Ticket, slot int) {
	for _, m := range c.members {
		if m.slot == slot && m.phase == Ready && (c.ordered[t] == 0 || m.id < c.ordered[t]) {
			c.ordered[t] = m.id
		}
	}
}

func (c *checker) isOrdered(id ID) bool {
	for t, old := range c.ordered {
		if _, restart := c.tickets[t].(Restart); restart && old == id {
			return true
		}
	}
	return false
}

func (c *checker) verdict(a Verdict) {
	wish := c.tickets[a.Ticket]
	if wish == nil {
		c.failf("verdict for ticket %d", a.Ticket)
	}
	delete(c.tickets, a.Ticket)
	if a.Reason != "" {
		return
	}
	servesIn := func(slot int) bool {
		return c.count(func(m *member) bool { return m.slot == slot && m.phase == Ready }) > 0
	}
	switch wish := wish.(type) {
	case Reload:
		c.breaker = breaker{}
		all := c.count(func(m *member) bool { return m.phase != Killed && m.release != c.s.Serving })
		if c.s.Serving == c.serving || all > 0 || c.in(Ready) < c.s.Target {
			c.failf("ticket %d is told that all went well", a.Ticket)
		}
	case Scale:
		surplus := c.count(func(m *member) bool { return m.phase != Killed && m.slot > c.s.Target })
		if c.s.Target != max(wish.Workers, 1) || surplus > 0 {
			c.failf("%d processes is not what ticket %d wants", c.s.Target, a.Ticket)
		}
	case Restart:
		c.replaced(a.Ticket, servesIn(wish.Slot))
	case Leave:
		c.replaced(a.Ticket, servesIn(wish.Slot))
	}
}

// replaced checks that who was to go has gone, and another one serves.
func (c *checker) replaced(t Ticket, served bool) {
	if m := c.members[c.ordered[t]]; !served || m != nil && m.phase != Killed {
		c.failf("ticket %d is told that process %d was replaced", t, c.ordered[t])
	}
}

func (c *checker) note(n Note) {
	cfg := &c.s.Config
	switch n.Kind { //nolint:exhaustive // the others promise nothing
	case NoteCrashed:
		if n.Wait == 0 {
			return
		}
		slot := c.slot(n.Slot)
		want := min(cfg.BackoffMin<<min(max(slot.crashes-1, 0), 20), cfg.BackoffMax)
		if n.Wait < want && !c.bare() || n.Wait > want+want/4 || n.Crashes != slot.crashes {
			c.failf("slot %d waits %v after %d crashes, want %v after %d", n.Slot, n.Wait, n.Crashes, want, slot.crashes)
		}
		slot.notBefore = c.now + n.Wait
	case NoteCure:
		if n := len(c.cures); n > 0 && c.now < c.cures[n-1]+cfg.HeartbeatTimeout || c.now < c.sickUntil {
			c.failf("a replacement for the health of process %d: the last was at %v, and there is a pause until %v", n, c.cures, c.sickUntil)
		}
		c.cures = append(c.cures, c.now)
	case NoteIncurable:
		c.sickUntil = c.now + n.Wait
	case NoteHealthy:
		c.sickUntil = 0
	case NoteAnswererEnd:
		c.answerer.notBefore = c.now + n.Wait
	case NoteOpened:
		if n.Release == c.serving && (!c.breaker.open || n.Wait != c.breaker.pause) {
			c.failf("the breaker opens: %+v", n)
		}
	case NoteClosed:
		m := c.members[n.ID]
		if m == nil || m.phase != Ready || c.now < m.readyAt+cfg.BreakerProbe || c.breaker.probe != n.ID {
			c.failf("the breaker closes: %+v", n)
		}
		c.breaker = breaker{}
	}
}
