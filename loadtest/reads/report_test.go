package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"doorbuster/loadtest/internal/wrk"
)

func TestSpreadOf(t *testing.T) {
	tests := []struct {
		name   string
		values []float64
		want   spread
	}{
		{"one", []float64{7}, spread{7, 7, 7}},
		{"odd, unsorted", []float64{9, 1, 5}, spread{5, 1, 9}},
		{"even takes the mean of the middle two", []float64{8, 2, 4, 100}, spread{6, 2, 100}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := tt.values[0]
			if got := spreadOf(tt.values); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if tt.values[0] != before {
				t.Error("spreadOf sorted its caller's slice")
			}
		})
	}
}

// A machine that halves its speed between rounds changes every rate and no ratio; the ratio of the medians would lie.
func TestRatiosAreTakenPerRound(t *testing.T) {
	at := func(shop, bare, nginx float64) round {
		return round{shopTarget: {PerSecond: shop}, bareTarget: {PerSecond: bare}, nginxTarget: {PerSecond: nginx}}
	}
	reports := summarise([]round{at(50, 100, 200), at(25, 50, 100), at(30, 50, 100)})
	shop := reports[shopTarget]
	if want := (spread{30, 25, 50}); shop.RequestsPerSecond != want {
		t.Errorf("shop's rate: got %+v, want %+v", shop.RequestsPerSecond, want)
	}
	if want := (spread{0.5, 0.5, 0.6}); shop.RatioToBare != want { // the medians would say 30/50
		t.Errorf("shop to bare: got %+v, want %+v", shop.RatioToBare, want)
	}
	if want := (spread{0.25, 0.25, 0.3}); shop.RatioToNginx != want {
		t.Errorf("shop to nginx: got %+v, want %+v", shop.RatioToNginx, want)
	}
	if want := (spread{1, 1, 1}); reports[bareTarget].RatioToBare != want {
		t.Errorf("bare to itself: got %+v, want %+v", reports[bareTarget].RatioToBare, want)
	}
}

func TestSixRoundsSeeAllOrders(t *testing.T) {
	seen := map[[targetCount]target]bool{}
	for i := range 6 {
		seen[[targetCount]target(order(i))] = true
	}
	if len(seen) != 6 {
		t.Errorf("six rounds used %d different orders, want all 6: %v", len(seen), seen)
	}
}

func TestReportPrintsTableAndJSON(t *testing.T) {
	one := wrk.Sample{PerSecond: 41234.4, P50: 1260 * time.Microsecond, P99: 11690 * time.Microsecond}
	two := wrk.Sample{PerSecond: 82468.8, P50: 690 * time.Microsecond, P99: 2 * time.Second}
	rep := report{
		URL: "http://127.0.0.1:3000/v1/products/x", PayloadBytes: 909, ContentType: "application/json",
		Machine: machine{Cores: 2, Go: "go1.26", Kernel: "Linux 6.18", Wrk: "wrk 4.1.0", Nginx: "nginx/1.22.1"},
		Rounds:  1, DurationSeconds: 5, Connections: 64, Threads: 2,
		Targets: summarise([]round{{shopTarget: one, bareTarget: one, nginxTarget: two}}),
	}
	var table, encoded bytes.Buffer
	if err := rep.writeTable(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"909 bytes, application/json", "2 cores, go1.26, Linux 6.18, wrk 4.1.0, nginx/1.22.1",
		"shop      41,234     1.26    11.69   1.00 (1.00-1.00)    0.50 (0.50-0.50)",
		"nginx     82,469     0.69  2000.00   2.00 (2.00-2.00)    1.00 (1.00-1.00)",
	} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &table)
		}
	}
	if err := rep.writeJSON(&encoded); err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal(encoded.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if got, want := back.Targets[shopTarget], rep.Targets[shopTarget]; got != want {
		t.Errorf("through JSON: got %+v, want %+v", got, want)
	}
}

func TestThousands(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 999.4: "999", 1000: "1,000", 91234.5: "91,234", 1234567: "1,234,567"} {
		if got := thousands(v); got != want {
			t.Errorf("thousands(%v): got %s, want %s", v, got, want)
		}
	}
}
