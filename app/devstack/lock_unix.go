//go:build unix

package devstack

import (
	"os"
	"syscall"
)

// lock takes the file for this process, without waiting. The kernel lets go of it when the process ends, however
// it ends. The descriptor is close-on-exec, so the servers do not hold it.
func lock(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

// unlock gives the file back. Closing it would not do: between fork and exec a child of this process has it too.
func unlock(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
}
