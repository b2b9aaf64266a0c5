package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"doorbuster/cluster"
	"doorbuster/cluster/admin"
)

// puppet is a worker that says what a test wants to hear; real ones hang, lie and disagree too rarely.
type puppet struct {
	slot   int
	state  string // default ready
	answer func(ctx context.Context) (*http.Response, error)
}

// puppets is the master of such workers. The pid of each is its place in the list, plus 100. It counts what reaches it.
type puppets struct {
	workers []puppet
	target  int   // default the highest slot
	failure error // of Status

	commands, statuses, questions atomic.Int32
	asked                         atomic.Value // the path
}

func (p *puppets) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.commands.Add(1)
		fmt.Fprintln(w, "done:", r.Method, r.URL.Path)
	})
}

func (p *puppets) Status(context.Context) (cluster.Status, error) {
	p.statuses.Add(1)
	var s cluster.Status
	s.Master.State, s.Master.Target, s.Master.CrashesTotal, s.Master.ReloadsTotal, s.Master.ReloadsFailed = "running", p.target, 5, 7, 2
	s.Master.RSSBytes, s.Master.BreakerOpen, s.Master.Answering = 11<<20, true, len(p.workers) == 0
	if n := len(p.workers); n > 0 && p.target == 0 {
		s.Master.Target = p.workers[n-1].slot
	}
	for i, w := range p.workers {
		state := w.state
		if state == "" {
			state = "ready"
			s.Master.Ready++
		}
		s.Workers = append(s.Workers, cluster.WorkerStatus{
			Slot: w.slot, PID: 100 + i, State: state, InFlight: 1 + i, Connections: 10 + i, RSSBytes: 1 << i, LagSeconds: 1 / float64(1+i), AcceptErrors: int64(i),
		})
	}
	return s, p.failure
}

func (p *puppets) Get(ctx context.Context, pid int, path string) (*http.Response, error) {
	p.questions.Add(1)
	p.asked.Store(path)
	if pid < 100 || pid >= 100+len(p.workers) {
		return nil, fmt.Errorf("there is no worker with pid %d", pid)
	}
	return p.workers[pid-100].answer(ctx)
}

func respond(code int, text string) func(context.Context) (*http.Response, error) {
	return func(ctx context.Context) (*http.Response, error) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		body := io.NopCloser(strings.NewReader(text))
		return &http.Response{StatusCode: code, Status: fmt.Sprint(code), Header: http.Header{}, Body: body}, nil
	}
}

// ask puts a question to a handler that has to answer it.
func ask(t testing.TB, h http.Handler, path string) string {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Host = "localhost"
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("%s: got %d: %s", path, w.Code, w.Body)
	}
	return w.Body.String()
}

// hangs is a worker that does not answer until it is given up.
func hangs(ctx context.Context) (*http.Response, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// hangsHalfway begins to answer, as one does that is stopped meanwhile.
func hangsHalfway(ctx context.Context) (*http.Response, error) {
	read, write := io.Pipe()
	go func() {
		fmt.Fprint(write, "half 1\n")
		<-ctx.Done()
		write.CloseWithError(ctx.Err())
	}()
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: read}, nil
}

