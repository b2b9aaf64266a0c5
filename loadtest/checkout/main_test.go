package main

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestFlagsAreChecked(t *testing.T) {
	tests := []struct {
		args string
		want string // part of the complaint; none if empty
	}{
		{"", ""},
		{"-rounds 1 -duration 1s -alone 1s -connections 8 -herd 100 -skip herd -svg a.svg -profile b -acks c", ""},
		{"-smoke", ""},
		{"-skip walks", "no such subject"},
		{"-rounds 0", "-rounds"},
		{"-duration 1ms", "-duration"},
		{"-duration 2m", "-duration"},
		{"-alone 0s", "-alone"},
		{"-alone 2m", "-alone"},
		{"-connections 0", "want 1 to"},
		{"-connections 64,5000", "want 1 to"},
		{"-connections 64;256", "numbers with commas"},
		{"-herd 0", "-herd"},
		{"-herd 1000000", "-herd"},
		{"-svg a.svg -skip http", "-svg"},
		{"-svg a.svg -skip postgres", "-svg"},
		{"-profile a -skip http", "-profile"},
		{"more", "unexpected argument"},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			_, err := parseFlags(strings.Fields(tt.args), io.Discard)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("got %v, want no error", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestSmokeLeavesWhatWasAskedFor(t *testing.T) {
	cfg, err := parseFlags([]string{"-rounds", "2", "-smoke", "-herd", "60"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.rounds != 2 || cfg.herd != 60 {
		t.Errorf("got %d rounds and a herd of %d, asked for 2 and 60", cfg.rounds, cfg.herd)
	}
	if cfg.duration != time.Second || !slices.Equal(cfg.connections, []int{64}) {
		t.Errorf("got %v over %v, want the settings of a smoke run", cfg.duration, cfg.connections)
	}
}

func TestHerdPlan(t *testing.T) {
	for _, tt := range []struct {
		name                   string
		buyers, workers, limit int
		want                   int
		crowds                 int
		shrunk                 bool
	}{
		{"all fit in one process", 1000, 2, 20_000, 1000, 1, false},
		{"two processes for thirty thousand", 30_000, 2, 20_000, 30_000, 2, false},
		{"one worker can't hold them", 30_000, 1, 20_000, 15_840, 2, true},
		{"a common limit", 30_000, 2, 1024, 1318, 2, true},
		{"nobody limits us", 200_000, 8, 1 << 30, 200_000, 14, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := planHerd(tt.buyers, tt.workers, tt.limit)
			sum := 0
			for _, n := range p.crowds {
				sum += n
				if n > tt.limit-spareDescriptors || n > maxCrowd {
					t.Errorf("a crowd of %d does not fit in a process", n)
				}
			}
			if p.buyers != tt.want || sum != tt.want || len(p.crowds) != tt.crowds || (p.note != "") != tt.shrunk {
				t.Errorf("got %+v, want %d buyers in %d crowds", p, tt.want, tt.crowds)
			}
			if share := p.buyers / tt.workers; float64(share)*evenEnough > float64(tt.limit) {
				t.Errorf("a worker may have to hold %.0f connections of %d", float64(share)*evenEnough, tt.limit)
			}
		})
	}
}

// A source address has 28,232 ports; a pair of addresses is taken for a minute after use.
func TestHerdsDoNotShareAddresses(t *testing.T) {
	used := map[string]int{}
	for herd := range 2 {
		for first := 0; first < 30_000; first += 15_000 {
			o := crowdOrder{First: first, Net: 1 + herd}
			for i := range 15_000 {
				used[o.source(i).String()]++
			}
		}
	}
	if len(used) != 6 {
		t.Errorf("%d addresses, want 3 for each herd", len(used))
	}
	for addr, n := range used {
		if n > 28_000 {
			t.Errorf("%s has %d buyers, and no more ports", addr, n)
		}
	}
}

func TestChart(t *testing.T) {
	svg := string(chart([]bar{{label: "A & B"}, {"slow", 250, "plain"}, {"fast", 1000, "ours"}, {label: "C"}, {"huge", 50_000, "batch"}}))
	for _, want := range []string{
		"A &amp; B", `width="112.5"`, `width="450.0" height="16" rx="2" class="ours"`, ">1,000</text>", `width="450.0" height="16" rx="2" class="batch"`, "prefers-color-scheme: dark", `class="plain"`, "</svg>",
	} {
		if !strings.Contains(svg, want) {
			t.Errorf("the chart has no %s:\n%s", want, svg)
		}
	}
}

func TestBars(t *testing.T) {
	at := func(rates ...float64) (all []sample) {
		for _, r := range rates {
			all = append(all, sample{perSecond: r})
		}
		return all
	}
	hot := &load{hot: true, connections: 64, samples: [][]sample{at(2000, 3000, 2500), at(200, 300, 250), at(400, 100, 260)}}
	spread := &load{connections: 64, samples: [][]sample{at(3000), at(700), at(600)}}
	got := map[string]float64{}
	for _, b := range bars([]*load{hot, spread}, []*way{{name: "one", orders: 1, rates: []float64{3, 1, 2}}}) {
		got[b.label] = b.value
	}
	for label, want := range map[string]float64{
		"group commit, one hot SKU": 2500, "plain, one hot SKU": 260, "group commit, 1,000 SKUs": 3000, "plain, 1,000 SKUs": 700, "one": 2,
	} {
		if got[label] != want {
			t.Errorf("%s: got %v, want %v", label, got[label], want)
		}
	}
	// Of each round: 10, 10, 10 and not of medians.
	if r := ratio(hot.samples[ours], hot.samples[plain]); r.Min != 10 || r.Max != 10 {
		t.Errorf("got ratios %v, want 10", r)
	}
}
