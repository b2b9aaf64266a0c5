//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
	"testing"
)

// M17: a signal that comes just before somebody else takes signals over is not lost: after settle it is known.
func TestSignalsSettle(t *testing.T) {
	other, after := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(other, syscall.SIGHUP)
	defer signal.Stop(other)
	for i := range 300 {
		s := notify()
		for n, ctx := range []interface{ Err() error }{s.stop, s.hurry} {
			if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			<-other
			// Who takes signals over waits until the last one has been handed to all.
			signal.Notify(after, syscall.SIGHUP)
			s.settle()
			if ctx.Err() == nil {
				t.Fatalf("round %d: signal %d is not known", i, n+1)
			}
			signal.Stop(after)
		}
	}
}
