//go:build linux

package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"
)

// A step is one thing that the script does to the shop.
type step struct {
	at    time.Duration // since the beginning; later if the step before took longer
	lane  int
	fault *fault
	// What the fault does with these is its own matter. They are drawn up front, so that a seed stands for one script.
	pick   float64 // in [0, 1): whom it meets
	length time.Duration
	count  int
}

func (s step) String() string {
	return fmt.Sprintf("%7.1fs  %-8s  %s (%.2f, %v, %d)", s.at.Seconds(), lanes[s.lane], s.fault.name, s.pick, s.length, s.count)
}

// The lanes of a script. Each does one thing after the other, beside the other lane.
const (
	violence = iota
	orders
)

var lanes = []string{violence: "violence", orders: "orders"}

// A fault is a kind of step. do returns in a word or two what came of it; that is no judgement.
type fault struct {
	name        string
	lane        int
	weight      int           // of 100, roughly, in its lane
	least, most time.Duration // of step.length
	count       int           // step.count is 1 to this; 0: 1
	do          func(*script, context.Context, step) string
}

// Pauses between the steps of a lane: short enough that most steps meet a shop that has not recovered from the one before,
// long enough that some meet one that has.
const (
	leastPause = 200 * time.Millisecond
	mostPause  = 4 * time.Second
)

// draw makes the script of a seed.
func draw(seed uint64, duration time.Duration) []step {
	var all []step
	for lane := range lanes {
		random := rand.New(rand.NewPCG(seed, uint64(lane)))
		var kinds []*fault
		weights := 0
		for i := range faults {
			if faults[i].lane == lane {
				kinds = append(kinds, &faults[i])
				weights += faults[i].weight
			}
		}
		for at := time.Duration(0); ; {
			at += leastPause + time.Duration(random.Int64N(int64(mostPause-leastPause)))
			n := random.IntN(weights)
			kind := kinds[0]
			for _, kind = range kinds {
				if n -= kind.weight; n < 0 {
					break
				}
			}
			s := step{at: at.Round(time.Millisecond), lane: lane, fault: kind, pick: random.Float64(), length: kind.least, count: 1}
			if kind.most > kind.least {
				s.length += time.Duration(random.Int64N(int64(kind.most - kind.least))).Round(time.Millisecond)
			}
			if kind.count > 1 {
				s.count += random.IntN(kind.count)
			}
			if at += s.length; at > duration {
				break
			}
			all = append(all, s)
		}
	}
	slices.SortStableFunc(all, func(a, b step) int { return cmp.Compare(a.at, b.at) })
	return all
}

func printPlan(out io.Writer, plan []step) error {
	for _, s := range plan {
		if _, err := fmt.Fprintln(out, s); err != nil {
			return err
		}
	}
	return nil
}
