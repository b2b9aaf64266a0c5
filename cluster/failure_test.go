//go:build unix

package cluster_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"doorbuster/cluster"
)

// opened is what the master logs when a breaker opens.
const opened = "circuit breaker open: this release is not started again for now"

// duration reads one out of the log.
func (e entry) duration(t *testing.T, field string) time.Duration {
	t.Helper()
	text, _ := e.fields[field].(string)
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("%s: %v", e.raw, err)
	}
	return d
}

// time is when the master wrote the line.
func (e entry) time(t *testing.T) time.Time {
	t.Helper()
	text, _ := e.fields["time"].(string)
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatalf("%s: %v", e.raw, err)
	}
	return at
}

// M11: a worker that is silent is killed and replaced.
func TestSilentWorker(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good", config{"HeartbeatTimeout": 2 * time.Second})
	before := z.pids()
	if err := syscall.Kill(before[1], syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if e := z.loggedOf("killing worker", before[1]); e.reason != "sent no heartbeat for 2s" {
		t.Errorf("the log says %q", e.raw)
	}
	z.loggedOf("worker crashed", before[1])
	z.settle(2)
	if after := z.pids(); after[0] != before[0] || after[1] == before[1] {
		t.Errorf("the workers were %v and are %v", before, after)
	}
	z.stop()
}

// M11: a master that was stopped itself holds nobody's silence against them.
func TestStoppedMaster(t *testing.T) {
	t.Parallel()
	const timeout = 2 * time.Second
	z := startZoo(t, "good", config{"HeartbeatTimeout": timeout})
	before := z.pids()
	z.signal(syscall.SIGSTOP)
	<-time.After(timeout + timeout/4) // that long, or there is nothing to forgive
	const away = "the master itself did not run for a while; nobody's silence is held against them"
	noticed := z.times(away)
	z.signal(syscall.SIGCONT)
	z.logged(away, noticed+1)
	if s := z.settle(2); s.Master.CrashesTotal != 0 {
		t.Errorf("%d crashes", s.Master.CrashesTotal)
	}
	if after := z.pids(); !slices.Equal(after, before) {
		t.Errorf("the workers were %v and are %v", before, after)
	}
	z.stop()
}

// M5, M6, M7; article 003's fork bomb: a service that can't start is tried a few times, with pauses that grow, never by more
// processes than there should be, and then the master ends and says why.
func TestNothingStarts(t *testing.T) {
	t.Parallel()
	const workers = 3
	z := newZoo(t, "start:say=no-database start:exit=3", config{"Workers": workers})
	z.begin()
	most := 0
	for ended := false; !ended; {
		select {
		case <-z.ended:
			ended = true
		case <-time.After(time.Millisecond):
			children, _ := z.family()
			most = max(most, len(children))
		}
	}
	if most > workers+1 {
		t.Errorf("there were %d children at a time", most)
	}
	if code := z.exit(); code != 1 {
		t.Errorf("the master ended with code %d", code)
	}
	log := z.log.list()
	alive, starts, next, culprit := 0, 0, map[int]time.Time{}, 0
	for _, e := range log {
		switch e.message {
		case "worker started":
			alive++
			starts++
			if early := next[e.slot].Sub(e.time(t)); early > 0 {
				t.Errorf("slot %d was filled again %v too early", e.slot, early)
			}
			if culprit != 0 {
				t.Errorf("slot %d was filled although the breaker was open", e.slot)
			}
		case opened:
			culprit = e.pid
		case "worker crashed":
			alive--
			crashes := int(e.fields["crashes"].(float64)) // of that slot, in a row
			least := time.Second << (crashes - 1)
			if wait := e.duration(t, "again_in"); wait < least || wait > least+least/4 {
				t.Errorf("crash %d of slot %d: the next start is in %v", crashes, e.slot, wait)
			} else {
				next[e.slot] = e.time(t).Add(wait - 5*time.Millisecond) // both lines are written a little late
			}
		}
		if alive > workers {
			t.Errorf("%d workers were alive at a time", alive)
		}
	}
	if starts < 5 || starts > 4+workers { // some are under way when the fifth crashes
		t.Errorf("%d starts", starts)
	}
	last := log[len(log)-1].raw
	for _, part := range []string{"no worker could be started: worker ", fmt.Sprintf("(pid %d,", culprit), "exited with code 3 before it was ready", "the last it said: no-database"} {
		if !strings.Contains(last, part) {
			t.Errorf("the master says %q, without %q", last, part)
		}
	}
}

// M6, M13: five crashes within a minute open the breaker of a release: it is not started again for now, what is healthy serves
// on, and the operator is told. A reload closes it.
func TestBreaker(t *testing.T) {
	t.Parallel()
	z := newZoo(t, "good", config{"Workers": 4, "StatusInterval": time.Second})
	alert := filepath.Join(z.dir, "alert")
	z.cfg["AlertCommand"] = []string{"/bin/sh", "-c", fmt.Sprintf(`echo "$ALERT_REASON|$ALERT_RELEASE|$ALERT_PID" >%[1]s.new && mv %[1]s.new %[1]s`, alert)}
	z.prepare()
	z.begin()
	z.dial()
	before := z.settle(4)
	healthy := before.Workers[3].PID
	victim, crashes := 0, 0
	// Not five of one slot: its pauses would add up to a quarter of a minute. And a round more, should the first take so
	// long that the workers have proven themselves.
	for rounds := 0; z.times(opened) == 0 && rounds < 4; rounds++ {
		workers := z.settle(4).Workers
		for slot := 1; slot <= 3 && z.times(opened) == 0; slot++ {
			victim = workers[slot-1].PID
			if err := syscall.Kill(victim, syscall.SIGABRT); err != nil { // as if by itself; SIGKILL would be no evidence
				t.Fatal(err)
			}
			crashes++
			z.logged("worker crashed", crashes)
			z.status() // and what was logged with it is
		}
	}
	if e := z.logged(opened, 1); e.pid != victim {
		t.Errorf("the log says %q and the last victim is %d", e.raw, victim)
	}
	started := z.times("worker started")
	z.logged("cluster", z.times("cluster")+4) // three seconds at least; the slots would be filled after two and a half
	if n := z.times("worker started"); n != started {
		t.Errorf("%d workers were started while the breaker was open", n-started)
	}
	var told []byte
	eventually(t, "the alert", func() bool {
		var err error
		told, err = os.ReadFile(alert)
		return err == nil
	})
	if got := strings.Split(strings.TrimSpace(string(told)), "|"); len(got) != 3 || !strings.Contains(got[0], "exited with code 2") ||
		got[1] != before.Master.Release || got[2] != fmt.Sprint(victim) {
		t.Errorf("the alert says %q", told)
	}
	eventually(t, "the end of the alert command", func() bool {
		children, zombies := z.family()
		return len(zombies) == 0 && len(children) == len(z.pids())
	})
	s := z.status()
	if s.Master.State != "degraded" || !s.Master.BreakerOpen || s.Master.CrashesTotal != crashes {
		t.Errorf("the cluster is %s, the breaker open: %v, %d crashes", s.Master.State, s.Master.BreakerOpen, s.Master.CrashesTotal)
	}
	if !slices.ContainsFunc(s.Workers, func(w cluster.WorkerStatus) bool { return w.PID == healthy && w.State == "ready" }) {
		t.Errorf("the worker that was healthy, %d, does not serve: %+v", healthy, s.Workers)
	}
	if _, err := z.get("/"); err != nil {
		t.Errorf("a request while the breaker is open: %v", err)
	}
	z.deploy("good next")
	if err := z.client.Reload(t.Context(), func(cluster.Event) {}); err != nil {
		t.Errorf("reload while the breaker is open: %v", err)
	}
	if s := z.settle(4); s.Master.BreakerOpen {
		t.Error("the breaker is still open after a reload")
	}
	z.stop()
}
