//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// caller is who gives a command, and how long he waits for it to be taken.
//
// A master that was stopped finds commands in its sockets which nobody waits for any
// more. To carry them out then would surprise whoever has found another way since:
// so they are checked at the moment when the loop takes them, by the deadline that
// the client has sent, and by the state of its connection. Once taken, a command is
// carried out whatever becomes of the client.
type caller struct {
	by    string
	until time.Time   // zero: for ever
	gone  func() bool // not nil: reports whether the connection was closed
	told  func()      // not nil: tells the client that the command was taken
	taken bool
}

type callerKey struct{}

func callerOf(ctx context.Context) *caller {
	c, _ := ctx.Value(callerKey{}).(*caller)
	return c
}

// calledBy returns a context whose commands are somebody's.
func calledBy(ctx context.Context, by string) context.Context {
	return context.WithValue(ctx, callerKey{}, &caller{by: by})
}

// askedBy says who gives the commands of a context.
func askedBy(ctx context.Context) string {
	if c := callerOf(ctx); c != nil {
		return c.by
	}
	return "the master's own program"
}

var errGone = errors.New("whoever gave the command has gone before it was taken")

// take reports why a command is not to be carried out. It is called by the loop.
func (c *caller) take(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	switch {
	case c == nil || c.taken:
		return nil
	case !c.until.IsZero() && time.Now().After(c.until):
		return ErrNotHeard
	case c.gone != nil && c.gone():
		return errGone
	}
	c.taken = true
	return nil
}

// tell tells the client, once.
func (c *caller) tell() {
	if c != nil && c.told != nil {
		c.told()
		c.told = nil
	}
}

type peerKey struct{}

// peer is the other end of a connection to the control socket.
type peer struct {
	name string
	conn syscall.RawConn
}

// withPeer is http.Server.ConnContext of the control socket.
func withPeer(ctx context.Context, conn net.Conn) context.Context {
	p := &peer{name: "the control socket"}
	if c, ok := conn.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			p.conn = raw
			if uid, pid, ok := credentials(raw); ok {
				p.name = fmt.Sprintf("the control socket (uid %d, pid %d)", uid, pid)
			}
		}
	}
	return context.WithValue(ctx, peerKey{}, p)
}

// gone reports whether the other end was closed. The HTTP server notices that as
// well, but not in time.
func (p *peer) gone() (gone bool) {
	if p.conn == nil {
		return false
	}
	err := p.conn.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd)}}
		if n, err := unix.Poll(fds, 0); err == nil && n > 0 {
			gone = fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
		}
	})
	return gone || err != nil
}

// introduce finds out who gives a command.
func introduce(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(abilitiesHeader, "deadline")
		c := &caller{by: "the admin address, from " + r.RemoteAddr}
		if p, ok := r.Context().Value(peerKey{}).(*peer); ok {
			c.by, c.gone = p.name, p.gone
		}
		if until := r.Header.Get(deadlineHeader); until != "" {
			var err error
			if c.until, err = time.Parse(time.RFC3339Nano, until); err != nil {
				writeOutcome(w, http.StatusBadRequest, outcome{Reason: deadlineHeader + " is no time: " + err.Error()})
				return
			}
			c.told = func() { w.WriteHeader(http.StatusProcessing) } // sent at once, before the answer
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
	})
}
