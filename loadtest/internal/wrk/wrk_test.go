package wrk

import (
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestRunRefusesWhatStopCounts(t *testing.T) {
	if testing.Short() {
		t.Skip("runs wrk for a second")
	}
	if _, err := exec.LookPath("wrk"); err != nil {
		t.Skip(err)
	}
	var answers atomic.Int64
	thousand := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		if answers.Add(1) == 1000 {
			close(thousand)
		}
	}))
	defer srv.Close()
	l := Load{URL: srv.URL, Threads: 1, Connections: 4, Duration: 20 * time.Second}
	r, err := Start(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-thousand:
	case <-time.After(l.Duration):
	}
	if s, err := r.Stop(); err != nil || s.Failed < 1000 || s.Failed != s.Requests {
		t.Errorf("Stop: got %+v, %v, want as many failures as requests, at least 1000", s, err)
	}
	l.Duration = time.Second
	if s, err := Run(t.Context(), l); err == nil || !strings.HasSuffix(err.Error(), " requests failed\n"+s.Output) {
		t.Errorf("Run: got %+v, %v, want an error with wrk's output", s, err)
	}
}
