package supervisor_test

import (
	"errors"
	"fmt"
	"slices"
	"time"

	. "doorbuster/cluster/internal/supervisor"
)

// checker holds each step against the promises. It keeps books of its own from what it sees: events and actions.
type checker struct {
	s       *State
	now     time.Duration
	members map[ID]*member
	slots   map[int]*memory
	breaker breaker // of the release that serves
	tickets map[Ticket]Event
	asked   map[ID]bool
	retired map[Release]bool
	since   time.Duration // of the last reload or change of target, or when the master was last away
	stopped int
	ended   bool
	everyUp bool // one was ready once

	target    int // after the step before
	added     map[int]bool
	ordered   map[Ticket]ID // who is to go, by a Restart or a Leave
	darkSince time.Duration // nobody is ready; -1: somebody is
	bareSince time.Duration // nor does anybody start that may serve; -1: somebody does
	answerer  answerer
	cures     []time.Duration // when they were begun
	sickUntil time.Duration   // nobody is replaced for his health

	event   Event
	away    bool
	serving Release // before the step
	rolling *Rollout
	errs    []error
}

// member is a process as the checker knows it.
type member struct {
	id                      ID
	slot                    int
	release                 Release
	phase                   Phase
	wasReady, wanted, isNew bool
	forced, additional      bool // see Process
	sharing                 bool // forked in the dark into a slot that another one holds
	readyAt, heard, limit   time.Duration
}

// answerer is the answerer as the checker knows it.
type answerer struct {
	up, leaving, killed bool
	limit, notBefore    time.Duration
}

// memory is what a slot remembers.
type memory struct {
	crashes   int
	notBefore time.Duration
}

type breaker struct {
	crashes []time.Duration
	open    bool
	pause   time.Duration
	probeAt time.Duration
	probe   ID
}

func newChecker(s *State) *checker {
	return &checker{
		s: s, members: map[ID]*member{}, slots: map[int]*memory{}, tickets: map[Ticket]Event{}, asked: map[ID]bool{},
		retired: map[Release]bool{}, serving: s.Serving, target: s.Target, added: map[int]bool{}, ordered: map[Ticket]ID{},
		darkSince: -1, bareSince: -1,
	}
}

// standstill is how long a rollout may stand still.
func standstill(c *Config) time.Duration {
	return c.KillTimeout + 2*c.ReadyTimeout + c.Bake + c.HeartbeatTimeout + c.BackoffMax + c.BackoffMax/4
}

// verdictWithin is how long a verdict may take: the bake, each process there, and each process back.
func verdictWithin(c *Config) time.Duration { return (2*maxTarget + 4) * standstill(c) }

// settlesWithin adds what else there may be to do: a breaker to close, processes to recycle, and those that are surplus or
// can't be killed for a while.
func settlesWithin(c *Config) time.Duration {
	return verdictWithin(c) + c.BreakerPauseMax + c.BreakerProbe + 3*maxTarget*(c.ReadyTimeout+c.KillTimeout+unkillable) +
		c.UnhealthyPause + maxTarget*c.HeartbeatTimeout
}

// endsWithin is how long the end may take when all is well.
func endsWithin(c *Config) time.Duration { return c.ShutdownDelay + c.KillTimeout }

func (c *checker) failf(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	c.errs = append(c.errs, err)
	return err
}

func (c *checker) rollout() bool { return c.s.Rollout != nil }

func (c *checker) forward() bool { return c.rolling != nil && !c.rolling.Back }

func (c *checker) count(f func(*member) bool) int {
	n := 0
	for _, m := range c.members {
		if f(m) {
			n++
		}
	}
	return n
}

func (c *checker) in(phase Phase) int {
	return c.count(func(m *member) bool { return m.phase == phase })
}

func (c *checker) slot(i int) *memory {
	if c.slots[i] == nil {
		c.slots[i] = &memory{}
	}
	return c.slots[i]
}

