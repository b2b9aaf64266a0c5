package cluster

import (
	"math"
	"time"
)

// Whoever holds more connections than the mean of those that accept waits before the next one, so that another takes it.
// Without that, whoever is awake takes all that is there: of 64 connections dialled in one burst, one of two workers had
// between 1 and 58.
const (
	pacingUnit = 100 * time.Microsecond // for each connection above the mean
	pacingMost = time.Millisecond
)

// pacingTolerance: nobody waits for less than one connection above the mean and a 32nd of it. Waiting for each half of a
// connection makes a burst no evener, but accepts it at half the speed.
const pacingTolerance = 32

// pacingPatience is how long, in all, a sibling is waited for that takes nothing. After that it is stopped, swapped out or
// stuck, and is left out of the mean until it accepts something. A sibling that is only waiting for a processor does so
// for several milliseconds: with a patience of 4 waits, one burst in four was as uneven as without any pacing.
const pacingPatience = 20 * time.Millisecond

// watchers is how many processes wait for connections at a time. The kernel
// wakes all of them for each one that arrives: with 64, that was 74 context
// switches. The others stand by until one of them is called.
//
// It is more than one so that a connection does not wait for a process that was
// stopped, killed, or has no processor in that moment: a second one was woken,
// too. If that happens to all of them, one that stands by sees within
// lagInterval that a connection waits.
const watchers = 4

// siblings is what one process knows about the others on a section of the board.
type siblings struct {
	board  *board
	place  int
	seen   []int64         // their accepted totals
	inVain []time.Duration // waits since
	asked  []bool          // whether the present wait is for them
}

func newSiblings(b *board, place int) *siblings {
	n := len(b.entries)
	return &siblings{b, place, make([]int64, n), make([]time.Duration, n), make([]bool, n)}
}

// own is the entry of this process.
func (s *siblings) own() *boardEntry { return s.board.entry(s.place) }

// others calls f with each sibling that accepts and is not given up.
func (s *siblings) others(f func(i int, e *boardEntry)) {
	for i := range int(s.board.used.Load()) {
		e := s.board.entry(i)
		if i == s.place || !e.accepting.Load() {
			continue
		}
		if accepted := e.accepted.Load(); accepted != s.seen[i] {
			s.seen[i], s.inVain[i] = accepted, 0
		}
		if s.inVain[i] < pacingPatience {
			f(i, e)
		}
	}
}

// burden is how the connections are spread over this process and the siblings
// that accept and are not given up.
func (s *siblings) burden() (b burden) {
	if !s.own().accepting.Load() {
		return b
	}
	b.mine = s.own().live.Load()
	b.workers, b.sum, b.least = 1, b.mine, math.MaxInt64
	for i := range int(s.board.used.Load()) {
		e := s.board.entry(i)
		if i == s.place || !e.accepting.Load() || s.inVain[i] >= pacingPatience && e.accepted.Load() == s.seen[i] {
			continue
		}
		live := e.live.Load()
		b.workers++
		b.sum += live
		b.least = min(b.least, live)
	}
	return b
}

// wait is how long to leave the next connection to others.
func (s *siblings) wait() time.Duration {
	live := s.own().live.Load()
	sum, n := live, int64(1)
	clear(s.asked)
	s.others(func(i int, e *boardEntry) {
		theirs := e.live.Load()
		s.asked[i] = theirs < live
		sum += theirs
		n++
	})
	excess := live*n - sum // times n, as what follows
	if excess < n+sum/pacingTolerance {
		return 0
	}
	return min(time.Duration(excess)*pacingUnit/time.Duration(n), pacingMost)
}

// waitedInVain notes that a connection is still there after a wait.
func (s *siblings) waitedInVain(wait time.Duration) {
	for i := range s.asked {
		if s.asked[i] && s.board.entry(i).accepted.Load() == s.seen[i] {
			s.inVain[i] += wait
		}
	}
}

// spare reports whether this process may stand by: enough others are on watch
// that have fewer connections, or as many and an earlier place.
func (s *siblings) spare() bool {
	if s.board.used.Load() <= int64(s.board.watchers) {
		return false
	}
	live, before := s.own().live.Load(), 0
	s.others(func(i int, e *boardEntry) {
		if !canStandBy(e) || !e.onWatch.Load() {
			return
		}
		if theirs := e.live.Load(); theirs < live || theirs == live && i < s.place {
			before++
		}
	})
	return before >= s.board.watchers
}

// tooFew reports whether fewer are on watch than should be, but for this
// process.
func (s *siblings) tooFew() bool {
	n := 0
	s.others(func(_ int, e *boardEntry) {
		if canStandBy(e) && e.onWatch.Load() {
			n++
		}
	})
	return n < s.board.watchers
}

// next puts that sibling on watch, of those that stand by, which has the fewest
// connections, and fewer than most. It returns its bell; 0 if there is none.
func (s *siblings) next(most int64) (bell uint32) {
	var next *boardEntry
	s.others(func(_ int, e *boardEntry) {
		if live := e.live.Load(); live < most && canStandBy(e) && !e.onWatch.Load() {
			next, most = e, live
		}
	})
	if next == nil || !next.onWatch.CompareAndSwap(false, true) { // a third one was faster
		return 0
	}
	return next.bell.Load()
}

// giveUpWatchers gives up those on watch, who leave a connection waiting, until
// they accept something.
func (s *siblings) giveUpWatchers() {
	s.others(func(i int, e *boardEntry) {
		if e.onWatch.Load() {
			s.inVain[i] = pacingPatience
		}
	})
}

// canStandBy reports whether a process is ever not on watch. One of an older
// version is not counted among the watchers: it calls nobody.
func canStandBy(e *boardEntry) bool { return e.bell.Load() != 0 }
