package admin

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
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

// families are what one scrape tells, by name.
type families map[string]*dto.MetricFamily

// metrics answers a scrape of the whole cluster, always in the text format: it is what all who scrape understand, and says
// all that was read from the workers.
func (h *handler) metrics(w http.ResponseWriter, r *http.Request) {
	status, err := h.master.Status(r.Context())
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), scrapeTimeout)
	defer cancel()
	told := make([]families, len(status.Workers))
	var wg sync.WaitGroup
	for i, worker := range status.Workers {
		if worker.State == "starting" {
			continue
		}
		wg.Go(func() {
			if f, err := h.scrape(ctx, worker.PID); err == nil { // cluster_worker_up tells
				told[i] = f
			}
		})
	}
	wg.Wait()
	merged := merge(status.Workers, told)
	maps.Copy(merged, own(status, told))

	format := expfmt.NewFormat(expfmt.TypeTextPlain)
	var text bytes.Buffer
	encoder := expfmt.NewEncoder(&text, format)
	for _, name := range slices.Sorted(maps.Keys(merged)) {
		end := text.Len()
		if err := encoder.Encode(merged[name]); err != nil {
			text.Truncate(end) // half a family would spoil all others
		}
	}
	w.Header().Set("Content-Type", string(format))
	w.Write(text.Bytes()) //nolint:errcheck // the client is gone, or has it
}

// scrape asks one worker. Whatever it answers, the master must live, and the parser panics on some of what is no metrics,
// such as "{}".
func (h *handler) scrape(ctx context.Context, pid int) (told families, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			told, err = nil, fmt.Errorf("parse the metrics of worker %d: %v", pid, cause)
		}
	}()
	resp, err := h.master.Get(ctx, pid, "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("worker %d answers %s", pid, resp.Status)
	}
	// Other names than those of the classic alphabet are sent to those only who ask for them.
	parser := expfmt.NewTextParser(model.LegacyValidation)
	return parser.TextToMetricFamilies(http.MaxBytesReader(nil, resp.Body, maxScrape)) // an error, where LimitReader would end in silence
}

// own is what the master knows itself.
func own(s cluster.Status, told []families) families {
	all := families{}
	put := func(name, help string, kind dto.MetricType, metrics ...*dto.Metric) {
		all[name] = &dto.MetricFamily{Name: &name, Help: &help, Type: &kind, Metric: metrics}
	}
	gauge := func(name, help string, v float64) {
		put(name, help, dto.MetricType_GAUGE, &dto.Metric{Gauge: &dto.Gauge{Value: &v}})
	}
	counter := func(name, help string, v int) {
		put(name, help, dto.MetricType_COUNTER, &dto.Metric{Counter: &dto.Counter{Value: new(float64(v))}})
	}
	m := &s.Master
	gauge("cluster_workers_target", "How many workers there should be.", float64(m.Target))
	gauge("cluster_workers_ready", "How many workers are ready.", float64(m.Ready))
	gauge("cluster_breaker_open", "1 while a release is not started any more because it crashed too often.", oneIf(m.BreakerOpen))
	gauge("cluster_answering", "1 while no worker is ready and the answerer tells clients to come back.", oneIf(m.Answering))
	gauge("cluster_master_resident_memory_bytes", "Resident memory of the master.", float64(m.RSSBytes))
	counter("cluster_crashes_total", "Workers that ended without being told to.", m.CrashesTotal)
	counter("cluster_reloads_total", "Rolling restarts that were asked for.", m.ReloadsTotal)
	counter("cluster_reloads_failed_total", "Rolling restarts after which the old release served on.", m.ReloadsFailed)

	sum := func(a, b float64) float64 { return a + b }
	most := func(a, b float64) float64 { return max(a, b) }
	perSlot := func(name, help string, join func(a, b float64) float64, value func(i int, w *cluster.WorkerStatus) float64) {
		var metrics []*dto.Metric
		for i := range s.Workers { // sorted by slot
			slot, v := s.Workers[i].Slot, value(i, &s.Workers[i])
			if i > 0 && s.Workers[i-1].Slot == slot {
				same := metrics[len(metrics)-1].Gauge
				same.Value = new(join(same.GetValue(), v))
				continue
			}
			metrics = append(metrics, &dto.Metric{Label: withSlot(nil, strconv.Itoa(slot)), Gauge: &dto.Gauge{Value: &v}})
		}
		if len(metrics) > 0 {
			put(name, help, dto.MetricType_GAUGE, metrics...)
		}
	}
	up := map[int]float64{} // by slot; one whose worker has crashed has nobody, and a series that is gone is no alarm
	for slot := range m.Target {
		up[slot+1] = 0
	}
	for i, w := range s.Workers {
		up[w.Slot] += oneIf(told[i] != nil)
	}
	var ups []*dto.Metric
	for _, slot := range slices.Sorted(maps.Keys(up)) {
		ups = append(ups, &dto.Metric{Label: withSlot(nil, strconv.Itoa(slot)), Gauge: &dto.Gauge{Value: new(up[slot])}})
	}
	if len(ups) > 0 {
		put("cluster_worker_up", "How many processes of the slot have answered this scrape.", dto.MetricType_GAUGE, ups...)
	}
	perSlot("cluster_worker_in_flight", "Requests being worked on.", sum,
		func(_ int, w *cluster.WorkerStatus) float64 { return float64(w.InFlight) })
	perSlot("cluster_worker_connections", "Open connections.", sum,
		func(_ int, w *cluster.WorkerStatus) float64 { return float64(w.Connections) })
	perSlot("cluster_worker_accept_errors", "Accepts that failed, such as for want of a file descriptor, since the worker began.", sum,
		func(_ int, w *cluster.WorkerStatus) float64 { return float64(w.AcceptErrors) })
	perSlot("cluster_worker_resident_memory_bytes", "Resident memory.", sum,
		func(_ int, w *cluster.WorkerStatus) float64 { return float64(w.RSSBytes) })
	perSlot("cluster_worker_lag_seconds", "The longest that a goroutine waited for a processor lately.", most,
		func(_ int, w *cluster.WorkerStatus) float64 { return w.LagSeconds })
	return all
}

func oneIf(so bool) float64 {
	if so {
		return 1
	}
	return 0
}
