//go:build linux

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// print writes the tables: what was done, what was seen, and what the machine took away.
func (b *bench) print(s *script, r *result) {
	b.printDeeds(s)
	w := r.witness
	fmt.Fprintf(b.out, "\nAnswers\n%s\nby clients\n%s\n", strings.Join(sum(w.counts), "\n"), strings.Join(sum(w.kinds), "\n"))
	longest := time.Duration(0)
	for _, l := range w.silences {
		longest = max(longest, l.length())
	}
	bound := func(what string, d, bound time.Duration) {
		fmt.Fprintf(b.out, "%s: %v (allowed: %v)\n", what, round(d), bound)
	}
	fmt.Fprintln(b.out)
	bound("longest time without an answer to anybody", longest, maxSilence)
	bound("slowest answer on a fresh connection", w.slowest, maxWait)
	fmt.Fprintf(b.out, "requests without an answer: %d\n", len(w.losses))
	fmt.Fprintf(b.out, "processes of the master: %d at most; %d at most held a slot or answered (%d looks)\n", r.census.most, r.census.held, r.census.samples)
	fmt.Fprintf(b.out, "time with no worker ready and the answerer there: %v, in %d spans\n", round(total(r.evidence.dark)), len(r.evidence.dark))
	if len(r.verdict.excused) > 0 {
		fmt.Fprintf(b.out, "excused\n%s\n", strings.Join(sum(r.verdict.excused), "\n"))
	}
	fmt.Fprintf(b.out, "recovered %v after the script\n", r.healed.Round(100*time.Millisecond))
	fmt.Fprintf(b.out, "the machine had no processor for this program for %v in %d pauses, the longest %v; the time in them is subtracted above\n",
		round(total(r.evidence.pauses)), len(r.evidence.pauses), round(longestOf(r.evidence.pauses)))
	b.printRest(r.before, r.after)
	b.printLog(r)
}

// printDeeds counts the steps by what came of them.
func (b *bench) printDeeds(s *script) {
	type row struct{ fault, outcome string }
	counts := map[row]int{}
	for _, d := range s.deeds {
		counts[row{d.fault.name, d.outcome}]++
	}
	fmt.Fprintln(b.out)
	t := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "what was done\ttimes\twith what outcome")
	for _, f := range faults {
		var outcomes []string
		n := 0
		for _, k := range slices.SortedFunc(maps.Keys(counts), func(a, b row) int { return strings.Compare(a.outcome, b.outcome) }) {
			if k.fault == f.name {
				n += counts[k]
				outcomes = append(outcomes, fmt.Sprintf("%d %s", counts[k], k.outcome))
			}
		}
		fmt.Fprintf(t, "%s\t%d\t%s\n", f.name, n, strings.Join(outcomes, "; "))
	}
	t.Flush()
	fmt.Fprintf(b.out, "%d steps, and %d more for which there was no time\n", len(s.deeds), s.skipped)
}

// mostPrinted breaches of a bound are written out.
const mostPrinted = 5

func (b *bench) printBreaches() {
	fmt.Fprintln(b.out)
	counts := map[string]int{}
	for _, br := range b.breaches {
		if counts[br.bound]++; counts[br.bound] <= mostPrinted {
			fmt.Fprintf(b.out, "BROKEN: %s\n  %s\n", br.bound, br.how)
		}
	}
	for _, line := range sum(counts) {
		fmt.Fprintln(b.out, line)
	}
	if len(b.breaches) == 0 {
		fmt.Fprintln(b.out, "All bounds hold.")
	}
}

func (b *bench) printRest(before, after rest) {
	fmt.Fprintln(b.out)
	t := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "at rest\tat the start\tin the end")
	for _, row := range []struct {
		what    string
		was, is any
	}{
		{"workers ready", before.ready, after.ready},
		{"descriptors of the master", before.masterDescriptors, after.masterDescriptors},
		{"memory of the master, MB", before.masterMemory >> 20, after.masterMemory >> 20},
		{"threads of the master", before.masterThreads, after.masterThreads},
		{"descriptors of a worker", before.descriptors, after.descriptors},
		{"goroutines of a worker", all(before.goroutines), all(after.goroutines)},
	} {
		fmt.Fprintf(t, "%s\t%v\t%v\n", row.what, row.was, row.is)
	}
	t.Flush()
}

// printLog counts the warnings and errors of the log.
func (b *bench) printLog(r *result) {
	counts := map[string]int{}
	for _, l := range r.evidence.log {
		if l.Level == "WARN" || l.Level == "ERROR" {
			counts[l.Level+" "+l.Msg]++
		}
	}
	fmt.Fprintf(b.out, "\nThe log\n%s\n", strings.Join(sum(counts), "\n"))
}

// all adds up counts.
func all(counts map[string]int) (n int) {
	for _, count := range counts {
		n += count
	}
	return n
}

func total(spans []span) (sum time.Duration) {
	for _, s := range spans {
		sum += s.length()
	}
	return sum
}

func longestOf(spans []span) (longest time.Duration) {
	for _, s := range spans {
		longest = max(longest, s.length())
	}
	return longest
}
