package app_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"doorbuster/app"
)

// scrape reads the metrics as Prometheus does.
func (s *shop) scrape() map[string]*dto.MetricFamily {
	s.t.Helper()
	w := httptest.NewRecorder()
	s.app.Metrics().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if got := w.Header().Get("Content-Type"); w.Code != http.StatusOK || !strings.HasPrefix(got, "text/plain") {
		s.t.Fatalf("got %d, Content-Type %q", w.Code, got)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(w.Body)
	if err != nil {
		s.t.Fatalf("parse the metrics: %v", err)
	}
	return families
}

// metric is the value of a counter or gauge that has no labels.
func (s *shop) metric(name string, kind dto.MetricType) float64 {
	s.t.Helper()
	f := s.scrape()[name]
	if f == nil || f.GetType() != kind || len(f.Metric) != 1 || len(f.Metric[0].Label) != 0 || f.GetHelp() == "" {
		s.t.Fatalf("%s is %v, want one %v", name, f, kind)
	}
	return f.Metric[0].GetCounter().GetValue() + f.Metric[0].GetGauge().GetValue() // one of them
}

// operations says how often each operation had each outcome, as "operation outcome".
func (s *shop) operations() map[string]uint64 {
	s.t.Helper()
	counts := map[string]uint64{}
	for _, m := range s.scrape()["shop_operation_seconds"].GetMetric() {
		labels := labelsOf(m)
		if len(labels) != 2 || labels["operation"] == "" || labels["outcome"] == "" {
			s.t.Errorf("an operation has the labels %v", labels)
		}
		h := m.GetHistogram()
		last := h.Bucket[len(h.Bucket)-1] // +Inf
		if n := h.GetSampleCount(); n == 0 || last.GetCumulativeCount() != n || h.GetSampleSum() <= 0 {
			s.t.Errorf("%v: %d times, %v seconds, %d of them in buckets", labels, n, h.GetSampleSum(), last.GetCumulativeCount())
		}
		counts[labels["operation"]+" "+labels["outcome"]] = h.GetSampleCount()
	}
	return counts
}

func labelsOf(m *dto.Metric) map[string]string {
	labels := map[string]string{}
	for _, l := range m.Label {
		labels[l.GetName()] = l.GetValue()
	}
	return labels
}

// counted returns what was counted while something happened.
func (s *shop) counted(what func()) map[string]uint64 {
	s.t.Helper()
	before := s.operations()
	what()
	after := s.operations()
	for key, n := range before {
		if after[key] -= n; after[key] == 0 {
			delete(after, key)
		}
	}
	return after
}

// The metrics are those of the server that the App runs in, and of the process.
func TestMetricsOfTheHost(t *testing.T) {
	t.Parallel()
	s := open(t, func(c *app.Config) { c.Host = new(host) })
	if got := s.metric("http_requests_total", dto.MetricType_COUNTER); got != 99 {
		t.Errorf("got %v requests, want the 99 of the host", got)
	}
	if got := s.metric("http_requests_in_flight", dto.MetricType_GAUGE); got != 7 {
		t.Errorf("got %v requests in flight, want the 7 of the host", got)
	}
	if got := s.metric("go_goroutines", dto.MetricType_GAUGE); got < 1 {
		t.Errorf("got %v goroutines", got)
	}
}

// explosive is a log that panics at one message: the nearest that a test from outside comes to a mistake in a handler.
type explosive struct {
	slog.Handler
	message string
}

func (e explosive) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == e.message {
		panic("the log exploded")
	}
	return e.Handler.Handle(ctx, r)
}

