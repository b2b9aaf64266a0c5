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

// notify listens to the process's signals for the rest of its life. SIGHUP and SIGINT stay ignored where whoever started this
// process had it ignore them.
func notify() signals {
	stop, cancelStop := context.WithCancelCause(context.Background())
	hurry, cancelHurry := context.WithCancelCause(context.Background())
	received := make(chan os.Signal, 2)
	signal.Notify(received, syscall.SIGTERM)
	for _, s := range []os.Signal{syscall.SIGHUP, os.Interrupt} {
		if !signal.Ignored(s) { // nohup(1), or a shell without job control that runs this in the background
			signal.Notify(received, s)
		}
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
