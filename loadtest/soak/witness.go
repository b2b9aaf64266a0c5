//go:build linux

package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"
)

// witness takes down what all clients see. Its methods may be called from many goroutines.
type witness struct {
	mu       sync.Mutex
	began    time.Time
	last     time.Time      // when the last answer was there
	silences []span         // without any answer, of noteworthy length
	counts   map[string]int // answers, by what they say
	kinds    map[string]int // answers, by who was asking
	odd      []answered     // 5xx
	slow     []answered     // on fresh connections
	losses   []loss
	slowest  time.Duration // of those on fresh connections
	over     bool          // the clients leave: silence is no news
}

// noteworthy is far below what is allowed: what is no pause of the shop need not be kept.
const noteworthy = 500 * time.Millisecond

// answered is an answer that somebody got.
type answered struct {
	reply
	at, began  time.Time // of the answer's end, and before the connection was made or the request sent
	kind, what string
	fresh      bool
}

func (a *answered) span() span { return span{a.began, a.at} }

// says sums up what an answer says, for a table.
func (a *answered) says() string {
	switch {
	case a.status < 400:
		return strconv.Itoa(a.status)
	case a.code == "unavailable" && a.worker == 0:
		return fmt.Sprintf("%d unavailable, by the answerer", a.status)
	}
	return fmt.Sprintf("%d %s", a.status, cmp.Or(a.code, "without a code"))
}

// A loss is a request that got no answer.
type loss struct {
	span
	kind, what string
	dialled    time.Time
	idle       time.Duration // of the connection, at most, when the request had been sent
	worker     int           // who had answered on the connection before; 0: nobody
	late       bool          // the caller gave up waiting
	refused    bool          // there was no connection
	err        error
}

func newWitness() *witness {
	now := time.Now()
	return &witness{began: now, last: now, counts: map[string]int{}, kinds: map[string]int{}}
}

func (w *witness) answered(a answered) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.endSilence(a.at)
	w.counts[a.says()]++
	w.kinds[a.kind]++
	if a.status >= 500 {
		w.odd = append(w.odd, a)
	}
	if a.fresh {
		took := a.at.Sub(a.began)
		w.slowest = max(w.slowest, took)
		if took > noteworthy {
			w.slow = append(w.slow, a)
		}
	}
}

// endSilence is called with the moment of an answer, or of the end of the run.
func (w *witness) endSilence(at time.Time) {
	if s := (span{w.last, at}); s.length() > noteworthy && !w.over {
		w.silences = append(w.silences, s)
	}
	if at.After(w.last) {
		w.last = at
	}
}

func (w *witness) lost(l loss) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.losses = append(w.losses, l)
}

// close is called when the clients are to leave. A silence that goes on counts until now.
func (w *witness) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.endSilence(time.Now())
	w.over = true
}

// sum writes counts with the largest first.
func sum(counts map[string]int) []string {
	keys := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	var lines []string
	for _, k := range keys {
		lines = append(lines, fmt.Sprintf("%6d  %s", counts[k], k))
	}
	return lines
}
