package cluster

import (
	"math"
	"net/http"
	"os"
	"time"
)

// Board is the memory that workers pace their accepts by.
type Board = board

// NewBoard makes a board for one listening socket.
func NewBoard(places int) (*Board, error) { return newBoard(places, 1) }

// NewBoardOf makes a board for some.
var NewBoardOf = newBoard

// Section is the part of one listening socket.
func (b *board) Section(i int) *Board { return b.section(i) }

// OpenBoard maps one.
var OpenBoard = openBoard

// File is what a child process gets.
func (b *board) File() *os.File { return b.file() }

// SetWatchers sets how many processes are on watch at a time, as this one sees it.
func (b *board) SetWatchers(n int) { b.watchers = n }

// Watchers is how many processes should be on watch.
const Watchers = watchers

// OnWatch reports whether a process waits for connections.
func (b *board) OnWatch(i int) bool { return b.entry(i).onWatch.Load() }

// LookInterval is how often somebody who stands by looks whether a connection waits.
const LookInterval = lagInterval

// Reset is what the master does when a worker was reaped.
func (b *board) Reset(i int) { b.reset(i) }

// Entry reads the place of one process.
func (b *board) Entry(i int) (live, accepted int64, accepting bool) {
	e := b.entry(i)
	return e.live.Load(), e.accepted.Load(), e.accepting.Load()
}

// Pretend writes the place of a process that does not exist.
func (b *board) Pretend(i int, live, accepted int64, accepting bool) {
	e := b.entry(i)
	e.live.Store(live)
	e.accepted.Store(accepted)
	if accepting {
		b.join(i)
	} else {
		e.accepting.Store(false)
	}
}

// Siblings is what a pacer knows about the others.
type Siblings = siblings

// NewSiblings is the view of the process in one place.
var NewSiblings = newSiblings

// Wait is how long the next connection is left to others.
func (s *siblings) Wait() time.Duration { return s.wait() }

// WaitedInVain notes that none of them took it.
func (s *siblings) WaitedInVain(wait time.Duration) { s.waitedInVain(wait) }

// PacingPatience is how often that is tolerated.
const PacingPatience = pacingPatience

// Join gives a server a place on a board, as a worker under a master has.
func (s *Server) Join(b *Board, place int) { s.board, s.place = b, place }

// Look is what a worker does every 100 ms.
func (s *Server) Look() {
	s.lookForConnections()
}

// AcceptTrouble notes an accept that has failed, as the last of a row.
type AcceptTrouble struct{ trouble }

// Note returns the pause after it.
func (t *AcceptTrouble) Note(s *Server, err error) time.Duration { return t.note(s, err) }

// Over notes one that has succeeded.
func (t *AcceptTrouble) Over() { t.over() }

// DrainOrder is how the master's order to stop reaches Serve: as the cause of its context's end.
func DrainOrder(delay time.Duration) error { return drainOrder{delay: delay} }

// LastCall makes the last call without a drain around it, and so without a limit.
func (s *Server) LastCall() { s.makeLastCall() }

// CallOff does what comes shortly before the limit of a drain.
func (s *Server) CallOff() { s.callOff(ErrLastCall) }

// Leftover is what a connection that has become idle takes net/http to hold after so many read deadlines, at a Read into
// so much room.
func Leftover(deadlines, room int) bool {
	c := newConn(new(Server), nil)
	c.deadlines.Store(int32(deadlines))
	return c.leftover(room)
}

// LastCalling reports whether the last call was made.
func (s *Server) LastCalling() bool { return s.phase.Load() == phaseLastCall }

// Reading is the number of connections on which a head has begun to arrive.
func (s *Server) Reading() (n int) {
	for _, c := range s.traffic.ours() {
		if c.phase.Load() == connHead {
			n++
		}
	}
	return n
}

// Quiet reports that nothing is in flight, not even an answer that its client may have but net/http is not yet done with.
func (s *Server) Quiet() bool { return s.traffic.quiet() }

// BeforeShutdown arranges for f to be called when a drain calls Shutdown of the http.Server that serves.
func (s *Server) BeforeShutdown(f func()) { s.serving.RegisterOnShutdown(f) }

// Serving is the copy of Server.HTTP that serves.
func (s *Server) Serving() *http.Server { return s.serving }

// Stalled is what a heartbeat at a moment says about the requests.
func (s *Server) Stalled(now time.Time, timeout time.Duration) string { return s.stalled(now, timeout) }

// Awaiting reports whether a handler waits for its client.
func (s *Server) Awaiting() bool {
	for _, c := range s.traffic.ours() {
		if c.reading.Load() {
			return true
		}
	}
	return false
}

// NoticePlace is where in an answer's first bytes Connection: close goes.
var NoticePlace = noticePlace

// Notice is what goes there.
const Notice = notice

// Relief decides how many connections are told to go.
type Relief = relief

// Burden is how connections are spread over workers. The first has them.
func Burden(live ...int64) (b burden) {
	b.workers, b.mine, b.least = int64(len(live)), live[0], math.MaxInt64
	for i, n := range live {
		b.sum += n
		if i > 0 {
			b.least = min(b.least, n)
		}
	}
	return b
}

// Burden is how connections are spread, as one process sees it.
func (s *siblings) Burden() burden { return s.burden() }

// Look is one of the looks.
func (r *relief) Look(b burden, leaving, unused, answers int64) int64 {
	return r.look(b, leaving, unused, answers)
}

// Under reports whether there is an episode.
func (r *relief) Under() bool { return r.left > 0 }

// Excess is how many connections there are above the mean.
func (b burden) Excess() int64 { return b.excess() }

// The limits of an episode.
const (
	ReliefPatience = reliefPatience
	ReliefRest     = reliefRest
	ReliefAnswers  = reliefAnswers
	ReliefPart     = reliefPart
)

// Leaving is how many open connections were told to go.
func (s *Server) Leaving() int64 { return s.reliever.leaving.Load() }

// Allow lets so many connections be told at once.
func (s *Server) Allow(n int64) { s.reliever.allowance.Store(n) }
