package admin

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"doorbuster/cluster"
)

const (
	// scrapeTimeout is how long workers may take. Prometheus' own default is 10 s.
	scrapeTimeout = 2 * time.Second
	// maxScrape bounds what one worker may tell.
	maxScrape = 8 << 20
)

// metrics answers a scrape of the whole cluster.
func (h *handler) metrics(w http.ResponseWriter, r *http.Request) {
	status, err := h.master.Status(r.Context())
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), scrapeTimeout)
	defer cancel()
	told := make([]map[string]*dto.MetricFamily, len(status.Workers))
	var wg sync.WaitGroup
	for i, worker := range status.Workers {
		if worker.State == "starting" {
			continue
		}
		wg.Go(func() { told[i] = h.scrape(ctx, worker) })
	}
	wg.Wait()
	merged := merge(status.Workers, told)
	addOwn(merged, status, told)

	format := expfmt.NewFormat(expfmt.TypeTextPlain)
	w.Header().Set("Content-Type", string(format))
	encoder := expfmt.NewEncoder(w, format)
	for _, name := range slices.Sorted(maps.Keys(merged)) {
		if err := encoder.Encode(merged[name]); err != nil {
			return // the client is gone
		}
	}
}

// scrape asks one worker; nil if it does not answer with metrics.
func (h *handler) scrape(ctx context.Context, worker cluster.WorkerStatus) map[string]*dto.MetricFamily {
	resp, err := h.master.Get(ctx, worker.PID, "/metrics")
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(io.LimitReader(resp.Body, maxScrape))
	if err != nil {
		return nil
	}
	return families
}

// merge puts the families of all workers together, each series labelled by slot. Workers of the same slot, one on its way
// out and one on its way in, are added up: one series for a slot, without a gap, that falls when the old one has gone, as
// counters do at a restart.
func merge(workers []cluster.WorkerStatus, told []map[string]*dto.MetricFamily) map[string]*dto.MetricFamily {
	merged := map[string]*dto.MetricFamily{}
	series := map[string]*dto.Metric{}
	for i, families := range told {
		slot := strconv.Itoa(workers[i].Slot)
		for name, family := range families {
			into := merged[name]
			if into == nil {
				into = &dto.MetricFamily{Name: family.Name, Help: family.Help, Type: family.Type, Unit: family.Unit}
				merged[name] = into
			}
			if into.GetType() != family.GetType() {
				continue // two releases disagree about it
			}
			for _, metric := range family.GetMetric() {
				metric.Label = withSlot(metric.GetLabel(), slot)
				key := identity(name, metric)
				if same := series[key]; same != nil {
					add(same, metric)
					continue
				}
				series[key] = metric
				into.Metric = append(into.Metric, metric)
			}
		}
	}
	return merged
}

func withSlot(labels []*dto.LabelPair, slot string) []*dto.LabelPair {
	name := "slot"
	labels = slices.DeleteFunc(labels, func(l *dto.LabelPair) bool { return l.GetName() == name })
	labels = append(labels, &dto.LabelPair{Name: &name, Value: &slot})
	slices.SortFunc(labels, func(a, b *dto.LabelPair) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return labels
}

func identity(name string, m *dto.Metric) string {
	var b strings.Builder
	b.WriteString(name)
	for _, l := range m.GetLabel() {
		fmt.Fprintf(&b, "\x00%s\x01%s", l.GetName(), l.GetValue())
	}
	return b.String()
}

// add adds a series to another of the same name and labels.
func add(to, m *dto.Metric) {
	switch {
	case to.Counter != nil && m.Counter != nil:
		*to.Counter.Value += m.Counter.GetValue()
	case to.Gauge != nil && m.Gauge != nil:
		*to.Gauge.Value += m.Gauge.GetValue()
	case to.Untyped != nil && m.Untyped != nil:
		*to.Untyped.Value += m.Untyped.GetValue()
	case to.Histogram != nil && m.Histogram != nil:
		addHistogram(to.Histogram, m.Histogram)
	case to.Summary != nil && m.Summary != nil:
		*to.Summary.SampleCount += m.Summary.GetSampleCount()
		*to.Summary.SampleSum += m.Summary.GetSampleSum()
		to.Summary.Quantile = nil // those of two processes can't be joined
	}
}

func addHistogram(to, h *dto.Histogram) {
	*to.SampleCount += h.GetSampleCount()
	*to.SampleSum += h.GetSampleSum()
	if len(to.GetBucket()) != len(h.GetBucket()) {
		to.Bucket = nil // two releases disagree about them
		return
	}
	for i, b := range h.GetBucket() {
		*to.Bucket[i].CumulativeCount += b.GetCumulativeCount()
	}
}

// addOwn adds what the master knows itself.
func addOwn(merged map[string]*dto.MetricFamily, s cluster.Status, told []map[string]*dto.MetricFamily) {
	own := func(name, help string, kind dto.MetricType, metrics ...*dto.Metric) {
		merged[name] = &dto.MetricFamily{Name: &name, Help: &help, Type: &kind, Metric: metrics}
	}
	gauge := func(name, help string, v float64) {
		own(name, help, dto.MetricType_GAUGE, &dto.Metric{Gauge: &dto.Gauge{Value: &v}})
	}
	counter := func(name, help string, v int) {
		value := float64(v)
		own(name, help, dto.MetricType_COUNTER, &dto.Metric{Counter: &dto.Counter{Value: &value}})
	}
	m := &s.Master
	gauge("cluster_workers_target", "How many workers there should be.", float64(m.Target))
	gauge("cluster_workers_ready", "How many workers are ready.", float64(m.Ready))
	open := 0.0
	if m.BreakerOpen {
		open = 1
	}
	gauge("cluster_breaker_open", "1 while a release is not started any more because it crashed too often.", open)
	gauge("cluster_master_resident_memory_bytes", "Resident memory of the master.", float64(m.RSSBytes))
	counter("cluster_crashes_total", "Workers that ended without being told to.", m.CrashesTotal)
	counter("cluster_reloads_total", "Rolling restarts that were asked for.", m.ReloadsTotal)
	counter("cluster_reloads_failed_total", "Rolling restarts after which the old release served on.", m.ReloadsFailed)

	perWorker := func(name, help string, value func(i int) float64) {
		var metrics []*dto.Metric
		at := map[int]*dto.Metric{}
		for i, w := range s.Workers {
			v := value(i)
			metric := &dto.Metric{Label: withSlot(nil, strconv.Itoa(w.Slot)), Gauge: &dto.Gauge{Value: &v}}
			if same := at[w.Slot]; same != nil {
				add(same, metric)
				continue
			}
			at[w.Slot] = metric
			metrics = append(metrics, metric)
		}
		if len(metrics) > 0 {
			own(name, help, dto.MetricType_GAUGE, metrics...)
		}
	}
	perWorker("cluster_worker_up", "How many processes of the slot have answered this scrape.", func(i int) float64 {
		if told[i] == nil {
			return 0
		}
		return 1
	})
	perWorker("cluster_worker_in_flight", "Requests being worked on.", func(i int) float64 { return float64(s.Workers[i].InFlight) })
	perWorker("cluster_worker_connections", "Open connections.", func(i int) float64 { return float64(s.Workers[i].Connections) })
	perWorker("cluster_worker_resident_memory_bytes", "Resident memory.", func(i int) float64 { return float64(s.Workers[i].RSSBytes) })
	perWorker("cluster_worker_lag_seconds", "The longest that a goroutine waited for a processor lately.", func(i int) float64 { return s.Workers[i].LagSeconds })
}
