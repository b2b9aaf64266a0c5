// Package wrk runs the load generator of this name and reads what it prints.
package wrk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// A Load is what one run puts on a server.
type Load struct {
	URL         string
	Threads     int           // of wrk
	Connections int           // kept open, at least one for each thread
	Duration    time.Duration // in whole seconds, for wrk takes nothing finer
}

// A Running load has to be ended by Wait or Stop, once.
type Running struct {
	cmd *exec.Cmd
	out bytes.Buffer
}

// Run puts a load on a server for its whole duration. A run with a single failed request is no measurement but an error: a
// server that answers errors quickly must not look fast.
func Run(ctx context.Context, l Load) (Sample, error) {
	r, err := Start(ctx, l)
	if err != nil {
		return Sample{}, err
	}
	s, err := r.Wait()
	if err == nil && s.Failed > 0 {
		err = fmt.Errorf("%d requests failed\n%s", s.Failed, s.Output)
	}
	return s, err
}

// Start begins a run, for those who have something to do meanwhile. When ctx ends, the run fails.
func Start(ctx context.Context, l Load) (*Running, error) {
	r := &Running{}
	r.cmd = exec.CommandContext(ctx, "wrk", fmt.Sprintf("-t%d", l.Threads), fmt.Sprintf("-c%d", l.Connections),
		fmt.Sprintf("-d%ds", l.Duration/time.Second), "--latency", l.URL)
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start wrk: %w", err)
	}
	return r, nil
}

// Stop ends a run before its time and returns what it saw. As in Wait, failed requests are counted and are no error.
func (r *Running) Stop() (Sample, error) {
	if err := r.cmd.Process.Signal(os.Interrupt); err != nil {
		return Sample{}, errors.Join(fmt.Errorf("end wrk: %w", err), r.cmd.Wait())
	}
	return r.Wait()
}

// Wait returns what a run saw when its time is over. Failed requests are counted and are no error.
func (r *Running) Wait() (Sample, error) {
	if err := r.cmd.Wait(); err != nil {
		return Sample{}, fmt.Errorf("wrk: %w\n%s", err, r.out.String())
	}
	s, err := Parse(r.out.String())
	if err != nil {
		return Sample{}, fmt.Errorf("%w\n%s", err, r.out.String())
	}
	return s, nil
}
