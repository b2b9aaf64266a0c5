package main

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
		{"starting", 0, "the shop does not serve: it is starting, with 0 of 2 workers ready"},
		{"degraded", 0, "the shop does not serve: it is degraded, with 0 of 2 workers ready"},
		{"stopping", 2, "the shop does not serve: it is stopping, with 2 of 2 workers ready"},
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
		"degraded: 0 of 1 workers ready", ", 1 crash\n", "\n! slot 1 has no worker\n", "\n1     -    waiting  abc",
		"\nlast crash, at 2026-01-02 03:04:05: worker 1 (pid 7, release abc) exited with code 3\n  no database\n",
		"\nlast verdict, at 2026-01-02 03:04:05: reload to release def: failed: it is empty\n",
		"\nhistory:\n  2026-01-02 03:04:05  reload, by signal SIGUSR2\n",
	} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("%q is not in:\n%s", part, out.String())
		}
	}
}
