package app

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"doorbuster/app/checkout"
)

// M11: a worker is unhealthy when its own handler does not answer /livez as it should.
func TestHealthyAsksTheHandler(t *testing.T) {
	t.Parallel()
	a := &App{checkout: checkout.New(nil, nil, slog.New(slog.DiscardHandler), checkout.Config{})}
	status := http.StatusOK
	a.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/livez" {
			t.Errorf("asked for %s %s", r.Method, r.URL)
		}
		w.WriteHeader(status)
	})
	if err := a.Healthy(t.Context()); err != nil {
		t.Errorf("healthy: %v", err)
	}
	status = http.StatusInternalServerError
	if err := a.Healthy(t.Context()); err == nil || !strings.Contains(err.Error(), "its own /livez answers 500") {
		t.Errorf("unhealthy: %v", err)
	}
}