// before takes the event in.
func (c *checker) before(now time.Duration, e Event) {
	cfg := &c.s.Config
	next := c.s.Next()
	c.now, c.event, c.errs = max(c.s.Now, now), e, nil
	c.serving, c.rolling = c.s.Serving, nil
	if c.s.Rollout != nil {
		r := *c.s.Rollout
		c.rolling = &r
	}
	late := c.now - next
	if c.away = late >= cfg.AwayLimit; c.away {
		c.since = c.now
		for _, m := range c.members {
			m.heard, m.limit = c.now, max(m.limit+late, c.now+cfg.AwayLimit)
		}
	}
	switch e := e.(type) {
	case ProcessReady:
		if m := c.members[e.ID]; m != nil && m.phase == Starting {
			m.phase, m.wasReady, m.readyAt, m.heard = Ready, true, c.now, c.now
			c.everyUp = true
			delete(c.added, m.slot)
		}
	case Beat:
		if m := c.members[e.ID]; m != nil {
			m.heard = c.now
		}
	case Exited:
		c.gone(e.ID, false, e.Outside)
	case ForkFailed:
		c.gone(e.ID, e.Shortage, false)
	case Reload:
		c.tickets[e.Ticket], c.since = e, c.now
	case Scale:
		if e.Ticket != 0 {
			c.tickets[e.Ticket] = e
		}
		c.since = c.now
	case Restart:
		c.tickets[e.Ticket], c.since = e, c.now
		c.order(e.Ticket, e.Slot)
	case Leave:
		c.tickets[e.Ticket], c.since = e, c.now
		c.order(e.Ticket, e.Slot)
	case Reset:
		c.breaker = breaker{}
		clear(c.slots)
		c.cures, c.sickUntil, c.answerer.notBefore = nil, 0, 0
	case AnswererEnded:
		if a := &c.answerer; a.up {
			*a = answerer{notBefore: c.now + cfg.BackoffMax}
		}
	case Shutdown:
		c.stopped++
	}
}

// gone tells a crash from an exit that was asked for.
func (c *checker) gone(id ID, shortage, outside bool) {
	m := c.members[id]
	if m == nil {
		return
	}
	delete(c.members, id)
	if m.phase == Leaving || m.wanted || c.stopped > 0 || m.release != c.serving {
		return
	}
	cfg, b := &c.s.Config, &c.breaker
	if m.slot <= c.s.Target && (!c.forward() || !c.rolling.Baked) {
		slot := c.slot(m.slot)
		if m.wasReady {
			slot.crashes = max(0, slot.crashes-int((c.now-m.readyAt)/cfg.BackoffDecay))
		}
		slot.crashes++
	}
	forgiven := shortage && (c.everyUp || m.slot <= c.s.Target && c.slot(m.slot).crashes <= 1)
	if c.everyUp {
		elsewhere := c.count(func(o *member) bool { return o.phase == Ready && o.release == m.release }) > 0
		forgiven = forgiven || outside && m.phase != Killed || m.wasReady && c.now-m.readyAt >= cfg.BreakerProbe ||
			m.additional && !m.wasReady && elsewhere
	}
	if !forgiven {
		b.crashes = append(b.crashes, c.now)
	}
	if c.everyUp {
		b.crashes = slices.DeleteFunc(b.crashes, func(t time.Duration) bool { return t <= c.now-cfg.BreakerWindow })
	}
	switch {
	case forgiven:
		if b.probe == id {
			b.probe, b.probeAt = 0, c.now+b.pause
		}
	case b.open && b.probe == id && m.forced:
		b.probe = 0
	case b.open && b.probe == id:
		b.pause, b.probe = min(2*b.pause, cfg.BreakerPauseMax), 0
		b.probeAt = c.now + b.pause
	case !b.open && len(b.crashes) >= cfg.BreakerCrashes:
		b.open, b.pause = true, cfg.BreakerPause
		b.probeAt = c.now + b.pause
	}
}

