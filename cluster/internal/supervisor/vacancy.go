package supervisor

import (
	"slices"
	"time"
)

// Vacancy is a slot that waits for a process.
type Vacancy struct {
	Slot    int
	Release Release // that it is to run
	Crashes int     // in a row
	Last    *Crash  // nil: none
	At      time.Duration
	Breaker *Breaker // not nil: it is open, and At is when the next process is tried
}

// Vacancies returns the slots without a process, but for one that is leaving, in
// order.
func (s *State) Vacancies() []Vacancy {
	var all []Vacancy
	for i := range s.Slots {
		slot := &s.Slots[i]
		if s.covered(i+1) || s.Stopping > 0 {
			continue
		}
		v := Vacancy{Slot: i + 1, Release: s.fills(), Crashes: slot.Crashes, Last: slot.Last, At: slot.NotBefore}
		if k := slices.IndexFunc(s.Breakers, func(b *Breaker) bool { return b.Release == v.Release && b.Open }); k >= 0 {
			v.Breaker, v.At = s.Breakers[k], max(v.At, s.Breakers[k].ProbeAt)
			if s.Dark != nil && s.Dark.TryAt != 0 {
				v.At = min(v.At, max(slot.NotBefore, s.Dark.TryAt))
			}
		}
		all = append(all, v)
	}
	return all
}
