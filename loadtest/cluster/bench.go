package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	"doorbuster/loadtest/internal/shop"
)

// bench is an open shop with its goods.
type bench struct {
	*shop.Shop
	cfg    config
	out    io.Writer // the tables
	report io.Writer // what is going on

	skus   []string // that buyers may buy, any number of them
	skuIDs []int64
}

// readPath is the page that everybody reads.
const readPath = "/v1/products/aurora-55-oled-tv"

func openBench(ctx context.Context, cfg config, out, report io.Writer) (*bench, error) {
	b := &bench{cfg: cfg, out: out, report: report}
	// Of each setup one worker more than it has, while one replaces another.
	workers := len(setups()) * (runtime.NumCPU() + 1)
	var err error
	b.Shop, err = shop.Open(ctx, cfg.bin, workers*shop.ConnectionsPerWorker+20, func(msg string) { fmt.Fprintln(report, msg) })
	if err != nil {
		return nil, err
	}
	if b.skus, b.skuIDs, err = b.DeliverPlenty(ctx); err != nil {
		return nil, errors.Join(err, b.Close(ctx))
	}
	return b, nil
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.report, format+"\n", args...) }

// printMachine says where and with what the figures are taken, and what the letters stand for.
func (b *bench) printMachine(ctx context.Context) {
	fmt.Fprintf(b.out, "%s, %s\n", b.Machine(ctx), shop.FirstWords(ctx, 2, "wrk", "-v"))
	fmt.Fprintf(b.out, "%d rounds of %v in turns; load and databases on the same cores; medians, with min-max in brackets\n\n", b.cfg.rounds, b.cfg.duration)
	for _, s := range b.setups() {
		fmt.Fprintf(b.out, "%s  %-28s %s\n", s.Letter, s.What, s.CommandLine())
	}
	fmt.Fprintf(b.out, "Each process that serves has %d connections to PostgreSQL, which is the default: %d workers have twice those of one process.\n",
		shop.ConnectionsPerWorker, runtime.NumCPU())
}
