package devstack

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// expireEvery is how late a key may expire in miniredis.
const expireEvery = 20 * time.Millisecond

// inProcess is Redis without a program: miniredis, with a clock.
//
// miniredis leaves time to its user: a key with a TTL stays until FastForward has been told that much has passed.
// So a ticker tells it, by the real time between ticks, or sessions and rate limits would never end.
type inProcess struct {
	mu       sync.Mutex
	server   *miniredis.Miniredis
	stopTick func() // nil while stopped
	closed   bool
}

func startMiniredis(o Options) (*Redis, error) {
	o.say("starting miniredis in this process: neither redis-server nor valkey-server is on PATH")
	if o.Dir != "" {
		o.say("miniredis keeps nothing: sessions and caches are gone after a restart")
	}
	m := &inProcess{server: miniredis.NewMiniRedis()}
	if err := m.server.Start(); err != nil {
		return nil, fmt.Errorf("start miniredis: %w", err)
	}
	m.stopTick = tick(m.server.FastForward)
	return &Redis{kind: "miniredis (in this process)", url: "redis://" + m.server.Addr(), server: m}, nil
}

// tick calls forward with the time that passed, again and again, until the returned function is called.
func tick(forward func(time.Duration)) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(expireEvery)
		defer ticker.Stop()
		last := time.Now()
		for {
			select {
			case <-quit:
				return
			case <-ticker.C:
				now := time.Now()
				forward(now.Sub(last))
				last = now
			}
		}
	}()
	return func() {
		close(quit)
		<-done
	}
}

func (m *inProcess) start(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return fmt.Errorf("start miniredis: %w", errClosed)
	}
	if m.stopTick != nil {
		return errors.New("start miniredis: it already runs")
	}
	if err := m.server.Restart(); err != nil {
		return fmt.Errorf("start miniredis: %w", err)
	}
	m.stopTick = tick(m.server.FastForward)
	return nil
}

func (m *inProcess) stop() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopLocked()
	return nil
}

func (m *inProcess) stopLocked() {
	if m.stopTick == nil {
		return
	}
	m.stopTick()
	m.stopTick = nil
	m.server.Close()
}

func (m *inProcess) kill() { _ = m.stop() }

func (m *inProcess) pause() error {
	return fmt.Errorf("miniredis runs in this process and cannot be paused: %w", errors.ErrUnsupported)
}

func (m *inProcess) resume() error { return m.pause() }

func (m *inProcess) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopLocked()
	m.closed = true
	return nil
}
