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

func (c *checker) fork(a Fork) {
	if c.stopped > 0 || c.retired[a.Release] || a.Slot < 1 || a.Slot > c.s.Target {
		c.failf("process %d is forked", a.ID)
	}
	for _, m := range c.members {
		if m.id >= a.ID {
			c.failf("id %d after %d", a.ID, m.id)
		}
	}
	rollouts := a.Release != c.serving
	if now := c.s.Rollout; rollouts && (now == nil && a.Release != c.s.Serving || now != nil && now.Release != a.Release) {
		c.failf("process %d is forked of another release", a.ID)
	}
	m := &member{id: a.ID, slot: a.Slot, release: a.Release, limit: c.now + c.s.Config.ReadyTimeout, additional: c.added[a.Slot]}
	if !rollouts {
		// With nobody ready, nobody waits longer than a first crash makes wait. But
		// not shorter either, or it would be a fork bomb.
		dark := c.bareSince >= 0 && c.now >= c.bareSince+c.s.Config.BackoffMin && c.in(Ready) == 0
		asked := c.breaker.probe == 0 && c.count(func(o *member) bool { return o.slot == a.Slot && c.isOrdered(o.id) }) > 0
		if t := c.slot(a.Slot).notBefore; c.now < t && !dark && !asked {
			c.failf("slot %d is filled before %v", a.Slot, t)
		}
		if b := &c.breaker; b.open {
			if (b.probe != 0 || c.now < b.probeAt) && !dark && !asked {
				c.failf("process %d is forked of a broken release: probe %d, or from %v", a.ID, b.probe, b.probeAt)
			}
			b.probe, m.forced = a.ID, c.now < b.probeAt
		}
		m.sharing = dark
		c.bareSince = -1
	}
	c.members[a.ID] = m
	if n := c.held(); c.answerer.up && n > c.s.Target {
		c.failf("process %d is forked beside %d others and the answerer", a.ID, n-1)
	}
}

func (c *checker) drain(a Drain) {
	m := c.members[a.ID]
	if m == nil || m.phase != Ready {
		c.failf("process %d is told to leave", a.ID)
		return
	}
	m.phase, m.limit = Leaving, c.now+a.Delay+c.s.Config.KillTimeout
	if c.stopped > 0 {
		return
	}
	least := c.s.Target
	if e, ok := c.event.(Leave); ok && c.ordered[e.Ticket] == a.ID {
		least = 1 // the one way to leave without a replacement
	}
	if a.Delay != 0 || c.in(Ready) < least {
		c.failf("process %d is told to leave, and %d are left", a.ID, c.in(Ready))
	}
	if n := c.in(Leaving) + c.in(Killed); n > (c.s.Target+3)/4 {
		c.failf("%d are on their way out", n)
	}
	if r := c.s.Rollout; r != nil && !r.Back && !r.Baked && !m.isNew && m.release == c.s.Serving && m.slot <= c.s.Target {
		c.failf("process %d is told to leave before anything has proven itself", a.ID)
	}
}

func (c *checker) kill(a Kill) {
	m := c.members[a.ID]
	if m == nil || m.phase == Killed {
		c.failf("process %d is killed", a.ID)
		return
	}
	atFault := c.now >= m.limit
	if m.phase == Ready {
		atFault = c.now >= m.heard+c.s.Config.HeartbeatTimeout
	}
	_, tick := c.event.(Tick)
	if m.phase != Starting && !atFault && c.stopped < 3 || c.away && tick {
		c.failf("process %d is killed for nothing", a.ID)
	}
	m.wanted = !atFault || m.phase == Leaving || c.forward() && m.release == c.rolling.Release
	m.phase = Killed
}
