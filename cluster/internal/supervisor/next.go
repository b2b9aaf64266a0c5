package supervisor

import "time"

// Next returns when the next Tick is due, if nothing else happens before: the earliest time at which time alone changes
// anything, and while there are processes the next multiple of AwayLimit, so that a
// time in which the master did not run is seen for what it was. It is never for the
// state that has nothing to wait for.
func (s *State) Next() time.Duration {
	next := never
	if s.Ended {
		return next
	}
	at := func(t time.Duration) {
		if t > s.Now { // what is due and still not done waits for something else
			next = min(next, t)
		}
	}
	if s.Config.AwayLimit > 0 && len(s.Processes) > 0 {
		at(s.Now.Truncate(s.Config.AwayLimit) + s.Config.AwayLimit)
	}
	for _, p := range s.Processes {
		switch p.Phase {
		case Starting, Leaving:
			at(p.Deadline)
		case Ready:
			at(p.LastBeat + s.Config.HeartbeatTimeout)
			if s.tooLarge(p) {
				at(p.LargeAt + s.Config.HeartbeatTimeout)
			}
			if p.Unhealthy != "" {
				at(max(p.UnhealthyAt+s.Config.HeartbeatTimeout, s.CureNotBefore, s.CurePause))
			}
		case Killed:
		}
	}
	if a := &s.Answerer; a.Up && a.Leaving && !a.Killed {
		at(a.Deadline)
	}
	if s.Stopping > 0 {
		return next
	}
	if s.Dark != nil {
		at(s.Dark.TryAt)
		if !s.Answerer.Up {
			at(s.standAt())
		}
	}
	if s.Scaling != nil {
		at(s.Scaling.Progress + s.progressLimit())
	}
	for _, o := range s.Orders {
		at(o.Progress + s.progressLimit())
	}
	for i := range s.Slots {
		at(s.Slots[i].NotBefore)
	}
	for _, b := range s.Breakers {
		if p := s.Process(b.Probe); p != nil && p.Phase == Ready {
			at(p.ReadyAt + s.Config.BreakerProbe)
		}
		if b.Open {
			at(b.ProbeAt)
		}
	}
	if s.Plan != nil && s.Plan.Cure {
		if p := s.Process(s.Plan.New); p.Phase == Ready {
			at(p.ReadyAt + s.Config.HeartbeatTimeout)
		}
	}
	if r := s.Rollout; r != nil {
		at(r.Progress + s.progressLimit())
		if s.Plan != nil && !r.Baked {
			if p := s.Process(s.Plan.New); p != nil && p.Phase == Ready {
				at(p.ReadyAt + s.Config.Bake)
			}
		}
	}
	return next
}
