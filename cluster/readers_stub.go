//go:build !linux

package cluster

import "syscall"

// kernelTells says that the kernel is not asked how much of a TCP connection has
// arrived: only a write that returns shows progress.
const kernelTells = false

func takenFrom(_ stream, o *outflow) int64 { return o.written.Load() }

func roomToWrite(syscall.Conn) bool { return false }
