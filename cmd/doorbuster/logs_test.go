//go:build unix

package main_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// W4: every line of every process is JSON with its pid. Those of a worker have its slot and release, those of the master
// its role.
func TestLogLinesOfACluster(t *testing.T) {
	t.Parallel()
	s := openShop(t, "LOG_LEVEL=debug", "STATUS_INTERVAL=100ms")
	client := stranger()
	for range 10 {
		get(t, client, "GET", s.url("/v1/products"), "")
	}
	s.reload()
	s.kill(s.pids()[1])
	s.await(&s.at, "worker crashed", nil)
	s.await(&s.at, "worker ready", nil)
	s.await(&s.at, "cluster", nil)
	get(t, client, "GET", s.url("/v1/products"), "")
	slots := map[float64]string{} // by pid
	for _, r := range s.records(0, "worker ready") {
		slots[float64(r.WorkerPID)] = r.WorkerRelease
	}
	s.close()
	byMaster, byWorkers := 0, map[float64]int{}
	for _, line := range s.stderr.all() {
		var r map[string]any
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Errorf("%v: %s", err, line)
			continue
		}
		pid, _ := r["pid"].(float64)
		if pid == float64(s.cmd.Process.Pid) {
			byMaster++
			if r["role"] != "master" {
				t.Errorf("a line of the master without its role: %s", line)
			}
			continue
		}
		byWorkers[pid]++
		slot, _ := r["slot"].(float64)
		if release, known := slots[pid]; !known || slot < 1 || slot > 2 || r["release"] != release {
			t.Errorf("a line of a worker without its slot, its release or its pid: %s", line)
		}
	}
	if byMaster == 0 || len(byWorkers) != 5 {
		t.Errorf("%d lines of the master, and lines of %d workers, want some, and 5", byMaster, len(byWorkers))
	}
}

// M13: the status line tells the state, how many workers are healthy, and the memory, the requests and what is in flight of
// all of them.
func TestStatusLine(t *testing.T) {
	t.Parallel()
	s := openShop(t, "STATUS_INTERVAL=50ms", "HEARTBEAT_INTERVAL=50ms", "HEARTBEAT_TIMEOUT=30s")
	for range 5 {
		get(t, stranger(), "GET", s.url("/v1/products"), "")
	}
	finish := upload(t, s.addr)
	line := s.await(&s.at, "cluster", func(r record) bool { return r.Requests == 6 })
	if line.State != "running" || line.Ready != 2 || line.Workers != 2 || line.MemoryMB < 10 || line.InFlight != 1 || line.Crashes != 0 {
		t.Errorf("got %+v, want running, 2 of 2 workers, their memory and one request in flight", line)
	}
	finish()
	s.await(&s.at, "cluster", func(r record) bool { return r.InFlight == 0 })
	s.kill(s.pids()[1])
	s.await(&s.at, "cluster", func(r record) bool {
		return r.State == "degraded" && r.Ready == 1 && r.Crashes == 1 && r.Level == "WARN" && strings.HasPrefix(r.Because, "slot ")
	})
	s.await(&s.at, "cluster", func(r record) bool { return r.State == "running" && r.Ready == 2 })
	s.close()
}

// W5, W1: /health tells about the worker that answers, with numbers of now.
func TestHealthOfAWorker(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	finish := upload(t, s.addr)
	s.holds(1)
	pids := s.pids()
	client := stranger()
	held, seen := 0, map[int]int64{}
	poll(t, "each worker answers", func() bool {
		_, body := get(t, client, "GET", s.url("/health"), "")
		var h struct {
			Status        string
			PID, Slot     int
			UptimeSeconds float64 `json:"uptime_seconds"`
			RSSBytes      int64   `json:"rss_bytes"`
			InFlight      int     `json:"in_flight"`
			RequestsTotal int64   `json:"requests_total"`
		}
		if err := json.Unmarshal([]byte(body), &h); err != nil {
			t.Fatal(err)
		}
		if h.Status != "ok" || h.Slot < 1 || h.PID != pids[h.Slot] || h.UptimeSeconds <= 0 || h.RSSBytes < 1<<20 || h.InFlight < 1 || h.InFlight > 2 || h.RequestsTotal <= seen[h.Slot] {
			t.Fatalf("got %s, with workers %v", body, pids)
		}
		if _, first := seen[h.Slot]; !first {
			held += h.InFlight - 1 // itself
		}
		seen[h.Slot] = h.RequestsTotal
		return len(seen) == 2
	})
	if held != 1 {
		t.Errorf("the workers hold %d requests, want 1", held)
	}
	finish()
	s.close()
}
