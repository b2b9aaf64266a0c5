//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"doorbuster/cluster"
)

// Time limits of the shop under test, which the faults have to be shorter or longer than.
const (
	heartbeatTimeout = 3 * time.Second
	workers          = 3
	fewestWorkers    = 2
	mostWorkers      = 5
)

// faults are all kinds of steps. Two rules bound what a script may ask of a shop. A worker is stopped only while another
// one is ready, and nobody is killed meanwhile: a stopped worker counts as ready until it is silent for the heartbeat
// timeout. And the longest shortage of all workers is shorter than what fresh connections may wait.
var faults = []fault{
	{name: "kill a worker", lane: violence, weight: 20, do: (*script).killOne},
	{name: "kill workers one after the other", lane: violence, weight: 8, count: 5, do: (*script).killSome},
	{name: "kill all workers at once", lane: violence, weight: 10, do: (*script).killAll},
	{name: "kill all workers under a stopped master", lane: violence, weight: 4, least: 100 * time.Millisecond, most: time.Second, do: (*script).killAllUnheard},
	{name: "kill all workers, and the answerer", lane: violence, weight: 4, do: (*script).killAnswerer},
	{name: "stop a worker for a moment", lane: violence, weight: 10, least: 50 * time.Millisecond, most: heartbeatTimeout / 2, do: (*script).stopWorker},
	{name: "stop a worker for too long", lane: violence, weight: 6, least: heartbeatTimeout + time.Second, most: heartbeatTimeout + 2*time.Second, do: (*script).stopWorker},
	{name: "stop the master", lane: violence, weight: 8, least: 100 * time.Millisecond, most: heartbeatTimeout + time.Second, do: (*script).stopMaster},
	{name: "terminate a worker by hand", lane: violence, weight: 10, do: (*script).terminate},
	{name: "no descriptors for a worker", lane: violence, weight: 8, least: 200 * time.Millisecond, most: 2 * time.Second, do: (*script).starveOne},
	{name: "no descriptors for all workers", lane: violence, weight: 6, least: 200 * time.Millisecond, most: time.Second, do: (*script).starveAll},
	{name: "no descriptors for the master", lane: violence, weight: 6, least: 200 * time.Millisecond, most: 2 * time.Second, do: (*script).starveMaster},
	{name: "no memory for a worker", lane: violence, weight: 4, least: 200 * time.Millisecond, most: 2 * time.Second, do: (*script).noMemory},

	{name: "reload", lane: orders, weight: 16, do: (*script).reload},
	{name: "reload by SIGUSR2", lane: orders, weight: 8, do: (*script).reloadBySignal},
	{name: "two reloads at once", lane: orders, weight: 6, do: (*script).reloadTwice},
	{name: "reload with a broken program", lane: orders, weight: 8, count: len(brokenPrograms), do: (*script).reloadBroken},
	{name: "scale", lane: orders, weight: 10, count: mostWorkers - fewestWorkers + 1, do: (*script).scale},
	{name: "scale by signal", lane: orders, weight: 8, do: (*script).scaleBySignal},
	{name: "restart a slot", lane: orders, weight: 6, do: (*script).restart},
	{name: "drain a slot", lane: orders, weight: 6, do: (*script).drain},
	{name: "scrapes, profiles, status in bursts", lane: orders, weight: 10, least: 200 * time.Millisecond, most: 2 * time.Second, count: 16, do: (*script).scrape},
	{name: "clients that send nothing", lane: orders, weight: 6, least: time.Second, most: 3 * time.Second, count: 200, do: (*script).sendNothing},
	{name: "clients that do not read", lane: orders, weight: 6, least: time.Second, most: 6 * time.Second, count: 8, do: (*script).readNothing},
	{name: "settings", lane: orders, weight: 4, do: (*script).settings},
	{name: "SIGHUP to the master", lane: orders, weight: 3, do: (*script).hangUp},
	{name: "reset", lane: orders, weight: 3, do: (*script).reset},
}

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

// replace puts a program where the master looks for it, by rename.
func (s *script) replace(content []byte) error {
	next := s.onDisk + ".next"
	if err := os.WriteFile(next, content, 0o755); err != nil { //nolint:gosec // it is a program
		return err
	}
	return os.Rename(next, s.onDisk)
}

// putBack puts the program under test back: another file, as a deployment does.
func (s *script) putBack() error {
	content, err := os.ReadFile(s.good)
	if err != nil {
		return err
	}
	return s.replace(content)
}

func (s *script) reload(ctx context.Context, st step) string {
	if st.pick < 0.5 {
		if err := s.putBack(); err != nil {
			return outcome(err)
		}
	}
	return s.reloadNow(ctx)
}

func (s *script) reloadNow(ctx context.Context) string {
	return s.command(ctx, "reload", func(ctx context.Context, c *cluster.Client) error { return c.Reload(ctx, nil) })
}

func (s *script) reloadBySignal(context.Context, step) string {
	return outcome(syscall.Kill(s.server.PID(), syscall.SIGUSR2))
}

func (s *script) reloadTwice(ctx context.Context, st step) string {
	var outcomes [2]string
	var wg sync.WaitGroup
	wg.Go(func() { outcomes[0] = s.reloadNow(ctx) })
	wg.Go(func() { outcomes[1] = s.reload(ctx, st) })
	wg.Wait()
	if outcomes[0] == outcomes[1] {
		return outcomes[0]
	}
	slices.Sort(outcomes[:])
	return strings.Join(outcomes[:], ", and ")
}

