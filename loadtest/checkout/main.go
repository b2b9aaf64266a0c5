// Checkout measures how many orders a second the shop takes, and what becomes of a crowd at midnight:
//
//	go run ./loadtest/checkout -bin bin/doorbuster
//
// It starts a PostgreSQL (fsync on) and a Redis of its own, has the program under test migrate and seed the database, and
// measures three things, each of which -skip leaves out:
//
//	http      checkouts through HTTP (http.go): a master with a worker for each core, by group commit (A), and with
//	          CHECKOUT_PLAIN=true, one order per transaction that locks its stock first (B with the default number of
//	          PostgreSQL connections, C with 32). All buyers want the same SKU, or each one of 1,000.
//	postgres  the ways of taking one unit of stock in PostgreSQL alone (ways.go), without HTTP, on the same server.
//	herd      30,000 buyers on as many kept connections who check out at one instant (herd.go), once for 1,000 units and
//	          once for enough; afterwards "doorbuster audit" compares what they were told with the books.
//
// What is timed is POST /v1/checkout and nothing else: each buyer is a fresh session with one unit in the cart, filled
// before the clock starts, and used once. A checkout is the whole of it: Place, a payment at the simulated provider (a
// script in Redis, no latency) and Settle; the answer is 201 with the confirmed order. Buyers are a closed loop, each
// connection sends the next checkout when it has the answer to the last: that finds the most orders a second, and its
// times are those of a shop that is full, not those of a customer who comes by. For the latter see the herd, whose clock
// runs from one instant for all.
//
// What it does not show: load, shop, PostgreSQL and Redis share the same cores, so only ratios travel, and a faster
// generator would show a faster shop. The network is loopback, and PostgreSQL is on a Unix socket, which flatters whoever
// holds a lock across round trips. SKUs here have no limit per customer, whose bookkeeping costs two rows more for each
// order. The ways in PostgreSQL alone write three rows in one transaction; the shop writes the same in two, and reads
// the cart, the catalogue, the key and the session besides.
//
// Ratios are taken within each round, and setups take turns, so that a slow minute of the machine weighs on all of them.
// A single order that fails ends a measurement with an error. Everything listens on loopback addresses that this program
// chose, so no load can go anywhere else, and everything that was started is stopped at the end, also by Ctrl-C.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"doorbuster/loadtest/internal/cli"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == crowdArgument {
		cli.Main(runCrowd)
	}
	cli.Main(run)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cfg, err := parseFlags(args, stderr)
	if err != nil {
		return cli.Refuse(stderr, "checkout", err)
	}
	return cli.Finish(ctx, stderr, "checkout", measureAll(ctx, cfg, stdout, stderr))
}

// config is one run, as asked for on the command line.
type config struct {
	bin         string
	rounds      int
	duration    time.Duration // of one measurement through HTTP
	alone       time.Duration // of one measurement in PostgreSQL alone
	connections []int
	herd        int // buyers
	skip        []string
	svg         string // file for the chart; empty: none
	profile     string // file for a CPU profile; empty: none
	acks        string // file for the acknowledgement log; empty: a temporary one
}

// subjects can be skipped by these names.
var subjects = []string{"http", "postgres", "herd"}

func (c *config) wants(subject string) bool { return !slices.Contains(c.skip, subject) }

// smoke are the settings of a run that only shows that everything works.
var smoke = map[string]string{"rounds": "1", "duration": "1s", "alone": "300ms", "connections": "64", "herd": "1000"}

