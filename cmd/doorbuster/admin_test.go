//go:build unix

package main_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// M15, O7: what commands do, the admin address does too; its metrics hold each slot once, also while workers are replaced.
func TestAdminAddress(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	client := stranger()
	for range 10 {
		get(t, client, "GET", s.url("/v1/products"), "")
	}
	for _, probe := range []string{"/livez", "/readyz"} {
		if code, body := get(t, client, "GET", s.admin+probe, ""); code != http.StatusOK || body != `{"status":"ok"}`+"\n" {
			t.Errorf("%s: got %d: %s", probe, code, body)
		}
	}
	scrape := func(slots int) {
		t.Helper()
		code, metrics := get(t, client, "GET", s.admin+"/metrics", "")
		if code != http.StatusOK {
			t.Fatalf("got %d: %s", code, metrics)
		}
		onlyOnce(t, metrics)
		for slot := 1; slot <= slots; slot++ {
			for _, name := range []string{"http_requests_total", "go_goroutines", "cluster_worker_up", "cluster_worker_in_flight"} {
				if want := regexp.MustCompile(fmt.Sprintf(`(?m)^%s\{slot="%d"\} `, name, slot)); len(want.FindAllString(metrics, -1)) != 1 {
					t.Errorf("%s of slot %d is not there once", name, slot)
				}
			}
		}
		if strings.Contains(metrics, fmt.Sprintf(`slot="%d"`, slots+1)) {
			t.Errorf("there is a slot %d", slots+1)
		}
	}
	scrape(2)
	if code, body := get(t, client, "POST", s.admin+"/api/v1/scale", `{"workers": 3}`); code != http.StatusOK {
		t.Errorf("scale: got %d: %s", code, body)
	}
	s.await(&s.at, "worker ready", nil)
	if code, body := get(t, client, "GET", s.admin+"/api/v1/status", ""); code != http.StatusOK || strings.Count(body, `"slot":`) != 3 {
		t.Errorf("status: got %d: %s", code, body)
	}
	scrape(3)
	if code, body := get(t, client, "POST", s.admin+"/api/v1/reload", ""); code != http.StatusOK || !strings.Contains(body, `"ok":true`) {
		t.Errorf("reload: got %d: %s", code, body)
	}
	scrape(3)
	if code, _ := get(t, client, "GET", fmt.Sprintf("%s/debug/workers/%d/pprof/goroutine?debug=1", s.admin, s.pids()[2]), ""); code != http.StatusOK {
		t.Errorf("pprof of one worker: got %d", code)
	}
	if code, _ := get(t, client, "POST", s.admin+"/api/v1/stop", "", "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"); code != http.StatusForbidden {
		t.Errorf("stop, sent by the page of another site: got %d, want 403", code)
	}
	if code, body := get(t, client, "POST", s.admin+"/api/v1/stop", ""); code != http.StatusOK {
		t.Errorf("stop: got %d: %s", code, body)
	}
	s.gone()
}

// onlyOnce checks that no series, and nothing about one, is told twice: Prometheus refuses the whole answer then.
func onlyOnce(t *testing.T, metrics string) {
	t.Helper()
	seen := map[string]bool{}
	for line := range strings.Lines(metrics) {
		if !strings.HasPrefix(line, "#") {
			line = line[:strings.LastIndex(line, " ")] // without the value
		}
		if seen[line] {
			t.Errorf("twice: %s", line)
		}
		seen[line] = true
	}
}

// While a slot has two processes its series are there once, and a shop that stops is not ready.
func TestAdminAddressWhileWorkersLeave(t *testing.T) {
	t.Parallel()
	s := openShop(t, "WORKERS=1")
	client := stranger()
	finish := upload(t, s.addr)
	s.holds(1)
	s.signal(syscall.SIGUSR2)
	s.await(&s.at, "draining", nil)
	if n := len(s.status().Workers); n != 2 {
		t.Errorf("%d workers in the slot, want the one that leaves and its replacement", n)
	}
	_, metrics := get(t, client, "GET", s.admin+"/metrics", "")
	onlyOnce(t, metrics)
	for _, series := range []string{`http_requests_in_flight{slot="1"} 1`, `cluster_worker_up{slot="1"} 2`, "cluster_workers_ready 1"} {
		if strings.Count(metrics, series+"\n") != 1 {
			t.Errorf("%s is not there once: %s", series, metrics)
		}
	}
	finish()
	s.await(&s.at, "reloaded", nil)

	finish = upload(t, s.addr)
	s.holds(1)
	s.signal(syscall.SIGTERM)
	s.await(&s.at, "draining", nil)
	if code, body := get(t, client, "GET", s.admin+"/readyz", ""); code != http.StatusServiceUnavailable || !strings.Contains(body, "stopping") {
		t.Errorf("/readyz: got %d: %s, want 503", code, body)
	}
	if code, _ := get(t, client, "GET", s.admin+"/livez", ""); code != http.StatusOK {
		t.Errorf("/livez: got %d", code)
	}
	finish()
	s.gone()
}

// An address that others can reach takes commands from whoever has the token.
func TestAdminToken(t *testing.T) {
	t.Parallel()
	const token = "open-sesame"
	s := openShop(t, "WORKERS=1", "ADMIN_ADDR=0.0.0.0:0", "ADMIN_TOKEN="+token)
	admin := "http://127.0.0.1" + s.admin[strings.LastIndex(s.admin, ":"):]
	client := stranger()
	for want, header := range map[int][]string{
		http.StatusUnauthorized: nil,
		http.StatusOK:           {"Authorization", "Bearer " + token},
	} {
		if code, body := get(t, client, "GET", admin+"/api/v1/status", "", header...); code != want {
			t.Errorf("with %v: got %d: %s, want %d", header, code, body, want)
		}
	}
	if code, _ := get(t, client, "GET", admin+"/readyz", ""); code != http.StatusOK {
		t.Errorf("a probe needs no token: got %d", code)
	}
	if strings.Contains(s.stderr.String(), token) {
		t.Error("the token is in the log")
	}
	s.close()
}