// brokenPrograms are what may lie on the disk instead of a program. nil: nothing.
var brokenPrograms = [][]byte{
	[]byte("#!/bin/sh\necho this release is broken >&2\nexit 1\n"),
	[]byte("\x7fELF, and nothing that could follow"),
	{},
	nil,
}

func (s *script) reloadBroken(ctx context.Context, st step) string {
	began := time.Now()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.broken = append(s.broken, span{began, time.Now()})
	}()
	var err error
	if program := brokenPrograms[st.count-1]; program != nil {
		err = s.replace(program)
	} else {
		err = os.Remove(s.onDisk)
	}
	if err != nil {
		return outcome(err)
	}
	said := s.reloadNow(ctx)
	if said == "done" {
		s.breach("a broken program was adopted: number %d of brokenPrograms", st.count)
	}
	if err := s.putBack(); err != nil {
		return outcome(err)
	}
	return said
}

func (s *script) scale(ctx context.Context, st step) string {
	return s.scaleTo(ctx, fewestWorkers+st.count-1)
}

func (s *script) scaleTo(ctx context.Context, n int) string {
	return s.command(ctx, fmt.Sprintf("scale to %d", n), func(ctx context.Context, c *cluster.Client) error {
		return c.ScaleWith(ctx, n, cluster.ScaleOptions{Force: true})
	})
}

func (s *script) scaleBySignal(ctx context.Context, st step) string {
	ctx, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	status, err := s.server.Status(ctx)
	if err != nil {
		return outcome(err)
	}
	sig := syscall.SIGTTIN
	if n := status.Master.Target; n >= mostWorkers || st.pick < 0.5 && n > fewestWorkers {
		sig = syscall.SIGTTOU
	}
	return outcome(syscall.Kill(s.server.PID(), sig))
}

func (s *script) restart(ctx context.Context, st step) string {
	w, err := s.pick(ctx, st.pick, 1)
	if err != nil {
		return outcome(err)
	}
	return s.command(ctx, fmt.Sprint("restart ", w.Slot), func(ctx context.Context, c *cluster.Client) error { return c.Restart(ctx, w.Slot) })
}

func (s *script) drain(ctx context.Context, st step) string {
	w, err := s.pick(ctx, st.pick, 1)
	if err != nil {
		return outcome(err)
	}
	return s.command(ctx, fmt.Sprint("drain ", w.Slot), func(ctx context.Context, c *cluster.Client) error { return c.Drain(ctx, w.Slot) })
}

// get asks the admin address for something. What comes of it in the middle of all this is no matter; the shop must live.
func (s *script) get(ctx context.Context, path string) {
	_, _ = fetch(ctx, s.admin, path)
}

func (s *script) scrape(ctx context.Context, st step) string {
	var wg sync.WaitGroup
	end := time.Now().Add(st.length)
	for i := range st.count {
		wg.Go(func() {
			for time.Now().Before(end) && ctx.Err() == nil {
				switch i % 4 {
				case 0, 1:
					s.get(ctx, "/metrics")
				case 2:
					s.get(ctx, "/api/v1/status")
				case 3:
					if w, err := s.pick(ctx, st.pick, 1); err == nil {
						s.get(ctx, fmt.Sprintf("/debug/workers/%d/pprof/heap", w.PID))
					}
				}
				think(ctx, 50*time.Millisecond)
			}
		})
	}
	wg.Wait()
	return "done"
}

func (s *script) sendNothing(ctx context.Context, st step) string {
	s.idlers(ctx, st.count, st.length)
	return "done"
}

// idlers connect, send nothing, and leave after a while.
func (s *script) idlers(ctx context.Context, n int, d time.Duration) {
	var open []net.Conn
	dialing, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for range n {
		conn, err := s.dial(dialing)
		if err != nil {
			break
		}
		open = append(open, conn)
	}
	<-dialing.Done()
	for _, conn := range open {
		conn.Close()
	}
}

// readNothing sends requests for large pages, one after the other without waiting, and reads no answer.
func (s *script) readNothing(ctx context.Context, st step) string {
	asking, cancel := context.WithTimeout(ctx, st.length)
	defer cancel()
	var wg sync.WaitGroup
	for range st.count {
		wg.Go(func() {
			conn, err := s.narrow(asking)
			if err != nil {
				return
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(st.length))                                                   //nolint:errcheck // then the write fails
			io.WriteString(conn, strings.Repeat("GET "+largePage+" HTTP/1.1\r\nHost: shop\r\n\r\n", 200)) //nolint:errcheck // it is to get stuck
			<-asking.Done()
		})
	}
	wg.Wait()
	return "done"
}

// settings changes the level of the log and takes that back. Workers that do not hear of it are replaced in good time.
func (s *script) settings(ctx context.Context, _ step) string {
	for _, level := range []string{"debug", "info"} {
		if said := s.command(ctx, "set log-level="+level, func(ctx context.Context, c *cluster.Client) error {
			_, err := c.Set(ctx, "log-level", level)
			return err
		}); said != "done" {
			return said
		}
	}
	return s.command(ctx, "unset log-level", func(ctx context.Context, c *cluster.Client) error {
		_, err := c.Unset(ctx, "log-level")
		return err
	})
}

func (s *script) hangUp(context.Context, step) string {
	return outcome(syscall.Kill(s.server.PID(), syscall.SIGHUP))
}

func (s *script) reset(ctx context.Context, _ step) string {
	return s.command(ctx, "reset", func(ctx context.Context, c *cluster.Client) error { return c.Reset(ctx) })
}

// programIn is where a copy of the program under test lies in a folder.
func programIn(dir string) string { return filepath.Join(dir, "doorbuster") }
