package main_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"doorbuster/app/dbtest"
	"doorbuster/cluster"
)

// countChildren looks at the children of a process all the time, until the returned function is called, which returns the
// most that there ever were at a moment.
func countChildren(pid int) (most func() int) {
	stop, result := make(chan struct{}), make(chan int)
	go func() {
		most := 0
		ticker := time.NewTicker(time.Millisecond) // nothing tells when a process gets a child
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				result <- most
				return
			case <-ticker.C:
			}
			files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
			n := 0
			for _, file := range files {
				raw, _ := os.ReadFile(file) // the thread may be gone
				n += len(strings.Fields(string(raw)))
			}
			most = max(most, n)
		}
	}()
	return func() int { close(stop); return <-result }
}

// M7, M6, M5, M3: a setting that no worker can work with is no fork bomb. Each slot waits before it tries again, the circuit
// breaker opens, an alert is raised, and the master gives up, with the workers' own sentence in its last line.
func TestBadSettingIsNoForkBomb(t *testing.T) {
	t.Parallel()
	nobody := refusedAddr(t)
	for name, c := range map[string]struct{ databaseURL, redisURL, variable string }{
		"no database": {"", dbtest.Redis(t), "DATABASE_URL is empty"},
		"wrong Redis": {dbtest.Database(t), "redis://" + nobody, "REDIS_URL names a Redis that can't be used"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, []string{
				"ADDR=127.0.0.1:0", "WORKERS=2", "DATABASE_URL=" + c.databaseURL, "REDIS_URL=" + c.redisURL,
				`ALERT_COMMAND=echo "ALERT $ALERT_REASON, pid $ALERT_PID" >&2`,
			}, "serve")
			most := countChildren(p.cmd.Process.Pid)
			code := p.wait()
			if n := most(); n < 1 || n > 3 {
				t.Errorf("there were %d children at a moment, want 3 at the most", n)
			}
			lines := p.stderr.all()
			last := lines[len(lines)-1]
			if strings.HasPrefix(last, "ALERT ") { // it runs on its own, and may be later
				last = lines[len(lines)-2]
			}
			if code != 1 || !strings.HasPrefix(last, "doorbuster: no worker could be started: ") || !strings.Contains(last, c.variable) {
				t.Errorf("got exit code %d and as the last line %q, want 1 and %s", code, last, c.variable)
			}
			// Two slots at once, again after 1 s, and after 2 s one of them is the fifth within a minute.
			crashes := p.records(0, "worker crashed")
			if len(crashes) < 5 || len(crashes) > 6 {
				t.Errorf("%d workers were started, want 5 or 6", len(crashes))
			}
			inRow, notBefore := map[int]int{}, map[int]time.Time{}
			for _, r := range crashes {
				wait, err := time.ParseDuration(r.AgainIn)
				least := time.Second << inRow[r.Slot]
				if err != nil || wait < least || wait > least*5/4 {
					t.Errorf("slot %d waits for %s after crash %d, want %v to %v", r.Slot, r.AgainIn, r.Crashes, least, least*5/4)
				}
				if r.Time.Before(notBefore[r.Slot]) {
					t.Errorf("slot %d was filled again before %v", r.Slot, notBefore[r.Slot])
				}
				notBefore[r.Slot] = r.Time.Add(wait - time.Millisecond) // the log rounds
				if inRow[r.Slot]++; r.Crashes != inRow[r.Slot] {
					t.Errorf("slot %d: got crash %d, want %d", r.Slot, r.Crashes, inRow[r.Slot])
				}
			}
			if open := p.records(0, "circuit breaker open: this release is not started again for now"); len(open) != 1 || open[0].Level != "ERROR" {
				t.Errorf("the breaker: got %+v, want one error", open)
			}
			if !strings.Contains(p.stderr.String(), "ALERT exited with code 1 before it was ready, pid ") {
				t.Error("the alert command did not run")
			}
		})
	}
}

// M6: when a release crashes too often it is not started again, and what is healthy serves on. When nobody is left, one
// worker is tried all the same. A reload, which brings another one, closes the breaker. The admin address tells all the
// time.
func TestHealthySiblingsServeOn(t *testing.T) {
	t.Parallel()
	const opens = "circuit breaker open: this release is not started again for now"
	s := openShop(t, "WORKERS=6")
	healthy := s.pids()[6]
	// Workers of 10 s and more are no evidence, and who knows how long the start took: in rounds, the next have just begun.
	for alone := false; !alone || len(s.records(0, opens)) == 0; {
		alone = true
		for _, w := range s.status().Workers {
			if w.PID != healthy {
				alone = false
				s.crash(w.PID)
				s.await(&s.at, "worker crashed", func(r record) bool { return r.WorkerPID == w.PID })
			}
		}
	}
	status := s.status()
	if status.Master.State != "degraded" || !status.Master.BreakerOpen || status.Master.Ready != 1 || len(status.Workers) != 1 || status.Workers[0].PID != healthy {
		t.Errorf("got %+v, want worker 6 alone", status)
	}
	client := stranger()
	for range 20 {
		if code, body := get(t, client, "GET", s.url("/v1/products"), ""); code != http.StatusOK {
			t.Fatalf("got %d: %s", code, body)
		}
	}
	if code, _ := get(t, client, "GET", s.admin+"/readyz", ""); code != http.StatusOK {
		t.Errorf("/readyz: got %d, want 200: a worker serves", code)
	}
	crashes := fmt.Sprintf("\ncluster_crashes_total %d\n", status.Master.CrashesTotal)
	if _, metrics := get(t, client, "GET", s.admin+"/metrics", ""); !strings.Contains(metrics, "\ncluster_breaker_open 1\n") || !strings.Contains(metrics, crashes) {
		t.Errorf("the metrics say nothing of it: %s", metrics)
	}
	s.crash(healthy)
	s.await(&s.at, "worker crashed", nil)
	if code, _ := get(t, client, "GET", s.admin+"/livez", ""); code != http.StatusOK {
		t.Errorf("/livez without a worker: got %d", code)
	}
	s.await(&s.at, "trying one worker although the circuit breaker is open", nil)
	s.await(&s.at, "worker ready", nil)
	if code, body := get(t, client, "GET", s.url("/v1/products"), ""); code != http.StatusOK && code != http.StatusServiceUnavailable {
		t.Errorf("got %d: %s", code, body)
	}
	s.reload()
	if status := s.status(); status.Master.State != "running" || status.Master.BreakerOpen || status.Master.Ready != 6 {
		t.Errorf("after a reload: got %+v", status.Master)
	}
	s.close()
}

