// Hostile measures what customers of running shops still get while strangers do
// to them what strangers do:
//
//	go run ./loadtest/hostile -shops before=127.0.0.1:3000,after=127.0.0.1:4000 -attack searches
//
// Each round visits each shop twice, quiet and attacked, seconds apart, and the
// order of the shops changes from round to round. What travels from one machine to
// another is the ratio of the two, which is taken per round. The load shares the
// processors with what it measures. Stop the shops that are not to be attacked.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"doorbuster/loadtest/internal/cli"
	"doorbuster/loadtest/internal/client"
	"doorbuster/loadtest/internal/figures"
)

func main() { cli.Main(run) }

type config struct {
	shops      []target
	attack     attack
	attackers  int
	buyers     int
	rounds     int
	duration   time.Duration
	seed       uint64
	stdout, to io.Writer
}

// target is a shop that runs.
type target struct{ name, addr string }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cfg, err := parseFlags(args, stderr)
	if err != nil {
		return cli.Refuse(stderr, "hostile", err)
	}
	cfg.stdout, cfg.to = stdout, stderr
	return cli.Finish(ctx, stderr, "hostile", cfg.measure(ctx))
}

func parseFlags(args []string, stderr io.Writer) (cfg config, err error) {
	var names []string
	for _, a := range attacks() {
		names = append(names, a.name)
	}
	flags := flag.NewFlagSet("hostile", flag.ContinueOnError)
	flags.SetOutput(stderr)
	shops := flags.String("shops", "", "shops that run, as `NAME=ADDRESS,...`")
	name := flags.String("attack", names[0], "what strangers do: "+strings.Join(names, ", "))
	flags.IntVar(&cfg.attackers, "attackers", 60, "connections of strangers")
	flags.IntVar(&cfg.buyers, "buyers", 16, "customers at once")
	flags.IntVar(&cfg.rounds, "rounds", 3, "how often each shop is measured")
	flags.DurationVar(&cfg.duration, "duration", 8*time.Second, "length of one measurement")
	flags.Uint64Var(&cfg.seed, "seed", rand.Uint64(), "of what strangers ask for")
	if err := flags.Parse(args); err != nil {
		return cfg, err
	}
	for part := range strings.SplitSeq(*shops, ",") {
		name, addr, ok := strings.Cut(part, "=")
		if !ok {
			return cfg, errors.New("-shops has to be NAME=ADDRESS, such as before=127.0.0.1:3000,after=127.0.0.1:4000")
		}
		cfg.shops = append(cfg.shops, target{name, addr})
	}
	i := slices.IndexFunc(attacks(), func(a attack) bool { return a.name == *name })
	if i < 0 {
		return cfg, fmt.Errorf("-attack %s is none of %s", *name, strings.Join(names, ", "))
	}
	cfg.attack = attacks()[i]
	return cfg, nil
}

// sample is one visit to a shop.
type sample struct {
	quiet, attacked bought
	told            tally
}

func (cfg *config) measure(ctx context.Context) error {
	fmt.Fprintf(cfg.to, "seed %d\n", cfg.seed)
	samples := make([][]sample, len(cfg.shops))
	for round := range cfg.rounds {
		for _, i := range figures.Turns(round, len(cfg.shops)) {
			s, err := cfg.visit(ctx, cfg.shops[i].addr, cfg.seed+uint64(round))
			if err != nil {
				return fmt.Errorf("round %d, %s: %w", round+1, cfg.shops[i].name, err)
			}
			samples[i] = append(samples[i], s)
			fmt.Fprintf(cfg.to, "round %d, %s: %.0f orders/s quiet, %.0f attacked (refused %v, strangers were told %v)\n",
				round+1, cfg.shops[i].name, s.quiet.perSecond(), s.attacked.perSecond(), s.attacked.failed, s.told)
		}
	}
	return cfg.report(samples)
}

func (cfg *config) visit(ctx context.Context, addr string, seed uint64) (s sample, err error) {
	skus, err := goods(ctx, addr)
	if err != nil {
		return s, err
	}
	crowd := customers{skus: skus, name: fmt.Sprintf("%016x", rand.Uint64())}
	s.quiet = crowd.run(ctx, addr, cfg.buyers, cfg.duration)
	attacking, end := context.WithCancel(ctx)
	defer end()
	told := make(chan tally, 1)
	go func() { told <- cfg.attack.run(attacking, addr, cfg.attackers, seed) }()
	crowd.name += "-attacked"
	s.attacked = crowd.run(ctx, addr, cfg.buyers, cfg.duration)
	end()
	s.told = <-told
	return s, context.Cause(ctx)
}

// goods are SKUs that anybody may have any number of.
func goods(ctx context.Context, addr string) (skus []string, err error) {
	c := client.New(addr)
	defer c.Close()
	reply, err := c.Get(ctx, "/v1/products?limit=100")
	if err != nil || reply.Status != http.StatusOK {
		return nil, fmt.Errorf("list products: %d %s, %w", reply.Status, reply.Body, err)
	}
	var page struct {
		Items []struct {
			SKUs []struct {
				SKU          string
				Availability string
				SaleOnly     bool `json:"sale_only"`
				Most         *int `json:"max_per_customer"`
			}
		}
	}
	if err := json.Unmarshal(reply.Body, &page); err != nil {
		return nil, err
	}
	for _, p := range page.Items {
		for _, s := range p.SKUs {
			if s.Availability == "in_stock" && !s.SaleOnly && s.Most == nil {
				skus = append(skus, s.SKU)
			}
		}
	}
	if len(skus) == 0 {
		return nil, errors.New("there is nothing to buy that has no limit")
	}
	return skus, nil
}

func (cfg *config) report(samples [][]sample) error {
	w := tabwriter.NewWriter(cfg.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%d buyers, %d strangers: %s\n", cfg.buyers, cfg.attackers, cfg.attack.name)
	fmt.Fprintln(w, "shop\tquiet/s\tattacked/s\tkept\tp99 quiet\tp99 attacked\tstrangers/s")
	for i, of := range samples {
		kept := figures.Over(of, func(s sample) float64 { return s.attacked.perSecond() / cmp.Or(s.quiet.perSecond(), 1) })
		strangers := func(s sample) float64 {
			n := 0
			for _, times := range s.told {
				n += times
			}
			return float64(n) / s.attacked.took.Seconds()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%.0f %% (%.0f-%.0f)\t%.0f ms\t%.0f ms\t%s\n", cfg.shops[i].name,
			figures.Over(of, func(s sample) float64 { return s.quiet.perSecond() }).Whole(),
			figures.Over(of, func(s sample) float64 { return s.attacked.perSecond() }).Whole(),
			100*kept.Median, 100*kept.Min, 100*kept.Max,
			p99(of, func(s sample) bought { return s.quiet }), p99(of, func(s sample) bought { return s.attacked }),
			figures.Over(of, strangers).Whole())
	}
	return w.Flush()
}

// p99 is the median over the rounds, in milliseconds.
func p99(of []sample, which func(sample) bought) float64 {
	return figures.Over(of, func(s sample) float64 {
		times := slices.Clone(which(s).times)
		slices.Sort(times)
		return figures.Milliseconds(figures.Percentile(times, .99))
	}).Median
}
