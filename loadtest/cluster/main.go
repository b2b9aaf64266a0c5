// Cluster measures what a master and its workers bring over one process, on one machine, and what they cost:
//
//	go run ./loadtest/cluster -bin bin/doorbuster
//
// It starts a PostgreSQL and a Redis of its own, has the program under test migrate and seed the database, and then runs
// the shop in four ways:
//
//	A  one process with GOMAXPROCS=1
//	B  one process with all cores
//	C  a master with a worker for each core, WORKER_PROCS=1
//	D  the same with WORKER_PROCS=2
//
// Throughput (rounds.go): A to D run side by side, idle but for their turn in every round and under every load, so that a
// slow minute of the machine weighs on all of them; ratios are taken per round. Reads come from wrk, orders from
// buyers.go, and both share the cores with what they load: the column "cores" says how many of them the shop itself had,
// and "CPU µs" what it took for one answer or order.
//
// Memory (memory.go), a reload (reload.go) and the evenness of connections (evenness.go) are measured on one setup at a
// time. Everything listens on loopback addresses that this program chose, so no load can go anywhere else, and everything
// that was started is stopped at the end, also by Ctrl-C.
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
	"slices"
	"strings"
	"time"

	"doorbuster/loadtest/internal/cli"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cfg, err := parseFlags(args, stderr)
	if err != nil {
		return cli.Refuse(stderr, "cluster", err)
	}
	return cli.Finish(ctx, stderr, "cluster", measureAll(ctx, cfg, stdout, stderr))
}

// config is one run, as asked for on the command line.
type config struct {
	bin         string
	rounds      int
	duration    time.Duration // of one measurement; whole seconds, for wrk takes nothing finer
	warmup      time.Duration // of each setup under each load, before the first round
	connections int           // the usual number; wideConnections is the other
	setups      string        // letters
	skip        []string
	spawns      int // workers started for the time from fork to ready, at least
	bursts      int // repetitions of each burst of connections
}

// subjects can be skipped by these names.
var subjects = []string{"reads", "wide", "checkouts", "hot", "memory", "reload", "evenness"}

func (c *config) wants(subject string) bool { return !slices.Contains(c.skip, subject) }

func parseFlags(args []string, stderr io.Writer) (config, error) {
	var cfg config
	var skip string
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&cfg.bin, "bin", "bin/doorbuster", "`program` under test")
	flags.IntVar(&cfg.rounds, "rounds", 5, "how often each setup is measured under each load")
	flags.DurationVar(&cfg.duration, "duration", 5*time.Second, "length of one measurement, in whole seconds")
	flags.DurationVar(&cfg.warmup, "warmup", time.Second, "length of the run before the first round, in whole seconds; 0: none")
	flags.IntVar(&cfg.connections, "connections", 64, "connections kept open by the load")
	flags.StringVar(&cfg.setups, "setups", "ABCD", "`letters` of the setups to compare")
	flags.StringVar(&skip, "skip", "", "comma-separated `subjects` to leave out: "+strings.Join(subjects, ", "))
	flags.IntVar(&cfg.spawns, "spawns", 20, "workers to start for the time from fork to ready, at least")
	flags.IntVar(&cfg.bursts, "bursts", 10, "repetitions of each burst of connections")
	if err := flags.Parse(args); err != nil {
		return config{}, err
	}
	if flags.NArg() > 0 {
		return config{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if skip != "" {
		cfg.skip = strings.Split(skip, ",")
	}
	return cfg, cfg.check()
}

func (c *config) check() error {
	for _, s := range c.skip {
		if !slices.Contains(subjects, s) {
			return fmt.Errorf("-skip %s: there is no such subject; there are %s", s, strings.Join(subjects, ", "))
		}
	}
	for _, letter := range c.setups {
		if !strings.ContainsRune("ABCD", letter) {
			return fmt.Errorf("-setups %s: the setups are A, B, C and D", c.setups)
		}
	}
	switch {
	case c.setups == "":
		return errors.New("-setups is empty: nothing would be measured")
	case c.rounds < 1 || c.spawns < 1 || c.bursts < 1:
		return errors.New("-rounds, -spawns and -bursts must be at least 1")
	case c.duration < time.Second || c.duration > time.Minute || c.duration%time.Second != 0:
		return fmt.Errorf("-duration %v: wrk takes whole seconds, and a minute is enough", c.duration)
	case c.warmup < 0 || c.warmup > time.Minute || c.warmup%time.Second != 0:
		return fmt.Errorf("-warmup %v: wrk takes whole seconds, and a minute is enough", c.warmup)
	case c.connections < 1 || c.connections > maxConnections:
		return fmt.Errorf("-connections must be 1 to %d", maxConnections)
	}
	return nil
}

// maxConnections is far below what makes a machine run out of ports or descriptors.
const maxConnections = 1000

// measureAll opens the shop, measures one subject after the other, and leaves nothing behind. Each table is printed as soon
// as it is complete.
func measureAll(ctx context.Context, cfg config, stdout, progress io.Writer) (err error) {
	if err := requirements(cfg); err != nil {
		return err
	}
	b, err := openBench(ctx, cfg, stdout, progress)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close(ctx)) }()
	b.printMachine(ctx)
	for _, subject := range []func(context.Context) error{b.throughput, b.memory, b.reload, b.evenness} {
		if err := subject(ctx); err != nil {
			return err
		}
	}
	return nil
}

// requirements says in one sentence what is missing.
func requirements(cfg config) error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("this comparison reads Linux's /proc, and this is %s", runtime.GOOS)
	}
	if _, err := exec.LookPath("wrk"); err != nil {
		return errors.New("wrk is not installed, and this comparison needs it: apt-get install wrk")
	}
	if _, err := os.Stat(cfg.bin); err != nil {
		return fmt.Errorf("look for the program under test: %w; make build makes it, and -bin names another", err)
	}
	return nil
}
