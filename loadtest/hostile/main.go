// Hostile measures what customers of a shop still get while strangers do to it
// what strangers do:
//
//	make bench-hostile
//	make bench-hostile ARGS='-attack searches,slugs -pairs=false'
//
// It opens a shop with databases of its own. A round of an attack measures the
// customers quiet and then attacked, seconds apart, and what travels from one
// machine to another is the ratio of the two, which is taken per round. With
// -before there is a shop of another build beside it, on the same databases,
// and the order of the two changes from round to round.
//
// Customers buy without a pause, each time as somebody new from an address of
// his own. The strangers of an attack come from one address, and then once more
// from as many as there are strangers. They come back at once whatever they are
// told, but not more often than -rate: all of this shares the processors with the
// shop, and a stranger that is refused in no time would have them to himself.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"doorbuster/loadtest/internal/cli"
)

func main() { cli.Main(run) }

type config struct {
	bin, before string
	products    int
	attacks     []attack
	pairs       bool
	strict      bool
	strangers   int
	rate        int // requests per second and stranger; 0: no limit
	buyers      int
	rounds      int
	duration    time.Duration
	seed        uint64
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cfg, err := parseFlags(args, stderr)
	if err != nil {
		return cli.Refuse(stderr, "hostile", err)
	}
	return cli.Finish(ctx, stderr, "hostile", measure(ctx, cfg, stdout, stderr))
}

func parseFlags(args []string, stderr io.Writer) (cfg config, err error) {
	all := attacks()
	var names []string
	for _, a := range all {
		names = append(names, a.name)
	}
	flags := flag.NewFlagSet("hostile", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&cfg.bin, "bin", "bin/doorbuster", "the program under test, as a `PATH`")
	flags.StringVar(&cfg.before, "before", "", "the `PATH` of an older one to compare it with")
	flags.IntVar(&cfg.products, "products", 200_000, "products of the shop, besides those of the seed")
	chosen := flags.String("attack", "all", "`NAMES` of attacks, with commas between: "+strings.Join(names, ", "))
	flags.BoolVar(&cfg.pairs, "pairs", true, "try all attacks two at a time as well, for one round")
	flags.BoolVar(&cfg.strict, "strict", false, "fail where customers keep less than they should")
	flags.IntVar(&cfg.strangers, "strangers", 60, "connections of strangers")
	flags.IntVar(&cfg.rate, "rate", 40, "requests per second of each stranger at the most; 0: as many as it can")
	flags.IntVar(&cfg.buyers, "buyers", 16, "customers at once")
	flags.IntVar(&cfg.rounds, "rounds", 3, "how often each attack is measured")
	flags.DurationVar(&cfg.duration, "duration", 6*time.Second, "length of one measurement")
	flags.Uint64Var(&cfg.seed, "seed", rand.Uint64(), "of what strangers ask for")
	if err := flags.Parse(args); err != nil {
		return cfg, err
	}
	if cfg.strangers < 2 || cfg.buyers < 1 || cfg.rounds < 1 || cfg.products < 0 || cfg.rate < 0 || cfg.duration <= 0 {
		return cfg, errors.New("-strangers has to be 2 or more, -buyers and -rounds 1 or more, -duration more than 0, and nothing less than 0")
	}
	if *chosen == "all" {
		cfg.attacks = all
		return cfg, nil
	}
	for name := range strings.SplitSeq(*chosen, ",") {
		i := slices.Index(names, strings.TrimSpace(name))
		if i < 0 {
			return cfg, fmt.Errorf("-attack %s is none of %s", name, strings.Join(names, ", "))
		}
		cfg.attacks = append(cfg.attacks, all[i])
	}
	return cfg, nil
}
