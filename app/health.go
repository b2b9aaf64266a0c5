package app

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"
)

// Health is what a worker tells about itself (W5): its status, and the rest
// where [Config.RevealWorkers] is set.
type Health struct {
	Status        string  `json:"status" enum:"ok,draining"`
	PID           int     `json:"pid,omitempty" doc:"This and the rest is only told where REVEAL_WORKERS is set"`
	Slot          int     `json:"slot,omitempty" doc:"Place under the master, from 1; none without one"`
	Release       string  `json:"release,omitempty"`
	UptimeSeconds float64 `json:"uptime_seconds,omitempty"`
	RSSBytes      int64   `json:"rss_bytes,omitempty" doc:"Resident memory"`
	Goroutines    int     `json:"goroutines,omitempty"`
	InFlight      int     `json:"in_flight,omitempty" doc:"Requests being worked on, this one included"`
	RequestsTotal int64   `json:"requests_total,omitempty"`
}

// Probe is the answer of a probe.
type Probe struct {
	Status string `json:"status" enum:"ok,draining"`
}

// livez says that the process can answer, and nothing about what it depends on: restarting it would mend none of that.
func (a *App) livez(w http.ResponseWriter, r *http.Request) {
	a.writeProbe(w, r, http.StatusOK, Probe{"ok"})
}

// Healthy says whether this process can do its work, for whoever may replace it: nil, or
// what is wrong. It asks for what only a new process would mend. The worker's own
// handler has to answer /livez, through all that wraps it, and batches of orders have
// to go on. It asks neither PostgreSQL nor Redis: where those are away they are so for
// the next process, too. It does not return while the handler does not.
func (a *App) Healthy(ctx context.Context) error {
	if err := a.checkout.Healthy(); err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "/livez", nil)
	if err != nil {
		return fmt.Errorf("make a request: %w", err)
	}
	w := &probe{header: http.Header{}}
	a.handler.ServeHTTP(w, r)
	if w.status != http.StatusOK {
		return fmt.Errorf("its own /livez answers %d", w.status)
	}
	return nil
}

// probe is an answer of which only the status counts.
type probe struct {
	header http.Header
	status int
}

func (p *probe) Header() http.Header         { return p.header }
func (p *probe) WriteHeader(status int)      { p.status = status }
func (p *probe) Write(b []byte) (int, error) { return len(b), nil }

// readyz says whether a load balancer should send traffic. PostgreSQL or Redis being away does not make a worker unready:
// they are away for all workers alike, the catalogue still serves, and the rest gets a clear 503 instead of no server.
func (a *App) readyz(w http.ResponseWriter, r *http.Request) {
	if a.cfg.Host.Unready() {
		a.writeProbe(w, r, http.StatusServiceUnavailable, Probe{"draining"})
		return
	}
	a.writeProbe(w, r, http.StatusOK, Probe{"ok"})
}

func (a *App) health(w http.ResponseWriter, r *http.Request) {
	h := Health{Status: "ok"}
	if host := a.cfg.Host; a.cfg.RevealWorkers {
		h = Health{
			Status: "ok", PID: pid(), Slot: a.cfg.Slot, Release: a.cfg.Release, UptimeSeconds: time.Since(a.started).Seconds(),
			RSSBytes: host.Memory(), Goroutines: runtime.NumGoroutine(), InFlight: host.InFlight(), RequestsTotal: host.Requests(),
		}
	}
	if a.cfg.Host.Unready() {
		h.Status = "draining"
	}
	a.writeProbe(w, r, http.StatusOK, h)
}

func (a *App) writeProbe(w http.ResponseWriter, r *http.Request, status int, v any) {
	body, err := encodeJSON(v)
	if err != nil {
		a.writeProblem(w, r, err)
		return
	}
	h := w.Header()
	h["Content-Type"] = contentJSON
	h.Set("Cache-Control", "no-store")
	if status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	w.WriteHeader(status)
	w.Write(body) //nolint:errcheck // the client may be gone
}

// ReleaseName names the running executable for logs and /health: the version and commit it was built from.
func ReleaseName() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	name := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			name = s.Value[:12]
		}
	}
	if name == "" || name == "(devel)" {
		return "dev"
	}
	return name
}
