//go:build unix

package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A pidFile is locked for as long as its master lives. The lock says whether a master runs, the number only says which:
// a file that was left behind means nothing, whoever has its pid by now.
//
// The lock is flock(2): the kernel lets go of it when the process ends, however it ends. It belongs to the open file
// and would live on in children, so the descriptor is close-on-exec.
type pidFile struct {
	file *os.File
	path string
	left int // the pid that was in the file, 0 for none
}

// A file longer than this is somebody's document and no PID file.
const maxPidFile = 1024

// lockPidFile locks the file for this process and writes "<pid>\n" into it; a missing folder is made. It does not wait:
// while another master holds the file it returns a [*RunningError].
func lockPidFile(path string) (*pidFile, error) {
	if err := makeFolder(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("PID file %s: %w", path, err)
	}
	for range 1000 { // each further round takes a master that left between two of our calls
		f, err := tryPidFile(path)
		if f != nil || err != nil {
			return f, err
		}
	}
	return nil, fmt.Errorf("PID file %s is removed by somebody as soon as it is made", path)
}

// tryPidFile returns nil and nil when the file was removed while it was being locked.
func tryPidFile(path string) (_ *pidFile, err error) {
	file, err := openPidFile(path)
	if err != nil {
		return nil, err
	}
	f := &pidFile{file: file, path: path}
	defer func() {
		if err != nil {
			file.Close()
		}
	}()
	switch err := ignoringEINTR(func() error { return unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) }); {
	case errors.Is(err, unix.EWOULDBLOCK):
		return nil, &RunningError{PID: f.read(), Path: path}
	case err != nil:
		return nil, fmt.Errorf("lock PID file %s: %w; its file system may have no locks, name a local folder", path, err)
	}
	// A master that leaves removes its file and unlocks it then. Whoever opened it before that has locked a file that
	// nobody else will ever find.
	if !f.named() {
		file.Close()
		return nil, nil
	}
	f.left = f.read()
	// Written before the rest is cut off, so that a reader never finds an empty file where a number was.
	pid := strconv.Itoa(os.Getpid()) + "\n"
	_, err = file.WriteAt([]byte(pid), 0)
	if err == nil {
		err = file.Truncate(int64(len(pid)))
	}
	if err != nil {
		return nil, fmt.Errorf("write PID file: %w", err)
	}
	return f, nil
}

// openPidFile opens what may be written to and, in the end, removed: a short regular file. A symbolic link is not
// followed, because in a folder that others can write to it may name any file of ours.
func openPidFile(path string) (*os.File, error) {
	const flags = os.O_RDWR | os.O_CREATE | unix.O_NOFOLLOW | unix.O_NONBLOCK // close-on-exec is what os adds
	file, err := os.OpenFile(path, flags, 0o644)                              //nolint:gosec // monitors of other accounts read it
	if err != nil {
		if there, statErr := os.Lstat(path); statErr == nil && there.Mode()&os.ModeSymlink != 0 {
			return nil, fmt.Errorf("PID file %s is a symbolic link, and those are not followed: name the file itself", path)
		}
		return nil, fmt.Errorf("open PID file: %w; name a file that this account may write", err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("PID file %s is no regular file: name another", path)
	}
	if err == nil && info.Size() > maxPidFile {
		err = fmt.Errorf("PID file %s has %d bytes, so it is no PID file and is left alone: remove it or name another", path, info.Size())
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// stale reports whether the file was there, unlocked, with the pid of another process: the last master died without
// cleaning up.
func (f *pidFile) stale() bool { return f.left != 0 && f.left != os.Getpid() }

// Close removes the file while it is still locked, and unlocks it then. A file that somebody else put in its place
// stays. A second Close does nothing.
func (f *pidFile) Close() error {
	var err error
	if f.named() {
		err = os.Remove(f.path)
	}
	// Closing would not do: between fork and exec a child has the open file too.
	_ = unix.Flock(int(f.file.Fd()), unix.LOCK_UN)
	f.file.Close()
	if err != nil {
		return fmt.Errorf("remove PID file: %w", err)
	}
	return nil
}

// giveBack closes a file that was locked for a master which never ran. The pid of one that was killed before is put back:
// whoever starts next has to know that its workers may still be about.
func (f *pidFile) giveBack() error {
	if f.left == 0 {
		return f.Close()
	}
	pid := strconv.Itoa(f.left) + "\n"
	_, err := f.file.WriteAt([]byte(pid), 0)
	if err == nil {
		err = f.file.Truncate(int64(len(pid)))
	}
	_ = unix.Flock(int(f.file.Fd()), unix.LOCK_UN)
	f.file.Close()
	if err != nil {
		return fmt.Errorf("write PID file: %w", err)
	}
	return nil
}

// makeFolder makes the folder of a file of the master for this account alone. One that was there before is taken as it is:
// whoever names it says that nobody else puts files into it. One that appears at the same moment is somebody else's.
func makeFolder(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make its folder: %w", err)
	}
	var made unix.Stat_t
	if err := unix.Lstat(dir, &made); err != nil {
		return fmt.Errorf("look at its folder: %w", err)
	}
	if made.Mode&unix.S_IFMT != unix.S_IFDIR || int(made.Uid) != os.Geteuid() || made.Mode&0o022 != 0 {
		return fmt.Errorf("somebody else has just made its folder %s: remove that, or name another", dir)
	}
	return nil
}

// named reports whether the path still names the file that is open.
func (f *pidFile) named() bool {
	there, err := os.Lstat(f.path)
	if err != nil {
		return false
	}
	here, err := f.file.Stat()
	return err == nil && os.SameFile(there, here)
}

// read returns the number in the first line, 0 when there is none.
func (f *pidFile) read() int {
	raw := make([]byte, 32)
	n, _ := f.file.ReadAt(raw, 0)
	line, _, _ := strings.Cut(string(raw[:n]), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid < 0 {
		return 0
	}
	return pid
}

func ignoringEINTR(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
