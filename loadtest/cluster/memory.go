package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"doorbuster/loadtest/internal/figures"
	"doorbuster/loadtest/internal/wrk"
)

// memoryRounds are enough: memory varies little from run to run.
const memoryRounds = 3

// footprint is what the processes of a setup hold in the middle of a load.
type footprint struct {
	processes   int
	all, master memoryUse
}

// memory measures what a setup holds under load. Only one runs at a time: pages of the executable count in parts for all
// processes that run it.
func (b *bench) memory(ctx context.Context) error {
	if !b.cfg.wants("memory") {
		return nil
	}
	chosen := b.setups()
	readers, orders := make([][]footprint, len(chosen)), make([][]footprint, len(chosen))
	for round := range min(memoryRounds, b.cfg.rounds) {
		for _, i := range figures.Turns(round, len(chosen)) {
			if err := b.With(ctx, chosen[i], func(s *server) error {
				f, err := b.underLoad(ctx, s, func() error { _, err := wrk.Run(ctx, reads(s, b.cfg.connections, b.cfg.duration)); return err })
				if err != nil {
					return err
				}
				readers[i] = append(readers[i], f)
				f, err = b.underLoad(ctx, s, func() error { _, err := b.buy(ctx, s.Addr, b.skus, b.cfg.duration); return err })
				orders[i] = append(orders[i], f)
				return err
			}); err != nil {
				return fmt.Errorf("measure the memory of %s: %w", chosen[i].Letter, err)
			}
		}
		b.say("memory, round %d", round+1)
	}
	return b.printMemory(chosen, readers, orders)
}

// underLoad weighs a server when three quarters of a load are over.
func (b *bench) underLoad(ctx context.Context, s *server, load func() error) (footprint, error) {
	ended := make(chan error, 1)
	go func() { ended <- load() }()
	var f footprint
	var weighed error
	select {
	case <-time.After(b.cfg.duration * 3 / 4):
		f, weighed = weigh(ctx, s)
	case err := <-ended:
		return f, fmt.Errorf("the load ended before its time: %w", err)
	}
	if err := <-ended; err != nil {
		return f, err
	}
	return f, weighed
}

func weigh(ctx context.Context, s *server) (footprint, error) {
	pids, err := s.PIDs(ctx)
	if err != nil {
		return footprint{}, err
	}
	f := footprint{processes: len(pids)}
	for i, pid := range pids {
		m, err := memoryOf(pid)
		if err != nil {
			return f, err
		}
		f.all = f.all.plus(m)
		if i == 0 && s.IsCluster() {
			f.master = m
		}
	}
	return f, nil
}

func (b *bench) printMemory(chosen []setup, reads, orders [][]footprint) error {
	fmt.Fprintf(b.out, "\nMemory in MB in the middle of a load, all processes of a setup: Pss (shared pages divided by their sharers) and RSS\n\n")
	t := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\t\tprocesses\treads: Pss\tRSS\torders: Pss\tRSS")
	mb := func(footprints []footprint, of func(footprint) int64) string {
		s := figures.Over(footprints, func(f footprint) float64 { return megabytes(of(f)) })
		return fmt.Sprintf("%.0f (%.0f-%.0f)", s.Median, s.Min, s.Max)
	}
	pss, rss := func(f footprint) int64 { return f.all.pss }, func(f footprint) int64 { return f.all.rss }
	var masters []footprint
	for i, s := range chosen {
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\t%s\n", s.Letter, s.What, reads[i][0].processes,
			mb(reads[i], pss), mb(reads[i], rss), mb(orders[i], pss), mb(orders[i], rss))
		if s.Command == "serve" {
			masters = append(append(masters, reads[i]...), orders[i]...)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(masters) == 0 {
		return nil
	}
	of := func(part func(memoryUse) int64) float64 {
		return figures.Over(masters, func(f footprint) float64 { return megabytes(part(f.master)) }).Median
	}
	_, err := fmt.Fprintf(b.out, "\nThe master alone: RSS %.1f MB, Pss %.1f MB, RssAnon %.1f MB. The last is what it costs: its own heap and stacks. The rest are\n"+
		"pages of the executable, which the workers hold anyway.\n",
		of(func(m memoryUse) int64 { return m.rss }), of(func(m memoryUse) int64 { return m.pss }), of(func(m memoryUse) int64 { return m.anon }))
	return err
}

// megabytes of 1,048,576 bytes.
func megabytes(bytes int64) float64 { return float64(bytes) / (1 << 20) }
