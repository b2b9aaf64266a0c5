package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"doorbuster/loadtest/internal/wrk"
)

// A target is one of the three servers compared.
type target int

const (
	shopTarget target = iota
	bareTarget
	nginxTarget
	targetCount
)

func (t target) String() string {
	return [targetCount]string{shopTarget: "shop", bareTarget: "bare", nginxTarget: "nginx"}[t]
}

// A round holds one sample of every target, taken within seconds of each other.
type round [targetCount]wrk.Sample

// order says in which order round i (counted from 0) visits the targets: six rounds see all six orders, so that no target
// always runs first, or always after the same neighbour, while the machine warms up or throttles.
func order(i int) []target {
	ts := make([]target, targetCount)
	for j := range ts {
		ts[j] = target((i + j) % int(targetCount))
	}
	if i%2 == 1 {
		slices.Reverse(ts)
	}
	return ts
}

// spread is a median with the extremes it stands for.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// spreadOf summarises at least one value.
func spreadOf(values []float64) spread {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return spread{Median: (v[(n-1)/2] + v[n/2]) / 2, Min: v[0], Max: v[n-1]}
}

func (s spread) String() string { return fmt.Sprintf("%.2f (%.2f-%.2f)", s.Median, s.Min, s.Max) }

// report is a finished comparison; as JSON it is what -json prints.
type report struct {
	URL             string         `json:"url"`
	PayloadBytes    int            `json:"payload_bytes"`
	ContentType     string         `json:"content_type"`
	Machine         machine        `json:"machine"`
	Rounds          int            `json:"rounds"`
	DurationSeconds float64        `json:"duration_seconds"`
	Connections     int            `json:"connections"`
	Threads         int            `json:"threads"`
	Targets         []targetReport `json:"targets"`
}

// targetReport sums up the rounds of one target. A ratio is this target's requests per second over the peer's of the same
// round, so a slow minute of the machine weighs on both and drops out.
type targetReport struct {
	Name              string `json:"name"`
	RequestsPerSecond spread `json:"requests_per_second"`
	P50Milliseconds   spread `json:"p50_ms"`
	P99Milliseconds   spread `json:"p99_ms"`
	RatioToBare       spread `json:"ratio_to_bare"`
	RatioToNginx      spread `json:"ratio_to_nginx"`
}

// machine says where and with what the figures were taken.
type machine struct {
	Cores  int    `json:"cores"`
	Go     string `json:"go"` // of this program, and so of bare
	Kernel string `json:"kernel"`
	Wrk    string `json:"wrk"`
	Nginx  string `json:"nginx"`
}

func newReport(ctx context.Context, cfg config, want answer, rounds []round) report {
	return report{
		URL: cfg.url, PayloadBytes: len(want.body), ContentType: want.contentType,
		Machine: machine{
			Cores:  runtime.NumCPU(),
			Go:     runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH,
			Kernel: firstWords(ctx, 2, "uname", "-sr"),
			Wrk:    firstWords(ctx, 2, "wrk", "-v"),
			Nginx:  strings.TrimPrefix(firstWords(ctx, 3, "nginx", "-v"), "nginx version: "),
		},
		Rounds: len(rounds), DurationSeconds: cfg.duration.Seconds(), Connections: cfg.connections, Threads: cfg.threads,
		Targets: summarise(rounds),
	}
}

// summarise turns rounds into one line per target.
func summarise(rounds []round) []targetReport {
	over := func(value func(round) float64) spread {
		values := make([]float64, len(rounds))
		for i, r := range rounds {
			values[i] = value(r)
		}
		return spreadOf(values)
	}
	reports := make([]targetReport, targetCount)
	for t := range targetCount {
		ratioTo := func(peer target) spread {
			return over(func(r round) float64 { return r[t].PerSecond / r[peer].PerSecond })
		}
		reports[t] = targetReport{
			Name:              t.String(),
			RequestsPerSecond: over(func(r round) float64 { return r[t].PerSecond }),
			P50Milliseconds:   over(func(r round) float64 { return milliseconds(r[t].P50) }),
			P99Milliseconds:   over(func(r round) float64 { return milliseconds(r[t].P99) }),
			RatioToBare:       ratioTo(bareTarget),
			RatioToNginx:      ratioTo(nginxTarget),
		}
	}
	return reports
}

func (r report) writeJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

func (r report) writeTable(w io.Writer) error {
	m := r.Machine
	fmt.Fprintf(w, "%s: %d bytes, %s\n", r.URL, r.PayloadBytes, r.ContentType)
	fmt.Fprintf(w, "%d cores, %s, %s, %s, %s\n", m.Cores, m.Go, m.Kernel, m.Wrk, m.Nginx)
	fmt.Fprintf(w, "%d rounds of %gs for each target, %d threads, %d connections; medians, ratios with their min-max\n\n",
		r.Rounds, r.DurationSeconds, r.Threads, r.Connections)
	fmt.Fprintf(w, "%-6s %9s %8s %8s   %-18s  %s\n", "target", "req/s", "p50 ms", "p99 ms", "to bare", "to nginx")
	for _, t := range r.Targets {
		_, err := fmt.Fprintf(w, "%-6s %9s %8.2f %8.2f   %-18s  %s\n", t.Name, thousands(t.RequestsPerSecond.Median),
			t.P50Milliseconds.Median, t.P99Milliseconds.Median, t.RatioToBare, t.RatioToNginx)
		if err != nil {
			return err
		}
	}
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// thousands writes 91234.5 as 91,235.
func thousands(v float64) string {
	digits := fmt.Sprintf("%.0f", v)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// firstWords runs a program and returns the first n words it says, or its name if it says nothing. The exit status does not
// count: wrk -v prints its version and exits 1.
func firstWords(ctx context.Context, n int, name string, args ...string) string {
	out, _ := exec.CommandContext(ctx, name, args...).CombinedOutput()
	words := strings.Fields(string(out))
	return cmp.Or(strings.Join(words[:min(n, len(words))], " "), name)
}
