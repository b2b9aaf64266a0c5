//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"doorbuster/cluster"
	"doorbuster/loadtest/internal/shop"
)

// A script does the steps of a plan to a shop, and keeps the record by which the shop is judged.
type script struct {
	server *shop.Server
	admin  string // address
	dial   dialer // as a client
	narrow dialer // as a client that takes in little
	good   string // the program under test
	onDisk string // where its master looks for it
	say    func(format string, args ...any)

	mu      sync.Mutex
	deeds   []deed
	touched map[int][]string // what was done to workers, by pid
	deaths  map[int]time.Time
	stops   []stop
	broken  []span       // when a broken program was on the disk
	short   []span       // when somebody was short of descriptors or memory
	told    map[int]bool // to leave, by hand
	failed  []breach     // bounds that a step found broken
	skipped int          // steps that were not begun in time
}

// A deed is a step that was done.
type deed struct {
	step
	span
	outcome string
}

// A stop is the time during which a process was stopped.
type stop struct {
	span
	pid int // 0: the master
}

// run does the plan, from a moment for a time. Steps that are begun are done to their end.
func (s *script) run(ctx context.Context, plan []step, duration time.Duration) {
	began := time.Now()
	var wg sync.WaitGroup
	for lane := range lanes {
		wg.Go(func() {
			for _, step := range plan {
				if step.lane != lane {
					continue
				}
				think(ctx, time.Until(began.Add(step.at)))
				if ctx.Err() != nil || time.Since(began) > duration {
					s.mu.Lock()
					s.skipped++
					s.mu.Unlock()
					continue
				}
				d := deed{step: step, span: span{from: time.Now()}}
				d.outcome = step.fault.do(s, ctx, step)
				d.to = time.Now()
				s.mu.Lock()
				s.deeds = append(s.deeds, d)
				s.mu.Unlock()
				s.say("%6.1fs %s: %s", d.from.Sub(began).Seconds(), step.fault.name, d.outcome)
			}
		})
	}
	wg.Wait()
}

// breach records what came of a command and should not have.
func (s *script) breach(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = append(s.failed, breach{boundCommands, fmt.Sprintf(format, args...)})
}

// What is done to workers.
const (
	killed      = "killed"
	stopped     = "stopped"
	terminated  = "terminated by hand"
	outOfMemory = "out of memory"
)

// touch records that something is done to a worker that may end it.
func (s *script) touch(pid int, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touched[pid] = append(s.touched[pid], what)
}

// Time limits of the script itself.
const (
	commandLimit = 2 * time.Minute // for the outcome of any command
	statusLimit  = 10 * time.Second
)

// ready returns the workers that are ready, are not stopped, and were not told to leave by hand.
func (s *script) ready(ctx context.Context) ([]cluster.WorkerStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	status, err := s.server.Status(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []cluster.WorkerStatus
	for _, w := range status.Workers {
		if w.State == "ready" && !s.told[w.PID] {
			found = append(found, w)
		}
	}
	return found, nil
}

// pick chooses one of the workers that are ready, of which there have to be at least so many.
func (s *script) pick(ctx context.Context, by float64, least int) (cluster.WorkerStatus, error) {
	workers, err := s.ready(ctx)
	if err != nil {
		return cluster.WorkerStatus{}, err
	}
	if len(workers) < max(1, least) {
		return cluster.WorkerStatus{}, fmt.Errorf("not done: too few are ready")
	}
	return workers[int(by*float64(len(workers)))], nil
}

// kill ends a worker.
func (s *script) kill(pid int) error {
	s.mu.Lock()
	s.deaths[pid] = time.Now()
	s.mu.Unlock()
	s.touch(pid, killed)
	return signalChild(s.server.PID(), pid, syscall.SIGKILL)
}

// stopFor stops a process for a while. It may be gone before the end.
func (s *script) stopFor(ctx context.Context, pid int, d time.Duration) error {
	master := pid == s.server.PID()
	signal := func(sig syscall.Signal) error {
		if master {
			return syscall.Kill(pid, sig)
		}
		return signalChild(s.server.PID(), pid, sig)
	}
	began := time.Now()
	if !master {
		s.touch(pid, stopped)
	}
	if err := signal(syscall.SIGSTOP); err != nil {
		return err
	}
	think(ctx, d)
	err := signal(syscall.SIGCONT) // also when ctx has ended: nobody else would
	s.mu.Lock()
	defer s.mu.Unlock()
	if master {
		pid = 0
	}
	s.stops = append(s.stops, stop{span{began, time.Now()}, pid})
	return err
}

// shortage does something while somebody is short of something.
func (s *script) shortage(do func()) {
	began := time.Now()
	do()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.short = append(s.short, span{began, time.Now()})
}

// command gives a command, and returns what came of it. Verdicts are outcomes like any other; none at all is a breach.
func (s *script) command(ctx context.Context, name string, do func(context.Context, *cluster.Client) error) string {
	limited, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	client, err := s.server.Control(limited)
	if err == nil {
		client.Timeout = statusLimit
		err = do(limited, client)
	}
	verdict := new(cluster.VerdictError)
	switch {
	case err == nil:
		return "done"
	case ctx.Err() != nil:
		return "dropped"
	case limited.Err() != nil:
		s.breach("%s has no outcome after %v", name, commandLimit)
		return "no outcome"
	case errors.As(err, &verdict):
		return "failed by its verdict"
	case errors.Is(err, cluster.ErrSuperseded):
		return "superseded"
	case errors.Is(err, cluster.ErrNotHeard):
		return "not heard"
	}
	s.say("%s: %v", name, err)
	return "refused"
}

// outcome is a deed's word for an error.
func outcome(err error) string {
	switch {
	case err == nil:
		return "done"
	case errors.Is(err, errGone):
		return "not done: it was gone"
	case errors.Is(err, cluster.ErrNotHeard), errors.Is(err, context.DeadlineExceeded):
		return "not done: no status"
	}
	return err.Error()
}
