package admin_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"doorbuster/cluster/admin"
)

// doc.go, "Metrics": what workers tell, by slot, and what becomes of it.
func TestMerge(t *testing.T) {
	t.Parallel()
	const (
		jobs      = "# TYPE jobs counter\n"
		took      = "# TYPE took histogram\n"
		rest      = "# TYPE rest summary\n"
		tookFew   = took + "took_bucket{le=\"1\"} 1\ntook_bucket{le=\"2\"} 3\ntook_bucket{le=\"+Inf\"} 4\ntook_sum 9\ntook_count 4\n"
		tookMany  = took + "took_bucket{le=\"1\"} 10\ntook_bucket{le=\"2\"} 30\ntook_bucket{le=\"+Inf\"} 40\ntook_sum 90\ntook_count 40\n"
		tookOther = took + "took_bucket{le=\"0.5\"} 7\ntook_bucket{le=\"2\"} 30\ntook_bucket{le=\"3\"} 35\n" +
			"took_bucket{le=\"+Inf\"} 40\ntook_sum 90\ntook_count 40\n"
		tookPart = took + "took_bucket{le=\"1\"} 0.5\ntook_bucket{le=\"2\"} 1\ntook_bucket{le=\"+Inf\"} 1.5\ntook_sum 2\ntook_count 1.5\n"
		restFew  = rest + "rest{quantile=\"0.5\"} 2\nrest_sum 5\nrest_count 3\n"
		restMany = rest + "rest{quantile=\"0.5\"} 4\nrest_sum 50\nrest_count 30\n"
	)
	for _, c := range []struct {
		name string
		said []puppet
		want string
	}{
		{
			"slots are told apart",
			[]puppet{says(1, jobs+`jobs{kind="a"} 1`), says(2, jobs+`jobs{kind="a"} 2`)},
			jobs + "jobs{kind=\"a\",slot=\"1\"} 1\njobs{kind=\"a\",slot=\"2\"} 2\n",
		},
		{
			"counters are added up",
			[]puppet{says(1, jobs+"jobs 1"), says(1, jobs+"jobs 2"), says(2, jobs+"jobs 4")},
			jobs + "jobs{slot=\"1\"} 3\njobs{slot=\"2\"} 4\n",
		},
		{
			"series of one of the two stay",
			[]puppet{says(1, jobs+`jobs{kind="a"} 1`), says(1, jobs+`jobs{kind="b"} 2`)},
			jobs + "jobs{kind=\"a\",slot=\"1\"} 1\njobs{kind=\"b\",slot=\"1\"} 2\n",
		},
		{
			"the order of labels does not matter",
			[]puppet{says(1, jobs+`jobs{a="1",z="2"} 1`), says(1, jobs+`jobs{z="2",a="1"} 2`)},
			jobs + "jobs{a=\"1\",slot=\"1\",z=\"2\"} 3\n",
		},
		{
			"labels that look alike are not the same",
			[]puppet{says(1, jobs+`jobs{a="1\" b=\"2"} 1`), says(1, jobs+`jobs{a="1",b="2"} 2`)},
			jobs + "jobs{a=\"1\\\" b=\\\"2\",slot=\"1\"} 1\njobs{a=\"1\",b=\"2\",slot=\"1\"} 2\n",
		},
		{"untyped", []puppet{says(1, "odd 1"), says(1, "odd 2")}, "# TYPE odd untyped\nodd{slot=\"1\"} 3\n"},
		{"amounts", []puppet{says(1, gauge("open", 3)), says(1, gauge("open", 4))}, "# TYPE open gauge\nopen{slot=\"1\"} 7\n"},
		{
			"a moment, the older process first",
			[]puppet{says(1, gauge("start_time_seconds", 3)), says(1, gauge("start_time_seconds", 4))},
			"# TYPE start_time_seconds gauge\nstart_time_seconds{slot=\"1\"} 4\n",
		},
		{
			"a moment, the newer process first",
			[]puppet{says(1, gauge("start_time_seconds", 4)), says(1, gauge("start_time_seconds", 3))},
			"# TYPE start_time_seconds gauge\nstart_time_seconds{slot=\"1\"} 4\n",
		},
		{
			"the time of something",
			[]puppet{says(1, gauge("seen_timestamp_seconds", 4)), says(1, gauge("seen_timestamp_seconds", 3))},
			"# TYPE seen_timestamp_seconds gauge\nseen_timestamp_seconds{slot=\"1\"} 4\n",
		},
		{"a mark", []puppet{says(1, gauge("build_info", 1)), says(1, gauge("build_info", 1))}, "# TYPE build_info gauge\nbuild_info{slot=\"1\"} 1\n"},
		{
			"a moment of each slot",
			[]puppet{says(1, gauge("start_time_seconds", 3)), says(2, gauge("start_time_seconds", 4))},
			"# TYPE start_time_seconds gauge\nstart_time_seconds{slot=\"1\"} 3\nstart_time_seconds{slot=\"2\"} 4\n",
		},
		{
			"a counter that is called like a moment",
			[]puppet{says(1, "# TYPE cpu_time_seconds counter\ncpu_time_seconds 3"), says(1, "# TYPE cpu_time_seconds counter\ncpu_time_seconds 4")},
			"# TYPE cpu_time_seconds counter\ncpu_time_seconds{slot=\"1\"} 7\n",
		},
		{
			"equal buckets",
			[]puppet{says(1, tookFew), says(1, tookMany)},
			took + "took_bucket{slot=\"1\",le=\"1\"} 11\ntook_bucket{slot=\"1\",le=\"2\"} 33\ntook_bucket{slot=\"1\",le=\"+Inf\"} 44\n" +
				"took_sum{slot=\"1\"} 99\ntook_count{slot=\"1\"} 44\n",
		},
		{
			"other buckets",
			[]puppet{says(1, tookFew), says(1, tookOther)},
			took + "took_bucket{slot=\"1\",le=\"2\"} 33\ntook_bucket{slot=\"1\",le=\"+Inf\"} 44\ntook_sum{slot=\"1\"} 99\ntook_count{slot=\"1\"} 44\n",
		},
		{
			"buckets with parts of one",
			[]puppet{says(1, tookFew), says(1, tookPart)},
			took + "took_bucket{slot=\"1\",le=\"1\"} 1.5\ntook_bucket{slot=\"1\",le=\"2\"} 4\ntook_bucket{slot=\"1\",le=\"+Inf\"} 5.5\n" +
				"took_sum{slot=\"1\"} 11\ntook_count{slot=\"1\"} 5.5\n",
		},
		{
			"three processes",
			[]puppet{says(1, tookFew), says(1, tookOther), says(1, tookMany)},
			took + "took_bucket{slot=\"1\",le=\"2\"} 63\ntook_bucket{slot=\"1\",le=\"+Inf\"} 84\ntook_sum{slot=\"1\"} 189\ntook_count{slot=\"1\"} 84\n",
		},
		{
			"buckets of each slot",
			[]puppet{says(1, tookFew), says(2, tookPart)},
			took + "took_bucket{slot=\"1\",le=\"1\"} 1\ntook_bucket{slot=\"1\",le=\"2\"} 3\ntook_bucket{slot=\"1\",le=\"+Inf\"} 4\n" +
				"took_sum{slot=\"1\"} 9\ntook_count{slot=\"1\"} 4\n" +
				"took_bucket{slot=\"2\",le=\"1\"} 0.5\ntook_bucket{slot=\"2\",le=\"2\"} 1\ntook_bucket{slot=\"2\",le=\"+Inf\"} 1.5\n" +
				"took_sum{slot=\"2\"} 2\ntook_count{slot=\"2\"} 1.5\n",
		},
		{
			"quantiles of one process",
			[]puppet{says(1, restFew), says(2, restMany)},
			rest + "rest{slot=\"1\",quantile=\"0.5\"} 2\nrest_sum{slot=\"1\"} 5\nrest_count{slot=\"1\"} 3\n" +
				"rest{slot=\"2\",quantile=\"0.5\"} 4\nrest_sum{slot=\"2\"} 50\nrest_count{slot=\"2\"} 30\n",
		},
		{"quantiles of two processes", []puppet{says(1, restFew), says(1, restMany)}, rest + "rest_sum{slot=\"1\"} 55\nrest_count{slot=\"1\"} 33\n"},
		{
			"two types in two slots",
			[]puppet{says(1, jobs+"jobs 1"), says(2, gauge("jobs", 2)), says(3, jobs+"jobs 4")},
			jobs + "jobs{slot=\"1\"} 1\njobs{slot=\"3\"} 4\n",
		},
		{"two types in one slot", []puppet{says(1, gauge("jobs", 2)), says(1, jobs+"jobs 1")}, "# TYPE jobs gauge\njobs{slot=\"1\"} 2\n"},
		{
			"two types, the lowest slot says nothing",
			[]puppet{says(1, ""), says(2, gauge("jobs", 2)), says(3, jobs+"jobs 1")},
			"# TYPE jobs gauge\njobs{slot=\"2\"} 2\n",
		},
		{
			"a label slot",
			[]puppet{says(2, jobs+`jobs{slot="7"} 1`), says(3, jobs+`jobs{slot="7"} 1`)},
			jobs + "jobs{exported_slot=\"7\",slot=\"2\"} 1\njobs{exported_slot=\"7\",slot=\"3\"} 1\n",
		},
		{
			"a label slot, exported already",
			[]puppet{says(2, jobs+`jobs{slot="7",exported_slot="8"} 1`)},
			jobs + "jobs{exported_exported_slot=\"7\",exported_slot=\"8\",slot=\"2\"} 1\n",
		},
		{"a label exported_slot alone", []puppet{says(2, jobs+`jobs{exported_slot="8"} 1`)}, jobs + "jobs{exported_slot=\"8\",slot=\"2\"} 1\n"},
		{
			"a counter that is called like the count of a summary",
			[]puppet{says(1, "# TYPE rest_count counter\nrest_count 7\n# TYPE rest_sum gauge\nrest_sum 7\n"+jobs+"jobs 1"), says(2, restMany)},
			jobs + "jobs{slot=\"1\"} 1\n" + rest + "rest{slot=\"2\",quantile=\"0.5\"} 4\nrest_sum{slot=\"2\"} 50\nrest_count{slot=\"2\"} 30\n",
		},
		{
			"counters that are called like parts of a histogram",
			[]puppet{says(1, "took_bucket 7\ntook_sum 7\ntook_count 7\ntook_max 7\n"), says(2, tookFew)},
			took + "took_bucket{slot=\"2\",le=\"1\"} 1\ntook_bucket{slot=\"2\",le=\"2\"} 3\ntook_bucket{slot=\"2\",le=\"+Inf\"} 4\n" +
				"took_sum{slot=\"2\"} 9\ntook_count{slot=\"2\"} 4\n# TYPE took_max untyped\ntook_max{slot=\"1\"} 7\n",
		},
		{
			"a summary has no buckets",
			[]puppet{says(1, jobs+"jobs 1\nrest_bucket 7"), says(2, restMany)},
			jobs + "jobs{slot=\"1\"} 1\n" + rest + "rest{slot=\"2\",quantile=\"0.5\"} 4\nrest_sum{slot=\"2\"} 50\nrest_count{slot=\"2\"} 30\n" +
				"# TYPE rest_bucket untyped\nrest_bucket{slot=\"1\"} 7\n",
		},
		{"the time of one sample", []puppet{says(1, jobs+"jobs 1 1234")}, jobs + "jobs{slot=\"1\"} 1 1234\n"},
		{"a sum is of now", []puppet{says(1, jobs+"jobs 1 1234"), says(1, jobs+"jobs 2 1235")}, jobs + "jobs{slot=\"1\"} 3\n"},
		{
			"families in the order of their names",
			[]puppet{says(1, "b 1\nc 1\na 1\n")},
			"# TYPE a untyped\na{slot=\"1\"} 1\n# TYPE b untyped\nb{slot=\"1\"} 1\n# TYPE c untyped\nc{slot=\"1\"} 1\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, ofWorkers(scrape(t, c.said...))); diff != "" {
				t.Errorf("the merged metrics differ (-want +got):\n%s", diff)
			}
		})
	}
}

