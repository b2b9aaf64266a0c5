//go:build !unix

package main

import "io/fs"

func isOwn(info fs.FileInfo) bool { return info.IsDir() }
