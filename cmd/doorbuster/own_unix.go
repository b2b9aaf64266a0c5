//go:build unix

package main

import (
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// leaveStdin makes standard input the null device. Who can't read from a terminal gets no SIGTTIN from it, and so each one is
// a person's command, also in the background of a shell (cluster.RelayScaleSignals).
func leaveStdin() error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	return unix.Dup2(int(null.Fd()), unix.Stdin)
}

// isOwn reports whether a file is a folder that belongs to this account, and that no other may write to.
func isOwn(info fs.FileInfo) bool {
	const othersWrite = 0o022
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.IsDir() && int(stat.Uid) == os.Getuid() && info.Mode().Perm()&othersWrite == 0
}
