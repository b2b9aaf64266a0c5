package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"text/tabwriter"
	"time"

	"doorbuster/loadtest/internal/figures"
	"doorbuster/loadtest/internal/shop"
)

// A setup is one way of running the shop.
type setup struct {
	shop.Setup
	connections int // of each worker to PostgreSQL
}

// Places in setups.
const (
	ours = iota
	plain
	plainWide
)

const plainWideConnections = 32

func setups() []setup {
	serve := func(letter, what string, connections int, env ...string) setup {
		env = append([]string{"WORKERS=" + strconv.Itoa(runtime.NumCPU())}, env...)
		return setup{shop.Setup{Letter: letter, What: what, Command: "serve", Env: env}, connections}
	}
	return []setup{
		ours:  serve("A", "group commit", shop.ConnectionsPerWorker),
		plain: serve("B", "plain", shop.ConnectionsPerWorker, "CHECKOUT_PLAIN=true"),
		plainWide: serve("C", "plain, 32 connections", plainWideConnections,
			"CHECKOUT_PLAIN=true", "DATABASE_MAX_CONNS="+strconv.Itoa(plainWideConnections)),
	}
}

// A load is a crowd, and what it bought by setup and round.
type load struct {
	what        string
	hot         bool
	connections int
	queue       *queue
	samples     [][]sample
}

// sample is one measurement.
type sample struct {
	perSecond float64
	p50, p99  time.Duration
	cores     float64 // that the shop had, its databases apart
}

func (b *bench) loads(setups int) []*load {
	hot, spread := newQueue(func(int) string { return hotSKU }), newQueue(spreadSKU)
	var all []*load
	for _, n := range b.cfg.connections {
		for _, l := range []*load{{what: "all the same SKU", hot: true, queue: hot}, {what: "each one of 1,000 SKUs", queue: spread}} {
			l.connections, l.samples = n, make([][]sample, setups)
			all = append(all, l)
		}
	}
	return all
}

// throughHTTP measures all setups under all loads, in turns, and prints the tables.
func (b *bench) throughHTTP(ctx context.Context) (_ []*load, err error) {
	chosen := setups()
	servers := make([]*shop.Server, len(chosen))
	for i, s := range chosen {
		if servers[i], err = b.Start(ctx, s.Setup); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, servers[i].Stop()) }()
	}
	loads := b.loads(len(chosen))
	for round := range b.cfg.rounds {
		for _, l := range loads {
			for _, i := range figures.Turns(round, len(servers)) {
				s, err := b.measure(ctx, l, i, servers)
				if err != nil {
					return nil, fmt.Errorf("round %d, %d buyers, %s, %s: %w", round+1, l.connections, l.what, chosen[i].Letter, err)
				}
				l.samples[i] = append(l.samples[i], s)
			}
			b.say("round %d of %d, %d buyers, %s: A %.0f  B %.0f  C %.0f orders/s", round+1, b.cfg.rounds, l.connections, l.what,
				l.samples[ours][round].perSecond, l.samples[plain][round].perSecond, l.samples[plainWide][round].perSecond)
		}
	}
	if b.cfg.profile != "" {
		if err := b.profile(ctx, loads[0], servers); err != nil {
			return nil, fmt.Errorf("take a profile: %w", err)
		}
	}
	return loads, b.printLoads(chosen, loads)
}

// Buyers prepared for a measurement: a quarter more than the fastest sale so far had use for. Before the first a guess, which
// a short sale corrects.
const (
	firstRate     = 2000
	rateAllowance = 1.25
	warmUp        = 500 * time.Millisecond
)

