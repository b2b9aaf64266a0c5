package cluster

import (
	"errors"
	"net"
	"os"
	"time"
)

// listener hands the connections of a TCP listener to net/http as conns, and takes no more than its share of them when
// there is a board.
type listener struct {
	*net.TCPListener
	server *Server
	pacer  *pacer // nil: take what comes
}

func newListener(s *Server, inner *net.TCPListener) (*listener, error) {
	l := &listener{TCPListener: inner, server: s}
	if s.board == nil {
		return l, nil
	}
	var err error
	if l.pacer, err = newPacer(s.board, s.place, inner); err != nil {
		return nil, err
	}
	s.board.join(s.place)
	return l, nil
}

// Accept returns a *conn. Its errors are those of the TCP listener: net/http tries again after temporary ones, such as too
// many open files.
func (l *listener) Accept() (net.Conn, error) {
	for {
		if l.pacer != nil {
			if err := l.pacer.turn(); err != nil {
				return nil, err
			}
			// The connection may have gone to a sibling. Whoever waits in accept takes the next one out of turn.
			if err := l.SetDeadline(time.Now().Add(pacingUnit)); err != nil {
				return nil, err
			}
		}
		inner, err := l.AcceptTCP()
		if err != nil {
			if l.pacer != nil && errors.Is(err, os.ErrDeadlineExceeded) {
				continue
			}
			return nil, err
		}
		c := newConn(l.server, inner)
		l.server.traffic.add(c)
		return c, nil
	}
}

// Close ends Accept. The socket goes on in the siblings and the master.
func (l *listener) Close() error {
	if l.pacer != nil {
		l.pacer.close()
	}
	return l.TCPListener.Close()
}

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

// siblings is what one process knows about the others on the board.
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

// wait is how long to leave the next connection to others.
func (s *siblings) wait() time.Duration {
	live := s.board.entry(s.place).live.Load()
	sum, n := live, int64(1)
	for i := range int(s.board.used.Load()) {
		e := s.board.entry(i)
		s.asked[i] = false
		if i == s.place || !e.accepting.Load() {
			continue
		}
		if accepted := e.accepted.Load(); accepted != s.seen[i] {
			s.seen[i], s.inVain[i] = accepted, 0
		}
		if s.inVain[i] >= pacingPatience {
			continue
		}
		theirs := e.live.Load()
		s.asked[i] = theirs < live
		sum += theirs
		n++
	}
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
