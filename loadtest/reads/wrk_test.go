package main

import (
	"strings"
	"testing"
	"time"
)

// wrkOutput is what wrk 4.1.0 prints, with the parts that vary put in. after holds the lines between the totals and the
// requests per second, where wrk complains.
func wrkOutput(p50, p99, totals, after, perSecond string) string {
	return `Running 5s test @ http://127.0.0.1:3000/v1/products/aurora-55-oled-tv
  2 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.26ms    1.89ms  36.07ms   91.86%
    Req/Sec    37.70k     3.29k   46.29k    70.00%
  Latency Distribution
     50%  ` + p50 + `
     75%    1.20ms
     90%    2.91ms
     99%    ` + p99 + `
  ` + totals + "\n" + after + `Requests/sec:  ` + perSecond + `
Transfer/sec:     82.25MB
`
}

const totals = "375286 requests in 5.00s, 411.25MB read"

func TestParseWrk(t *testing.T) {
	tests := []struct {
		name string
		out  string
		want sample
	}{
		{
			"microseconds and milliseconds", wrkOutput("687.00us", "5.57ms", totals, "", "75057.20"),
			sample{75057.20, 687 * time.Microsecond, 5570 * time.Microsecond, 375286, 411.25 * (1 << 20)},
		},
		{
			"milliseconds and seconds", wrkOutput("12.05ms", "1.98s", "9000 requests in 10.01s, 1.50GB read", "", "  899.10"),
			sample{899.10, 12050 * time.Microsecond, 1980 * time.Millisecond, 9000, 1.5 * (1 << 30)},
		},
		{
			"minutes and single bytes", wrkOutput("3.00s", "1.50m", "4 requests in 5.00s, 812.00B read", "", "0.80"),
			sample{0.80, 3 * time.Second, 90 * time.Second, 4, 812},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseWrk(tt.out)
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestParseWrkRefuses(t *testing.T) {
	good := wrkOutput("687.00us", "5.57ms", totals, "", "75057.20")
	without := func(part string) string {
		var kept strings.Builder
		for line := range strings.Lines(good) {
			if !strings.Contains(line, part) {
				kept.WriteString(line)
			}
		}
		return kept.String()
	}
	tests := []struct {
		name, out, want string
	}{
		{
			"error statuses", wrkOutput("687.00us", "5.57ms", totals, "  Non-2xx or 3xx responses: 12\n", "75057.20"),
			"requests failed: Non-2xx or 3xx responses: 12",
		},
		{
			"socket errors",
			wrkOutput("687.00us", "5.57ms", totals, "  Socket errors: connect 0, read 3, write 0, timeout 1\n", "75057.20"),
			"requests failed: Socket errors: connect 0, read 3, write 0, timeout 1",
		},
		{"no request at all", wrkOutput("0.00us", "0.00us", "0 requests in 5.00s, 0.00B read", "", "0.00"), "completed no request"},
		{"no latencies", without("99%"), `no line with "99%"`},
		{"no rate", without("Requests/sec"), `no line with "Requests/sec:"`},
		{"no totals", without("requests in"), `no line with "requests"`},
		{"an unknown unit", wrkOutput("687.00parsecs", "5.57ms", totals, "", "75057.20"), "unknown unit"},
		{"an unknown size", wrkOutput("687.00us", "5.57ms", "9 requests in 5.00s, 3.00QB read", "", "1.80"), "unknown amount of bytes"},
		{"not wrk", "unable to connect to 127.0.0.1:1 Connection refused\n", "no line with"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseWrk(tt.out)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %+v and error %v, want an error with %q", got, err, tt.want)
			}
		})
	}
}

func TestCheckBytesNoticesAnswersWithoutTheBody(t *testing.T) {
	s := sample{requests: 1000, bytes: 1000 * 1100}
	if err := s.checkBytes(900); err != nil {
		t.Errorf("1100 bytes carry a body of 900 and its headers, but got %v", err)
	}
	if err := s.checkBytes(1100); err != nil {
		t.Errorf("wrk's rounding must not fail a run, but got %v", err)
	}
	if err := s.checkBytes(4000); err == nil {
		t.Error("1100 bytes cannot carry a body of 4000, but checkBytes is content")
	}
}