// M1: without WORKERS there are as many as the machine, the container or the memory allows, and the log says what decided.
func TestNumberOfWorkers(t *testing.T) {
	t.Parallel()
	database := "DATABASE_URL=" + dbtest.Database(t)
	here, because := cluster.DefaultWorkers(512 << 20)
	inGroup := func(t *testing.T) []string {
		t.Helper()
		if runtime.NumCPU() < 2 {
			t.Skip("with one CPU affinity decides, whatever the cgroup says")
		}
		group := groupOfOneCPU(t)
		return []string{"/bin/sh", "-c", "echo $$ > " + group + "/cgroup.procs && exec " + binary + " serve"}
	}
	plain := func(*testing.T) []string { return []string{binary, "serve"} }
	for name, c := range map[string]struct {
		command  func(*testing.T) []string
		settings []string
		workers  int
		because  string
	}{
		"the machine":                    {plain, []string{"WORKERS=0"}, here, because},
		"memory":                         {plain, []string{"WORKERS=0", "MAX_WORKER_MEMORY_MB=1000000000"}, 1, "at 953.7 TiB per worker and one to spare"},
		"a group of one CPU":             {inGroup, []string{"WORKERS=0"}, 1, "the cgroup's CPU quota of 1 CPU ("},
		"a group of one CPU, as told":    {inGroup, []string{"WORKERS=3"}, 3, "as set"},
		"more than the machine, as told": {plain, []string{"WORKERS=" + strconv.Itoa(runtime.NumCPU()+1)}, runtime.NumCPU() + 1, "as set"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := launchShop(t, append([]string{database}, c.settings...), c.command(t)...)
			began := s.records(0, "master started")[0]
			if !strings.Contains(began.Because, c.because) {
				t.Errorf("the log says %q, want %q", began.Because, c.because)
			}
			s.await(&s.at, "all workers are ready", nil)
			if n := len(s.pids()); n != c.workers || began.Workers != c.workers {
				t.Errorf("%d workers, and the log says %d, want %d", n, began.Workers, c.workers)
			}
			s.close()
		})
	}
}

// groupOfOneCPU makes a cgroup for the test, in v1 or in v2.
func groupOfOneCPU(t *testing.T) string {
	t.Helper()
	for _, hierarchy := range []struct{ parent, file, limit string }{
		{"/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", "100000"}, // of a period of as much
		{"/sys/fs/cgroup", "cpu.max", "100000 100000"},
	} {
		group, err := os.MkdirTemp(hierarchy.parent, "doorbuster-test-")
		if err != nil {
			continue
		}
		t.Cleanup(func() {
			if err := os.Remove(group); err != nil && !t.Failed() { // its processes were waited for
				t.Error(err)
			}
		})
		// Not created: where the parent is a plain folder this is to fail.
		if file, err := os.OpenFile(filepath.Join(group, hierarchy.file), os.O_WRONLY, 0); err == nil {
			_, err = file.WriteString(hierarchy.limit)
			file.Close()
			if err == nil {
				return group
			}
		}
	}
	t.Skip("no cgroup can be made and limited here (that takes root and a controller that is mounted for writing)")
	return ""
}

// M12: a worker that is larger than it may be is replaced, by one that is ready before.
func TestLargeWorkerIsReplaced(t *testing.T) {
	t.Parallel()
	s := openShop(t, "WORKERS=1", "MAX_WORKER_MEMORY_MB=1", "HEARTBEAT_INTERVAL=50ms", "HEARTBEAT_TIMEOUT=1s")
	large := s.await(&s.at, "replacing worker", nil)
	if !strings.HasSuffix(large.Reason, "MB of memory, and the limit is 1 MB") {
		t.Errorf("got %+v", large)
	}
	s.await(&s.at, "worker ready", func(r record) bool { return r.Slot == 1 && r.WorkerPID != large.WorkerPID })
	s.await(&s.at, "worker left", func(r record) bool { return r.WorkerPID == large.WorkerPID && r.How == "exited with code 0" })
	s.close()
}
