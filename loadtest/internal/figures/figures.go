package main

import (
	"fmt"
	"slices"
	"time"
)

// spread is a median with the extremes it stands for.
type spread struct{ median, min, max float64 }

// spreadOf summarises at least one value.
func spreadOf(values []float64) spread {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return spread{(v[(n-1)/2] + v[n/2]) / 2, v[0], v[n-1]}
}

// spreadOver summarises one number of many things.
func spreadOver[T any](things []T, number func(T) float64) spread {
	values := make([]float64, len(things))
	for i, thing := range things {
		values[i] = number(thing)
	}
	return spreadOf(values)
}

func (s spread) String() string { return fmt.Sprintf("%.2f (%.2f-%.2f)", s.median, s.min, s.max) }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// megabytes of 1,048,576 bytes.
func megabytes(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// thousands writes 91234.5 as 91,235.
func thousands(v float64) string {
	digits := fmt.Sprintf("%.0f", v)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