// doc.go, "Metrics": a worker that does not answer in time, or with anything but metrics, is left out and shown as such; all
// others are told.
func TestMetricsWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	const limit = 8 << 20
	line := "half 1\n"
	comment := func(n int) string { return line + "#" + strings.Repeat("x", n-len(line)-2) + "\n" }
	for _, c := range []struct {
		name   string
		worker puppet
		up     int
	}{
		{"answers", puppet{answer: respond(200, line)}, 1},
		{"answers that there is nothing to tell", puppet{answer: respond(200, "")}, 1},
		{"hangs", puppet{answer: hangs}, 0},
		{"hangs halfway", puppet{answer: hangsHalfway}, 0},
		{"can't be reached", puppet{answer: func(context.Context) (*http.Response, error) { return nil, errors.New("gone") }}, 0},
		{"fails", puppet{answer: respond(500, line)}, 0},
		{"has no metrics", puppet{answer: respond(404, line)}, 0},
		{"answers with a page", puppet{answer: respond(200, line+"<html><body>404</body></html>\n")}, 0},
		{"answers with JSON", puppet{answer: respond(200, "{}")}, 0},
		{"ends in the middle of a line", puppet{answer: respond(200, line+"half 2")}, 0},
		{"uses names of another alphabet", puppet{answer: respond(200, line+"{\"häuf\"} 1\n")}, 0},
		{"says as much as it may", puppet{answer: respond(200, comment(limit))}, 1},
		{"says too much", puppet{answer: respond(200, comment(limit)+"\n")}, 0},
		{"is starting", puppet{state: "starting", answer: respond(200, line)}, 0},
		{"is leaving", puppet{state: "draining", answer: respond(200, line)}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c.worker.slot = 2
				begun := time.Now()
				text := scrape(t, says(1, "whole 1\n"), c.worker, says(3, "whole 1\n"))
				if took := time.Since(begun); took >= 10*time.Second {
					t.Errorf("the scrape took %v, and Prometheus waits for 10 s", took)
				}
				parsed(t, text)
				for _, want := range []string{
					`whole{slot="1"} 1`, `whole{slot="3"} 1`, `cluster_worker_up{slot="1"} 1`, `cluster_worker_up{slot="3"} 1`,
					fmt.Sprintf(`cluster_worker_up{slot="2"} %d`, c.up), `cluster_worker_in_flight{slot="2"} 2`,
				} {
					if strings.Count(text, want+"\n") != 1 {
						t.Errorf("%s is not there once:\n%s", want, text)
					}
				}
				if told := strings.Contains(text, "half"); told && c.up == 0 {
					t.Errorf("something of a worker that is left out is told:\n%s", text)
				}
			})
		})
	}
}

// All workers are asked at once: of many that hang the answer is as late as of one.
func TestMetricsOfManyThatHang(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var workers []puppet
		for slot := 1; slot < 20; slot++ {
			workers = append(workers, puppet{slot: slot, answer: hangs})
		}
		workers = append(workers, says(20, "whole 1\n"))
		begun := time.Now()
		text := scrape(t, workers...)
		if took := time.Since(begun); took >= 10*time.Second {
			t.Errorf("the scrape took %v, and Prometheus waits for 10 s", took)
		}
		if !strings.Contains(text, "whole{slot=\"20\"} 1\n") || strings.Count(text, "\ncluster_worker_up{") != 20 {
			t.Errorf("got %s", text)
		}
	})
}

// doc.go, "Metrics": the master's own numbers, of it and of the processes of each slot together.
func TestMetricsOfTheMaster(t *testing.T) {
	t.Parallel()
	text := scrape(t, says(1, ""), puppet{slot: 2, state: "draining", answer: respond(200, "")}, says(2, ""))
	parsed(t, text)
	want := []string{
		"# TYPE cluster_workers_target gauge", "cluster_workers_target 2", "# TYPE cluster_workers_ready gauge", "cluster_workers_ready 2",
		"cluster_breaker_open 1", "cluster_answering 0", "cluster_master_resident_memory_bytes 1.1534336e+07",
		"# TYPE cluster_crashes_total counter", "cluster_crashes_total 5", "cluster_reloads_total 7", "cluster_reloads_failed_total 2",
		`cluster_worker_up{slot="1"} 1`, `cluster_worker_up{slot="2"} 2`,
		`cluster_worker_in_flight{slot="1"} 1`, `cluster_worker_in_flight{slot="2"} 5`,
		`cluster_worker_connections{slot="1"} 10`, `cluster_worker_connections{slot="2"} 23`,
		`cluster_worker_accept_errors{slot="1"} 0`, `cluster_worker_accept_errors{slot="2"} 3`,
		`cluster_worker_resident_memory_bytes{slot="1"} 1`, `cluster_worker_resident_memory_bytes{slot="2"} 6`,
		`cluster_worker_lag_seconds{slot="1"} 1`, `cluster_worker_lag_seconds{slot="2"} 0.5`,
	}
	for _, line := range want {
		if strings.Count(text, line+"\n") != 1 {
			t.Errorf("%s is not there once:\n%s", line, text)
		}
	}
	empty := scrape(t)
	if parsed(t, empty); !strings.Contains(empty, "cluster_workers_ready 0\n") || !strings.Contains(empty, "cluster_answering 1\n") || strings.Contains(empty, "cluster_worker_") {
		t.Errorf("of a master without workers: %s", empty)
	}
}

