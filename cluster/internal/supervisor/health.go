package supervisor

// health takes in what a process that serves says about itself.
func (s *State) health(p *Process, why string) {
	if p.Phase != Ready {
		return
	}
	switch {
	case why != "" && p.Unhealthy == "":
		p.UnhealthyAt = s.Now
		s.note(NoteUnhealthy, p, why)
		if taken := s.Plan == nil || s.Plan.New != p.ID; taken && p.Cure && s.Now < p.ReadyAt+s.Config.HeartbeatTimeout {
			s.incurable(p, why)
		}
	case why == "" && p.Unhealthy != "":
		s.note(NoteHealthy, p, "")
		s.CurePause = 0
	}
	p.Heard, p.Unhealthy = true, why
}

// sick puts into words why a process is not healthy.
func sick(p *Process) string { return "is unhealthy: " + p.Unhealthy }

// needsCure reports whether a process is to be replaced for its health. It never
// is killed for that: it may be a dependency that is broken, and then the
// replacement is no better.
func (s *State) needsCure(p *Process) bool {
	return p.Unhealthy != "" && s.Rollout == nil && s.Now >= p.UnhealthyAt+s.Config.HeartbeatTimeout &&
		s.Now >= s.CureNotBefore && s.Now >= s.CurePause
}

// cured reports whether the replacement of an unhealthy process is better than
// that one. If it is not, or that one has recovered, the plan is given up.
func (s *State) cured(p *Process) bool {
	if old := s.Process(s.Plan.Old); old != nil && old.Phase == Ready && old.Unhealthy == "" {
		s.giveUp()
		return false
	}
	if p.Heard && p.Unhealthy != "" && s.Now >= p.ReadyAt+s.Config.HeartbeatTimeout {
		s.giveUp()
		s.incurable(p, p.Unhealthy)
		return false
	}
	return p.Heard && p.Unhealthy == ""
}

// incurable lets nobody be replaced for his health for a while: it was of no use.
func (s *State) incurable(p *Process, why string) {
	s.CurePause = s.Now + s.Config.UnhealthyPause
	s.do(about(p, Note{Kind: NoteIncurable, Reason: why, Wait: s.Config.UnhealthyPause}))
}
