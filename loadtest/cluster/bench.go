package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/jackc/pgx/v5"

	"doorbuster/app/catalog"
	"doorbuster/app/catalog/demo"
	"doorbuster/app/devstack"
	"doorbuster/app/inventory"
)

// bench is an open shop: its databases, its goods, and where its processes live.
type bench struct {
	cfg    config
	out    io.Writer // the tables
	report io.Writer // what is going on
	bin    string
	dir    string
	stack  *devstack.Stack
	db     *pgx.Conn

	skus   []string // that buyers may buy, any number of them
	skuIDs []int64
}

// readPath is the page that everybody reads.
const readPath = "/v1/products/aurora-55-oled-tv"

// delivery is put on the shelf of each SKU that buyers buy: the seeded units are gone within seconds.
const delivery = 1_000_000

// connectionsPerWorker to PostgreSQL are the program's default.
const connectionsPerWorker = 10

func openBench(ctx context.Context, cfg config, out, report io.Writer) (_ *bench, err error) {
	b := &bench{cfg: cfg, out: out, report: report}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close(ctx))
		}
	}()
	if b.bin, err = filepath.Abs(cfg.bin); err != nil {
		return nil, fmt.Errorf("find the program under test: %w", err)
	}
	if b.dir, err = os.MkdirTemp("", "bc"); err != nil { // short: a control socket's path must fit in 103 bytes
		return nil, fmt.Errorf("make a runtime directory: %w", err)
	}
	// Of each setup one worker more than it has, while one replaces another.
	workers := len(setups()) * (runtime.NumCPU() + 1)
	if b.stack, err = devstack.Start(ctx, devstack.Options{
		Durable: true, MaxConnections: max(100, workers*connectionsPerWorker+20),
		Progress: func(msg string) { fmt.Fprintln(report, msg) },
	}); err != nil {
		return nil, fmt.Errorf("start the databases: %w", err)
	}
	for _, args := range [][]string{{"migrate", "up"}, {"seed", "--seed", "1"}} {
		if _, err := b.command(ctx, "", args...); err != nil {
			return nil, err
		}
	}
	if b.db, err = pgx.Connect(ctx, b.stack.Postgres.URL()); err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	if err := b.deliver(ctx); err != nil {
		return nil, fmt.Errorf("fill the shelves: %w", err)
	}
	return b, nil
}

// close stops and removes what openBench started.
func (b *bench) close(ctx context.Context) error {
	var err error
	if b.db != nil {
		err = b.db.Close(context.WithoutCancel(ctx))
	}
	if b.stack != nil {
		err = errors.Join(err, b.stack.Close())
	}
	if b.dir != "" {
		err = errors.Join(err, os.RemoveAll(b.dir))
	}
	return err
}

// environment is all that a process under test knows: settings of whoever runs this must not change what is measured.
// runtimeDir is where its master has its control socket.
func (b *bench) environment(runtimeDir string, more ...string) []string {
	env := []string{
		"DATABASE_URL=" + b.stack.Postgres.URL(), "REDIS_URL=" + b.stack.Redis.URL(), "XDG_RUNTIME_DIR=" + runtimeDir,
		"ADDR=127.0.0.1:0", "ADMIN_ADDR=127.0.0.1:0", "LOG_FORMAT=json",
	}
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); name == "PATH" || name == "HOME" || name == "TMPDIR" {
			env = append(env, v)
		}
	}
	return append(env, more...)
}

// command runs the program under test to its end and returns what it printed.
func (b *bench) command(ctx context.Context, runtimeDir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, b.bin, args...)
	cmd.Env = b.environment(runtimeDir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("doorbuster %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// deliver chooses the SKUs that are sold to everybody without limit, and puts plenty of each on the shelf.
func (b *bench) deliver(ctx context.Context) error {
	for _, product := range demo.Make(1).Products {
		for _, s := range product.SKUs {
			if s.MaxPerCustomer == 0 && !s.SaleOnly && s.Stock > 0 {
				b.skus = append(b.skus, s.Code)
			}
		}
	}
	return pgx.BeginFunc(ctx, b.db, func(tx pgx.Tx) error {
		ids, err := catalog.IDsTx(ctx, tx, b.skus)
		if err != nil {
			return err
		}
		units := map[int64]int{}
		for _, code := range b.skus {
			id, ok := ids[code]
			if !ok {
				return fmt.Errorf("SKU %s is not in the database", code)
			}
			units[id] = delivery
			b.skuIDs = append(b.skuIDs, id)
		}
		return inventory.ReceiveTx(ctx, tx, units, "load test")
	})
}

// unitsLeft counts the units on the shelves: what buyers say they bought must be missing there.
func (b *bench) unitsLeft(ctx context.Context) (n int, err error) {
	err = pgx.BeginFunc(ctx, b.db, func(tx pgx.Tx) error {
		units, err := inventory.AvailableTx(ctx, tx, b.skuIDs)
		for _, u := range units {
			n += u
		}
		return err
	})
	return n, err
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.report, format+"\n", args...) }

// printMachine says where and with what the figures are taken, and what the letters stand for.
func (b *bench) printMachine(ctx context.Context) {
	fmt.Fprintf(b.out, "%d cores (%s), %s, %s %s/%s, PostgreSQL %s with fsync, %s, %s\n", runtime.NumCPU(), processor(),
		firstWords(ctx, 2, "uname", "-sr"), runtime.Version(), runtime.GOOS, runtime.GOARCH,
		b.stack.Postgres.Version(), b.stack.Redis.Kind(), firstWords(ctx, 2, "wrk", "-v"))
	fmt.Fprintf(b.out, "%d rounds of %v in turns; load and databases on the same cores; medians, with min-max in brackets\n\n", b.cfg.rounds, b.cfg.duration)
	for _, s := range b.setups() {
		fmt.Fprintf(b.out, "%s  %-28s %s\n", s.letter, s.what, s.commandLine())
	}
	fmt.Fprintf(b.out, "Each process that serves has %d connections to PostgreSQL, which is the default: %d workers have twice those of one process.\n",
		connectionsPerWorker, runtime.NumCPU())
}

// processor names the kind of core.
func processor() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// firstWords runs a program and returns the first n words it says, or its name if it says nothing. The exit status does not
// count: wrk -v prints its version and exits 1.
func firstWords(ctx context.Context, n int, name string, args ...string) string {
	out, _ := exec.CommandContext(ctx, name, args...).CombinedOutput()
	words := strings.Fields(string(out))
	return cmp.Or(strings.Join(words[:min(n, len(words))], " "), name)
}
