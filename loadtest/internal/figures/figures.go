// Package figures sums up what was measured, and writes it for people.
package figures

import (
	"fmt"
	"slices"
	"time"
)

// Spread is a median with the extremes it stands for.
type Spread struct{ Median, Min, Max float64 }

// Of summarises at least one value.
func Of(values []float64) Spread {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return Spread{(v[(n-1)/2] + v[n/2]) / 2, v[0], v[n-1]}
}

// Over summarises one number of many things.
func Over[T any](things []T, number func(T) float64) Spread {
	values := make([]float64, len(things))
	for i, thing := range things {
		values[i] = number(thing)
	}
	return Of(values)
}

func (s Spread) String() string { return fmt.Sprintf("%.2f (%.2f-%.2f)", s.Median, s.Min, s.Max) }

// Whole is String for large numbers: 91,235 (88,012-93,400).
func (s Spread) Whole() string {
	return fmt.Sprintf("%s (%s-%s)", Thousands(s.Median), Thousands(s.Min), Thousands(s.Max))
}

// Milliseconds of a duration.
func Milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// Thousands writes 91234.5 as 91,235.
func Thousands(v float64) string {
	digits := fmt.Sprintf("%.0f", v)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// Turns says in which order round i (counted from 0) visits n setups, so that none always runs first, or always after the
// same neighbour.
func Turns(i, n int) []int {
	o := make([]int, n)
	for j := range o {
		o[j] = (i + j) % n
	}
	if i%2 == 1 {
		slices.Reverse(o)
	}
	return o
}

// Percentile returns the value within which a share of sorted durations lies, by nearest rank; 0 of none.
func Percentile(sorted []time.Duration, share float64) time.Duration {
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return sorted[min(int(share*float64(n)), n-1)]
}
