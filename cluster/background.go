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

	room  chan struct{} // holds a token for each errand of offer
	wake  chan struct{}
	done  chan struct{} // closed at the end
	stuck atomic.Bool   // offer has waited in vain, and nothing was finished since

	lost   atomic.Int64 // what was given up and not reported yet
	report func(int64)  // is told when it goes on
}

const (
	backgroundRoom     = 64   // errands of offer: with maxLine each, 2 MiB
	backgroundQueue    = 1024 // errands of all kinds
	backgroundPatience = time.Second
)

// flushTimeout is how long the end of a master waits for whoever should read its log.
const flushTimeout = time.Second

func newBackground(report func(lost int64)) *background {
	b := &background{
		room: make(chan struct{}, backgroundRoom), wake: make(chan struct{}, 1), done: make(chan struct{}), report: report,
	}
	go b.run()
	return b
}

func (b *background) run() {
	defer close(b.done)
	for range b.wake {
		for {
			b.mu.Lock()
			errands, closed := b.queue, b.closed
			b.queue = nil
			b.mu.Unlock()
			for _, f := range errands {
				f()
				b.stuck.Store(false)
				if lost := b.lost.Swap(0); lost > 0 {
					b.report(lost)
				}
			}
			switch {
			case len(errands) > 0:
				continue
			case closed:
				return
			}
			break
		}
	}
}

// put hands over an errand without waiting, and reports whether there was room for it. After the end it is done on the spot.
func (b *background) put(f func()) bool {
	b.mu.Lock()
	room := !b.closed && len(b.queue) < backgroundQueue
	if room {
		b.queue = append(b.queue, f)
	}
	b.mu.Unlock()
	switch {
	case room:
		b.signal()
	case isClosed(b.done):
		f()
		return true
	}
	return room
}

func (b *background) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// offer hands over an errand, and waits for room as long as others are being finished: who writes faster than anybody reads
// is slowed down.
func (b *background) offer(f func()) bool {
	select {
	case b.room <- struct{}{}:
	default:
		if b.stuck.Load() {
			return false
		}
		timer := time.NewTimer(backgroundPatience)
		defer timer.Stop()
		select {
		case b.room <- struct{}{}:
		case <-timer.C:
			b.stuck.Store(true)
			return false
		}
	}
	if b.put(func() { f(); <-b.room }) {
		return true
	}
	<-b.room
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
