// Reads measures how fast one URL of a running shop is read, next to two peers everybody can place, in the same run on
// the same machine:
//
//	go run ./loadtest/reads -url http://127.0.0.1:3000/v1/products/aurora-55-oled-tv
//
// The peers answer the body that the URL gave at the start, under the same Content-Type:
//
//   - bare is this program started once more as a net/http server with default settings, whose handler sets Content-Type
//     and writes the bytes. It is about the most a Go handler can reach in one process.
//   - nginx serves the bytes as a static file: open files cached, no access log, one worker per core, and sendfile for
//     bodies over 32 KiB only, because on smaller ones it slows nginx down.
//
// Requests per second say little by themselves: they change with the machine, its neighbours and the minute. What travels
// is the ratio of two targets measured seconds apart, so the ratios are taken per round, and the table shows their median
// with the smallest and the largest beside it.
//
// wrk makes the load and shares the cores with what it measures, here as everywhere in this repository. It is aimed at
// this machine only: a URL whose host is no loopback address is refused.
//
// One thing to know when reading the table: net/http adds Content-Length by itself to bodies up to 2 KiB and sends larger
// ones chunked, so on a large body bare pays a little more than it would have to.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"time"

	"doorbuster/loadtest/internal/cli"
	"doorbuster/loadtest/internal/wrk"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == serveBareFlag {
		err := serveBare(ctx, args[1:], os.Stdin)
		return cli.Finish(context.WithoutCancel(ctx), stderr, "reads", err) // an interrupt is how it is asked to end
	}
	cfg, err := parseFlags(args, stderr)
	if err != nil {
		return cli.Refuse(stderr, "reads", err)
	}
	rep, err := compare(ctx, cfg, stderr)
	switch {
	case err != nil || ctx.Err() != nil: // there is nothing to print
	case cfg.json:
		err = rep.writeJSON(stdout)
	default:
		err = rep.writeTable(stdout)
	}
	return cli.Finish(ctx, stderr, "reads", err)
}

// config is one run, as asked for on the command line.
type config struct {
	url         string
	rounds      int
	duration    time.Duration // of one wrk run; whole seconds, for wrk takes nothing finer
	connections int
	threads     int // of wrk: two, or one where there is only one core
	json        bool
}

func parseFlags(args []string, stderr io.Writer) (config, error) {
	cfg := config{threads: min(2, runtime.NumCPU())}
	flags := flag.NewFlagSet("reads", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&cfg.url, "url", "", "`URL` of the running shop to read, on a loopback address")
	flags.IntVar(&cfg.rounds, "rounds", 5, "how often each target is measured")
	flags.DurationVar(&cfg.duration, "duration", 5*time.Second, "length of one measurement, in whole seconds")
	flags.IntVar(&cfg.connections, "connections", 64, "connections kept open by wrk")
	flags.BoolVar(&cfg.json, "json", false, "print JSON instead of a table")
	if err := flags.Parse(args); err != nil {
		return config{}, err
	}
	switch {
	case flags.NArg() > 0:
		return config{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case cfg.url == "":
		return config{}, errors.New("-url is missing: say which URL of the running shop to read")
	case cfg.rounds < 1:
		return config{}, errors.New("-rounds must be at least 1")
	case cfg.duration < time.Second || cfg.duration%time.Second != 0:
		return config{}, fmt.Errorf("-duration %v: wrk takes whole seconds, at least 1s", cfg.duration)
	case cfg.connections < cfg.threads:
		return config{}, fmt.Errorf("-connections must be at least %d, one for each wrk thread", cfg.threads)
	}
	return cfg, requireLoopback(cfg.url)
}

// warmup is the length of the run each target gets before the first round: it opens files, grows heaps and lets the
// processor leave its idle clock. Its figures are thrown away.
const warmup = time.Second

// compare starts the peers, measures every target in every round, and leaves nothing behind.
func compare(ctx context.Context, cfg config, progress io.Writer) (report, error) {
	if err := requireTools(); err != nil {
		return report{}, err
	}
	want, err := fetch(ctx, cfg.url)
	if err != nil {
		return report{}, fmt.Errorf("read the shop once: %w", err)
	}
	dir, err := os.MkdirTemp("", "reads-")
	if err != nil {
		return report{}, err
	}
	defer os.RemoveAll(dir)

	bare, err := startBare(ctx, dir, want)
	if err != nil {
		return report{}, err
	}
	defer bare.stop()
	nginx, err := startNginx(ctx, dir, want, cfg.connections)
	if err != nil {
		return report{}, err
	}
	defer nginx.stop()

	urls := [targetCount]string{shopTarget: cfg.url, bareTarget: bare.url, nginxTarget: nginx.url}
	rounds, err := measureAll(ctx, cfg, urls, len(want.body), progress)
	if err != nil {
		return report{}, err
	}
	return newReport(ctx, cfg, want, rounds), nil
}

// measureAll warms every target up and then measures them round by round.
func measureAll(ctx context.Context, cfg config, urls [targetCount]string, payload int, progress io.Writer) ([]round, error) {
	fmt.Fprintf(progress, "comparing with bare at %s and nginx at %s\n", urls[bareTarget], urls[nginxTarget])
	for t, url := range urls {
		if _, err := measure(ctx, cfg, url, warmup, payload); err != nil {
			return nil, fmt.Errorf("warm up %s: %w", target(t), err)
		}
	}
	rounds := make([]round, cfg.rounds)
	for i := range rounds {
		for _, t := range order(i) {
			s, err := measure(ctx, cfg, urls[t], cfg.duration, payload)
			if err != nil {
				return nil, fmt.Errorf("round %d, %s: %w", i+1, t, err)
			}
			rounds[i][t] = s
		}
		fmt.Fprintf(progress, "round %d of %d:", i+1, cfg.rounds)
		for t, s := range rounds[i] {
			fmt.Fprintf(progress, "  %s %s", target(t), thousands(s.PerSecond))
		}
		fmt.Fprintln(progress, " req/s")
	}
	return rounds, nil
}

// measure runs wrk once, and fails by a single failed request as well as by answers without their payload.
func measure(ctx context.Context, cfg config, url string, d time.Duration, payload int) (wrk.Sample, error) {
	s, err := wrk.Run(ctx, wrk.Load{URL: url, Threads: cfg.threads, Connections: cfg.connections, Duration: d})
	if err != nil {
		return wrk.Sample{}, err
	}
	return s, checkBytes(s, payload)
}

// checkBytes fails if the answers were too small to have carried the payload. wrk reports statuses from 400 up only, so
// this is what notices a redirect, a 304, or a target that changed its answer in the middle of the run.
func checkBytes(s wrk.Sample, payload int) error {
	const rounding = 0.95 // wrk prints three digits at worst
	if perRequest := s.Bytes / float64(s.Requests); perRequest < rounding*float64(payload) {
		return fmt.Errorf("answers of %.0f bytes cannot have carried the %d bytes asked for\n%s", perRequest, payload, s.Output)
	}
	return nil
}

// requireTools says in one sentence what is missing.
func requireTools() error {
	for _, name := range []string{"wrk", "nginx"} {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("%s is not installed, and this comparison needs both wrk and nginx: apt-get install wrk nginx", name)
		}
	}
	return nil
}
