package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"doorbuster/loadtest/internal/figures"
	"doorbuster/loadtest/internal/wrk"
)

// wideConnections is a crowd that keeps its connections.
const wideConnections = 512

// A load is something that all setups have to stand.
type load struct {
	subject, title, unit string
	run                  func(context.Context, *server, time.Duration) (wrk.Sample, error)
}

func (b *bench) loads() []load {
	readers := func(connections int) func(context.Context, *server, time.Duration) (wrk.Sample, error) {
		return func(ctx context.Context, s *server, d time.Duration) (wrk.Sample, error) {
			return wrk.Run(ctx, reads(s, connections, d))
		}
	}
	orders := func(skus []string) func(context.Context, *server, time.Duration) (wrk.Sample, error) {
		return func(ctx context.Context, s *server, d time.Duration) (wrk.Sample, error) {
			return b.buy(ctx, s.Addr, skus, d)
		}
	}
	all := []load{
		{"reads", fmt.Sprintf("Product reads: wrk -t1 -c%d on %s", b.cfg.connections, readPath), "req/s", readers(b.cfg.connections)},
		{"wide", fmt.Sprintf("Product reads: wrk -t1 -c%d", wideConnections), "req/s", readers(wideConnections)},
		{
			"checkouts",
			fmt.Sprintf("Orders: %d buyers, each a fresh cookie, one unit of one of %d SKUs, checkout; times are those of the checkout", b.cfg.connections, len(b.skus)),
			"orders/s", orders(b.skus),
		},
		{"hot", fmt.Sprintf("Orders: %d buyers, all the same SKU", b.cfg.connections), "orders/s", orders(b.skus[:1])},
	}
	return slices.DeleteFunc(all, func(l load) bool { return !b.cfg.wants(l.subject) })
}

// figure is a sample of answers or orders, and what the setup took of the processor for it.
type figure struct {
	wrk.Sample
	cores float64
}

// throughput measures all setups under all loads, in turns.
func (b *bench) throughput(ctx context.Context) (err error) {
	loads := b.loads()
	if len(loads) == 0 {
		return nil
	}
	chosen := b.setups()
	servers := make([]*server, len(chosen))
	for i, s := range chosen {
		if servers[i], err = b.Start(ctx, s); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, servers[i].Stop()) }()
	}
	if b.cfg.warmup > 0 {
		b.say("warming up")
		for _, l := range loads {
			for _, s := range servers {
				if _, err := l.run(ctx, s, b.cfg.warmup); err != nil {
					return fmt.Errorf("warm up %s with %s: %w", s.Letter, l.title, err)
				}
			}
		}
	}
	measured := make([][][]figure, len(loads)) // by load, setup and round
	for l := range measured {
		measured[l] = make([][]figure, len(servers))
	}
	for round := range b.cfg.rounds {
		for l := range loads {
			for _, s := range figures.Turns(round, len(servers)) {
				f, err := b.measure(ctx, loads[l], servers[s])
				if err != nil {
					return fmt.Errorf("round %d, %s, %s: %w", round+1, servers[s].Letter, loads[l].title, err)
				}
				measured[l][s] = append(measured[l][s], f)
			}
			b.say("round %d of %d, %s:%s", round+1, b.cfg.rounds, loads[l].subject, lastOf(chosen, measured[l]))
		}
	}
	for l := range loads {
		if err := b.printLoad(loads[l], chosen, measured[l]); err != nil {
			return err
		}
	}
	return nil
}

// setups returns those that were asked for.
func (b *bench) setups() []setup {
	return slices.DeleteFunc(setups(), func(s setup) bool { return !strings.Contains(b.cfg.setups, s.Letter) })
}

func (b *bench) measure(ctx context.Context, l load, s *server) (f figure, err error) {
	f.cores, err = s.CoresUsed(ctx, func() error {
		f.Sample, err = l.run(ctx, s, b.cfg.duration)
		return err
	})
	return f, err
}

func lastOf(chosen []setup, measured [][]figure) string {
	var line strings.Builder
	for i, s := range chosen {
		fmt.Fprintf(&line, "  %s %s", s.Letter, figures.Thousands(measured[i][len(measured[i])-1].PerSecond))
	}
	return line.String()
}

// printLoad prints one table. What a setup is worth against A is the ratio within each round.
func (b *bench) printLoad(l load, chosen []setup, measured [][]figure) error {
	fmt.Fprintf(b.out, "\n%s\n\n", l.title)
	t := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\t\t%s\tp50 ms\tp99 ms\tcores\tCPU µs\tto A\n", l.unit)
	a := slices.IndexFunc(chosen, func(s setup) bool { return s.Letter == "A" })
	for i, s := range chosen {
		over := func(value func(figure) float64) figures.Spread { return figures.Over(measured[i], value) }
		rate := over(func(f figure) float64 { return f.PerSecond })
		ratio := "-"
		if a >= 0 {
			ratios := make([]float64, len(measured[i]))
			for round, f := range measured[i] {
				ratios[round] = f.PerSecond / measured[a][round].PerSecond
			}
			ratio = figures.Of(ratios).String()
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%.2f\t%s\t%s\n", s.Letter, s.What,
			rate.Whole(),
			over(func(f figure) float64 { return figures.Milliseconds(f.P50) }), over(func(f figure) float64 { return figures.Milliseconds(f.P99) }),
			over(func(f figure) float64 { return f.cores }).Median,
			figures.Thousands(over(func(f figure) float64 { return f.cores / f.PerSecond * 1e6 }).Median), ratio)
	}
	return t.Flush()
}
