package wrk

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// A Sample is what one run says.
type Sample struct {
	PerSecond float64       // answers per second, over the whole run
	P50, P99  time.Duration // within which half of the answers came, and 99 of 100
	Requests  int           // that were answered, whatever the status
	Failed    int           // by the network, or by a status from 400 up: wrk takes a redirect for a success
	Bytes     float64       // read in all, headers included, as rounded by wrk to three digits at worst
	Output    string        // of wrk, to show beside a complaint
}

// Parse reads the output of `wrk --latency`. It fails on output that it does not understand, and if no request was answered.
func Parse(out string) (Sample, error) {
	s := Sample{Output: out}
	seen := map[string]bool{}
	for line := range strings.Lines(out) {
		what, err := s.take(strings.TrimSpace(line))
		if err != nil {
			return Sample{}, fmt.Errorf("wrk's line %q: %w", line, err)
		}
		seen[what] = true
	}
	for _, what := range []string{"50%", "99%", "requests", "Requests/sec:"} {
		if !seen[what] {
			return Sample{}, fmt.Errorf("wrk's output has no line with %q", what)
		}
	}
	if s.Requests == 0 || s.PerSecond <= 0 {
		return Sample{}, errors.New("wrk completed no request")
	}
	return s, nil
}

// take reads one line of wrk's output and says which one it was; most lines are none of ours.
func (s *Sample) take(line string) (what string, err error) {
	f := strings.Fields(line)
	switch {
	case len(f) == 2 && f[0] == "50%":
		s.P50, err = time.ParseDuration(f[1]) // wrk's us, ms, s, m and h are Go's
		return f[0], err
	case len(f) == 2 && f[0] == "99%":
		s.P99, err = time.ParseDuration(f[1])
		return f[0], err
	case len(f) == 2 && f[0] == "Requests/sec:":
		s.PerSecond, err = strconv.ParseFloat(f[1], 64)
		return f[0], err
	case len(f) == 6 && f[1] == "requests" && f[5] == "read":
		if s.Requests, err = strconv.Atoi(f[0]); err != nil {
			return "", err
		}
		s.Bytes, err = parseBytes(f[4])
		return f[1], err
	case strings.HasPrefix(line, "Socket errors:"), strings.HasPrefix(line, "Non-2xx"):
		// "Socket errors: connect 1, read 2, write 3, timeout 4", "Non-2xx or 3xx responses: 5"
		before := s.Failed
		for _, word := range f {
			if n, err := strconv.Atoi(strings.TrimSuffix(word, ",")); err == nil {
				s.Failed += n
			}
		}
		if s.Failed == before {
			return "", errors.New("it complains, but counts nothing")
		}
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