// Each operation is counted once, by how it ended: ok, the code of its problem, or internal for whatever nobody expected.
func TestMetricsOfOperations(t *testing.T) {
	t.Parallel()
	s := open(t, func(c *app.Config) {
		c.Log = slog.New(explosive{c.Log.Handler(), "charge failed, cancelling it"})
	})
	with := func(sku string) *visitor { // has it in the cart
		v := s.visitor()
		v.add(sku, 1)
		return v
	}
	account := map[string]string{"email": "ada@example.com", "password": "correct horse"}
	member := s.visitor()
	for _, c := range []struct {
		want string
		v    *visitor
		act  func(v *visitor) reply
	}{
		{"get-cart ok", s.visitor(), func(v *visitor) reply { return v.do("GET", "/v1/cart", nil).want(200, nil) }},
		{"add-cart-item ok", s.visitor(), func(v *visitor) reply {
			return v.do("POST", "/v1/cart/items", map[string]any{"sku": kettle, "quantity": 1}).want(200, nil)
		}},
		{"add-cart-item invalid-request", s.visitor(), func(v *visitor) reply {
			return v.do("POST", "/v1/cart/items", map[string]any{"sku": "NOTHING", "quantity": 1}).want(422, nil)
		}},
		{"set-cart-item not-found", s.visitor(), func(v *visitor) reply {
			return v.do("PUT", "/v1/cart/items/NOTHING", map[string]any{"quantity": 1}).want(404, nil)
		}},
		{"remove-cart-item ok", with(kettle), func(v *visitor) reply { return v.do("DELETE", "/v1/cart/items/"+kettle, nil).want(200, nil) }},
		{"set-discount cart-empty", s.visitor(), func(v *visitor) reply {
			return v.do("PUT", "/v1/cart/discount", map[string]string{"code": tenOff}).want(409, nil)
		}},
		{"get-order not-found", s.visitor(), func(v *visitor) reply { return v.do("GET", "/v1/orders/"+uuid.NewString(), nil).want(404, nil) }},
		{"register ok", member, func(v *visitor) reply { return v.do("POST", "/v1/account", account).want(201, nil) }},
		{"register wrong-credentials", s.visitor(), func(v *visitor) reply {
			return v.do("POST", "/v1/account", map[string]string{"email": "ada@example.com", "password": "another horse"}).want(401, nil)
		}},
		{"who-am-i ok", member, func(v *visitor) reply { return v.do("GET", "/v1/session", nil).want(200, nil) }},
		{"who-am-i not-logged-in", s.visitor(), func(v *visitor) reply { return v.do("GET", "/v1/session", nil).want(401, nil) }},
		{"log-in wrong-credentials", s.visitor(), func(v *visitor) reply {
			return v.do("POST", "/v1/session", map[string]string{"email": "ada@example.com", "password": "wrong horse"}).want(401, nil)
		}},
		{"checkout cart-empty", s.visitor(), func(v *visitor) reply { return v.buy("empty", "tok_ok", "").want(409, nil) }},
		{"checkout out-of-stock", with(soldOut), func(v *visitor) reply { return v.buy("sold-out", "tok_ok", "").want(409, nil) }},
		{"checkout sale-not-started", with(tomorrow), func(v *visitor) reply { return v.buy("early", "tok_ok", "").want(409, nil) }},
		{"checkout payment-declined", with(kettle), func(v *visitor) reply { return v.buy("declined", "tok_declined", "").want(402, nil) }},
		{"checkout ok", with(kettle), func(v *visitor) reply { return v.buy("bought", "tok_ok", "").want(201, nil) }},
		{"checkout internal", with(kettle), func(v *visitor) reply { // a panic: the log explodes
			return v.buy("exploded", "tok_error", "").want(500, nil)
		}},
		{"list-orders internal", member, func(v *visitor) reply { // an error that nobody expects
			if _, err := s.pool.Exec(t.Context(), "ALTER TABLE orders RENAME TO mislaid"); err != nil {
				t.Fatal(err)
			}
			return v.do("GET", "/v1/orders", nil).want(500, nil)
		}},
	} {
		t.Run(c.want, func(t *testing.T) {
			if diff := cmp.Diff(map[string]uint64{c.want: 1}, s.counted(func() { c.act(c.v) })); diff != "" {
				t.Error(diff)
			}
		})
	}
	if s.log.line(`"panic":"the log exploded"`) == "" {
		t.Error("nothing has panicked")
	}
	// The catalogue's reads are counted by the server as a whole.
	if got := s.counted(func() {
		s.visitor().do("GET", "/v1/products/kettle", nil).want(200, nil)
		s.visitor().do("GET", "/v1/products", nil).want(200, nil)
		s.visitor().do("GET", "/v1/categories", nil).want(200, nil)
	}); len(got) != 0 {
		t.Errorf("reads of the catalogue were counted as %v", got)
	}
}

