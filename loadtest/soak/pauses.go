//go:build linux

package main

import (
	"context"
	"time"
)

// A span is a time during which something was so.
type span struct{ from, to time.Time }

// overlap is how long two spans have in common.
func (s span) overlap(o span) time.Duration {
	from, to := s.from, s.to
	if o.from.After(from) {
		from = o.from
	}
	if o.to.Before(to) {
		to = o.to
	}
	return max(0, to.Sub(from))
}

func (s span) length() time.Duration { return s.to.Sub(s.from) }

// widened is a span that begins and ends with some tolerance.
func (s span) widened(before, after time.Duration) span {
	return span{s.from.Add(-before), s.to.Add(after)}
}

// covered is how much of a span others cover. These do not overlap each other.
func covered(s span, others []span) (sum time.Duration) {
	for _, o := range others {
		sum += s.overlap(o)
	}
	return sum
}

// touches reports whether any of them shares a moment with s.
func touches(s span, others []span) bool {
	for _, o := range others {
		if !o.from.After(s.to) && !s.from.After(o.to) {
			return true
		}
	}
	return false
}

// A ticker that is due every pausePulse and late by pauseLeast or more has not been served by the machine. So was nobody
// else in this program, and probably nobody in the shop, which runs on the same processors.
const (
	pausePulse = 5 * time.Millisecond
	pauseLeast = 20 * time.Millisecond
)

// watchPauses measures when this process had no processor, until ctx ends.
func watchPauses(ctx context.Context) (pauses func() []span) {
	result := make(chan []span, 1)
	go func() {
		var found []span
		ticker := time.NewTicker(pausePulse)
		defer ticker.Stop()
		last := time.Now()
		for {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				result <- found
				return
			}
			now := time.Now()
			if due := last.Add(pausePulse); now.Sub(due) >= pauseLeast {
				found = append(found, span{due, now})
			}
			last = now
		}
	}()
	return func() []span { return <-result }
}
