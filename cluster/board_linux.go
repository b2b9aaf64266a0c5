package cluster

import (
	"os"

	"golang.org/x/sys/unix"
)

// boardFile is memory with a descriptor and no name.
func boardFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("cluster-board", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), "cluster-board"), nil
}
