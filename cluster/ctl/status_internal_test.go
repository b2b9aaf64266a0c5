package ctl

import (
	"strings"
	"testing"
	"time"

	"doorbuster/cluster"
)

// O1: a container is healthy while a worker is ready, also in the middle of a deploy or with a slot that crashes, and no longer
// once it stops.
func TestServes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		state string
		ready int
		want  string
	}{
		{"running", 2, ""},
		{"rolling", 1, ""},
		{"degraded", 1, ""},
		{"starting", 0, "it does not serve: it is starting, with 0 of 2 workers ready"},
		{"degraded", 0, "it does not serve: it is degraded, with 0 of 2 workers ready"},
		{"stopping", 2, "it does not serve: it is stopping, with 2 of 2 workers ready"},
	} {
		var s cluster.Status
		s.Master.State, s.Master.Ready, s.Master.Target = c.state, c.ready, 2
		got := ""
		if err := serves(s); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s, %d ready: got %q, want %q", c.state, c.ready, got, c.want)
		}
	}
}

// What is waited for, and why, is in the text: a table without workers is not empty.
func TestPrintStatusSaysWhy(t *testing.T) {
	t.Parallel()
	var s cluster.Status
	s.Master.State, s.Master.Target, s.Master.CrashesTotal, s.Master.Reasons = "degraded", 1, 1, []string{"slot 1 has no worker"}
	s.Waiting = []cluster.WaitingSlot{{Slot: 1, Release: "abc", InSeconds: 3}}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	s.LastCrash = &cluster.CrashStatus{Time: at, Slot: 1, PID: 7, Release: "abc", Reason: "exited with code 3", Output: []string{"no database"}}
	s.LastVerdict = &cluster.VerdictStatus{Time: at, Command: "reload", Release: "def", Reason: "it is empty"}
	s.History = []cluster.HistoryEntry{{Time: at, What: "reload", By: "signal SIGUSR2"}}
	var out strings.Builder
	if err := printStatus(&out, s); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		"degraded: 0 of 1 worker ready", ", 1 crash\n", "\n! slot 1 has no worker\n", "\n1     -    waiting  abc",
		"\nlast crash, at 2026-01-02 03:04:05: worker 1 (pid 7, release abc) exited with code 3\n  no database\n",
		"\nlast verdict, at 2026-01-02 03:04:05: reload to release def: failed: it is empty\n",
		"\nhistory:\n  2026-01-02 03:04:05  reload, by signal SIGUSR2\n",
	} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("%q is not in:\n%s", part, out.String())
		}
	}
}

// A deployment is over when everything is as it should be, and not before.
func TestComplete(t *testing.T) {
	t.Parallel()
	whole := func() (s cluster.Status) {
		s.Master.State, s.Master.Ready, s.Master.Target, s.Master.Release = "running", 2, 2, "a"
		s.Workers = []cluster.WorkerStatus{{Slot: 1, State: "ready", Release: "a"}, {Slot: 2, State: "ready", Release: "a"}}
		return s
	}
	if err := complete(whole()); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*cluster.Status){
		"it is rolling":  func(s *cluster.Status) { s.Master.State = "rolling" },
		"with 1 of 2":    func(s *cluster.Status) { s.Master.Ready = 1 },
		"runs release b": func(s *cluster.Status) { s.Workers[1].Release = "b" },
		"is draining":    func(s *cluster.Status) { s.Workers[0].State = "draining" },
		"look again":     func(s *cluster.Status) { s.Workers = append(s.Workers, s.Workers[0]) },
		"scaling to 3":   func(s *cluster.Status) { s.Master.Reasons = []string{"scaling to 3 workers"} },
	} {
		s := whole()
		change(&s)
		if err := complete(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
