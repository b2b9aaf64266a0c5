package main

import (
	"context"
	"errors"
	"fmt"
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
	flush       chan chan struct{}
}

// settle returns when stop and hurry know of every signal that came before. Whoever takes signals over calls it after that:
// one that came just before would be lost, if the goroutine that passes it on has not run yet.
func (s signals) settle() {
	done := make(chan struct{})
	s.flush <- done
	<-done
}

// notify listens to the process's signals for the rest of its life. SIGHUP stays ignored where whoever started this process had it
// ignore that, as nohup(1) does. SIGINT is taken in any case: a shell without job control has what it runs in the background
// ignore it, and a script that says "kill -INT $!" then means it.
func notify() signals {
	stop, cancelStop := context.WithCancelCause(context.Background())
	hurry, cancelHurry := context.WithCancelCause(context.Background())
	received := make(chan os.Signal, 2)
	signal.Notify(received, syscall.SIGTERM, os.Interrupt)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(received, syscall.SIGHUP)
	}
	flush := make(chan chan struct{})
	go func() {
		pass := func(s os.Signal) {
			if stop.Err() != nil {
				cancelHurry(errHurried)
			}
			cancelStop(fmt.Errorf("%w by signal %v", errStopped, s))
		}
		for {
			select {
			case s := <-received:
				pass(s)
			case done := <-flush:
				for len(received) > 0 {
					pass(<-received)
				}
				close(done)
			}
		}
	}()
	return signals{stop, hurry, flush}
}