func parseFlags(args []string, stderr io.Writer) (config, error) {
	var cfg config
	var skip, connections string
	var quick bool
	flags := flag.NewFlagSet("checkout", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&cfg.bin, "bin", "bin/doorbuster", "`program` under test")
	flags.IntVar(&cfg.rounds, "rounds", 3, "how often everything but the herd is measured")
	flags.DurationVar(&cfg.duration, "duration", 5*time.Second, "length of one measurement through HTTP")
	flags.DurationVar(&cfg.alone, "alone", 2*time.Second, "length of one measurement in PostgreSQL alone")
	flags.StringVar(&connections, "connections", "64,256", "`numbers` of connections kept open by buyers; PostgreSQL alone gets the first")
	flags.IntVar(&cfg.herd, "herd", 30_000, "buyers at midnight")
	flags.StringVar(&skip, "skip", "", "comma-separated `subjects` to leave out: "+strings.Join(subjects, ", "))
	flags.StringVar(&cfg.svg, "svg", "", "write a chart of orders per second to this `file`")
	flags.StringVar(&cfg.profile, "profile", "", "write a CPU profile of a worker of A, while it sells the hot SKU, to this `file`")
	flags.StringVar(&cfg.acks, "acks", "", "keep the herd's acknowledgement log in this `file`")
	flags.BoolVar(&quick, "smoke", false, "a run of half a minute, whose figures mean nothing")
	if err := flags.Parse(args); err != nil {
		return config{}, err
	}
	if flags.NArg() > 0 {
		return config{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if quick { // what was asked for by name stays
		asked := map[string]bool{}
		flags.Visit(func(f *flag.Flag) { asked[f.Name] = true })
		for name, value := range smoke {
			if !asked[name] {
				if err := flags.Set(name, value); err != nil {
					return config{}, err
				}
			}
		}
	}
	if skip != "" {
		cfg.skip = strings.Split(skip, ",")
	}
	for text := range strings.SplitSeq(connections, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			return config{}, fmt.Errorf("-connections %s: want numbers with commas between them", connections)
		}
		cfg.connections = append(cfg.connections, n)
	}
	return cfg, cfg.check()
}

// Far below what makes a machine run out of ports and descriptors, and PostgreSQL out of connections.
const (
	maxConnections = 1000
	maxHerd        = 200_000
)

func (c *config) check() error {
	for _, s := range c.skip {
		if !slices.Contains(subjects, s) {
			return fmt.Errorf("-skip %s: there is no such subject; there are %s", s, strings.Join(subjects, ", "))
		}
	}
	for _, n := range c.connections {
		if n < 1 || n > maxConnections {
			return fmt.Errorf("-connections %d: want 1 to %d", n, maxConnections)
		}
	}
	switch {
	case c.rounds < 1:
		return errors.New("-rounds must be at least 1")
	case c.duration < 100*time.Millisecond || c.duration > time.Minute:
		return fmt.Errorf("-duration %v: want 100ms to 1m", c.duration)
	case c.alone < 100*time.Millisecond || c.alone > time.Minute:
		return fmt.Errorf("-alone %v: want 100ms to 1m", c.alone)
	case c.herd < fewUnits(1) || c.herd > maxHerd:
		return fmt.Errorf("-herd %d: want %d to %d", c.herd, fewUnits(1), maxHerd)
	case c.svg != "" && (!c.wants("http") || !c.wants("postgres")):
		return errors.New("-svg shows http and postgres, and one of them is skipped")
	case c.profile != "" && !c.wants("http"):
		return errors.New("-profile needs http, and that is skipped")
	}
	return nil
}

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
	fmt.Fprintf(stdout, "%s\n", b.Machine(ctx))
	fmt.Fprintf(stdout, "%d rounds in turns; load, shop and databases on the same cores; medians, with min-max in brackets\n", cfg.rounds)
	var through []*load
	var alone []*way
	if cfg.wants("http") {
		if through, err = b.throughHTTP(ctx); err != nil {
			return err
		}
	}
	if cfg.wants("postgres") {
		if alone, err = b.postgresAlone(ctx); err != nil {
			return err
		}
	}
	if cfg.svg != "" {
		if err := os.WriteFile(cfg.svg, chart(bars(through, alone)), 0o644); err != nil { //nolint:gosec // a picture to be published
			return fmt.Errorf("write the chart: %w", err)
		}
	}
	if cfg.wants("herd") {
		return b.midnight(ctx)
	}
	return nil
}

// requirements says in one sentence what is missing.
func requirements(cfg config) error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("this benchmark reads Linux's /proc and uses its loopback network, and this is %s", runtime.GOOS)
	}
	if _, err := os.Stat(cfg.bin); err != nil {
		return fmt.Errorf("look for the program under test: %w; make build makes it, and -bin names another", err)
	}
	return nil
}
