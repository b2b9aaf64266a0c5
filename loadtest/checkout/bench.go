package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/jackc/pgx/v5"

	"doorbuster/app/catalog"
	"doorbuster/app/money"
	"doorbuster/loadtest/internal/shop"
)

// bench is an open shop with goods for the benchmark: one hot SKU, a thousand others, and one for each herd.
type bench struct {
	*shop.Shop
	cfg    config
	out    io.Writer // the tables
	report io.Writer // what is going on
	ids    []int64   // of what is sold through HTTP, the herds' apart
}

// manySKUs is what "spread" means.
const manySKUs = 1000

// delivery is more units than anybody can buy.
const delivery = 10_000_000

const hotSKU = "BENCH-HOT"

func spreadSKU(i int) string { return fmt.Sprintf("BENCH-%d", i%manySKUs) }

// herdSKU is what a herd wants of which there are so many units.
func herdSKU(units int) string { return fmt.Sprintf("BENCH-HERD-%d", units) }

func openBench(ctx context.Context, cfg config, out, report io.Writer) (*bench, error) {
	b := &bench{cfg: cfg, out: out, report: report}
	connections := cfg.connections[0] + 10 // PostgreSQL alone, and us
	for _, s := range setups() {
		connections += runtime.NumCPU() * (s.connections + 1)
	}
	var err error
	if b.Shop, err = shop.Open(ctx, cfg.bin, connections, func(msg string) { b.say("%s", msg) }); err != nil {
		return nil, err
	}
	if err := b.stock(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("fill the shelves: %w", err), b.Close(ctx))
	}
	return b, nil
}

// stock makes the goods and puts them on the shelves.
func (b *bench) stock(ctx context.Context) (err error) {
	units, herds := map[string]int{hotSKU: delivery}, map[string]int{}
	codes := []string{hotSKU}
	for i := range manySKUs {
		units[spreadSKU(i)] = delivery
		codes = append(codes, spreadSKU(i))
	}
	for _, n := range b.herds() {
		herds[herdSKU(n)] = n
		codes = append(codes, herdSKU(n))
	}
	if err := pgx.BeginFunc(ctx, b.DB, func(tx pgx.Tx) error {
		return catalog.PutTx(ctx, tx, []catalog.Category{{Slug: "bench", Name: "Benchmark"}}, goods(codes))
	}); err != nil {
		return err
	}
	if _, err := b.Deliver(ctx, herds); err != nil {
		return err
	}
	b.ids, err = b.Deliver(ctx, units)
	return err
}

// goods are products with one SKU each, that everybody may buy without limit.
func goods(codes []string) []catalog.Product {
	products := make([]catalog.Product, len(codes))
	for i, code := range codes {
		products[i] = catalog.Product{
			Slug: fmt.Sprintf("bench-%d", i), Name: "Thing " + code, Description: "For measuring.", Category: "bench",
			SKUs: []catalog.SKU{{Code: code, Name: "Standard", List: money.Money{Minor: 1999, Currency: "USD"}}},
		}
	}
	return products
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.report, format+"\n", args...) }
