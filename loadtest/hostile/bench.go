package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"time"

	"doorbuster/app/volume"
	"doorbuster/loadtest/internal/client"
	"doorbuster/loadtest/internal/figures"
	"doorbuster/loadtest/internal/shop"
)

// bench is a shop that is attacked, or two of them.
type bench struct {
	*shop.Shop
	cfg      config
	progress io.Writer
	targets  []target
	skus     []string
	from     *client.Customers
}

// target is a shop that runs.
type target struct{ name, addr string }

// sample is one visit to a shop.
type sample struct {
	quiet, attacked bought
	told            tally
}

// trial is what was measured of one attack, or of two at once.
type trial struct {
	attacks   []attack
	scattered bool       // each stranger has an address of his own, or else each attack has one
	samples   [][]sample // by target
}

func (b *bench) trial(scattered bool, attacks ...attack) *trial {
	return &trial{attacks: attacks, scattered: scattered, samples: make([][]sample, len(b.targets))}
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.progress, format+"\n", args...) }

// measure opens the shop, attacks it, prints the tables and leaves nothing
// behind.
func measure(ctx context.Context, cfg config, stdout, progress io.Writer) (err error) {
	b := &bench{cfg: cfg, progress: progress, from: client.NewCustomers()}
	b.say("seed %d", cfg.seed)
	b.Shop, err = shop.Open(ctx, cfg.bin, 100, func(msg string) { b.say("%s", msg) })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close(ctx)) }()
	if err := volume.Fill(ctx, b.DB, volume.Size{Products: cfg.products}, b.say); err != nil {
		return fmt.Errorf("make the shop large: %w", err)
	}
	if b.skus, _, err = b.DeliverPlenty(ctx); err != nil {
		return err
	}
	stop, err := b.open(ctx)
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return err
	}
	trials, err := b.trials(ctx)
	var shares []share
	if err == nil {
		shares, err = b.besides(ctx)
	}
	fmt.Fprintf(stdout, "%s\n%d customers without a pause, %d strangers of at most %s; %d products and those of the seed; seed %d\n",
		b.Machine(ctx), cfg.buyers, cfg.strangers, perSecond(cfg.rate), cfg.products, cfg.seed)
	broken := b.report(stdout, trials) + reportShares(stdout, shares)
	switch {
	case err != nil:
		return err
	case broken > 0 && cfg.strict:
		return fmt.Errorf("customers kept less than they should in %d of %d trials", broken, len(trials.all())+len(shares))
	}
	return nil
}

func perSecond(rate int) string {
	if rate == 0 {
		return "as many requests as they can send"
	}
	return fmt.Sprintf("%d requests/s each", rate)
}

// open starts the shops. stop ends what was started.
func (b *bench) open(ctx context.Context) (stop func() error, err error) {
	var servers []*shop.Server
	stop = func() (err error) {
		for _, s := range servers {
			err = errors.Join(err, s.Stop())
		}
		return err
	}
	bins := []struct{ name, path string }{{"now", b.cfg.bin}}
	if b.cfg.before != "" {
		bins = append(bins, struct{ name, path string }{"before", b.cfg.before})
	}
	for _, bin := range bins {
		path, err := filepath.Abs(bin.path)
		if err != nil {
			return stop, err
		}
		srv, err := b.StartFrom(ctx, path, shop.Setup{Command: "serve"})
		if err != nil {
			return stop, err
		}
		servers = append(servers, srv)
		b.targets = append(b.targets, target{bin.name, srv.Addr})
	}
	return stop, nil
}

// trials are all that are made of some attacks.
type trials struct{ alone, pairs, scattered []*trial }

func (t *trials) all() []*trial { return slices.Concat(t.alone, t.pairs, t.scattered) }

// trials measures each attack alone, each two of them at once, and each from
// many addresses. What was measured before an error is returned with it.
func (b *bench) trials(ctx context.Context) (t trials, err error) {
	for i, a := range b.cfg.attacks {
		t.alone = append(t.alone, b.trial(false, a))
		t.scattered = append(t.scattered, b.trial(true, a))
		if b.cfg.pairs {
			for _, other := range b.cfg.attacks[i+1:] {
				t.pairs = append(t.pairs, b.trial(false, a, other))
			}
		}
	}
	for round := range b.cfg.rounds {
		for _, one := range slices.Concat(t.alone, t.scattered) {
			if err := b.round(ctx, one, round); err != nil {
				return t, err
			}
		}
	}
	for i, one := range t.pairs {
		if err := b.round(ctx, one, i); err != nil {
			return t, err
		}
	}
	return t, nil
}

// round visits each shop once.
func (b *bench) round(ctx context.Context, t *trial, round int) error {
	for _, i := range figures.Turns(round, len(b.targets)) {
		s := b.visit(ctx, b.targets[i].addr, t, b.cfg.seed+uint64(round))
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		t.samples[i] = append(t.samples[i], s)
		b.say("%s, %s: %.0f orders/s quiet, %.0f attacked; refused %v; strangers were told %v",
			nameOf(t.attacks), b.targets[i].name, s.quiet.perSecond(), s.attacked.perSecond(), s.attacked.failed, s.told)
	}
	return nil
}

// calm is how long the shop has to get over an attack before the next.
const calm = time.Second

func (b *bench) visit(ctx context.Context, addr string, t *trial, seed uint64) (s sample) {
	pause(ctx, calm)
	buyers := customers{skus: b.skus, from: b.from, name: fmt.Sprintf("%016x", rand.Uint64())}
	s.quiet = buyers.run(ctx, addr, b.cfg.buyers, b.cfg.duration)
	attacking, end := context.WithCancel(ctx)
	defer end()
	told := make(chan tally, 1)
	strangers := &crowd{addr: addr, skus: b.skus, rate: b.cfg.rate, from: b.from, scattered: t.scattered}
	go func() { told <- strangers.strike(attacking, t.attacks, b.cfg.strangers, seed) }()
	buyers.name += "-attacked"
	s.attacked = buyers.run(ctx, addr, b.cfg.buyers, b.cfg.duration)
	end()
	s.told = <-told
	return s
}
