package cluster

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// A lane runs calls into the application, one after the other, on a goroutine of its
// own: whoever hears the master must not wait for an application that blocks. It has
// a goroutine only while there is something to run.
type lane struct {
	mu      sync.Mutex
	waiting []func()
	running bool
}

// laneRoom is how many calls may wait. With maxBroadcast each that is 2 MiB.
const laneRoom = 64

// put hands over a call without waiting, and reports whether there was room for it.
func (l *lane) put(call func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) >= laneRoom {
		return false
	}
	l.waiting = append(l.waiting, call)
	if !l.running {
		l.running = true
		go l.run()
	}
	return true
}

func (l *lane) run() {
	for call := l.next(); call != nil; call = l.next() {
		call()
	}
}

func (l *lane) next() (call func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.waiting, l.running = nil, false
		return nil
	}
	call, l.waiting = l.waiting[0], l.waiting[1:]
	return call
}

// contained calls into the application and makes an error of a panic, which the log
// gets with its stack. A broadcast or a setting goes to all workers: one that makes
// the application panic must not end them all at once, as no request does (W8).
func contained(log func() *slog.Logger, what string, call func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			log().Error("panic in the application", "in", what, "panic", cause, "stack", string(debug.Stack()))
			err = fmt.Errorf("%s panicked: %v", what, cause)
		}
	}()
	return call()
}

// complaints lets one line through at a time, and one each complaintInterval, so that
// what happens on and on neither fills the log nor waits for it.
type complaints struct {
	mu     sync.Mutex
	next   time.Time
	busy   bool
	missed int
}

const complaintInterval = 10 * time.Second

// say runs say on a goroutine of its own, or counts it for the next time.
func (c *complaints) say(say func(missed int)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); !c.busy && !now.Before(c.next) {
		c.next, c.busy = now.Add(complaintInterval), true
		missed := c.missed
		c.missed = 0
		go func() {
			say(missed)
			c.mu.Lock()
			defer c.mu.Unlock()
			c.busy = false
		}()
		return
	}
	c.missed++
}
