package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"doorbuster/app/audit"
	"doorbuster/loadtest/internal/figures"
)

// outcome is what became of a herd.
type outcome struct {
	ordered, soldOut, busy, other int // buyers by their last answer
	pending                       int // of those that have an order: it was not paid yet
	sentAway                      int // answers that said to come again
	unanswered                    int // tries that nobody answered
	times                         []time.Duration
	lastOrder                     time.Duration
	sorted                        bool
	example                       string // of other

	peakWorker int64 // resident memory, bytes
	replaced   int   // workers, while it lasted
}

// add counts the lines of a crowd, and copies them to the acknowledgement log.
func (o *outcome) add(lines []byte, log io.Writer) error {
	for line := range bytes.Lines(lines) {
		var t told
		if err := json.Unmarshal(line, &t); err != nil {
			return fmt.Errorf("read what a crowd was told: %w", err)
		}
		if _, err := log.Write(line); err != nil {
			return fmt.Errorf("write the acknowledgement log: %w", err)
		}
		o.count(&t)
	}
	return nil
}

func (o *outcome) count(t *told) {
	after := time.Duration(t.After) * time.Microsecond
	switch {
	case t.Status == 0:
		o.unanswered++
	case !t.Last:
		o.sentAway++
	}
	if !t.Last {
		return
	}
	o.times, o.sorted = append(o.times, after), false
	switch {
	case ordered(t.Status):
		o.ordered++
		if t.OrderStatus == "pending" { // its payment is not known yet
			o.pending++
		}
		o.lastOrder = max(o.lastOrder, after)
	case t.Status == 409 && t.Code == "out-of-stock":
		o.soldOut++
	case t.Status == 503:
		o.busy++
	default:
		o.other++
		o.example = fmt.Sprintf("%d %s", t.Status, t.Code)
	}
}

// within is the time from the release in which a share of the buyers knew.
func (o *outcome) within(share float64) time.Duration {
	if !o.sorted {
		slices.Sort(o.times)
		o.sorted = true
	}
	return figures.Percentile(o.times, share)
}

// perSecond is the rate of orders from the release to the last of them.
func (o *outcome) perSecond() float64 {
	if o.lastOrder == 0 {
		return 0
	}
	return float64(o.ordered) / o.lastOrder.Seconds()
}

func ms(d time.Duration) string { return figures.Thousands(figures.Milliseconds(d)) }

// check says what is wrong with a herd's outcome that the books can't know: each buyer has to have one definite answer,
// and as long as nobody was left without one, what there was is sold.
func (o *outcome) check(buyers, units int) error {
	var errs []error
	if n := len(o.times); n != buyers {
		errs = append(errs, fmt.Errorf("%d buyers ended, of %d", n, buyers))
	}
	if o.other > 0 {
		errs = append(errs, fmt.Errorf("%d buyers were told neither of an order, nor that it is sold out, nor that the shop is busy, but such as %s",
			o.other, o.example))
	}
	if want := min(buyers, units); o.ordered > want || o.busy == 0 && o.other == 0 && o.ordered < want {
		errs = append(errs, fmt.Errorf("%d buyers have an order, and %d could", o.ordered, want))
	}
	return errors.Join(errs...)
}

// audit has the program check its books against the log. Durability is a setting of the server, and printed with the
// machine.
func (b *bench) audit(ctx context.Context, acks string) error {
	b.say("auditing the books")
	out, failed := b.Command(ctx, "", "audit", "--acks", acks, "--json")
	var report audit.Report
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&report); err != nil {
		return errors.Join(failed, fmt.Errorf("read what the audit found: %w", err))
	}
	findings, words := judge(&report)
	fmt.Fprintf(b.out, "\ndoorbuster audit: %s\n", words)
	if findings > 0 {
		return fmt.Errorf("findings of the audit: %d", findings)
	}
	return nil
}

// judge counts the findings that this benchmark stands for, and says them in words.
func judge(r *audit.Report) (findings int, words string) {
	var said []string
	checked := 0
	for _, c := range r.Checks {
		switch {
		case c.Name == "durable":
		case c.Skipped != "":
			findings++
			said = append(said, c.Name+" was skipped: "+c.Skipped)
		default:
			checked++
			findings += c.Findings
			for _, example := range c.Examples {
				said = append(said, c.Name+": "+example)
			}
		}
	}
	if checked == 0 {
		return findings + 1, "it has checked nothing"
	}
	if findings == 0 {
		return 0, fmt.Sprintf("%d checks, nothing found: none lost, none oversold, none undersold", checked)
	}
	return findings, strings.Join(said, "\n  ")
}
