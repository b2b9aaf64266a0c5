package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"doorbuster/loadtest/internal/figures"
)

// What customers keep of what they get in a quiet shop, under any attack.
const (
	leastKept  = 0.6 // of the orders per second
	mostSlower = 4.0 // times the quiet p99 of a checkout
)

func nameOf(attacks []attack) string {
	var names []string
	for _, a := range attacks {
		names = append(names, a.name)
	}
	return strings.Join(names, " + ")
}

// report prints the tables and counts the trials of the newer shop in which
// customers kept less than they should.
func (b *bench) report(to io.Writer, t trials) (broken int) {
	broken = b.table(to, "one attack at a time, from one address", t.alone)
	if len(t.pairs) > 0 {
		broken += b.table(to, "two at a time, from an address each", t.pairs)
	}
	return broken + b.table(to, "one at a time, from as many addresses as there are strangers", t.scattered)
}

func (b *bench) table(to io.Writer, title string, trials []*trial) (broken int) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\n%s\n", title)
	fmt.Fprintln(w, "attack\tshop\torders/s quiet\tattacked\tkept\tp99 quiet\tattacked\tslower\tstrangers/s\tof which 429\t")
	for _, t := range trials {
		for i, target := range b.targets {
			if len(t.samples[i]) == 0 {
				continue
			}
			f := sumUp(t.samples[i])
			verdict := ""
			if i == 0 && !f.holds() {
				verdict = "LESS THAN CUSTOMERS SHOULD KEEP"
				broken++
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.0f %% (%.0f-%.0f)\t%.0f ms\t%.0f ms\t%.1f times\t%.0f\t%.0f %%\t%s\n",
				nameOf(t.attacks), target.name, figures.Thousands(f.quiet), figures.Thousands(f.attacked),
				100*f.kept.Median, 100*f.kept.Min, 100*f.kept.Max, f.p99Quiet, f.p99Attacked, f.slower.Median, f.strangers, 100*f.limited, verdict)
		}
	}
	w.Flush()
	return broken
}

// figuresOf an attack on one shop, medians over its rounds.
type figuresOf struct {
	quiet, attacked       float64 // orders per second
	kept, slower          figures.Spread
	p99Quiet, p99Attacked float64 // milliseconds
	strangers, limited    float64 // their requests per second, and the share that was told 429
}

func (f figuresOf) holds() bool { return f.kept.Median >= leastKept && f.slower.Median < mostSlower }

func sumUp(of []sample) (f figuresOf) {
	median := func(number func(s sample) float64) float64 { return figures.Over(of, number).Median }
	f.quiet = median(func(s sample) float64 { return s.quiet.perSecond() })
	f.attacked = median(func(s sample) float64 { return s.attacked.perSecond() })
	f.kept = figures.Over(of, func(s sample) float64 { return s.attacked.perSecond() / cmp.Or(s.quiet.perSecond(), 1) })
	f.slower = figures.Over(of, func(s sample) float64 { return s.attacked.p99() / cmp.Or(s.quiet.p99(), 1) })
	f.p99Quiet = median(func(s sample) float64 { return s.quiet.p99() })
	f.p99Attacked = median(func(s sample) float64 { return s.attacked.p99() })
	f.strangers = median(func(s sample) float64 { return float64(s.told.total()) / s.attacked.took.Seconds() })
	f.limited = median(func(s sample) float64 { return float64(s.told[429]) / cmp.Or(float64(s.told.total()), 1) })
	return f
}

// p99 is of the checkouts that made an order, in milliseconds.
func (b *bought) p99() float64 {
	times := slices.Clone(b.times)
	slices.Sort(times)
	return figures.Milliseconds(figures.Percentile(times, .99))
}
