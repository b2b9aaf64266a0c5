package cluster

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// A background does errands one after the other in a goroutine of its own: writing to a terminal that somebody has stopped,
// to a pipe that is full, or to a service manager that does not read may take for ever, and neither the master's
// goroutine nor a worker may wait for that. What can't be done is given up, and counted.
type background struct {
	mu     sync.Mutex
	queue  []func()
	closed bool

	offered  chan struct{} // holds a token for each errand of offer
	wake     chan struct{}
	done     chan struct{} // closed at the end
	late     sync.Mutex    // held by errands that come after it
	finished atomic.Int64  // errands
	stuck    atomic.Bool   // offer has waited in vain, and nothing was finished since

	lost   atomic.Int64 // what was given up and not reported yet
	report func(int64)  // is told when it goes on
}

const (
	backgroundRoom     = 64   // errands of offer: with maxLine each, 2 MiB
	backgroundQueue    = 1024 // errands of both kinds
	backgroundPatience = time.Second
)

// flushTimeout is how long the end of a master waits for whoever should read its log.
const flushTimeout = time.Second

func newBackground(report func(lost int64)) *background {
	b := &background{
		offered: make(chan struct{}, backgroundRoom), wake: make(chan struct{}, 1), done: make(chan struct{}), report: report,
	}
	go b.run()
	return b
}

func (b *background) run() {
	defer close(b.done)
	for range b.wake {
		errands, closed := b.take()
		for ; len(errands) > 0; errands, closed = b.take() {
			for _, f := range errands {
				f()
				b.finished.Add(1)
				b.stuck.Store(false)
				if lost := b.lost.Swap(0); lost > 0 {
					b.report(lost)
				}
			}
		}
		if closed {
			return
		}
	}
}

func (b *background) take() (errands []func(), closed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	errands, b.queue = b.queue, nil
	return errands, b.closed
}

// put hands over an errand without waiting, and reports whether there was room for it. After the end it is done on the spot.
func (b *background) put(f func()) bool {
	b.mu.Lock()
	fits := !b.closed && len(b.queue) < backgroundQueue
	if fits {
		b.queue = append(b.queue, f)
	}
	b.mu.Unlock()
	switch {
	case fits:
		b.signal()
	case isClosed(b.done):
		b.late.Lock()
		defer b.late.Unlock()
		f()
		return true
	}
	return fits
}

func (b *background) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// offer hands over an errand, and waits for room as long as others are being finished, one a second at least: who writes
// faster than anybody reads is slowed down.
func (b *background) offer(f func()) bool {
	if !b.waitForRoom() {
		return false
	}
	if b.put(func() { f(); <-b.offered }) {
		return true
	}
	<-b.offered
	return false
}

func (b *background) waitForRoom() bool {
	select {
	case b.offered <- struct{}{}:
		return true
	default:
	}
	for !b.stuck.Load() {
		finished := b.finished.Load()
		timer := time.NewTimer(backgroundPatience)
		select {
		case b.offered <- struct{}{}:
			timer.Stop()
			return true
		case <-timer.C:
		}
		if b.finished.Load() == finished {
			b.stuck.Store(true)
		}
	}
	return false
}

// close lets what was handed over be done, for so long.
func (b *background) close(limit time.Duration) {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.signal()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-b.done:
	case <-timer.C:
	}
}

// A backgroundHandler writes log records in the background.
type backgroundHandler struct {
	background *background
	inner      slog.Handler
}

func (h *backgroundHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return h.inner.Enabled(ctx, l)
}

func (h *backgroundHandler) Handle(ctx context.Context, r slog.Record) error {
	ctx, r = context.WithoutCancel(ctx), r.Clone()
	if !h.background.put(func() { h.inner.Handle(ctx, r) }) { //nolint:errcheck // as slog.Logger does
		h.background.lost.Add(1)
	}
	return nil
}

func (h *backgroundHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &backgroundHandler{h.background, h.inner.WithAttrs(attrs)}
}

func (h *backgroundHandler) WithGroup(name string) slog.Handler {
	return &backgroundHandler{h.background, h.inner.WithGroup(name)}
}
