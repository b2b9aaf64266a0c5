//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func (s *script) killOne(ctx context.Context, st step) string {
	w, err := s.pick(ctx, st.pick, 1)
	if err != nil {
		return outcome(err)
	}
	return outcome(s.kill(w.PID))
}

func (s *script) killSome(ctx context.Context, st step) string {
	done := 0
	for range st.count {
		if w, err := s.pick(ctx, st.pick, 1); err == nil && s.kill(w.PID) == nil {
			done++
		}
		think(ctx, leastPause)
	}
	if done == 0 {
		return "not done: nobody was ready"
	}
	return "done"
}

func (s *script) killAll(ctx context.Context, _ step) string {
	all, err := s.ready(ctx)
	if err != nil {
		return outcome(err)
	}
	if len(all) == 0 {
		return "not done: too few are ready"
	}
	for _, w := range all {
		if err := s.kill(w.PID); err != nil && !errors.Is(err, errGone) {
			return outcome(err)
		}
	}
	return "done"
}

// killAnswerer kills whoever stands in for the workers, as soon as it is there.
func (s *script) killAnswerer(ctx context.Context, st step) string {
	if said := s.killAll(ctx, st); said != "done" {
		return said
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond) // nothing tells when a process gets a child
	defer ticker.Stop()
	for {
		for pid := range childrenOf(s.server.PID()) {
			if isAnswerer(pid) && signalChild(s.server.PID(), pid, syscall.SIGKILL) == nil {
				return "done"
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return "done, but for the answerer: it did not come"
		}
	}
}

func (s *script) killAllUnheard(ctx context.Context, st step) string {
	all, err := s.ready(ctx)
	if err != nil {
		return outcome(err)
	}
	var killing sync.WaitGroup
	killing.Go(func() {
		for _, w := range all {
			_ = s.kill(w.PID) // it may be gone
		}
	})
	err = s.stopFor(ctx, s.server.PID(), st.length)
	killing.Wait()
	return outcome(err)
}

func (s *script) stopWorker(ctx context.Context, st step) string {
	w, err := s.pick(ctx, st.pick, 2)
	if err != nil {
		return outcome(err)
	}
	err = s.stopFor(ctx, w.PID, st.length)
	if errors.Is(err, errGone) { // as it should be, where the stop was too long
		err = nil
	}
	return outcome(err)
}

func (s *script) stopMaster(ctx context.Context, st step) string {
	return outcome(s.stopFor(ctx, s.server.PID(), st.length))
}

func (s *script) terminate(ctx context.Context, st step) string {
	w, err := s.pick(ctx, st.pick, 1)
	if err != nil {
		return outcome(err)
	}
	s.mu.Lock()
	s.told[w.PID] = true
	s.mu.Unlock()
	s.touch(w.PID, terminated)
	return outcome(signalChild(s.server.PID(), w.PID, syscall.SIGTERM))
}

func (s *script) starveOne(ctx context.Context, st step) string {
	w, err := s.pick(ctx, st.pick, 1)
	if err != nil {
		return outcome(err)
	}
	return s.starveFor(ctx, st.length, w.PID)
}

func (s *script) starveAll(ctx context.Context, st step) string {
	all, err := s.ready(ctx)
	if err != nil {
		return outcome(err)
	}
	var pids []int
	for _, w := range all {
		pids = append(pids, w.PID)
	}
	return s.starveFor(ctx, st.length, pids...)
}

func (s *script) starveMaster(ctx context.Context, st step) string {
	return s.starveFor(ctx, st.length, s.server.PID())
}

// starveFor takes the descriptors away from processes for a while, as clients come that send nothing.
func (s *script) starveFor(ctx context.Context, d time.Duration, pids ...int) (said string) {
	s.shortage(func() {
		starved := 0
		for _, pid := range pids {
			restore, err := starve(pid)
			if err != nil {
				said = outcome(err)
				continue
			}
			defer restore()
			starved++
		}
		if starved == 0 {
			return
		}
		said = "done"
		s.idlers(ctx, 50, d)
	})
	return said
}

// noMemory lets the next mapping of a worker fail, and has it read a lot. Go ends a process that gets no memory.
func (s *script) noMemory(ctx context.Context, st step) (said string) {
	w, err := s.pick(ctx, st.pick, 1)
	if err != nil {
		return outcome(err)
	}
	size, err := statusField(w.PID, "VmSize")
	if err != nil {
		return "not done: it was gone"
	}
	s.touch(w.PID, outOfMemory)
	s.shortage(func() {
		restore, err := limit(w.PID, unix.RLIMIT_AS, uint64(size))
		if err != nil {
			said = outcome(err)
			return
		}
		defer restore()
		said = "it lived"
		for end := time.Now().Add(st.length); time.Now().Before(end) && ctx.Err() == nil; {
			s.get(ctx, fmt.Sprintf("/debug/workers/%d/pprof/goroutine?debug=2", w.PID))
			if parent, err := parentOf(w.PID); err != nil || parent != s.server.PID() {
				said = "it died"
				return
			}
			think(ctx, leastPause/4)
		}
	})
	return said
}
