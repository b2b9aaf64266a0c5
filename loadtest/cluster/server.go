package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"doorbuster/cluster"
	"doorbuster/loadtest/internal/wrk"
)

// A setup is one way of running the shop.
type setup struct {
	letter, what string
	command      string // worker: one process. serve: a master with workers
	env          []string
}

func setups() []setup {
	workers := "WORKERS=" + strconv.Itoa(runtime.NumCPU())
	return []setup{
		{"A", "one process, one core", "worker", []string{"GOMAXPROCS=1"}},
		{"B", "one process, all cores", "worker", nil},
		{"C", "cluster, 1 thread a worker", "serve", []string{workers, "WORKER_PROCS=1"}},
		{"D", "cluster, 2 threads a worker", "serve", []string{workers, "WORKER_PROCS=2"}},
	}
}

// clusterOf is a cluster as somebody gets it who sets nothing but the number of workers.
func clusterOf(workers int, env ...string) setup {
	return setup{"", fmt.Sprintf("cluster of %d", workers), "serve", append([]string{"WORKERS=" + strconv.Itoa(workers)}, env...)}
}

func (s setup) commandLine() string {
	return strings.Join(append(append([]string{}, s.env...), "doorbuster", s.command), " ")
}

// A server is a setup that runs.
type server struct {
	setup
	bench      *bench
	process    *process
	journal    *journal
	addr       string
	runtimeDir string
}

// Time limits of a start and of a stop. The latter is longer than the program's own drain limit.
const (
	startLimit = 30 * time.Second
	stopLimit  = 20 * time.Second
)

// start runs a setup and waits until it serves. One that does not is stopped again.
func (b *bench) start(ctx context.Context, s setup) (*server, error) {
	dir, err := os.MkdirTemp(b.dir, "")
	if err != nil {
		return nil, fmt.Errorf("make a runtime directory for %s: %w", s.commandLine(), err)
	}
	srv := &server{setup: s, bench: b, journal: newJournal(), runtimeDir: dir}
	// Not bound to ctx: a killed master would leave its workers to themselves. stop asks it, and is called on every path.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), b.bin, s.command)
	cmd.Env, cmd.Stderr = b.environment(dir, s.env...), srv.journal
	if srv.process, err = spawn(cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", s.commandLine(), err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("it is not ready after %v", startLimit))
	defer cancel()
	if err := srv.ready(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w\n%s", s.commandLine(), err, srv.journal.tail()), srv.stop())
	}
	return srv, nil
}

// ready waits for the line in the log that says so, and finds out the address.
func (s *server) ready(ctx context.Context) error {
	if !s.isCluster() {
		serving, err := s.journal.await(ctx, s.process.exited, "serving", 1)
		if err == nil {
			s.addr = serving[0].Addr
		}
		return err
	}
	if _, err := s.journal.await(ctx, s.process.exited, "all workers are ready", 1); err != nil {
		return err
	}
	status, err := s.status(ctx)
	if err != nil {
		return err
	}
	if len(status.Master.Listeners) != 1 {
		return fmt.Errorf("it listens on %v, want one address", status.Master.Listeners)
	}
	s.addr = status.Master.Listeners[0]
	return nil
}

func (s *server) isCluster() bool { return s.command == "serve" }

// reads is a load of one thread, for wrk shares the cores with what it loads.
func (s *server) reads(connections int, d time.Duration) wrk.Load {
	return wrk.Load{URL: "http://" + s.addr + readPath, Threads: 1, Connections: connections, Duration: d}
}

// status asks the master how it is.
func (s *server) status(ctx context.Context) (cluster.Status, error) {
	client, err := cluster.Dial(ctx, filepath.Join(s.runtimeDir, "doorbuster", "control.sock"))
	if err != nil {
		return cluster.Status{}, err
	}
	return client.Status(ctx)
}

// pids returns the processes of the setup, a master first.
func (s *server) pids(ctx context.Context) ([]int, error) {
	pids := []int{s.process.pid()}
	if !s.isCluster() {
		return pids, nil
	}
	status, err := s.status(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the processes of %s: %w", s.commandLine(), err)
	}
	for _, w := range status.Workers {
		pids = append(pids, w.PID)
	}
	return pids, nil
}

// stop ends the setup and returns when it is gone. Ending otherwise than in order is an error.
func (s *server) stop() error {
	s.process.signal(syscall.SIGTERM)
	select {
	case <-s.process.exited:
	case <-time.After(stopLimit):
		s.process.signal(syscall.SIGKILL) // its workers notice, and leave
		<-s.process.exited
		return fmt.Errorf("stop %s: it was still there after %v\n%s", s.commandLine(), stopLimit, s.journal.tail())
	}
	if s.process.err != nil {
		return fmt.Errorf("stop %s: %w\n%s", s.commandLine(), s.process.err, s.journal.tail())
	}
	return nil
}

// with runs a setup, does something with it, and stops it.
func (b *bench) with(ctx context.Context, s setup, do func(*server) error) error {
	srv, err := b.start(ctx, s)
	if err != nil {
		return err
	}
	return errors.Join(do(srv), srv.stop())
}
