package shop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"doorbuster/cluster"
)

// A Setup is one way of running the shop.
type Setup struct {
	Letter, What string
	Command      string // worker: one process. serve: a master with workers
	Env          []string
	Log          io.Writer // gets a copy of the log; nil: nobody does
}

// CommandLine is what one would type.
func (s Setup) CommandLine() string {
	return strings.Join(append(append([]string{}, s.Env...), "doorbuster", s.Command), " ")
}

// IsCluster reports whether there is a master.
func (s Setup) IsCluster() bool { return s.Command == "serve" }

// A Server is a setup that runs.
type Server struct {
	Setup
	Addr       string
	RuntimeDir string
	process    *process
	journal    *journal
}

// Time limits of a start and of a stop. The latter is longer than the program's own drain limit.
const (
	startLimit = 30 * time.Second
	stopLimit  = 20 * time.Second
)

// Start runs a setup and waits until it serves. One that does not is stopped again.
func (s *Shop) Start(ctx context.Context, setup Setup) (*Server, error) {
	return s.StartFrom(ctx, s.bin, setup)
}

// StartFrom is Start with the program under test in another place.
func (s *Shop) StartFrom(ctx context.Context, bin string, setup Setup) (*Server, error) {
	dir, err := os.MkdirTemp(s.dir, "")
	if err != nil {
		return nil, fmt.Errorf("make a runtime directory for %s: %w", setup.CommandLine(), err)
	}
	srv := &Server{Setup: setup, journal: newJournal(), RuntimeDir: dir}
	// Not bound to ctx: a killed master would leave its workers to themselves. Stop asks it, and is called on every path.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), bin, setup.Command)
	cmd.Env, cmd.Stderr = s.environment(dir, setup.Env...), srv.journal
	if setup.Log != nil {
		cmd.Stderr = io.MultiWriter(srv.journal, setup.Log)
	}
	if srv.process, err = spawn(cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", setup.CommandLine(), err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("it is not ready after %v", startLimit))
	defer cancel()
	if err := srv.ready(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w\n%s", setup.CommandLine(), err, srv.Tail()), srv.Stop())
	}
	return srv, nil
}

// ready waits for the line in the log that says so, and finds out the address.
func (s *Server) ready(ctx context.Context) error {
	if !s.IsCluster() {
		serving, err := s.Await(ctx, "serving", 1)
		if err == nil {
			s.Addr = serving[0].Addr
		}
		return err
	}
	if _, err := s.Await(ctx, "all workers are ready", 1); err != nil {
		return err
	}
	status, err := s.Status(ctx)
	if err != nil {
		return err
	}
	if len(status.Master.Listeners) != 1 {
		return fmt.Errorf("it listens on %v, want one address", status.Master.Listeners)
	}
	s.Addr = status.Master.Listeners[0]
	return nil
}

// Await returns the first n lines of the log with a message, and waits for them until the process is gone.
func (s *Server) Await(ctx context.Context, msg string, n int) ([]Entry, error) {
	return s.journal.await(ctx, s.process.exited, msg, n)
}

// Logged returns the lines of the log with a message so far.
func (s *Server) Logged(msg string) []Entry {
	found, _ := s.journal.find(msg)
	return found
}

// Log returns all lines of the log so far that could be read.
func (s *Server) Log() []Entry { return s.journal.all() }

// Tail is the end of the log.
func (s *Server) Tail() string { return s.journal.tail() }

// Control reaches the master of a cluster for commands.
func (s *Server) Control(ctx context.Context) (*cluster.Client, error) {
	return cluster.Dial(ctx, filepath.Join(s.RuntimeDir, "doorbuster", "control.sock"))
}

// Status asks the master how it is.
func (s *Server) Status(ctx context.Context) (cluster.Status, error) {
	client, err := s.Control(ctx)
	if err != nil {
		return cluster.Status{}, err
	}
	return client.Status(ctx)
}

// PID is that of the process that was started: of the master, if there is one.
func (s *Server) PID() int { return s.process.pid() }

// Exited is closed when that process has ended.
func (s *Server) Exited() <-chan struct{} { return s.process.exited }

// PIDs returns the processes of the setup, a master first.
func (s *Server) PIDs(ctx context.Context) ([]int, error) {
	pids := []int{s.process.pid()}
	if !s.IsCluster() {
		return pids, nil
	}
	status, err := s.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the processes of %s: %w", s.CommandLine(), err)
	}
	for _, w := range status.Workers {
		pids = append(pids, w.PID)
	}
	return pids, nil
}

// Stop ends the setup and returns when it is gone. Ending otherwise than in order is an error.
func (s *Server) Stop() error {
	s.process.signal(syscall.SIGTERM)
	select {
	case <-s.process.exited:
	case <-time.After(stopLimit):
		s.process.signal(syscall.SIGKILL) // its workers notice, and leave
		<-s.process.exited
		return fmt.Errorf("stop %s: it was still there after %v\n%s", s.CommandLine(), stopLimit, s.Tail())
	}
	if s.process.err != nil {
		return fmt.Errorf("stop %s: %w\n%s", s.CommandLine(), s.process.err, s.Tail())
	}
	return nil
}

// With runs a setup, does something with it, and stops it.
func (s *Shop) With(ctx context.Context, setup Setup, do func(*Server) error) error {
	srv, err := s.Start(ctx, setup)
	if err != nil {
		return err
	}
	return errors.Join(do(srv), srv.Stop())
}

// CoresUsed does something and returns how many cores' worth of time the setup had meanwhile (Linux).
func (s *Server) CoresUsed(ctx context.Context, do func() error) (float64, error) {
	pids, err := s.PIDs(ctx)
	if err != nil {
		return 0, err
	}
	before, err := processorTime(pids)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := do(); err != nil {
		return 0, err
	}
	took := time.Since(began)
	after, err := processorTime(pids)
	return (after - before).Seconds() / took.Seconds(), err
}

// PeakWorker is the most memory that one of the workers that are there now was ever resident with, in bytes (Linux).
func (s *Server) PeakWorker(ctx context.Context) (peak int64, err error) {
	pids, err := s.PIDs(ctx)
	if err != nil {
		return 0, err
	}
	for _, pid := range pids[1:] {
		n, err := peakMemory(pid)
		if err != nil {
			return 0, err
		}
		peak = max(peak, n)
	}
	return peak, nil
}
