package supervisor

import (
	"fmt"
	"slices"
	"time"
)

// Order is a Restart or a Leave that is under way.
type Order struct {
	Ticket   Ticket
	ID       ID // who is to go
	Slot     int
	Leave    bool          // it was told to leave at once; else its replacement is ready first
	Progress time.Duration // when something last went forward
}

func (s *State) restart(e Restart) {
	p, refusal := s.orderable(e.Slot)
	if refusal.Reason != "" {
		s.tellTicket(e.Ticket, refusal)
		return
	}
	s.Orders = append(s.Orders, Order{Ticket: e.Ticket, ID: p.ID, Slot: e.Slot, Progress: s.Now})
}

// leave is the one way, besides Shutdown, in which somebody is told to leave who
// is missed afterwards. So it is refused where it would be worse than that.
func (s *State) leave(e Leave) {
	p, refusal := s.orderable(e.Slot)
	switch b := s.breaker(s.Serving); {
	case refusal.Reason != "":
	case s.Ready() < 2:
		refusal.Reason = "nobody else is ready: restart it instead, or scale up first"
	case s.leaving() >= s.MaxLeaving():
		refusal.Reason = fmt.Sprintf("%d workers are on their way out already: try again when they are gone", s.leaving())
	case b.Open:
		refusal.Reason = "nobody would take its place while the release crashes: " + b.Reason + "; reload another one, or reset the breaker"
		refusal.Culprit = b.Culprit
	}
	if refusal.Reason != "" {
		s.tellTicket(e.Ticket, refusal)
		return
	}
	s.Orders = append(s.Orders, Order{Ticket: e.Ticket, ID: p.ID, Slot: e.Slot, Leave: true, Progress: s.Now})
	s.drain(p, 0, "a drain of this worker, by command")
}

// orderable returns the process that serves in a slot, or why there is none that
// may be ordered to go.
func (s *State) orderable(slot int) (p *Process, refusal Verdict) {
	switch {
	case s.Stopping > 0:
		return nil, Verdict{Reason: "the master is shutting down", End: ShutDown}
	case slot < 1 || slot > s.Target:
		return nil, Verdict{Reason: fmt.Sprintf("there is no slot %d: there are 1 to %d", slot, s.Target)}
	case s.Rollout != nil:
		return nil, Verdict{Reason: "a reload is under way, which replaces every worker: wait for its verdict"}
	}
	if p = s.readyIn(slot); p == nil {
		return nil, Verdict{Reason: fmt.Sprintf("no worker serves in slot %d", slot)}
	}
	return p, Verdict{}
}

// ordered reports whether a process has to be replaced because somebody said so.
// Neither a back-off nor a breaker stops that, since the replacement is ready
// first; only another probe has to end before.
func (s *State) ordered(p *Process) bool {
	return s.breaker(s.Serving).Probe == 0 && slices.ContainsFunc(s.Orders, func(o Order) bool { return o.ID == p.ID })
}

// judgeOrders answers those that are done, and those that get nowhere.
func (s *State) judgeOrders() {
	s.Orders = slices.DeleteFunc(s.Orders, func(o Order) bool {
		old, now := s.Process(o.ID), s.readyIn(o.Slot)
		var v Verdict
		switch {
		case o.Slot > s.Target:
			v.Reason = fmt.Sprintf("the cluster was made smaller: there is no slot %d any more", o.Slot)
		case (old == nil || old.Phase == Killed) && now != nil:
		case s.Now >= o.Progress+s.progressLimit():
			v.Reason = fmt.Sprintf("stood still for %v: it waited for ready workers, or for some to leave", s.progressLimit())
		default:
			return false
		}
		s.tellTicket(o.Ticket, v)
		return true
	})
}

// orderFailed answers the order that a process was to take the place for.
func (s *State) orderFailed(p *Process, reason string) {
	s.Orders = slices.DeleteFunc(s.Orders, func(o Order) bool {
		failed := o.Slot == p.Slot && p.ID > o.ID
		if failed {
			s.tellTicket(o.Ticket, Verdict{Reason: reason, Culprit: p.ID})
		}
		return failed
	})
}

// dropOrders answers all orders when something else ends them.
func (s *State) dropOrders(reason string, end End) {
	for _, o := range s.Orders {
		s.tellTicket(o.Ticket, Verdict{Reason: reason, End: end})
	}
	s.Orders = nil
}
