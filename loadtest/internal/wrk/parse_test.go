package wrk

import (
	"strings"
	"testing"
	"time"
)

// output is what wrk 4.1.0 prints, with the parts that vary put in. after holds the lines between the totals and the
// requests per second, where wrk complains.
func output(p50, p99, totals, after, perSecond string) string {
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

func TestParse(t *testing.T) {
	tests := []struct {
		name string
		out  string
		want Sample
	}{
		{
			"microseconds and milliseconds", output("687.00us", "5.57ms", totals, "", "75057.20"),
			Sample{PerSecond: 75057.20, P50: 687 * time.Microsecond, P99: 5570 * time.Microsecond, Requests: 375286, Bytes: 411.25 * (1 << 20)},
		},
		{
			"milliseconds and seconds", output("12.05ms", "1.98s", "9000 requests in 10.01s, 1.50GB read", "", "  899.10"),
			Sample{PerSecond: 899.10, P50: 12050 * time.Microsecond, P99: 1980 * time.Millisecond, Requests: 9000, Bytes: 1.5 * (1 << 30)},
		},
		{
			"minutes and single bytes", output("3.00s", "1.50m", "4 requests in 5.00s, 812.00B read", "", "0.80"),
			Sample{PerSecond: 0.80, P50: 3 * time.Second, P99: 90 * time.Second, Requests: 4, Bytes: 812},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse(tt.out)
			if err != nil {
				t.Fatal(err)
			}
			tt.want.Output = tt.out
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestParseCountsFailures(t *testing.T) {
	tests := map[string]int{
		"": 0,
		"  Socket errors: connect 1, read 20, write 300, timeout 4000\n":                                        4321,
		"  Non-2xx or 3xx responses: 17\n":                                                                      17,
		"  Socket errors: connect 0, read 2, write 0, timeout 0\n  Non-2xx or 3xx responses: 3\n":               5,
		"  Socket errors: connect 0, read 0, write 0, timeout 1\n  a line that a later version may come with\n": 1,
	}
	for complaints, failed := range tests {
		got, err := Parse(output("687.00us", "5.57ms", totals, complaints, "75057.20"))
		if err != nil || got.Failed != failed || got.Requests != 375286 {
			t.Errorf("with %q: got %+v, %v, want %d failed", complaints, got, err, failed)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	good := output("687.00us", "5.57ms", totals, "", "75057.20")
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
		{"no request at all", output("0.00us", "0.00us", "0 requests in 5.00s, 0.00B read", "", "0.00"), "completed no request"},
		{"no median", without("50%"), `no line with "50%"`},
		{"no 99th percentile", without("99%"), `no line with "99%"`},
		{"no rate", without("Requests/sec"), `no line with "Requests/sec:"`},
		{"no totals", without("requests in"), `no line with "requests"`},
		{"an unknown unit", output("687.00parsecs", "5.57ms", totals, "", "75057.20"), "unknown unit"},
		{"an unknown size", output("687.00us", "5.57ms", "9 requests in 5.00s, 3.00QB read", "", "1.80"), "unknown amount of bytes"},
		{"failures without a number", output("687.00us", "5.57ms", totals, "  Socket errors: many\n", "75057.20"), "counts nothing"},
		{"not wrk", "unable to connect to 127.0.0.1:1 Connection refused\n", "no line with"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse(tt.out)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %+v and error %v, want an error with %q", got, err, tt.want)
			}
		})
	}
}