// after takes in what was done about it, and returns what was wrong with that.
func (c *checker) after(actions []Action) error {
	if c.ended && len(actions) > 0 {
		c.failf("%d actions after the end", len(actions))
	}
	for slot := c.target + 1; slot <= c.s.Target; slot++ {
		c.added[slot] = true
	}
	if c.s.Target != c.target {
		c.since = c.now
	}
	for _, a := range actions {
		switch a := a.(type) {
		case Fork:
			c.fork(a)
		case Stand, StandDown, StandKill:
			c.stand(a)
		case Drain:
			c.drain(a)
		case Kill:
			c.kill(a)
		case Hurry:
			if m := c.members[a.ID]; m == nil || m.phase != Leaving || c.stopped < 2 {
				c.failf("process %d is hurried", a.ID)
			} else {
				m.limit = min(m.limit, c.now+c.s.Config.HurryTimeout)
			}
		case Ask:
			m := c.members[a.ID]
			if m == nil || m.phase != Ready || !c.forward() || c.rolling.Baked || c.asked[m.id] || c.now < m.readyAt+c.s.Config.Bake {
				c.failf("process %d is asked", a.ID)
			} else {
				c.asked[m.id] = true
			}
		case Retire:
			if c.retired[a.Release] || a.Release == c.s.Serving || c.count(func(m *member) bool { return m.release == a.Release }) > 0 {
				c.failf("release %d is retired", a.Release)
			}
			c.retired[a.Release] = true
		case Verdict:
			c.verdict(a)
		case Exit:
			hopeless := !c.everyUp && c.breaker.open && a.Reason != "" && a.Culprit > 0
			if c.ended || len(c.members) > 0 || c.answerer.up || c.stopped == 0 && !hopeless || c.stopped > 0 && a.Reason != "" {
				c.failf("exit %+v with %d processes", a, len(c.members))
			}
			c.ended = true
		case Note:
			c.note(a)
		}
	}
	if !c.ended {
		c.state()
	}
	c.target = c.s.Target
	return errors.Join(c.errs...)
}

// state checks what must be true between any two steps.
func (c *checker) state() {
	s, cfg := c.s, &c.s.Config
	for i := range c.slots {
		if i > s.Target {
			delete(c.slots, i)
		}
	}
	for i := range c.added {
		if i > s.Target {
			delete(c.added, i)
		}
	}
	c.dark()
	if r := s.Rollout; c.forward() && !c.rolling.Baked && (r == nil && s.Serving == c.rolling.Release || r != nil && r.Baked) {
		clear(c.slots)
	}
	if b := &c.breaker; b.probe != 0 {
		if m := c.members[b.probe]; m == nil || m.phase == Leaving || m.wanted {
			b.probe, b.probeAt = 0, c.now+b.pause
		}
	}
	if len(s.Processes) != len(c.members) {
		c.failf("%d processes, want %d", len(s.Processes), len(c.members))
	}
	held, shared := map[int]int{}, 0
	for _, p := range s.Processes {
		m := c.members[p.ID]
		if m == nil || m.phase != p.Phase || m.slot != p.Slot || m.release != p.Release {
			c.failf("process %+v, want %+v", p, m)
			return
		}
		m.isNew = m.isNew || s.Plan != nil && s.Plan.New == p.ID
		if (p.Phase == Starting || p.Phase == Leaving) && c.now >= m.limit || p.Phase == Ready && c.now >= m.heard+cfg.HeartbeatTimeout {
			c.failf("process %d (%v) lives on", p.ID, p.Phase)
		}
		if p.Phase == Starting || p.Phase == Ready || p.Phase == Killed && !p.Wanted {
			if held[p.Slot]++; held[p.Slot] > 1 {
				shared++
				if !m.isNew && !m.sharing {
					c.failf("process %d shares slot %d", p.ID, p.Slot)
				}
			}
		}
		if s.Rollout == nil && c.stopped == 0 && p.Phase != Killed && p.Release != s.Serving {
			c.failf("process %d runs release %d, and %d serves", p.ID, p.Release, s.Serving)
		}
	}
	if shared > 1 {
		c.failf("%d processes above target", shared)
	}
	if len(c.tickets) > 0 && c.now > c.since+verdictWithin(cfg) {
		c.failf("no verdict since %v", c.since)
	}
	if s.Next() <= s.Now {
		c.failf("next is %v", s.Next())
	}
	for _, m := range c.members {
		if m.phase != Ready && m.phase != Killed && s.Next() > m.limit {
			c.failf("next is %v, and process %d has a limit of %v", s.Next(), m.id, m.limit)
		}
	}
	if c.s.Serving != c.serving && c.retired[c.s.Serving] {
		c.failf("release %d serves and is retired", c.s.Serving)
	}
	for t, wish := range c.tickets {
		known := c.stopped == 0
		switch wish.(type) {
		case Reload:
			known = known && s.Rollout != nil
		case Scale:
			known = known && s.Scaling != nil && s.Scaling.Ticket == t
		case Restart, Leave:
			known = known && slices.ContainsFunc(s.Orders, func(o Order) bool { return o.Ticket == t })
		}
		if !known {
			c.failf("ticket %d was forgotten: %+v", t, wish)
		}
	}
}
