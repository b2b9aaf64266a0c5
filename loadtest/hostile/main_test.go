package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestFlags(t *testing.T) {
	for _, tt := range []struct {
		args string
		want string // in the error; "": none
	}{
		{"", ""},
		{"-attack searches,slugs", ""},
		{"-attack bribes", "is none of searches, "},
		{"-strangers 1", "-strangers"},
		{"-duration 0s", "-duration"},
		{"-rate -1", "nothing less than 0"},
	} {
		_, err := parseFlags(strings.Fields(tt.args), new(bytes.Buffer))
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got %v, want %q", tt.args, err, tt.want)
		}
	}
}

// quietly is a visit with so many orders in a second, and after a time each.
func quietly(orders int, p99 time.Duration) bought {
	return bought{orders: orders, times: []time.Duration{p99}, took: time.Second, failed: tally{}}
}

func TestVerdicts(t *testing.T) {
	for _, tt := range []struct {
		name            string
		quiet, attacked bought
		broken          int
	}{
		{"nothing lost", quietly(100, time.Second), quietly(100, time.Second), 0},
		{"just enough", quietly(100, time.Second), quietly(60, 3900*time.Millisecond), 0},
		{"too few", quietly(100, time.Second), quietly(59, time.Second), 1},
		{"too slow", quietly(100, time.Second), quietly(100, 4*time.Second), 1},
		{"none", quietly(100, time.Second), bought{took: time.Second}, 1},
		{"a shop that sells nothing", bought{took: time.Second}, bought{took: time.Second}, 1},
	} {
		b := &bench{targets: []target{{"now", ""}}}
		one := &trial{attacks: attacks()[:1], samples: [][]sample{{{tt.quiet, tt.attacked, tally{429: 1}}}}}
		out := new(bytes.Buffer)
		if got := b.report(out, trials{alone: []*trial{one}}); got != tt.broken {
			t.Errorf("%s: got %d broken, want %d\n%s", tt.name, got, tt.broken, out)
		}
	}
}
