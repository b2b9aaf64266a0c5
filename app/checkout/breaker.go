package checkout

import (
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
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
//	           breakerMisses unknown in a row          pause over: one trial
//	closed ────────────────────────────────▶ open ────────────────────────────────▶ open
//	   ▲                                       │ any answer                            │ its outcome is unknown:
//	   └───────────────────────────────────────┘                                       ▼ the next pause is twice as long
//
// A trial takes no unit off the shelf: it asks once more about an order whose
// outcome is unknown, which the breaker remembers, and the prober makes it
// (probe.go). A new order is a trial only where there is none left to ask about.
//
// Its worst case: a provider that answers is not asked for one pause and one
// call at the most. An outage costs the units of the orders that open the
// breaker and of those that are at the provider then. After that it costs those
// of one more order each time that all remembered ones have been settled
// elsewhere, which takes an answer of the provider. A worker that begins during
// an outage remembers nothing, and has to find out anew. A prober whose call does
// not return by its deadline, which is a breach of [payment.Gateway], does not
// keep the shop closed: then orders are trials.
//
// It is safe for concurrent use. It has no clock: it is told the time.
type breaker struct {
	shortest, longest time.Duration // pauses between the opening and the first trial, and between trials
	trialTimeout      time.Duration // no trial takes longer; one that does is given up
	changed           chan struct{} // has one element after it has opened or closed

	mu         sync.Mutex
	missed     int           // unknown outcomes in a row, while closed
	pause      time.Duration // 0: closed
	next       time.Time     // from then on there may be a trial
	trial      int64         // number of the trial under way; 0: none
	trialUntil time.Time
	trials     int64       // so far
	opened     int64       // how often, so far
	unknowns   []uuid.UUID // orders without an outcome; the one that was asked about last is at the end
	probing    bool        // there is a prober
	probeUntil time.Time   // when the prober's call should have returned; the zero time: it has
}

func newBreaker(shortest, longest, trialTimeout time.Duration) *breaker {
	return &breaker{shortest: shortest, longest: longest, trialTimeout: trialTimeout, changed: make(chan struct{}, 1)}
}

// breakerMisses in a row are no accident: two requests may have met the same hiccup.
const breakerMisses = 3

// maxUnknowns bounds how many orders a breaker remembers. One is enough for
// trials, as long as nobody else settles it; the sweeper settles all of them.
const maxUnknowns = 64

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
	case len(b.unknowns) > 0 && !b.proberIsLate(now):
		return pass{wait: b.pause} // the prober is about to ask
	}
	return pass{trial: b.try(now), wait: b.pause}
}

// try begins a trial. b.mu is held.
func (b *breaker) try(now time.Time) int64 {
	b.trials++
	b.trial, b.trialUntil = b.trials, now.Add(b.trialTimeout)
	return b.trial
}

// proberIsLate reports whether the prober's call should have returned. b.mu is held.
func (b *breaker) proberIsLate(now time.Time) bool {
	return !b.probeUntil.IsZero() && !now.Before(b.probeUntil)
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
	if b.pause != 0 {
		b.tell()
	}
	b.missed, b.pause, b.trial = 0, 0, 0
	b.unknowns = b.unknowns[:0]
}

// tell wakes the prober. b.mu is held.
func (b *breaker) tell() {
	select {
	case b.changed <- struct{}{}:
	default:
	}
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
		b.tell()
	case trial != 0 && trial == b.trial:
		b.pause = min(2*b.pause, b.longest)
		b.tell()
	default: // it was on its way before the breaker opened
		return false
	}
	b.missed, b.trial, b.next = 0, 0, now.Add(b.pause)
	return opened
}

// remember takes orders in whose outcome is unknown.
func (b *breaker) remember(orders ...uuid.UUID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, order := range orders {
		b.unknowns = slices.DeleteFunc(b.unknowns, func(o uuid.UUID) bool { return o == order })
		if len(b.unknowns) < maxUnknowns {
			b.unknowns = append(b.unknowns, order)
		}
	}
}

// forget drops the orders that are settled.
func (b *breaker) forget(orders ...uuid.UUID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unknowns = slices.DeleteFunc(b.unknowns, func(o uuid.UUID) bool { return slices.Contains(orders, o) })
}

// remembers reports whether there is an order to ask about.
func (b *breaker) remembers() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.unknowns) > 0
}

// employ reports whether a prober has to be started, and counts it as started.
func (b *breaker) employ() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.probing || b.pause == 0 || len(b.unknowns) == 0 {
		return false
	}
	b.probing = true
	return true
}

// A probe is what the prober is to do next.
type probe struct {
	over   bool          // nothing, and never again: there is no prober any more
	wait   time.Duration // nothing, for so long
	trial  int64         // a trial with one of the orders; has to end with an outcome, giveBack or postpone
	orders []uuid.UUID   // the one that was asked about longest ago comes first
}

// probe is asked by the prober.
func (b *breaker) probe(now time.Time) probe {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probeUntil = time.Time{}
	switch {
	case b.pause == 0 || len(b.unknowns) == 0:
		b.probing = false
		return probe{over: true}
	case b.trial != 0 && now.Before(b.trialUntil):
		return probe{wait: b.trialUntil.Sub(now)}
	case now.Before(b.next):
		return probe{wait: b.next.Sub(now)}
	}
	trial := b.try(now)
	b.probeUntil = b.trialUntil
	return probe{trial: trial, orders: slices.Clone(b.unknowns)}
}

// postpone ends a trial that found nothing to ask about now: the next one is after a pause.
func (b *breaker) postpone(now time.Time, trial int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if trial == b.trial {
		b.trial, b.next = 0, now.Add(b.pause)
	}
}

// giveBack ends a trial that did not come to ask the provider. It does nothing
// where the trial has ended already.
func (b *breaker) giveBack(trial int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if trial != 0 && trial == b.trial {
		b.trial = 0
		b.tell()
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