// doc.go, "Metrics": cluster_worker_up tells of a slot whose worker has crashed and has no successor yet, too: a series that is
// gone is no alarm.
func TestMetricsOfAnEmptySlot(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		workers []puppet
		want    map[int]float64
	}{
		{[]puppet{says(1, ""), says(3, "")}, map[int]float64{1: 1, 2: 0, 3: 1, 4: 0}},
		{[]puppet{says(1, ""), says(6, "")}, map[int]float64{1: 1, 2: 0, 3: 0, 4: 0, 6: 1}}, // one leaves after scaling down
		{nil, map[int]float64{1: 0, 2: 0, 3: 0, 4: 0}},
	} {
		handler := newHandler(t, &puppets{target: 4, workers: c.workers}, admin.Config{Addr: "localhost:0"})
		up := slotted(parsed(t, ask(t, handler, "/metrics"))["cluster_worker_up"])
		if !maps.Equal(up, c.want) {
			t.Errorf("got %v, want %v", up, c.want)
		}
	}
}

// A master that has ended, or does not answer, is an error, and no metrics.
func TestMasterThatFails(t *testing.T) {
	t.Parallel()
	handler := newHandler(t, &puppets{failure: cluster.ErrStopped}, admin.Config{Addr: "localhost:0"})
	for _, path := range []string{"/metrics", "/readyz"} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Host = "localhost"
		handler.ServeHTTP(w, r)
		if w.Code != http.StatusServiceUnavailable || w.Body.String() != `{"ok":false,"reason":"`+cluster.ErrStopped.Error()+`"}`+"\n" {
			t.Errorf("%s: got %d: %s", path, w.Code, w.Body)
		}
	}
	if text := ask(t, handler, "/livez"); text != `{"status":"ok"}`+"\n" {
		t.Errorf("/livez: got %s", text)
	}
}

func newHandler(t *testing.T, m admin.Master, cfg admin.Config) http.Handler {
	t.Helper()
	handler, err := admin.New(m, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return handler
}

// Metrics are in the text format whatever the client would like best: all of what workers say fits into it.
func TestMetricsFormat(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(newHandler(t, &puppets{workers: []puppet{says(1, "a 1")}}, admin.Config{Addr: "localhost:0"}))
	defer server.Close()
	for _, accept := range []string{
		"", "application/openmetrics-text; version=1.0.0",
		"application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
	} {
		got := send(t, request{url: server.URL + "/metrics", header: []string{"Accept", accept}})
		if kind := got.header.Get("Content-Type"); got.code != http.StatusOK || !strings.HasPrefix(kind, "text/plain; version=0.0.4") {
			t.Errorf("for %q: got %d, %s", accept, got.code, kind)
		}
		if all := parsed(t, got.body); len(all["a"].GetMetric()) != 1 {
			t.Errorf("for %q: got %s", accept, got.body)
		}
	}
}

// request is one of a browser, a program or an attacker.
type request struct {
	method, url, host, body string
	header                  []string // names and values
}

type response struct {
	code   int
	body   string
	header http.Header
	closed bool // the connection is closed after it
}

func send(t *testing.T, r request) response {
	t.Helper()
	got, err := try(r)
	if err != nil {
		t.Fatalf("%s %s: %v", r.method, r.url, err)
	}
	return got
}

var client = &http.Client{
	Timeout: hang, Transport: &http.Transport{Proxy: nil},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// hang is when a test that waits gives up. It is no measure: only something that never comes takes that long.
const hang = time.Minute

func try(r request) (response, error) {
	req, err := http.NewRequest(r.method, r.url, strings.NewReader(r.body))
	if err != nil {
		return response{}, err
	}
	req.Host = r.host
	for i := 0; i+1 < len(r.header); i += 2 {
		if r.header[i+1] != "" {
			req.Header.Set(r.header[i], r.header[i+1])
		}
	}
	resp, err := client.Do(req)
	if err != nil {
		return response{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return response{resp.StatusCode, string(body), resp.Header, resp.Close}, err
}

// refusal returns the reason of an answer that nobody else may take for a success.
func (r response) refusal(t *testing.T) string {
	t.Helper()
	var o struct {
		OK     *bool  `json:"ok"`
		Reason string `json:"reason"`
	}
	d := json.NewDecoder(bytes.NewReader([]byte(r.body)))
	if err := d.Decode(&o); err != nil || o.OK == nil || *o.OK || o.Reason == "" {
		t.Errorf("got %d: %s, want a reason", r.code, r.body)
	}
	return o.Reason
}
