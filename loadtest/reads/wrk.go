package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// sample is what one wrk run says about one target.
type sample struct {
	perSecond float64
	p50, p99  time.Duration
	requests  float64
	bytes     float64 // read in all, headers included, as rounded by wrk
}

// parseWrk reads the output of `wrk --latency`. It fails on any failed request, because a server that answers errors
// quickly must not look fast, and on output it does not understand.
func parseWrk(out string) (sample, error) {
	var s sample
	seen := map[string]bool{}
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "Socket errors:") || strings.HasPrefix(line, "Non-2xx") {
			return sample{}, fmt.Errorf("requests failed: %s", line)
		}
		what, err := s.take(strings.Fields(line))
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
	if s.requests == 0 || s.perSecond <= 0 {
		return sample{}, errors.New("wrk completed no request")
	}
	return s, nil
}

// take reads one line of wrk's output, split at spaces, and says which one it was; most lines are none of ours.
func (s *sample) take(f []string) (what string, err error) {
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
		if s.requests, err = strconv.ParseFloat(f[0], 64); err != nil {
			return "", err
		}
		s.bytes, err = parseBytes(f[4])
		return f[1], err
	}
	return "", nil
}

// parseBytes reads wrk's "812.00B", "1.50KB", "2.25GB"; its units are powers of 1024.
func parseBytes(text string) (float64, error) {
	number := strings.TrimRightFunc(text, unicode.IsLetter)
	factor, ok := map[string]float64{
		"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40, "PB": 1 << 50,
	}[text[len(number):]]
	if !ok {
		return 0, fmt.Errorf("unknown amount of bytes %q", text)
	}
	n, err := strconv.ParseFloat(number, 64)
	return n * factor, err
}

// checkBytes fails if the answers were too small to have carried the payload. wrk reports statuses from 400 up only, so
// this is what notices a redirect, a 304, or a target that changed its answer in the middle of the run.
func (s sample) checkBytes(payload int) error {
	const rounding = 0.95 // wrk prints three digits at worst
	if perRequest := s.bytes / s.requests; perRequest < rounding*float64(payload) {
		return fmt.Errorf("answers of %.0f bytes cannot have carried the %d bytes asked for", perRequest, payload)
	}
	return nil
}
