package app

import (
	"net/http"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"doorbuster/app/checkout"
)

// metrics are what an App counts. Reads of the catalogue are counted by the server as a whole: at their rate, a histogram
// of their own would cost a measurable part of them.
type metrics struct {
	registry   *prometheus.Registry
	operations *prometheus.HistogramVec
	limited    *prometheus.CounterVec
}

// operationBuckets reach from a read of the session to a payment that is as slow as it may be, in seconds.
var operationBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

func (a *App) newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		operations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "shop_operation_seconds", Buckets: operationBuckets,
			Help: "How long operations took, by outcome: ok, or the code of the problem. Reads of the catalogue and requests that don't fit the schema are not among them.",
		}, []string{"operation", "outcome"}),
	}
	m.limited = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "shop_limited_total", Help: "Requests that were refused with 429, by what there was too much of, and whose limit it was.",
	}, []string{"class", "key"})
	limiter, accounts := a.limits.limiter, a.accounts
	host := a.cfg.Host
	for name, gate := range map[string]struct{ waiting, turnedAway *atomic.Int64 }{
		a.checkoutGate.name: {&a.checkoutGate.waiting, &a.checkoutGate.turnedAway},
		a.customerGate.name: {&a.customerGate.waiting, &a.customerGate.turnedAway},
		"catalogue":         {&a.misses.waiting, &a.misses.turnedAway},
	} {
		label := prometheus.Labels{"gate": name}
		m.registry.MustRegister(
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "shop_waiting_requests", ConstLabels: label, Help: "What waits for its turn: checkouts, requests of other customers, and questions of the catalogue that are not in memory."},
				func() float64 { return float64(gate.waiting.Load()) }),
			prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "shop_turned_away_total", ConstLabels: label, Help: "What waited for its turn in vain."},
				func() float64 { return float64(gate.turnedAway.Load()) }),
		)
	}
	for l, name := range laneNames {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "shop_catalogue_questions_total", ConstLabels: prometheus.Labels{"about": name},
			Help: "Questions of the catalogue to PostgreSQL: about answers that were in memory, but old, and such that were not. All other reads are from memory.",
		}, func() float64 { return float64(a.misses.asked[l].Load()) }))
	}
	for classes, pool := range a.pools.named {
		m.ofPool(classes, pool)
	}
	m.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), m.operations, m.limited,
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "http_requests_total", Help: "Requests, of the catalogue too."},
			func() float64 { return float64(host.Requests()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "http_requests_in_flight", Help: "Requests being worked on."},
			func() float64 { return float64(host.InFlight()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "shop_limits_local", Help: "1 while Redis does not answer in time, and this worker counts its share of the limits by itself."},
			func() float64 { return boolean(limiter.Stats().Local) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "shop_limits_local_total", Help: "Decisions about limits that this worker has taken by itself."},
			func() float64 { return float64(limiter.Stats().Locally) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "shop_limits_calls_total", Help: "Calls of Redis about limits; one may decide about many requests."},
			func() float64 { return float64(limiter.Stats().Trips) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "shop_password_hashes_total", Help: "Passwords that were hashed."},
			func() float64 { return float64(accounts.Hashing().Hashes) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "shop_password_hash_seconds_total", Help: "Processor time that hashing passwords took, about."},
			func() float64 { return accounts.Hashing().Seconds }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "shop_password_busy_total", Help: "Passwords that were not hashed for want of a turn."},
			func() float64 { return float64(accounts.Hashing().Refused) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "shop_password_waiting", Help: "Passwords that wait to be hashed."},
			func() float64 { return float64(accounts.Hashing().Waiting) }),
	)
	m.checkout(a.checkout)
	m.ofRetention(a.retention)
	return m
}

// checkout adds what tells of a checkout that is in trouble.
func (m *metrics) checkout(service *checkout.Service) {
	gauge := func(name, help string, value func(checkout.Stats) float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
			func() float64 { return value(service.Stats()) }))
	}
	gauge("shop_payment_provider_away", "1 while orders are refused because the payment provider does not answer.", func(s checkout.Stats) float64 { return boolean(s.ProviderAway) })
	gauge("shop_orders_expired", "Orders that waited for a sweep after the last one of this worker; 100,000 are as far as it counts.",
		func(s checkout.Stats) float64 { return float64(s.Expired) })
	counter := func(name, help string, labels prometheus.Labels, value func(checkout.Stats) int64) {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels},
			func() float64 { return float64(value(service.Stats())) }))
	}
	counter("shop_payment_provider_lost_total", "How often the payment provider has stopped to answer.", nil,
		func(s checkout.Stats) int64 { return s.ProviderLost })
	const swept, help = "shop_swept_orders_total", "Expired orders that the sweeper took up, by what became of them; one that is left is taken up again."
	counter(swept, help, prometheus.Labels{"outcome": "confirmed"}, func(s checkout.Stats) int64 { return s.SweptConfirmed })
	counter(swept, help, prometheus.Labels{"outcome": "cancelled"}, func(s checkout.Stats) int64 { return s.SweptCancelled })
	counter(swept, help, prometheus.Labels{"outcome": "left"}, func(s checkout.Stats) int64 { return s.SweptLeft })
}

// ofRetention adds what is removed for its age.
func (m *metrics) ofRetention(r *retention) {
	counter := func(name, help string, value *atomic.Int64) {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(value.Load()) }))
	}
	counter("shop_retention_runs_total", "Runs of this worker that remove old carts.", &r.runs)
	counter("shop_retention_carts_total", "Carts of guests that this worker has removed because nobody had changed them for long.", &r.removedCarts)
	counter("shop_retention_lines_total", "Lines of the carts that were removed.", &r.removedLines)
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "shop_retention_running", Help: "1 while this worker removes old carts."},
		func() float64 { return boolean(r.running.Load()) }))
}

// refuse counts a request that asked too often.
func (m *metrics) refuse(id quotaID) { m.limited.WithLabelValues(id.class, id.kind).Inc() }

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// ofPool adds what is counted of the connections that some classes of work share.
func (m *metrics) ofPool(classes string, pool *pgxpool.Pool) {
	label := prometheus.Labels{"class": classes}
	m.registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "postgres_connections_in_use", ConstLabels: label, Help: "PostgreSQL connections that work, by the class of work that they are for."},
			func() float64 { return float64(pool.Stat().AcquiredConns()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "postgres_connections_max", ConstLabels: label, Help: "PostgreSQL connections that there may be, by class."},
			func() float64 { return float64(pool.Stat().MaxConns()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "postgres_acquire_waits_total", ConstLabels: label, Help: "How often work waited for a PostgreSQL connection of its class, and got one."},
			func() float64 { return float64(pool.Stat().EmptyAcquireCount()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "postgres_acquire_timeouts_total", ConstLabels: label, Help: "How often work waited for a PostgreSQL connection of its class in vain."},
			func() float64 { return float64(pool.Stat().CanceledAcquireCount()) }),
	)
}

// Metrics returns what Prometheus scrapes. It is for an address that customers can't reach.
func (a *App) Metrics() http.Handler {
	return promhttp.HandlerFor(a.metrics.registry, promhttp.HandlerOpts{})
}
