//go:build !unix

package main

import "io/fs"

func leaveStdin() error { return nil }

func isOwn(info fs.FileInfo) bool { return info.IsDir() }