// What families are there for is told once, by the lowest slot; bytes that are no text do not spoil the answer.
func TestMergeHelp(t *testing.T) {
	t.Parallel()
	text := scrape(t,
		says(1, "# HELP jobs Jobs \xff\\\\ done.\n# TYPE jobs counter\njobs 1\n"),
		says(2, "# HELP jobs Something else.\n# TYPE jobs counter\njobs 2\n"))
	want := "# HELP jobs Jobs ?\\\\ done.\n# TYPE jobs counter\njobs{slot=\"1\"} 1\njobs{slot=\"2\"} 2\n"
	if !strings.Contains(text, want) || strings.Contains(text, "Something else") {
		t.Errorf("got %s", text)
	}
}

// The master's own numbers are the master's, whatever workers say.
func TestMergeOwnNames(t *testing.T) {
	t.Parallel()
	text := scrape(t, says(1, gauge("cluster_crashes_total", 7)+"cluster_worker_up{slot=\"9\"} 7\ncluster_other 7\n"))
	for _, line := range []string{
		"# TYPE cluster_crashes_total counter", "cluster_crashes_total 5", `cluster_worker_up{slot="1"} 1`, `cluster_other{slot="1"} 7`,
	} {
		if strings.Count(text, line+"\n") != 1 {
			t.Errorf("%s is not there once:\n%s", line, text)
		}
	}
	if strings.Contains(text, "exported_slot") || strings.Contains(text, "cluster_crashes_total{") {
		t.Errorf("a worker speaks for the master:\n%s", text)
	}
}

