package checkout

import (
	"sync"
	"time"
)

// A breaker keeps orders away from a payment provider that is away. Without it
// an outage at midnight sells the shop out: each order takes its units, nobody
// can say whether it was paid for, and it keeps them until its hold ends.
//
// What counts is an order whose outcome nobody knows: neither its charge nor
// the cancellation after it was answered. A card that is declined, a charge
// that fails and is cancelled, and a captured one are answers. So no customer
// can open it with bad cards, nor with tokens that make the provider fail.
//
//	           breakerMisses unknown in a row          pause over: one order goes, the trial
//	closed ────────────────────────────────▶ open ────────────────────────────────▶ open
//	   ▲                                       │ any answer                            │ its outcome is unknown:
//	   └───────────────────────────────────────┘                                       ▼ the next pause is twice as long
//
// Its worst case: a provider that answers is not asked for one pause at the
// most, and then by one order at a time until it has answered once. The trial is
// an order that would have been placed without the breaker, too.
//
// It is safe for concurrent use. It has no clock: it is told the time.
type breaker struct {
	shortest, longest time.Duration // pauses between the opening and the first trial, and between trials
	trialTimeout      time.Duration // no trial takes longer; one that does is given up

	mu         sync.Mutex
	missed     int           // unknown outcomes in a row, while closed
	pause      time.Duration // 0: closed
	next       time.Time     // from then on there may be a trial
	trial      int64         // number of the trial under way; 0: none
	trialUntil time.Time
	trials     int64 // so far
	opened     int64 // how often, so far
}

// breakerMisses in a row are no accident: two requests may have met the same hiccup.
const breakerMisses = 3

// A pass says which orders may go to the provider.
type pass struct {
	all   bool
	trial int64         // the number of a trial: one order may go; 0: none
	wait  time.Duration // for the others: how long until it is worth asking again, more than 0
}

// admit is asked before orders are placed. Who gets a trial has to end it:
// with an outcome, or by giveBack.
func (b *breaker) admit(now time.Time) pass {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.pause == 0:
		return pass{all: true}
	case b.trial != 0 && now.Before(b.trialUntil):
		return pass{wait: b.pause}
	case now.Before(b.next):
		return pass{wait: b.next.Sub(now)}
	}
	b.trials++
	b.trial, b.trialUntil = b.trials, now.Add(b.trialTimeout)
	return pass{trial: b.trial, wait: b.pause}
}

// closed reports whether orders go to the provider, other than a trial.
func (b *breaker) closed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pause == 0
}

// answered is told of every outcome that the provider has said.
func (b *breaker) answered() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.missed, b.pause, b.trial = 0, 0, 0
}

// unknown is told of every outcome that the provider has not said. The trial is
// 0 for an order that was let in as one of all. It reports whether that has
// opened the breaker.
func (b *breaker) unknown(now time.Time, trial int64) (opened bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.pause == 0:
		if b.missed++; b.missed < breakerMisses {
			return false
		}
		b.pause = b.shortest
		b.opened++
		opened = true
	case trial != 0 && trial == b.trial:
		b.pause = min(2*b.pause, b.longest)
	default: // it was on its way before the breaker opened
		return false
	}
	b.missed, b.trial, b.next = 0, 0, now.Add(b.pause)
	return opened
}

// giveBack ends a trial that did not come to ask the provider. It does nothing
// where the trial has ended already.
func (b *breaker) giveBack(trial int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if trial != 0 && trial == b.trial {
		b.trial = 0
	}
}

// take asks for one order, and returns the number of the trial that it is, if it is one.
func (p *pass) take() (trial int64, ok bool) {
	if p.trial != 0 {
		trial, p.trial = p.trial, 0
		return trial, true
	}
	return 0, p.all
}

// refuse refuses the drafts of a batch that may not go to the provider, and
// returns the others. An order that costs nothing may always go.
func (p *pass) refuse(drafts []*draft, out []placed) (rest []*draft) {
	for _, d := range drafts {
		if d.order.Total.Minor > 0 {
			trial, ok := p.take()
			if !ok {
				out[d.slot].err = &ProviderAway{p.wait}
				continue
			}
			d.trial = trial
		}
		rest = append(rest, d)
	}
	return rest
}

// times returns how often the breaker has opened, and whether it is open.
func (b *breaker) times() (opened int64, open bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.opened, b.pause != 0
}
