package cluster

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"syscall"
	"time"
)

// The pauses after accepts that have failed are those of net/http.
const (
	acceptPause     = 5 * time.Millisecond
	acceptPauseMost = time.Second
)

const acceptLogInterval = time.Second

// trouble is a row of accepts that have failed. Only Accept touches it.
type trouble struct {
	pause      time.Duration
	logged     time.Time
	suppressed int
}

// note counts and logs an error, and returns how long to wait.
func (t *trouble) note(s *Server, err error) time.Duration {
	s.acceptErrors.Add(1)
	t.pause = min(max(2*t.pause, acceptPause), acceptPauseMost)
	if now := time.Now(); now.Sub(t.logged) >= acceptLogInterval {
		s.log().LogAttrs(context.Background(), slog.LevelError, "can't accept connections",
			slog.String("advice", acceptAdvice(err)), slog.Any("error", err), slog.Duration("next_try", t.pause), slog.Int("lines_suppressed", t.suppressed))
		t.logged, t.suppressed = now, 0
	} else {
		t.suppressed++
	}
	return t.pause
}

// over ends a row.
func (t *trouble) over() { t.pause = 0 }

// acceptAdvice says what an error means and what to do.
func acceptAdvice(err error) string {
	switch {
	case errors.Is(err, syscall.EMFILE):
		return "this process has no file descriptor left: raise the limit of open files (ulimit -n, or LimitNOFILE= of systemd)"
	case errors.Is(err, syscall.ENFILE):
		return "the system has no file descriptor left: raise fs.file-max (sysctl), or find who holds them (lsof)"
	case errors.Is(err, syscall.ENOBUFS), errors.Is(err, syscall.ENOMEM):
		return "the system has no memory for sockets: lower what it has to hold, or raise net.ipv4.tcp_mem (sysctl)"
	}
	return "it is tried again"
}

// fatal reports whether an accept can't succeed any more. Everything else passes:
// a shortage, a client that was faster gone, and errors of the network that
// Linux passes on (accept(2)).
func fatal(err error) bool {
	for _, gone := range []error{net.ErrClosed, syscall.EBADF, syscall.EINVAL, syscall.ENOTSOCK} {
		if errors.Is(err, gone) {
			return true
		}
	}
	return false
}