// measure prepares enough buyers and lets them buy from one server. As many units must have left the shelves as orders were
// acknowledged.
func (b *bench) measure(ctx context.Context, l *load, setup int, servers []*shop.Server) (sample, error) {
	srv, rate := servers[setup], 0.0
	for _, s := range l.samples[setup] {
		rate = max(rate, s.perSecond)
	}
	if rate == 0 {
		if err := l.queue.fillUp(ctx, servers[ours].Addr, int(firstRate*warmUp.Seconds())); err != nil {
			return sample{}, err
		}
		warm, err := l.queue.sell(ctx, srv.Addr, l.connections, warmUp)
		if err != nil {
			return sample{}, fmt.Errorf("warm up: %w", err)
		}
		rate = 1.5 * warm.perSecond() // caches and plans were cold
	}
	if err := l.queue.fillUp(ctx, servers[ours].Addr, int(rate*rateAllowance*b.cfg.duration.Seconds())+l.connections); err != nil {
		return sample{}, err
	}
	before, err := b.UnitsLeft(ctx, b.ids)
	if err != nil {
		return sample{}, err
	}
	var sold sale
	cores, err := srv.CoresUsed(ctx, func() (err error) {
		sold, err = l.queue.sell(ctx, srv.Addr, l.connections, b.cfg.duration)
		return err
	})
	if err != nil {
		return sample{}, err
	}
	after, err := b.UnitsLeft(ctx, b.ids)
	if err != nil {
		return sample{}, err
	}
	if before-after != len(sold.times) {
		return sample{}, fmt.Errorf("%d units left the shelves, and %d orders were acknowledged", before-after, len(sold.times))
	}
	return sample{sold.perSecond(), sold.within(0.5), sold.within(0.99), cores}, nil
}

// betterPlain is the one of the two plain setups that is faster, by the median.
func (l *load) betterPlain() int {
	rate := func(i int) float64 { return l.rate(i).Median }
	if rate(plainWide) > rate(plain) {
		return plainWide
	}
	return plain
}

func (l *load) rate(setup int) figures.Spread {
	return figures.Over(l.samples[setup], func(s sample) float64 { return s.perSecond })
}

// ratio compares two measurements round by round.
func ratio(over, under []sample) figures.Spread {
	ratios := make([]float64, len(over))
	for i := range over {
		ratios[i] = over[i].perSecond / under[i].perSecond
	}
	return figures.Of(ratios)
}

func (b *bench) printLoads(chosen []setup, loads []*load) error {
	fmt.Fprintln(b.out)
	for _, s := range chosen {
		fmt.Fprintf(b.out, "%s  %-22s %s\n", s.Letter, s.What, s.CommandLine())
	}
	for _, l := range loads {
		fmt.Fprintf(b.out, "\nCheckouts through HTTP: %d buyers at a time, %s; %v\n\n", l.connections, l.what, b.cfg.duration)
		t := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "\t\torders/s\tp50 ms\tp99 ms\tcores\tCPU µs\tA to it")
		for i, s := range chosen {
			over := func(value func(sample) float64) figures.Spread { return figures.Over(l.samples[i], value) }
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%.2f\t%s\t%s\n", s.Letter, s.What, l.rate(i).Whole(),
				over(func(s sample) float64 { return figures.Milliseconds(s.p50) }), over(func(s sample) float64 { return figures.Milliseconds(s.p99) }),
				over(func(s sample) float64 { return s.cores }).Median,
				figures.Thousands(over(func(s sample) float64 { return s.cores / s.perSecond * 1e6 }).Median), ratio(l.samples[ours], l.samples[i]))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	fmt.Fprintln(b.out)
	for i := 0; i+1 < len(loads); i += 2 { // hot and spread, for each number of connections
		hot, spread := loads[i], loads[i+1]
		better := hot.betterPlain()
		fmt.Fprintf(b.out, "%d buyers: hot to plain hot (the better: %s) %s, target 8; hot to 1,000 SKUs %s, target 0.7\n",
			hot.connections, chosen[better].Letter, ratio(hot.samples[ours], hot.samples[better]), ratio(hot.samples[ours], spread.samples[ours]))
	}
	return nil
}
