//go:build unix

package cluster

import (
	"os"

	"golang.org/x/sys/unix"
)

func mapShared(f *os.File, size int) (memory []byte, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	controlErr := raw.Control(func(fd uintptr) {
		memory, err = unix.Mmap(int(fd), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	})
	if controlErr != nil {
		return nil, controlErr
	}
	return memory, err
}

func unmapShared(memory []byte) error { return unix.Munmap(memory) }
