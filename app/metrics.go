package app

import (
	"net/http"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are what an App counts. Reads of the catalogue are counted by the server as a whole: at their rate, a histogram
// of their own would cost a measurable part of them.
type metrics struct {
	registry   *prometheus.Registry
	operations *prometheus.HistogramVec
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
	for classes, pool := range a.pools.named {
		m.ofPool(classes, pool)
	}
	m.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), m.operations,
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "http_requests_total", Help: "Requests, of the catalogue too."},
			func() float64 { return float64(host.Requests()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "http_requests_in_flight", Help: "Requests being worked on."},
			func() float64 { return float64(host.InFlight()) }),
	)
	return m
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
