package cluster

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// heldPath names the file that is held open, whatever has become of its own path.
func (r *release) heldPath() string { return fmt.Sprintf("/proc/self/fd/%d", r.file.Fd()) }

// openForWriting reports whether any process has the file open for writing. Executing it would fail then (ETXTBSY), also
// when the writer has long written all and only another fork still holds its descriptor (golang/go#22315).
//
// A read lease is refused for just that reason (F_SETLEASE in fcntl(2)). It is given back at once: whoever opens the
// file for writing in between is held up that long, and we get a SIGIO, which the Go runtime drops. Where leases are
// not to be had (a file of another account, some network file systems) the answer is no, and the file's times must do.
func openForWriting(file *os.File) bool {
	_, err := unix.FcntlInt(file.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	if err == nil {
		_, _ = unix.FcntlInt(file.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	}
	return errors.Is(err, unix.EAGAIN)
}

// openOwnExecutable opens what this process runs, which may have another path by now, or none.
func openOwnExecutable() (*os.File, error) { return os.Open("/proc/self/exe") }
