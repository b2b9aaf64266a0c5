//go:build linux

// Soak keeps strict clients on a shop while a script does to it what happens to shops, and judges what the clients saw:
//
//	go run ./loadtest/soak -bin bin/doorbuster -duration 1m
//
// It starts a PostgreSQL and a Redis of its own, and the program under test as a master with three workers, from a copy
// that the script may replace. The script (plan.go, faults.go) is drawn from a seed before anything begins, and has two
// lanes that run side by side: violence (workers killed, stopped, terminated by hand, out of descriptors or memory, the
// master stopped) and orders (reloads, of good and broken programs, scale, restart, drain, scrapes, clients that don't
// read). The seed is printed first; the same seed is the same script, but not the same interleaving with the shop.
//
// # Bounds
//
//   - No time without any answer is longer than 3 s, over all clients together.
//   - A request on a fresh connection is answered within 3 s, unless it fell to a
//     worker that was killed or stopped.
//   - No connection ends without a notice (Connection: close), but those of workers
//     that the script has killed, and those that were left idle for the lame duck.
//   - Nobody is answered 503 "draining". Other 503s have a Retry-After, and are given
//     while no worker is ready, or where a database was slow or out of reach for want
//     of descriptors. No answer is a 5xx of another kind.
//   - There are never more than workers + 1 processes, but for those that leave.
//   - No worker crashes, or is killed by the master, to whom the script did nothing.
//   - Each command gets its outcome. A broken program is never adopted.
//   - Afterwards all is as at the start: workers, target, breakers, descriptors,
//     goroutines, the master's memory, files; after the stop, which exits with 0, no
//     process and no file is left, and the books are in order (doorbuster audit).
//
// What the shop can't be blamed for is measured and subtracted: a ticker finds the times at which this program itself had
// no processor (pauses.go), and the report says how much that was.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"

	"doorbuster/loadtest/internal/cli"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cfg, err := parseFlags(args, stderr)
	if err != nil {
		return cli.Refuse(stderr, "soak", err)
	}
	fmt.Fprintf(stdout, "-seed %d -duration %v\n", cfg.seed, cfg.duration)
	if cfg.plan {
		return cli.Finish(ctx, stderr, "soak", printPlan(stdout, draw(cfg.seed, cfg.duration)))
	}
	return cli.Finish(ctx, stderr, "soak", soakAll(ctx, cfg, stdout, stderr))
}

// config is one run, as asked for on the command line.
type config struct {
	bin      string
	seed     uint64
	duration time.Duration // of the script
	plan     bool          // only print the script
	log      string        // file that gets the shop's log, if not empty
}

// The script is bounded: a minute is enough to have most of it happen, an hour to find what is rare.
const (
	leastDuration = 5 * time.Second
	mostDuration  = time.Hour
)

func parseFlags(args []string, stderr io.Writer) (config, error) {
	var cfg config
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&cfg.bin, "bin", "bin/doorbuster", "`program` under test")
	flags.Uint64Var(&cfg.seed, "seed", 0, "`seed` of the script; 0: a random one")
	flags.DurationVar(&cfg.duration, "duration", 10*time.Minute, "how long the script goes on")
	flags.BoolVar(&cfg.plan, "plan", false, "print the script, and do nothing")
	flags.StringVar(&cfg.log, "log", "", "`file` to write the shop's log to")
	if err := flags.Parse(args); err != nil {
		return config{}, err
	}
	if flags.NArg() > 0 {
		return config{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if cfg.duration < leastDuration || cfg.duration > mostDuration {
		return config{}, fmt.Errorf("-duration %v: it must be from %v to %v", cfg.duration, leastDuration, mostDuration)
	}
	for cfg.seed == 0 {
		cfg.seed = rand.Uint64()
	}
	if cfg.plan {
		return cfg, nil
	}
	if _, err := os.Stat(cfg.bin); err != nil {
		return config{}, fmt.Errorf("look for the program under test: %w; make build makes it, and -bin names another", err)
	}
	return cfg, nil
}
