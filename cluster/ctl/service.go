package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"doorbuster/cluster"
)

// The exit codes. The package's documentation has the table.
const (
	ExitDone     = 0
	ExitFailed   = 1
	ExitUsage    = 2
	ExitNoMaster = 3
	ExitNotHeard = 4
)

// ExitCodes is the table of exit codes as a text for the help.
const ExitCodes = "Exit codes: 0 done; 1 refused or failed; 2 a command line that can't be understood; " +
	"3 nothing runs: no master listens; 4 the master does not answer, and will not carry the command out."

// ErrNoMaster says that no master listens on the control socket.
var ErrNoMaster = errors.New("there is no master")

// noMasterError adds what to do, and is [ErrNoMaster].
type noMasterError struct{ error }

func (e noMasterError) Unwrap() []error { return []error{e.error, ErrNoMaster} }

// ExitCode is the exit code for how a command went.
func ExitCode(err error) int {
	switch {
	case err == nil:
		return ExitDone
	case errors.Is(err, ErrNoMaster):
		return ExitNoMaster
	case errors.Is(err, cluster.ErrNotHeard):
		return ExitNotHeard
	}
	return ExitFailed
}

// Service is a service that runs, or should. Its methods are the commands. They may be
// called from several goroutines.
type Service struct {
	// Program is what people type before a command: "shop", or "shop ctl". Texts that
	// name another command need it.
	Program string
	// Socket is the path of the control socket: Config.ControlSocket of the master.
	Socket string
	// Hint is what to do when no master listens there. It follows a full stop. Default:
	// nothing.
	Hint string
	// Timeout is how long the master may take to take a command. Default 5 s. How long
	// the command itself may take is up to the context.
	Timeout time.Duration
	// Stdout takes results, and Stderr what explains them.
	Stdout, Stderr io.Writer
}

const defaultTimeout = 5 * time.Second

func (s *Service) dial(ctx context.Context) (*cluster.Client, error) {
	client, err := cluster.Dial(ctx, s.Socket)
	if err != nil {
		if s.Hint != "" {
			err = fmt.Errorf("%w. %s", err, s.Hint)
		}
		return nil, noMasterError{err}
	}
	client.Timeout = s.Timeout
	client.Notice = s.explain
	return client, nil
}

// explain says something that is no result.
func (s *Service) explain(text string) { fmt.Fprintf(s.Stderr, "%s: %s\n", s.Program, text) }

// command is how another command is called in a text.
func (s *Service) command(name string) string { return fmt.Sprintf("%q", s.Program+" "+name) }

// do carries out a command that a verdict or nothing follows.
func (s *Service) do(ctx context.Context, what string, command func(*cluster.Client) error, done string) error {
	client, err := s.dial(ctx)
	if err != nil {
		return err
	}
	if err := command(client); err != nil {
		return s.judged(ctx, what+" failed", what, err)
	}
	_, err = fmt.Fprintln(s.Stdout, done)
	return err
}

// judged tells how a command failed.
func (s *Service) judged(ctx context.Context, failed, what string, err error) error {
	var verdict *cluster.VerdictError
	switch {
	case errors.As(err, &verdict):
		if len(verdict.Output) > 0 {
			fmt.Fprintln(s.Stderr, "The last it said:")
		}
		for _, line := range verdict.Output {
			fmt.Fprintf(s.Stderr, "  %s\n", line)
		}
		return fmt.Errorf("%s: %w", failed, err)
	case ctx.Err() == nil:
		return err
	case errors.Is(err, cluster.ErrNotHeard):
		return fmt.Errorf("not waiting any more; %w, and does not carry the command out", cluster.ErrNotHeard)
	case errors.Is(err, cluster.ErrOlder):
		return fmt.Errorf("not waiting for the %s any more; %w, and may carry it out: %s tells", what, cluster.ErrOlder, s.command("status"))
	}
	return fmt.Errorf("not waiting for the %s any more; it goes on: %s tells how", what, s.command("status"))
}

func workers(n int) string {
	if n == 1 {
		return "1 worker"
	}
	return fmt.Sprintf("%d workers", n)
}
