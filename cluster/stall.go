package cluster

import (
	"fmt"
	"sync"
	"time"
)

// defaultStallTimeout is Server.StallTimeout where no master has told its heartbeat
// timeout.
const defaultStallTimeout = 30 * time.Second

// stallWatch notices that the handlers of a server are at a standstill. It looks from
// time to time, so that requests pay nothing for it: it remembers those that were at
// work when it looked, as long as nothing is finished.
type stallWatch struct {
	mu       sync.Mutex
	finished int64
	suspects map[*conn]int64 // and the number of the request on it
	since    time.Time       // the suspects were at work
}

// stalled says that requests have been at work for the timeout, that none of them has
// written anything or waits for its client, and that no request was finished all the
// while; or nothing. See [Server.StallTimeout].
func (s *Server) stalled(now time.Time, timeout time.Duration) string {
	if s.StallTimeout != 0 {
		timeout = s.StallTimeout
	}
	if timeout < 0 || s.Unready() {
		return ""
	}
	w := &s.stall
	w.mu.Lock()
	defer w.mu.Unlock()
	if finished := s.traffic.finished(); finished > w.finished {
		w.finished, w.suspects = finished, nil
		return ""
	}
	silent := s.traffic.silent()
	for c, request := range w.suspects {
		if silent[c] != request {
			delete(w.suspects, c)
		}
	}
	if len(w.suspects) == 0 {
		w.suspects, w.since = silent, now
		return ""
	}
	if at := now.Sub(w.since); at >= timeout {
		return fmt.Sprintf("no request was finished for %v, and %d that were at work all the while have written nothing, such as %s",
			at.Round(time.Millisecond), len(w.suspects), anyOf(w.suspects))
	}
	return ""
}

// anyOf names one of the requests.
func anyOf(suspects map[*conn]int64) string {
	for c := range suspects {
		what, _, _ := c.work()
		return what
	}
	return ""
}

// finished is the number of requests that were finished so far, or less while others
// begin.
func (t *traffic) finished() int64 {
	total := t.total.Load()
	return total - t.working.Load()
}

// silent returns the connections whose handlers are at work, have written nothing,
// and do not wait for their client.
func (t *traffic) silent() map[*conn]int64 {
	if t.working.Load() == 0 {
		return nil
	}
	all := map[*conn]int64{}
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.conns {
		if request := c.silent(); request != 0 {
			all[c] = request
		}
	}
	return all
}

// silent returns the number of the request that is at work on the connection and has
// written nothing, or 0. A handler that reads its body waits for its client.
func (c *conn) silent() (request int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase.Load() != connServing || c.reading.Load() {
		return 0
	}
	return c.requests
}
