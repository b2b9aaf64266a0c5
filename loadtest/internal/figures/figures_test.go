package figures_test

import (
	"slices"
	"testing"
	"time"

	"doorbuster/loadtest/internal/figures"
)

func TestSpread(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   figures.Spread
		whole  string
	}{
		{[]float64{7}, figures.Spread{Median: 7, Min: 7, Max: 7}, "7 (7-7)"},
		{[]float64{3000, 1000, 2000}, figures.Spread{Median: 2000, Min: 1000, Max: 3000}, "2,000 (1,000-3,000)"},
		{[]float64{4, 1, 3, 2}, figures.Spread{Median: 2.5, Min: 1, Max: 4}, "2 (1-4)"},
	} {
		if got := figures.Of(tt.values); got != tt.want || got.Whole() != tt.whole {
			t.Errorf("%v: got %v, %s, want %v, %s", tt.values, got, got.Whole(), tt.want, tt.whole)
		}
	}
}

func TestThousands(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 91234.6: "91,235", 1234567: "1,234,567"} {
		if got := figures.Thousands(v); got != want {
			t.Errorf("%v: got %s, want %s", v, got, want)
		}
	}
}

func TestPercentile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for _, tt := range []struct {
		of    []time.Duration
		share float64
		want  time.Duration
	}{{hundred, 0.5, 51}, {hundred, 0.99, 100}, {hundred, 1, 100}, {hundred[:1], 0.5, 1}, {hundred[:1], 0.99, 1}, {nil, 0.5, 0}} {
		if got := figures.Percentile(tt.of, tt.share); got != tt.want {
			t.Errorf("%v of %d: got %d, want %d", tt.share, len(tt.of), got, tt.want)
		}
	}
}

func TestTurns(t *testing.T) {
	for round, want := range [][]int{{0, 1, 2}, {0, 2, 1}, {2, 0, 1}, {2, 1, 0}, {1, 2, 0}, {1, 0, 2}} {
		if got := figures.Turns(round, 3); !slices.Equal(got, want) {
			t.Errorf("round %d: got %v, want %v", round, got, want)
		}
	}
}
