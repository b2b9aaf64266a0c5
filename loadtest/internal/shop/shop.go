// Package shop runs the program under test for those who measure it: on databases of its own, as processes of its own,
// with an environment that nobody else's settings reach.
package shop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"

	"doorbuster/app/catalog"
	"doorbuster/app/catalog/demo"
	"doorbuster/app/devstack"
	"doorbuster/app/inventory"
)

// A Shop is a program under test and its databases.
type Shop struct {
	Stack *devstack.Stack
	DB    *pgx.Conn

	bin string
	dir string
}

// ConnectionsPerWorker to PostgreSQL are the program's default, and one more listens.
const ConnectionsPerWorker = 10

// Open starts databases that survive a power cut, and has the program migrate and seed them. say is told the steps.
func Open(ctx context.Context, bin string, maxConnections int, say func(string)) (_ *Shop, err error) {
	s := &Shop{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close(ctx))
		}
	}()
	if s.bin, err = filepath.Abs(bin); err != nil {
		return nil, fmt.Errorf("find the program under test: %w", err)
	}
	if s.dir, err = os.MkdirTemp("", "bc"); err != nil { // short: a control socket's path must fit in 103 bytes
		return nil, fmt.Errorf("make a runtime directory: %w", err)
	}
	if s.Stack, err = devstack.Start(ctx, devstack.Options{
		Durable: true, MaxConnections: max(100, maxConnections), Progress: say,
	}); err != nil {
		return nil, fmt.Errorf("start the databases: %w", err)
	}
	for _, args := range [][]string{{"migrate", "up"}, {"seed", "--seed", "1"}} {
		if _, err := s.Command(ctx, "", args...); err != nil {
			return nil, err
		}
	}
	if s.DB, err = pgx.Connect(ctx, s.Stack.Postgres.URL()); err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	return s, nil
}

// Close stops and removes what Open started.
func (s *Shop) Close(ctx context.Context) error {
	var err error
	if s.DB != nil {
		err = s.DB.Close(context.WithoutCancel(ctx))
	}
	if s.Stack != nil {
		err = errors.Join(err, s.Stack.Close())
	}
	if s.dir != "" {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}

// environment is all that a process under test knows: settings of whoever runs this must not change what is measured.
// runtimeDir is where its master has its control socket.
func (s *Shop) environment(runtimeDir string, more ...string) []string {
	env := []string{
		"DATABASE_URL=" + s.Stack.Postgres.URL(), "REDIS_URL=" + s.Stack.Redis.URL(), "XDG_RUNTIME_DIR=" + runtimeDir,
		"TRUSTED_PROXIES=127.0.0.0/8", // customers have addresses of their own in X-Forwarded-For
		"ADDR=127.0.0.1:0", "ADMIN_ADDR=127.0.0.1:0", "LOG_FORMAT=json", "REVEAL_WORKERS=true",
	}
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); name == "PATH" || name == "HOME" || name == "TMPDIR" {
			env = append(env, v)
		}
	}
	return append(env, more...)
}

// Command runs the program under test to its end and returns what it printed.
func (s *Shop) Command(ctx context.Context, runtimeDir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.bin, args...)
	cmd.Env = s.environment(runtimeDir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("doorbuster %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// Deliver puts units on the shelves, by the codes of SKUs, and returns the ids of those SKUs.
func (s *Shop) Deliver(ctx context.Context, units map[string]int) (ids []int64, err error) {
	err = pgx.BeginFunc(ctx, s.DB, func(tx pgx.Tx) error {
		var codes []string
		for code := range units {
			codes = append(codes, code)
		}
		known, err := catalog.IDsTx(ctx, tx, codes)
		if err != nil {
			return err
		}
		byID := map[int64]int{}
		for code, n := range units {
			id, ok := known[code]
			if !ok {
				return fmt.Errorf("SKU %s is not in the database", code)
			}
			byID[id] = n
			ids = append(ids, id)
		}
		return inventory.ReceiveTx(ctx, tx, byID, "load test")
	})
	return ids, err
}

// UnitsLeft counts the units on the shelves: what buyers say they bought must be missing there.
func (s *Shop) UnitsLeft(ctx context.Context, ids []int64) (n int, err error) {
	err = pgx.BeginFunc(ctx, s.DB, func(tx pgx.Tx) error {
		units, err := inventory.AvailableTx(ctx, tx, ids)
		for _, u := range units {
			n += u
		}
		return err
	})
	return n, err
}

// plenty is put on the shelf of each SKU that a load buys: the seeded units are
// gone within seconds.
const plenty = 1_000_000

// DeliverPlenty chooses the SKUs that are sold to everybody without a limit, and
// puts on the shelf of each more than a load can buy. It returns their codes,
// and their ids.
func (s *Shop) DeliverPlenty(ctx context.Context) (skus []string, ids []int64, err error) {
	units := map[string]int{}
	for _, product := range demo.Make(1).Products {
		for _, sku := range product.SKUs {
			if sku.MaxPerCustomer == 0 && !sku.SaleOnly && sku.Stock > 0 {
				skus = append(skus, sku.Code)
				units[sku.Code] = plenty
			}
		}
	}
	if ids, err = s.Deliver(ctx, units); err != nil {
		return nil, nil, fmt.Errorf("fill the shelves: %w", err)
	}
	return skus, ids, nil
}
