//go:build linux

package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"syscall"
	"testing"

	"doorbuster/cluster"
)

// follower reads the log of a cluster in the background.
type follower struct {
	lines chan cluster.LogLine
	ended chan error
}

func (z *zoo) followLog(ctx context.Context, o cluster.LogOptions) follower {
	o.Follow = true
	f := follower{make(chan cluster.LogLine, 1000), make(chan error, 1)}
	go func() {
		f.ended <- z.client.Logs(ctx, o, func(l cluster.LogLine) { f.lines <- l })
	}()
	return f
}

// next returns the next line that has a text.
func (f follower) next(t *testing.T, text string) cluster.LogLine {
	t.Helper()
	for {
		select {
		case l := <-f.lines:
			if l.Text == text {
				return l
			}
		case err := <-f.ended:
			t.Fatalf("the log ends without %q: %v", text, err)
		}
	}
}

// Client.Logs: the last words of a worker that crashed are there when another one has
// its slot, and those who follow read on, from one worker to the next, until the
// master ends.
func TestLogs(t *testing.T) {
	t.Parallel()
	z := newZoo(t, "joined:say=hello ready@2:gate ready@2:say=last-words ready@2:exit=3", nil)
	z.begin()
	z.dial()
	z.logged("all workers are ready", 1)
	z.gate.wait("ready", 1)
	all, second := z.followLog(t.Context(), cluster.LogOptions{}), z.followLog(t.Context(), cluster.LogOptions{Slot: 2, Last: -1})
	one, two := all.next(t, "hello"), all.next(t, "hello")
	if pids := z.pids(); !slices.Contains(pids, one.PID) || !slices.Contains(pids, two.PID) || one.Slot+two.Slot != 3 || one.Time.IsZero() {
		t.Errorf("the workers are %v; got %+v and %+v", pids, one, two)
	}
	crashing := z.gate.wait("ready", 1)[0]
	crashing.pass()
	if l := second.next(t, "last-words"); l.PID != crashing.pid || l.Slot != 2 {
		t.Errorf("got %+v of worker %d", l, crashing.pid)
	}
	if l := second.next(t, "hello"); l.PID == crashing.pid || l.Slot != 2 {
		t.Errorf("then came %+v", l)
	}
	z.gate.wait("ready", 2)

	read := func(o cluster.LogOptions) (texts []string) {
		t.Helper()
		if err := z.client.Logs(t.Context(), o, func(l cluster.LogLine) { texts = append(texts, l.Text) }); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
		return texts
	}
	for _, c := range []struct {
		options cluster.LogOptions
		want    []string
	}{
		{cluster.LogOptions{Slot: 1}, []string{"hello"}},
		{cluster.LogOptions{Slot: 2}, []string{"hello", "last-words", "hello"}},
		{cluster.LogOptions{Slot: 2, Last: 2}, []string{"last-words", "hello"}},
		{cluster.LogOptions{}, []string{"hello", "hello", "last-words", "hello"}},
		{cluster.LogOptions{Last: -1}, nil},
	} {
		if got := read(c.options); !slices.Equal(got, c.want) {
			t.Errorf("%+v: got %q, want %q", c.options, got, c.want)
		}
	}
	if err := z.client.Logs(t.Context(), cluster.LogOptions{Slot: 9}, nil); err == nil || err.Error() != "no worker has been started in slot 9" {
		t.Errorf("slot 9: %v", err)
	}
	for _, query := range []string{"slot=x", "slot=-1", "n=-2", "n=", "follow=perhaps"} {
		if c := z.mustCommand(http.MethodGet, "/api/v1/logs?"+query, ""); c.status != http.StatusBadRequest || c.Reason == "" {
			t.Errorf("%s: got %d: %s", query, c.status, c.body)
		}
	}
	ctx, leave := context.WithCancel(t.Context())
	leaving := z.followLog(ctx, cluster.LogOptions{})
	leaving.next(t, "hello")
	leave()
	if err := <-leaving.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("one who leaves gets %v", err)
	}
	z.gate.open()
	z.signal(syscall.SIGTERM)
	z.exit()
	for _, f := range []follower{all, second} {
		if err := <-f.ended; err != nil {
			t.Errorf("at the end of the master: %v", err)
		}
	}
}

// One who follows and does not read holds up neither the workers nor the master, and
// is told later how many lines he has missed, and where.
func TestSlowFollowerOfLogs(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good", nil)
	resp, err := z.post(http.MethodGet, "/api/v1/logs?slot=1&follow=true", "")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	const lines = 200_000
	var said string
	z.askWorker(z.pids()[0], fmt.Sprintf("shell?command=seq+%d+%%3E+/proc/$PPID/fd/2+%%26%%26+echo+END+%%3E+/proc/$PPID/fd/2", lines), &said)
	if said != "" {
		t.Fatal(said)
	}
	eventually(t, "the last line", func() bool {
		ended := false
		err := z.client.Logs(t.Context(), cluster.LogOptions{Slot: 1, Last: 1}, func(l cluster.LogLine) { ended = l.Text == "END" })
		return err == nil && ended
	})
	if s := z.settle(2); s.Master.CrashesTotal != 0 {
		t.Errorf("%d crashes", s.Master.CrashesTotal)
	}
	seen, missed := 0, 0
	for read := json.NewDecoder(resp.Body); seen+missed < lines+1; {
		var l cluster.LogLine
		if err := read.Decode(&l); err != nil {
			t.Fatal(err)
		}
		switch {
		case l.Missed > 0:
			missed += l.Missed
		case l.Text == fmt.Sprint(seen+missed+1) || l.Text == "END":
			seen++
		default:
			t.Fatalf("after %d lines and %d that are missing comes %+v", seen, missed, l)
		}
	}
	if missed == 0 || seen < 1000 || seen+missed != lines+1 {
		t.Errorf("%d lines, and %d are missing", seen, missed)
	}
	z.stop()
}