// parsed reads an answer, and looks for what readers stumble over: what readable looks for, and samples that are told twice.
func parsed(t testing.TB, text string) map[string]*dto.MetricFamily {
	t.Helper()
	all := readable(t, text)
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		key := line
		if !strings.HasPrefix(line, "#") {
			key = line[:strings.LastIndex(line, "} ")+1] // without value and time
			if key == "" {
				key, _, _ = strings.Cut(line, " ")
			}
		}
		if seen[key] {
			t.Errorf("told twice: %s in\n%s", key, text)
		}
		seen[key] = true
	}
	return all
}

// readable reads an answer, and looks for series without a slot and for families that are called like a part of another.
func readable(t testing.TB, text string) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	all, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Errorf("the answer can't be read: %v\n%s", err, text)
	}
	ofMaster := []string{
		"cluster_workers_target", "cluster_workers_ready", "cluster_breaker_open", "cluster_answering", "cluster_master_resident_memory_bytes",
		"cluster_crashes_total", "cluster_reloads_total", "cluster_reloads_failed_total",
	}
	for name, family := range all {
		for _, m := range family.GetMetric() {
			isSlot := func(l *dto.LabelPair) bool { return l.GetName() == "slot" }
			if slices.ContainsFunc(m.GetLabel(), isSlot) == slices.Contains(ofMaster, name) {
				t.Errorf("a series of %s has the labels %v\n%s", name, m.GetLabel(), text)
			}
		}
	}
	for name, family := range all {
		for suffix, kinds := range map[string][]dto.MetricType{
			"_bucket": {dto.MetricType_HISTOGRAM},
			"_sum":    {dto.MetricType_HISTOGRAM, dto.MetricType_SUMMARY},
			"_count":  {dto.MetricType_HISTOGRAM, dto.MetricType_SUMMARY},
		} {
			if all[name+suffix] != nil && slices.Contains(kinds, family.GetType()) {
				t.Errorf("%s is a family, and a part of %s\n%s", name+suffix, name, text)
			}
		}
	}
	return all
}

