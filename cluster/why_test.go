//go:build linux

package cluster_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"doorbuster/cluster"
)

// A degraded cluster says why: the breaker and its next try, the slots that wait, the
// last crash with its last lines; and who has asked for what.
func TestStatusSaysWhy(t *testing.T) {
	t.Parallel()
	z := newZoo(t, "ready@2:gate ready@2:say=no-database ready@2:exit=3", config{"Workers": 4})
	z.begin()
	z.dial()
	z.logged("all workers are ready", 1)
	if s := z.status(); s.Master.State != "running" || len(s.Master.Reasons) > 0 {
		t.Errorf("at first: %s because %q", s.Master.State, s.Master.Reasons)
	}
	crashes := 0
	for z.times(opened) == 0 {
		if crashes++; crashes > 20 {
			t.Fatal("the breaker does not open")
		}
		z.gate.wait("ready", crashes)[crashes-1].pass()
		z.logged("worker crashed", crashes)
		z.status() // and what was logged with it is
	}
	s := z.status()
	text := strings.Join(s.Master.Reasons, "\n")
	for _, part := range []string{
		"the circuit breaker of release ", " is open, after 5 crashes within a minute; the next try is in ", "; the last: exited with code 3",
		" has no worker since ", "; it is started in ",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("the reasons are %q, without %q", s.Master.Reasons, part)
		}
	}
	if s.Master.State != "degraded" || len(s.Breakers) != 1 || s.Breakers[0].ProbeInSeconds <= 0 || s.Breakers[0].Probing {
		t.Errorf("%s, with the breakers %+v", s.Master.State, s.Breakers)
	}
	if len(s.Waiting)+s.Master.Ready != 4 || !s.Waiting[0].Breaker || s.Waiting[0].InSeconds <= 0 || s.Waiting[0].Crashes == 0 {
		t.Errorf("waiting are %+v", s.Waiting)
	}
	if c := s.LastCrash; c == nil || c.Slot < 2 || !strings.HasPrefix(c.Reason, "exited with code 3 ") || !slices.Contains(c.Output, "no-database") {
		t.Errorf("the last crash is %+v", c)
	}
	if err := z.client.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := z.reloadRefused(); err == nil {
		t.Error("a reload of no file succeeds")
	}
	z.gate.open()
	z.signal(syscall.SIGUSR2)
	z.logged("reload refused", 2)
	s = z.status()
	if v := s.LastVerdict; v == nil || v.OK || v.Command != "reload" || !strings.Contains(v.Reason, "there is no such file") {
		t.Errorf("the last verdict is %+v", v)
	}
	by := map[string]string{}
	for _, h := range s.History {
		by[h.What+" by "+h.By] = h.By
	}
	me := fmt.Sprintf("the control socket (uid %d, pid %d)", os.Getuid(), os.Getpid())
	for _, want := range []string{"reset by " + me, "reload by " + me, "reload by signal SIGUSR2"} {
		if _, ok := by[want]; !ok {
			t.Errorf("the history lacks %q: %+v", want, s.History)
		}
	}
	z.signal(syscall.SIGTERM)
	z.exit()
}

// reloadRefused reloads when there is no file.
func (z *zoo) reloadRefused() ([]cluster.Event, error) {
	if err := os.Remove(z.program); err != nil {
		z.Fatal(err)
	}
	return nil, z.client.Reload(z.Context(), nil)
}

// The history is bounded, and keeps the latest.
func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good", nil)
	for range 40 {
		if err := z.client.Reset(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.client.Scale(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	s := z.status()
	if n := len(s.History); n != 32 || s.History[n-1].What != "scale to 3: done" || s.LastVerdict == nil || !s.LastVerdict.OK {
		t.Errorf("%d entries: %+v; the last verdict is %+v", n, s.History, s.LastVerdict)
	}
	z.stop()
}

// Every command that is given is in the history, with whose it is, also when it is refused.
func TestHistoryHasEveryCommand(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good", nil)
	for _, c := range []struct{ method, path, body, what string }{
		{"POST", "reload", "", "reload"},
		{"POST", "scale", `{"workers":3}`, "scale to 3"},
		{"POST", "restart", `{"slot":1}`, "restart 1"},
		{"POST", "restart", `{"slot":9}`, "restart 9"},
		{"POST", "drain", `{"slot":2}`, "drain 2"},
		{"POST", "reset", "", "reset"},
		{"POST", "kill", `{"slot":9}`, "kill 9"},
		{"POST", "settings", `{"key":"colour","value":"red"}`, "set colour"},
		{"POST", "settings", `{"key":"unknown","value":"x"}`, "set unknown"},
		{"DELETE", "settings?key=colour", "", "unset colour"},
		{"DELETE", "settings?key=colour", "", "unset colour"},
	} {
		z.mustCommand(c.method, "/api/v1/"+c.path, c.body)
		me := fmt.Sprintf("the control socket (uid %d, pid %d)", os.Getuid(), os.Getpid())
		if h := z.status().History; !slices.ContainsFunc(h[max(0, len(h)-2):], func(e cluster.HistoryEntry) bool { return e.What == c.what && e.By == me }) {
			t.Errorf("%s %s %s is not in the history: %+v", c.method, c.path, c.body, h)
		}
	}
	z.stop()
}

// The line about the whole cluster is a warning while something is missing, an error while nobody serves, and says why.
// Crashes are counted for each slot.
func TestStatusLineSaysWhy(t *testing.T) {
	t.Parallel()
	z := newZoo(t, "ready:gate ready:exit=3", config{"StatusInterval": 10 * time.Millisecond})
	z.begin()
	z.dial()
	z.logged("all workers are ready", 1)
	levels := func() map[string]string { // by state and how many are ready
		found := map[string]string{}
		for _, e := range z.log.list() {
			if e.message == "cluster" {
				key := fmt.Sprintf("%v, %v ready", e.fields["state"], e.fields["ready"])
				found[key] = fmt.Sprintf("%v %v", e.fields["level"], e.fields["because"])
			}
		}
		return found
	}
	eventually(t, "a line while all is well", func() bool { return levels()["running, 2 ready"] == "INFO <nil>" })
	workers := z.gate.wait("ready", 2)
	workers[0].pass()
	z.logged("worker crashed", 1)
	workers[1].pass()
	z.logged("worker crashed", 2)
	eventually(t, "a line while nobody is ready", func() bool { return levels()["degraded, 0 ready"] != "" })
	found := levels()
	if got := found["degraded, 0 ready"]; !strings.HasPrefix(got, "ERROR ") || !strings.Contains(got, " has no worker since ") && !strings.Contains(got, " is starting") {
		t.Errorf("with nobody ready it says %q", got)
	}
	if got, ok := found["degraded, 1 ready"]; ok && !strings.HasPrefix(got, "WARN slot ") {
		t.Errorf("with one ready it says %q", got)
	}
	z.gate.wait("ready", 4)
	for _, w := range z.settle(2).Workers {
		if w.CrashesTotal != 1 {
			t.Errorf("slot %d has had %d crashes", w.Slot, w.CrashesTotal)
		}
	}
	z.gate.open()
	z.signal(syscall.SIGTERM)
	z.exit()
}