// However many customers there are and whatever they ask for, the series stay few: no label has anything of a request.
func TestMetricsAreBounded(t *testing.T) {
	t.Parallel()
	s := open(t)
	crowd := func(name string) {
		v := s.visitor()
		v.add(kettle, 1)
		sku := "SKU-" + strings.ToUpper(name)
		email := name + "@example.com"
		id := v.buy("key-"+name, "tok_ok", email).want(201, nil).header.Get("Location")
		v.do("GET", id, nil).want(200, nil)
		v.do("GET", "/v1/orders/"+uuid.NewString(), nil).want(404, nil)
		v.do("GET", "/v1/orders/"+name, nil).want(404, nil)
		v.do("GET", "/v1/products/"+name, nil).want(404, nil)
		v.do("GET", "/v1/products?q="+name, nil).want(200, nil)
		v.do("DELETE", "/v1/cart/items/"+sku, nil).want(404, nil)
		v.do("PUT", "/v1/cart/items/"+sku, map[string]any{"quantity": 1}).want(404, nil)
		v.do("POST", "/v1/cart/items", map[string]any{"sku": sku, "quantity": 1}).want(422, nil)
		v.do("POST", "/v1/session", map[string]string{"email": email, "password": "password of " + name}).want(401, nil)
	}
	series := func() map[string]bool {
		found := map[string]bool{}
		for name, f := range s.scrape() {
			for _, m := range f.Metric {
				labels := labelsOf(m)
				found[fmt.Sprint(name, labels)] = true
				if strings.HasPrefix(name, "go_") { // of the collector: versions and quantiles
					continue
				}
				for label, value := range labels {
					if !map[string]bool{"operation": true, "outcome": true, "gate": true, "class": true, "about": true}[label] || !regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`).MatchString(value) {
						t.Errorf("%s has %s=%q", name, label, value)
					}
				}
			}
		}
		return found
	}
	crowd("first")
	before := series()
	for _, name := range []string{"second", "third", "fourth"} {
		crowd(name)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(series()))); diff != "" {
		t.Errorf("there are more series after more customers: %s", diff)
	}
}

// What is said of PostgreSQL's connections is so: how many there may be, how many work, and whether work had to wait for one.
func TestMetricsOfPostgres(t *testing.T) {
	t.Parallel()
	const total, most = 8, 4 // most of them are for customers
	s := open(t, func(c *app.Config) { c.MaxConns = total })
	inUse := func() float64 { return s.ofClass("postgres_connections_in_use", "customers") }
	waits := func() float64 { return s.ofClass("postgres_acquire_waits_total", "customers") }
	if got := s.ofClass("postgres_connections_max", "customers"); got != most {
		t.Errorf("there may be %v connections for customers, want %d", got, most)
	}
	sum := 0.0
	for _, m := range s.scrape()["postgres_connections_max"].GetMetric() {
		sum += m.GetGauge().GetValue()
	}
	if sum != total {
		t.Errorf("there may be %v connections, and %d were allowed", sum, total)
	}
	visitors := make([]*visitor, 4*most)
	for i := range visitors {
		visitors[i] = s.visitor()
		visitors[i].add(kettle, 1)
	}
	s.until("no connection is in use", func() bool { return inUse() == 0 })
	// While the carts are locked, who asks for one holds a connection. A crowd holds all that there are, and the rest waits.
	inVain := func() float64 { return s.ofClass("postgres_acquire_timeouts_total", "customers") }
	impatient := func() {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/v1/cart", nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := visitors[0].client.Do(req); err == nil {
			resp.Body.Close()
		}
	}
	crowd := func() {
		t.Helper()
		tx, err := s.pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback(context.WithoutCancel(t.Context()))
		if _, err := tx.Exec(t.Context(), "LOCK TABLE cart IN ACCESS EXCLUSIVE MODE"); err != nil {
			t.Fatal(err)
		}
		var asking sync.WaitGroup
		ask := func(v *visitor) { asking.Go(func() { v.eventually(http.StatusOK, "GET", "/v1/cart", nil) }) }
		ask(visitors[0])
		s.until("one connection is in use", func() bool { return inUse() == 1 })
		for _, v := range visitors[1:] {
			ask(v)
		}
		s.until("all connections are in use", func() bool { return inUse() == most })
		s.until("work has waited in vain", func() bool { impatient(); return inVain() > 0 })
		if err := tx.Rollback(t.Context()); err != nil {
			t.Error(err)
		}
		asking.Wait()
		s.until("no connection is in use again", func() bool { return inUse() == 0 })
	}
	crowd() // all connections are open from now on: to open one is a wait as well
	before := waits()
	for range 10 {
		visitors[0].cart()
	}
	if got := waits(); got != before {
		t.Errorf("%v waits, where nobody was in the way", got-before)
	}
	s.until("work has waited", func() bool { // in the first round, unless the rest of the crowd is late
		crowd()
		return waits() > before
	})
}

// ofClass is a value of the connections that a class of work has.
func (s *shop) ofClass(name, class string) float64 {
	s.t.Helper()
	for _, m := range s.scrape()[name].GetMetric() {
		if labelsOf(m)["class"] == class {
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	s.t.Fatalf("there is no %s of %s", name, class)
	return 0
}

// until waits for what nothing tells of. The limit is no measure: only what never comes takes that long.
func (s *shop) until(what string, so func() bool) {
	s.t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for limit := time.Now().Add(time.Minute); !so(); <-ticker.C {
		if time.Now().After(limit) {
			s.t.Fatalf("waited in vain until %s", what)
		}
	}
}
