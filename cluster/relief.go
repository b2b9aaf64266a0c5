package cluster

import (
	"context"
	"net/http"
	"sync/atomic"
)

// Relief moves kept connections to siblings that have fewer. Pacing spreads new
// connections only: after a scale from 2 workers to 4, clients that keep theirs
// stayed where they were, 50/50/0/0 of 100, until the next reload. A worker far
// above the mean therefore says Connection: close in some of its answers, and
// pacing brings those clients to the others.
//
// An episode begins when a worker has more than 1.5 times the connections of the
// sibling with the fewest, and reliefLeast or more above the mean, at
// reliefPatience looks in a row. It ends when the worker has no more than the
// mean, or has told as many as were above the mean when it began. The next one
// begins reliefRest looks later at the earliest. All looks are lagInterval
// apart.
//
// The worst case, whatever the siblings and the clients do: 1 in reliefAnswers
// of a worker's answers in an episode, 1 in reliefPart of its connections at a
// look (at least 1), and in each episode no more connections than are above the
// mean.
const (
	reliefLeast    = 2
	reliefPatience = 20
	reliefRest     = 100
	reliefAnswers  = 16
	reliefPart     = 64
)

// burden is how the connections of a listening socket are spread over the
// workers that accept from it. Its zero value is that of one that does not.
type burden struct {
	workers int64
	mine    int64 // connections of this worker
	sum     int64 // of all
	least   int64 // of the sibling with the fewest
}

// excess is how many connections this worker has above the mean, rounded down.
func (b burden) excess() int64 {
	if b.workers < 2 {
		return 0
	}
	return max(0, b.mine*b.workers-b.sum) / b.workers
}

// uneven reports whether this worker has more than the 1.5 times of a sibling
// that pacing leaves, and not by a connection or two.
func (b burden) uneven() bool {
	return b.excess() >= reliefLeast && 2*b.mine > 3*b.least
}

// relief decides how many connections are told to go. It counts looks, and
// knows no clock.
type relief struct {
	uneven  int   // looks in a row at which there was cause for an episode
	rest    int   // looks until the next one may begin
	left    int64 // connections that this episode may still tell; 0: there is none
	granted int64 // of those, at the last look
	credit  int64 // answers of this episode that none of reliefAnswers was taken from
}

// look returns how many connections may be told until the next look. unused is
// how much of its last answer was not, leaving is how many connections were told
// and are still open, and answers how many there were since the last look.
func (r *relief) look(b burden, leaving, unused, answers int64) int64 {
	used := r.granted - unused
	r.granted = 0
	part := b.mine/reliefPart + 1
	if r.left > 0 {
		r.left -= used
		r.credit = min(r.credit-reliefAnswers*used+answers, reliefAnswers*part)
		if r.left <= 0 || b.excess() == 0 {
			*r = relief{rest: reliefRest}
		}
	} else {
		r.begin(b)
	}
	r.granted = max(0, min(r.left, b.excess()-leaving, part, r.credit/reliefAnswers))
	return r.granted
}

// begin begins an episode if it is time.
func (r *relief) begin(b burden) {
	r.rest = max(0, r.rest-1)
	if !b.uneven() {
		r.uneven = 0
		return
	}
	if r.uneven++; r.uneven >= reliefPatience && r.rest == 0 {
		*r = relief{left: b.excess()}
	}
}

// reliever is what a server has of its relief.
type reliever struct {
	allowance atomic.Int64 // connections that may be told now; what every request reads
	leaving   atomic.Int64 // connections that were told, and are open

	relief  relief // from here on for the goroutine that looks
	answers int64  // so far
	news    complaints
}

// take takes one of the allowance.
func (r *reliever) take() bool {
	for n := r.allowance.Load(); n > 0; n = r.allowance.Load() {
		if r.allowance.CompareAndSwap(n, n-1) {
			return true
		}
	}
	return false
}

// lookForRelief renews the allowance. Nobody is told any more when the server is.
func (s *Server) lookForRelief(b burden) {
	if s.Unready() {
		b = burden{}
	}
	r := &s.reliever
	unused := r.allowance.Swap(0)
	answers := s.traffic.total.Load()
	under := r.relief.left > 0
	r.allowance.Store(r.relief.look(b, r.leaving.Load(), unused, answers-r.answers))
	r.answers = answers
	if left := r.relief.left; !under && left > 0 {
		r.news.say(func(int) { // whoever looks does not wait for a log that nobody reads
			s.log().InfoContext(context.Background(), "more connections than the siblings: some clients are told to come back",
				"connections", b.mine, "mean", b.sum/b.workers, "fewest", b.least, "telling", left)
		})
	}
}

// relieve lets an answer end its connection: over HTTP/2 by a GOAWAY, after
// which streams that have begun are finished.
func (s *Server) relieve(w http.ResponseWriter, r *http.Request) {
	if s.Unready() || r.Close || len(r.Header["Upgrade"]) > 0 { // it ends anyhow, or turns into something else
		return
	}
	if !s.reliever.take() {
		return
	}
	if !leave(r) {
		s.reliever.allowance.Add(1)
		return
	}
	w.Header()["Connection"] = closeConnection
}

// leave notes that the connection of a request is told to go. It reports whether
// nobody has told it before.
func leave(r *http.Request) bool {
	if c, ok := r.Context().Value(connKey).(*conn); ok {
		return c.leave()
	}
	c, ok := r.Context().Value(carrierKey).(*carrier)
	return ok && c.leave()
}
