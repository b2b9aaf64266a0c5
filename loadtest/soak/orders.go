//go:build linux

package main

import (
	"context"
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

	"doorbuster/cluster"
)

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
