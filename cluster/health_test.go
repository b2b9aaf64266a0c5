//go:build unix

package cluster_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"
)

// M11: what a worker says about its health is in the status, and so is the end of it.
func TestUnhealthyInStatus(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good raced", nil)
	pids := z.pids()
	sick := func(why string) {
		var none any
		z.askWorker(pids[0], "sick?why="+url.QueryEscape(why), &none)
	}
	shows := func(want string) {
		t.Helper()
		eventually(t, fmt.Sprintf("health %q in the status", want), func() bool {
			s := z.status()
			return strings.HasPrefix(s.Workers[0].Unhealthy, want) && (want != "" || s.Workers[0].Unhealthy == "") && s.Workers[1].Unhealthy == ""
		})
	}
	sick("the batcher is dead")
	shows("the batcher is dead")
	sick("panic")
	shows("Healthy panicked: too ill to tell")
	sick("")
	shows("")
	sick("block")
	shows("its health check has not returned for 1s")
	sick("")
	z.gate.wait("health", 1)[0].pass()
	shows("")
	z.stop()
}

// M11: handlers that hang are in the status although heartbeats come, and the shop's other worker is none of it.
func TestStallInStatus(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "serving raced stall=300ms", config{"Workers": 1})
	client := http.Client{}
	defer client.CloseIdleConnections()
	answered := make(chan error, 3)
	for range cap(answered) {
		go func() {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+z.address()+"/wedge", http.NoBody)
			_, err := client.Do(req)
			answered <- err
		}()
	}
	eventually(t, "the stall in the status", func() bool {
		w := z.status().Workers[0]
		return strings.HasPrefix(w.Unhealthy, "no request was finished for ") && strings.Contains(w.Unhealthy, "GET /wedge") && w.InFlight == 3
	})
	z.signal(syscall.SIGTERM)
	z.logged("master stopping", 1)
	z.signal(syscall.SIGTERM)
	z.exit()
	for range cap(answered) {
		<-answered
	}
}

// D8: a worker that is stopped shows by its silence, long before its heartbeat timeout.
func TestSilenceInStatus(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good", nil)
	pids := z.pids()
	if err := syscall.Kill(pids[0], syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the silence in the status", func() bool {
		s := z.status()
		return s.Workers[0].SilentSeconds > 1 && s.Workers[0].State == "ready" && s.Workers[1].SilentSeconds < s.Workers[0].SilentSeconds
	})
	if err := syscall.Kill(pids[0], syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a word", func() bool { return z.status().Workers[0].SilentSeconds < 1 })
	z.stop()
}

// The drain limit of a worker must not be longer than its master's patience: the reload that would bring that is refused.
func TestDrainLongerThanKill(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "serving draintimeout=1s", config{"KillTimeout": 2 * time.Second})
	_, err := z.reload("serving draintimeout=3s")
	if err == nil || !strings.Contains(err.Error(), "exited with code 1 before it was ready") {
		t.Errorf("the reload: %v", err)
	}
	z.settle(2)
	z.stop()
}
