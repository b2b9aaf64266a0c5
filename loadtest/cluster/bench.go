package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	"doorbuster/app/catalog/demo"
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

// delivery is put on the shelf of each SKU that buyers buy: the seeded units are gone within seconds.
const delivery = 1_000_000

func openBench(ctx context.Context, cfg config, out, report io.Writer) (*bench, error) {
	b := &bench{cfg: cfg, out: out, report: report}
	// Of each setup one worker more than it has, while one replaces another.
	workers := len(setups()) * (runtime.NumCPU() + 1)
	var err error
	b.Shop, err = shop.Open(ctx, cfg.bin, workers*shop.ConnectionsPerWorker+20, func(msg string) { fmt.Fprintln(report, msg) })
	if err != nil {
		return nil, err
	}
	if err := b.deliver(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("fill the shelves: %w", err), b.Close(ctx))
	}
	return b, nil
}

// deliver chooses the SKUs that are sold to everybody without limit, and puts plenty of each on the shelf.
func (b *bench) deliver(ctx context.Context) (err error) {
	units := map[string]int{}
	for _, product := range demo.Make(1).Products {
		for _, s := range product.SKUs {
			if s.MaxPerCustomer == 0 && !s.SaleOnly && s.Stock > 0 {
				b.skus = append(b.skus, s.Code)
				units[s.Code] = delivery
			}
		}
	}
	b.skuIDs, err = b.Deliver(ctx, units)
	return err
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
