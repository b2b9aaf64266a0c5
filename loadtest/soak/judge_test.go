//go:build linux

package main

import (
	"maps"
	"testing"
	"time"

	"doorbuster/loadtest/internal/shop"
)

// What befalls a worker that the script has left alone is a breach; what the script did to one is none.
func TestLogIsJudged(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		msg          string
		touched      []string
		breach, dead bool
	}{
		"a crash of nobody's making":      {"worker crashed", nil, true, true},
		"a crash by the script":           {"worker crashed", []string{killed}, false, true},
		"killed, of nobody's making":      {"killing worker", nil, true, true},
		"killed for a stop":               {"killing worker", []string{stopped}, false, true},
		"killed after it was terminated":  {"killing worker", []string{terminated}, true, true},
		"it left after it was terminated": {"worker crashed", []string{terminated}, false, false},
		"it left for want of memory":      {"worker left", []string{outOfMemory}, false, true},
		"it left":                         {"worker left", nil, false, false},
		"something else":                  {"worker ready", nil, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := evidence{touched: map[int][]string{fakeWorker: c.touched}, deaths: map[int]time.Time{}}
			e.gather([]shop.Entry{{Msg: c.msg, WorkerPID: fakeWorker, Reason: "said so"}})
			if got := e.judge(newWitness()).breaches; (len(got) > 0) != c.breach {
				t.Errorf("got %q", got)
			}
			if _, dead := e.deaths[fakeWorker]; dead != c.dead {
				t.Errorf("its death is known: %v, want %v", dead, c.dead)
			}
		})
	}
}

// A worker that was killed for its silence may have had no processor, where this program had none.
func TestSilenceIsExcused(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for lost, want := range map[time.Duration]bool{0: true, silentMachine - 1: true, silentMachine: false} {
		e := evidence{deaths: map[int]time.Time{}, pauses: []span{{now.Add(-lost), now}}}
		e.gather([]shop.Entry{
			{Time: now, Msg: "killing worker", WorkerPID: fakeWorker, Reason: "sent no heartbeat for 3s"},
			{Time: now, Msg: "worker crashed", WorkerPID: fakeWorker, Reason: "sent no heartbeat for 3s"},
		})
		if got := e.judge(newWitness()).breaches; (len(got) > 0) != want {
			t.Errorf("the machine has lost %v: got %q", lost, got)
		}
	}
}

// The dark is read from the log, also one that does not end.
func TestDarkIsRead(t *testing.T) {
	t.Parallel()
	now := time.Now()
	e := evidence{ended: now.Add(time.Minute), deaths: map[int]time.Time{}}
	e.gather([]shop.Entry{
		{Time: now, Msg: "no worker is ready: clients are answered with 503 meanwhile"},
		{Time: now.Add(time.Second), Msg: "clients are not answered with 503 any more"},
		{Time: now.Add(50 * time.Second), Msg: "no worker is ready: clients are answered with 503 meanwhile"},
	})
	if len(e.dark) != 2 || total(e.dark) != 11*time.Second {
		t.Errorf("got %v", e.dark)
	}
}

// Each thing that a shop may have too much of in the end is found.
func TestLeaksAreFound(t *testing.T) {
	t.Parallel()
	before := rest{
		target: 3, ready: 3, masterDescriptors: 30, masterMemory: 10 << 20, masterThreads: 9, descriptors: 20, goroutines: map[string]int{"main.main": 1},
		files: []string{"control.sock", "doorbuster.pid"},
	}
	if got := grown(before, before, true); got != nil {
		t.Errorf("the same: got %q", got)
	}
	for name, c := range map[string]struct {
		leak  func(*rest)
		fresh bool
		want  bool
	}{
		"a descriptor of the master":             {func(r *rest) { r.masterDescriptors++ }, true, true},
		"the master's memory":                    {func(r *rest) { r.masterMemory += memoryAllowance + 1<<20 }, true, true},
		"the master's garbage":                   {func(r *rest) { r.masterMemory += 1 << 20 }, true, false},
		"the master's threads":                   {func(r *rest) { r.masterThreads += threadAllowance + 1 }, true, true},
		"a descriptor of a worker":               {func(r *rest) { r.descriptors++ }, true, true},
		"a descriptor of a worker that served":   {func(r *rest) { r.descriptors++ }, false, false},
		"a goroutine of a worker":                {func(r *rest) { r.goroutines["main.more"]++ }, true, false},
		"some goroutines of a worker":            {func(r *rest) { r.goroutines["main.more"] += freshAllowance + 1 }, true, true},
		"a goroutine of a worker that served":    {func(r *rest) { r.goroutines["main.more"]++ }, false, false},
		"many goroutines of one that has served": {func(r *rest) { r.goroutines["main.more"] += goroutineAllowance + 1 }, false, true},
		"a file":                                 {func(r *rest) { r.files = append([]string{"core"}, r.files...) }, true, true},
		"a worker too few":                       {func(r *rest) { r.ready-- }, true, true},
		"another target":                         {func(r *rest) { r.target++ }, true, true},
		"fewer of everything":                    {func(r *rest) { r.masterDescriptors, r.descriptors, r.goroutines = 1, 1, nil }, true, false},
	} {
		after := before
		after.goroutines = maps.Clone(before.goroutines)
		c.leak(&after)
		if got := grown(before, after, c.fresh); (len(got) > 0) != c.want {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

// Goroutines are counted by where they began.
func TestProfileIsRead(t *testing.T) {
	t.Parallel()
	profile := "goroutine profile: total 5\n3 @ 0x1 0x2\n#\t0x1\tnet/http.(*conn).serve+0x84\t/server.go:1\n#\t0x2\tmain.begin.func1+0x1\t/x.go:2\n\n" +
		"2 @ 0x3\n# labels: {\"a\":\"b\"}\n#\t0x3\tmain.begin.func1+0x9\t/x.go:2\n"
	if got, want := goroutinesIn(profile), map[string]int{"main.begin.func1": 5}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