// slotted returns a family's gauges or counters by slot.
func slotted(family *dto.MetricFamily) map[int]float64 {
	found := map[int]float64{}
	for _, m := range family.GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == "slot" {
				slot, _ := strconv.Atoi(l.GetValue())
				found[slot] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return found
}

// FuzzMerge: whatever workers say, the answer can be read, and whoever says something sensible is heard. (One that tells
// a bucket of its own twice may find it there twice.)
func FuzzMerge(f *testing.F) {
	for _, text := range []string{
		"{}", "{", "\xff", "a", "a 1", "a{slot=\"1\"} NaN\n", "{\"a\"} 1\n", "{b=\"c\",\"a\"} 1\n", "# TYPE a summary\n{b=\"c\"} 1\n",
		"# TYPE a summary\na{quantile=\"0.5\"} 1\na_sum 2\na_count 3\na_bucket 4\n",
		"# TYPE a histogram\na_bucket{le=\"1\"} 1\na_bucket{le=\"+Inf\"} 2\na_sum 2\na_count 2\n",
		"# TYPE a gauge_histogram\na_bucket{le=\"NaN\"} 1.5\na_count 2.5\n", "# TYPE a_count histogram\na_count 1\n",
		"# HELP a \xc3\\n\n# TYPE a counter\na{b=\"\\\"\\n\"} 1 2\na{c=\"\"} 1\n", "# TYPE a_sum summary\na_sum_count -1\n",
		"# TYPE a histogram\na_bucket{le=\"2\"} 9\n", "# TYPE a summary\na{quantile=\"NaN\"} 9\n",
	} {
		f.Add(text, "# TYPE a histogram\na_sum 2\na_count 2\n", "a 1\na_count 1\na_sum 1\na_bucket 1\n")
		f.Add("# TYPE a counter\na{b=\"c\"} 1\n", text, text)
	}
	f.Fuzz(func(t *testing.T, a, b, c string) {
		text := scrape(t, says(1, gauge("steady", 1)), says(2, a), says(2, b), says(3, c))
		if !strings.Contains(text, "steady{slot=\"1\"} 1\n") || !strings.Contains(text, "cluster_worker_up{slot=\"1\"} 1\n") {
			t.Errorf("who said something sensible is not heard:\n%s", text)
		}
		readable(t, text)
	})
}

// Random workers of two releases that agree about little: the answer can be read, and nothing is lost or made up in it.
// What workers count, and how much of it, is found again in the sums of all slots.
func TestMergeOfRandomReleases(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		var said []puppet
		counted, kinds := map[string]float64{}, map[string]map[string]bool{}
		for slot := 1; slot <= 3; slot++ {
			for range 1 + r.IntN(2) {
				said = append(said, says(slot, randomMetrics(r, counted, kinds)))
			}
		}
		all := parsed(t, scrape(t, said...))
		for name, want := range counted {
			if len(kinds[name]) > 1 || all[name] == nil && collides(name, kinds) {
				continue // not all of it is told
			}
			if got := total(all[name]); got != want {
				t.Errorf("seed %d: %s is %v and should be %v", seed, name, got, want)
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d: %v", seed, said)
		}
	}
}

// collides reports whether a name may also be that of a part of another family.
func collides(name string, kinds map[string]map[string]bool) bool {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if whole, ok := strings.CutSuffix(name, suffix); ok && (kinds[whole]["histogram"] || kinds[whole]["summary"]) {
			return true
		}
	}
	return false
}

