//go:build !linux

// Soak needs Linux: it reads /proc, sets the limits of other processes (prlimit(2)), and runs the shop as a cluster.
package main

import (
	"fmt"
	"os"
	"runtime"
)

func main() {
	fmt.Fprintf(os.Stderr, "soak: this takes Linux, and this is %s\n", runtime.GOOS)
	os.Exit(1)
}
