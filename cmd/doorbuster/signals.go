package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

var (
	errStopped = errors.New("told to stop")
	errHurried = errors.New("told to stop at once")
)

// signals are what an operator has said so far: stop ends with the first SIGTERM, SIGINT or SIGHUP (a terminal that is
// closed), hurry with the second.
type signals struct {
	stop, hurry context.Context
}

// notify listens to the process's signals for the rest of its life.
func notify() signals {
	stop, cancelStop := context.WithCancelCause(context.Background())
	hurry, cancelHurry := context.WithCancelCause(context.Background())
	received := make(chan os.Signal, 2)
	signal.Notify(received, syscall.SIGTERM, syscall.SIGHUP, os.Interrupt)
	go func() {
		<-received
		cancelStop(errStopped)
		<-received
		cancelHurry(errHurried)
	}()
	return signals{stop, hurry}
}