// total adds up what a family counts. On the way it looks whether buckets are cumulative, to the count of the whole.
func total(family *dto.MetricFamily) (sum float64) {
	for _, m := range family.GetMetric() {
		switch family.GetType() {
		case dto.MetricType_COUNTER:
			sum += m.GetCounter().GetValue()
		case dto.MetricType_SUMMARY:
			sum += float64(m.GetSummary().GetSampleCount())
		case dto.MetricType_HISTOGRAM:
			h := m.GetHistogram()
			sum += float64(h.GetSampleCount())
			below := uint64(0)
			for _, b := range h.GetBucket() {
				if b.GetCumulativeCount() < below {
					return math.NaN()
				}
				below = b.GetCumulativeCount()
			}
			if below != h.GetSampleCount() {
				return math.NaN()
			}
		}
	}
	return sum
}

// randomMetrics is what a worker may say. It notes how much it counts, and of which type each name is.
func randomMetrics(r *rand.Rand, counted map[string]float64, kinds map[string]map[string]bool) string {
	var text strings.Builder
	var parts []string // names that this worker has used up
	for _, name := range []string{"a", "a_count", "a_sum", "a_bucket", "b", "b_count", "b_info"} {
		if r.IntN(3) == 0 || slices.Contains(parts, name) {
			continue
		}
		kind := []string{"counter", "gauge", "histogram", "summary"}[r.IntN(4)*r.IntN(2)]
		fmt.Fprintf(&text, "# TYPE %s %s\n", name, kind)
		if kinds[name] == nil {
			kinds[name] = map[string]bool{}
		}
		kinds[name][kind] = true
		if kind == "histogram" || kind == "summary" {
			parts = append(parts, name+"_bucket", name+"_sum", name+"_count")
		}
		for _, labels := range []string{"", `,slot="x"`, `,exported_slot="y"`, `,slot="x",exported_slot="y"`, `,z="\\\"\n"`} {
			if r.IntN(2) == 0 {
				continue
			}
			n := r.IntN(100)
			if kind != "gauge" {
				counted[name] += float64(n)
			}
			only := "{" + strings.TrimPrefix(labels, ",") + "}"
			switch kind {
			case "histogram":
				for bound := range n {
					if bound%10 == 0 && r.IntN(2) == 0 {
						fmt.Fprintf(&text, "%s_bucket{le=\"%d\"%s} %d\n", name, bound, labels, bound)
					}
				}
				fmt.Fprintf(&text, "%s_bucket{le=\"+Inf\"%s} %d\n%s_sum%s 1.5\n%s_count%s %d\n", name, labels, n, name, only, name, only, n)
			case "summary":
				fmt.Fprintf(&text, "%s{quantile=\"0.5\"%s} 1\n%s_sum%s 1.5\n%s_count%s %d\n", name, labels, name, only, name, only, n)
			default:
				fmt.Fprintf(&text, "%s%s %d\n", name, only, n)
			}
		}
	}
	return text.String()
}

func says(slot int, text string) puppet {
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return puppet{slot: slot, answer: respond(200, text)}
}

func gauge(name string, value int) string {
	return "# TYPE " + name + " gauge\n" + name + " " + strconv.Itoa(value) + "\n"
}

// scrape asks for the metrics of such workers.
func scrape(t testing.TB, workers ...puppet) string {
	t.Helper()
	handler, err := admin.New(&puppets{workers: workers}, admin.Config{Addr: "localhost:0"})
	if err != nil {
		t.Fatal(err)
	}
	return ask(t, handler, "/metrics")
}

// ofWorkers leaves out what the master tells, and what families are there for.
func ofWorkers(text string) string {
	var rest strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "cluster_") && !strings.HasPrefix(line, "# TYPE cluster_") && !strings.HasPrefix(line, "# HELP ") {
			rest.WriteString(line)
		}
	}
	return rest.String()
}
