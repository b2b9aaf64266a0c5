//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// unixPrefix begins the address of a Unix socket, such as
// "unix:/run/shop/shop.sock". A name that begins with "@" is an abstract one of
// Linux, without a file.
const unixPrefix = "unix:"

// socketMode lets every account connect that can reach the file, as everybody
// can connect to a port: its folder says who may. nginx and systemd do the same.
const socketMode = 0o666

// socketFile is the file of a Unix socket that this master has made.
type socketFile struct {
	path string
	info os.FileInfo
}

// remove removes the file, unless somebody else's has taken its place.
func (f *socketFile) remove() {
	if f == nil {
		return
	}
	if info, err := os.Lstat(f.path); err == nil && os.SameFile(info, f.info) {
		os.Remove(f.path) // or the next master does
	}
}

// bindUnix listens on a Unix socket. A file that nobody listens on any more was
// left behind by a master that was killed, and is replaced; the lock on the PID
// file keeps a second master from doing that at the same time. While somebody
// listens it tries again until its patience ends.
func bindUnix(path string, patience time.Duration) (socket, error) {
	deadline := time.Now().Add(patience)
	abstract := strings.HasPrefix(path, "@")
	for {
		err := error(nil)
		if !abstract {
			err = removeStale(path)
		}
		var l net.Listener
		if err == nil {
			l, err = privateSocket.Listen(context.Background(), "unix", path)
		}
		if errors.Is(err, syscall.EADDRINUSE) && time.Now().Before(deadline) {
			<-time.After(10 * time.Millisecond) // nothing tells when a socket of another process is closed
			continue
		}
		if err != nil {
			return socket{}, unixError(path, err)
		}
		defer l.Close()
		l.(*net.UnixListener).SetUnlinkOnClose(false) //nolint:forcetypeassert // of "unix"
		s, err := duplicateListener(l)
		if err != nil || abstract {
			return s, err
		}
		if err := s.openFile(path); err != nil {
			unix.Close(s.fd)
			return socket{}, fmt.Errorf("let others connect to %s: %w", path, err)
		}
		return s, nil
	}
}

// openFile takes note of the socket's file, and lets others connect.
func (s *socket) openFile(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	s.file = &socketFile{path, info}
	return os.Chmod(path, socketMode)
}

// removeStale removes the file of a Unix socket on which nobody listens. The
// error is EADDRINUSE when somebody does.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != os.ModeSocket {
		return errNoSocket
	}
	c, err := net.Dial("unix", path) //nolint:noctx // a Unix socket answers at once
	switch {
	case err == nil:
		c.Close()
		return syscall.EADDRINUSE
	case errors.Is(err, syscall.EAGAIN): // its queue is full
		return syscall.EADDRINUSE
	case !errors.Is(err, syscall.ECONNREFUSED):
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

var errNoSocket = errors.New("there is something else at this path, which is left alone: choose another one")

func unixError(path string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("socket %s is taken by another program: stop it, or choose another path", path)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("socket %s needs more rights than this user has: choose a folder that it may write to: %w", path, err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("socket %s is on a read-only file system: choose a path on another one", path)
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("socket %s: its folder does not exist: make it, or choose another path", path)
	}
	return fmt.Errorf("socket %s can't be listened on (a path of more than about 100 bytes does not work): %w", path, err)
}
