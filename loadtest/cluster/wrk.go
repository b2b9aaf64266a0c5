package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// sample is what one wrk run says.
type sample struct {
	perSecond float64
	p50, p99  time.Duration
	requests  int
	failed    int // by the network or by their status
}

// wrk runs for d. A run with a single failed request is no measurement but an error.
func wrk(ctx context.Context, url string, connections int, d time.Duration) (sample, error) {
	run, err := startWrk(ctx, url, connections, d)
	if err != nil {
		return sample{}, err
	}
	s, err := run.wait()
	if err == nil && s.failed > 0 {
		err = fmt.Errorf("%d requests failed\n%s", s.failed, run.out.String())
	}
	return s, err
}

// A wrkRun is under way.
type wrkRun struct {
	cmd *exec.Cmd
	out bytes.Buffer
}

func startWrk(ctx context.Context, url string, connections int, d time.Duration) (*wrkRun, error) {
	r := &wrkRun{}
	r.cmd = exec.CommandContext(ctx, "wrk", "-t1", fmt.Sprintf("-c%d", connections), fmt.Sprintf("-d%ds", d/time.Second), "--latency", url)
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start wrk: %w", err)
	}
	return r, nil
}

// stop ends the run before its time and returns what it saw.
func (r *wrkRun) stop() (sample, error) {
	if err := r.cmd.Process.Signal(os.Interrupt); err != nil {
		return sample{}, errors.Join(fmt.Errorf("end wrk: %w", err), r.cmd.Wait())
	}
	return r.wait()
}

func (r *wrkRun) wait() (sample, error) {
	if err := r.cmd.Wait(); err != nil {
		return sample{}, fmt.Errorf("wrk: %w\n%s", err, r.out.String())
	}
	s, err := parseWrk(r.out.String())
	if err != nil {
		return sample{}, fmt.Errorf("%w\n%s", err, r.out.String())
	}
	return s, nil
}

// parseWrk reads the output of `wrk --latency` and fails on output that it does not understand.
func parseWrk(out string) (sample, error) {
	var s sample
	seen := map[string]bool{}
	for line := range strings.Lines(out) {
		what, err := s.take(strings.TrimSpace(line))
		if err != nil {
			return sample{}, fmt.Errorf("wrk's line %q: %w", line, err)
		}
		seen[what] = true
	}
	for _, what := range []string{"50%", "99%", "requests", "Requests/sec:"} {
		if !seen[what] {
			return sample{}, fmt.Errorf("wrk's output has no line with %q", what)
		}
	}
	if s.requests == 0 {
		return sample{}, errors.New("wrk completed no request")
	}
	return s, nil
}

// take reads one line of wrk's output and says which one it was; most lines are none of ours.
func (s *sample) take(line string) (what string, err error) {
	f := strings.Fields(line)
	switch {
	case len(f) == 2 && f[0] == "50%":
		s.p50, err = time.ParseDuration(f[1]) // wrk's us, ms, s, m and h are Go's
		return f[0], err
	case len(f) == 2 && f[0] == "99%":
		s.p99, err = time.ParseDuration(f[1])
		return f[0], err
	case len(f) == 2 && f[0] == "Requests/sec:":
		s.perSecond, err = strconv.ParseFloat(f[1], 64)
		return f[0], err
	case len(f) == 6 && f[1] == "requests" && f[5] == "read":
		s.requests, err = strconv.Atoi(f[0])
		return f[1], err
	case strings.HasPrefix(line, "Socket errors:"), strings.HasPrefix(line, "Non-2xx"):
		// "Socket errors: connect 1, read 2, write 3, timeout 4", "Non-2xx or 3xx responses: 5"
		for _, word := range f {
			if n, err := strconv.Atoi(strings.TrimSuffix(word, ",")); err == nil {
				s.failed += n
			}
		}
	}
	return "", nil
}
