package admin

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"

	"doorbuster/cluster"
)

// merge puts the families of all workers together, each series labelled by slot. Workers of the same slot, one on its way
// out and one on its way in, are added up: one series for a slot, without a gap, that falls when the old one has gone, as
// counters do at a restart.
func merge(workers []cluster.WorkerStatus, told []families) families {
	merged := families{}
	series := map[string]*dto.Metric{}
	for i, all := range told {
		slot := strconv.Itoa(workers[i].Slot)
		for name, family := range all {
			into := merged[name]
			if into == nil {
				help := strings.ToValidUTF8(family.GetHelp(), "?") // nobody else has looked at it
				into = &dto.MetricFamily{Name: &name, Help: &help, Type: family.Type}
				merged[name] = into
			}
			if into.GetType() != family.GetType() {
				continue // two releases disagree about it; that of the lowest slot is heard
			}
			for _, m := range family.GetMetric() {
				m = &dto.Metric{
					Label: withSlot(m.GetLabel(), slot), TimestampMs: m.TimestampMs,
					Counter: m.Counter, Gauge: m.Gauge, Untyped: m.Untyped, Histogram: m.Histogram, Summary: m.Summary,
				}
				key := identity(name, m)
				if same := series[key]; same != nil {
					add(name, same, m)
					continue
				}
				series[key] = m
				into.Metric = append(into.Metric, m)
			}
		}
	}
	withoutCollisions(merged)
	return merged
}

// withoutCollisions leaves out families whose name another family has for one of its series: a counter jobs_count of one
// release and a summary jobs of the next would make the whole scrape unreadable.
func withoutCollisions(all families) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		switch all[name].GetType() { //nolint:exhaustive // the others have one series for a name
		case dto.MetricType_HISTOGRAM, dto.MetricType_GAUGE_HISTOGRAM:
			delete(all, name+"_bucket")
			fallthrough
		case dto.MetricType_SUMMARY:
			delete(all, name+"_sum")
			delete(all, name+"_count")
		}
	}
}

// withSlot adds the label. One of the workers' own that has that name is renamed as Prometheus does where a target's
// labels clash with its own. No label is there twice, whatever the parser took for a label.
func withSlot(labels []*dto.LabelPair, slot string) []*dto.LabelPair {
	name, theirs := "slot", "slot"
	for slices.ContainsFunc(labels, func(l *dto.LabelPair) bool { return l.GetName() == theirs }) {
		theirs = "exported_" + theirs
	}
	all := []*dto.LabelPair{{Name: &name, Value: &slot}}
	for _, l := range labels {
		if l.GetName() == name {
			l = &dto.LabelPair{Name: &theirs, Value: l.Value}
		}
		all = append(all, l)
	}
	slices.SortStableFunc(all, func(a, b *dto.LabelPair) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return slices.CompactFunc(all, func(a, b *dto.LabelPair) bool { return a.GetName() == b.GetName() })
}

func identity(name string, m *dto.Metric) string {
	var b strings.Builder
	b.WriteString(name)
	for _, l := range m.GetLabel() {
		fmt.Fprintf(&b, " %s=%q", l.GetName(), l.GetValue())
	}
	return b.String()
}

// add adds a series to another of the same name and labels.
func add(name string, to, m *dto.Metric) {
	to.TimestampMs = nil // a sum is of now
	if to.Counter != nil {
		to.Counter = &dto.Counter{Value: new(to.Counter.GetValue() + m.Counter.GetValue())}
	}
	if to.Gauge != nil {
		value := to.Gauge.GetValue() + m.Gauge.GetValue()
		if !isAmount(name) {
			value = max(to.Gauge.GetValue(), m.Gauge.GetValue())
		}
		to.Gauge = &dto.Gauge{Value: &value}
	}
	if to.Untyped != nil {
		to.Untyped = &dto.Untyped{Value: new(to.Untyped.GetValue() + m.Untyped.GetValue())}
	}
	if to.Histogram != nil {
		to.Histogram = addHistograms(to.Histogram, m.Histogram)
	}
	if to.Summary != nil { // the quantiles of two processes can't be joined
		to.Summary = &dto.Summary{
			SampleCount: new(to.Summary.GetSampleCount() + m.Summary.GetSampleCount()),
			SampleSum:   new(to.Summary.GetSampleSum() + m.Summary.GetSampleSum()),
		}
	}
}

// isAmount tells by its name whether a gauge of two processes can be added up, as memory and connections can. A moment and a
// mere mark can't: the newer start of a process says something, the sum of two does not.
func isAmount(name string) bool {
	return !strings.HasSuffix(name, "_time_seconds") && !strings.HasSuffix(name, "_timestamp_seconds") && !strings.HasSuffix(name, "_info")
}

// addHistograms adds up what both count. Buckets are cumulative, so those whose bound both have stay exact: two releases
// that disagree about them share +Inf at least. The text format knows no other than these classic buckets.
func addHistograms(a, b *dto.Histogram) *dto.Histogram {
	sum := &dto.Histogram{
		SampleCountFloat: new(count(a.GetSampleCount(), a.GetSampleCountFloat()) + count(b.GetSampleCount(), b.GetSampleCountFloat())),
		SampleSum:        new(a.GetSampleSum() + b.GetSampleSum()),
	}
	other := map[float64]float64{}
	for _, bucket := range b.GetBucket() {
		other[bucket.GetUpperBound()] = count(bucket.GetCumulativeCount(), bucket.GetCumulativeCountFloat())
	}
	for _, bucket := range a.GetBucket() {
		if more, ok := other[bucket.GetUpperBound()]; ok {
			sum.Bucket = append(sum.Bucket, &dto.Bucket{
				UpperBound:           bucket.UpperBound,
				CumulativeCountFloat: new(count(bucket.GetCumulativeCount(), bucket.GetCumulativeCountFloat()) + more),
			})
		}
	}
	return sum
}

// count is a number that the parser puts into one of two fields, by whether it is whole.
func count(whole uint64, broken float64) float64 {
	if broken != 0 {
		return broken
	}
	return float64(whole)
}
