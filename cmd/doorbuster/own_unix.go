//go:build unix

package main

import (
	"io/fs"
	"os"
	"syscall"
)

// isOwn reports whether a file is a folder that belongs to this account, and that no other may write to.
func isOwn(info fs.FileInfo) bool {
	const othersWrite = 0o022
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.IsDir() && int(stat.Uid) == os.Getuid() && info.Mode().Perm()&othersWrite == 0
}
