package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// stopper is a terminal that somebody may stop with Ctrl-S.
type stopper struct {
	mu      sync.Mutex
	held    chan struct{} // closed when it goes on
	entered chan struct{} // has one for each write
	lines   []string
}

func newStopper() *stopper {
	return &stopper{held: make(chan struct{}), entered: make(chan struct{}, 10_000)}
}

func (s *stopper) Write(p []byte) (int, error) {
	s.mu.Lock()
	held := s.held
	s.mu.Unlock()
	s.entered <- struct{}{}
	<-held
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

// again stops it a second time.
func (s *stopper) again() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = make(chan struct{})
}

func (s *stopper) written() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lines)
}

// doc.go, Failures: when nobody reads the log, the master waits for nothing, and a worker's output for a second once. What
// was lost is counted, and said when somebody reads again.
func TestNobodyReadsTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		terminal := newStopper()
		var lost int64
		b := newBackground(func(n int64) { lost += n })
		out := &output{b, terminal}
		log := slog.New(&backgroundHandler{b, slog.NewTextHandler(terminal, &slog.HandlerOptions{ReplaceAttr: messageOnly})})

		began := time.Now()
		for i := range backgroundRoom {
			out.write(fmt.Appendf(nil, "line %d\n", i))
			if i == 0 {
				<-terminal.entered // the others wait
			}
		}
		for range 2 * backgroundQueue {
			log.Info("master")
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("with room left it waited %v", took)
		}
		out.write([]byte("one\ntwo\n"))
		if took := time.Since(began); took != backgroundPatience {
			t.Errorf("without room it waited %v", took)
		}
		out.write([]byte("three\n"))
		if took := time.Since(began); took != backgroundPatience {
			t.Errorf("it waited again: %v", took)
		}
		close(terminal.held)
		synctest.Wait()
		const taken = backgroundQueue - (backgroundRoom - 1) // of the records: one line was being written already
		if want := int64(2*backgroundQueue - taken + 3); lost != want {
			t.Errorf("%d lines were reported as lost, and %d were", lost, want)
		}
		got := terminal.written()
		if len(got) != 2*backgroundQueue+backgroundRoom+3-int(lost) {
			t.Errorf("%d lines were written, %d lost", len(got), lost)
		}
		for i := range backgroundRoom {
			if got[i] != fmt.Sprintf("line %d", i) {
				t.Fatalf("line %d is %q", i, got[i])
			}
		}
		terminal.again() // and there is patience again
		began = time.Now()
		for range backgroundRoom + 1 {
			out.write([]byte("too many\n"))
		}
		if took := time.Since(began); took != backgroundPatience {
			t.Errorf("the second time it waited %v", took)
		}
		close(terminal.held)
		synctest.Wait()
		out.write([]byte("again\n"))
		log.Info("and again")
		b.close(time.Hour)
		if got := terminal.written(); !slices.Equal(got[len(got)-2:], []string{"again", `msg="and again"`}) {
			t.Errorf("it ends with %q", got[len(got)-2:])
		}
	})
}

func messageOnly(_ []string, a slog.Attr) slog.Attr {
	if a.Key != slog.MessageKey {
		return slog.Attr{}
	}
	return a
}

// A reader that is slow slows down who writes, and loses nothing, however many they are.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got int
		b := newBackground(func(n int64) { t.Errorf("%d lines were lost", n) })
		out := &output{b, writerFunc(func(p []byte) (int, error) {
			<-time.After(backgroundPatience - time.Millisecond)
			got++
			return len(p), nil
		})}
		const writers, lines = 32, 10
		var wg sync.WaitGroup
		for range writers {
			wg.Go(func() {
				for range lines {
					out.write([]byte("line\n"))
				}
			})
		}
		wg.Wait()
		b.close(time.Hour)
		if got != writers*lines {
			t.Errorf("%d lines were written", got)
		}
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// The end of a master does not wait for ever either, and what is said after it is still said.
func TestBackgroundEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		terminal := newStopper()
		b := newBackground(func(int64) {})
		out := &output{b, terminal}
		out.write([]byte("held\n"))
		began := time.Now()
		b.close(flushTimeout)
		if took := time.Since(began); took != flushTimeout {
			t.Errorf("the end took %v", took)
		}
		if b.put(func() { t.Error("done while it is held up") }) {
			t.Error("there was room after the end")
		}
		close(terminal.held)
		<-b.done
		log := slog.New(&backgroundHandler{b, slog.NewTextHandler(terminal, &slog.HandlerOptions{ReplaceAttr: messageOnly})}).With("a", 1).WithGroup("g")
		if log.Enabled(t.Context(), slog.LevelDebug) {
			t.Error("the level is not that of the handler below")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		log.InfoContext(ctx, "late")
		if got := terminal.written(); !slices.Equal(got, []string{"held", "msg=late"}) {
			t.Errorf("got %q", got)
		}
	})
}
