//go:build linux

package cluster_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"doorbuster/cluster"
)

// footprint is what a master has at a moment.
type footprint struct {
	descriptors, goroutines, threads, children, zombies int
	heap, resident                                      int64
}

func (z *zoo) footprint() (f footprint) {
	z.Helper()
	f.descriptors = z.descriptors()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", z.cmd.Process.Pid))
	if err != nil {
		z.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if n, ok := strings.CutPrefix(line, "Threads:"); ok {
			f.threads, _ = strconv.Atoi(strings.TrimSpace(n))
		}
	}
	children, zombies := z.family()
	var inside struct{ Goroutines, Heap int64 }
	z.ask("/state", &inside)
	f.children, f.zombies = len(children), len(zombies)
	f.goroutines, f.heap = int(inside.Goroutines), inside.Heap
	f.resident = z.status().Master.RSSBytes
	return f
}

func (z *zoo) descriptors() int {
	z.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", z.cmd.Process.Pid))
	if err != nil {
		z.Fatal(err)
	}
	return len(open)
}

// M8, M9; anchors/cluster.md 2.11, 2.20: a master that has done 200 reloads, failed ones among them, is no larger than after
// 50, and leaves nothing behind in the end.
func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	z := newZoo(t, "good", config{"Workers": 1, "Bake": time.Nanosecond})
	z.cmd.Path = release(t, "good")           // the race detector has a memory of its own
	z.cmd.Env = append(z.cmd.Env, "GOGC=off") // or the collector closes what is forgotten
	z.begin()
	z.dial()
	z.settle(1)
	reloads := func(n int) {
		t.Helper()
		for i := range n {
			behaviour := [...]string{"good", "good next", "good again", "start:exit=3"}[i%4]
			z.deploy(behaviour)
			err := z.client.Reload(t.Context(), func(cluster.Event) {})
			if fails := behaviour == "start:exit=3"; (err != nil) != fails {
				t.Fatalf("reload to %q: %v", behaviour, err)
			}
			z.askWorker(z.pids()[0], "settings", &map[string]string{})
		}
		z.settle(1)
	}
	reloads(50)
	before := z.footprint()
	reloads(150)
	// The connections of the last commands take a moment to be closed.
	eventually(t, "as few descriptors as after 50 reloads", func() bool { return z.descriptors() <= before.descriptors })
	after := before
	eventually(t, "as few goroutines and children as after 50 reloads", func() bool {
		after = z.footprint()
		return after.goroutines <= before.goroutines && after.children == 1 && after.zombies == 0
	})
	t.Logf("after 50 reloads %+v, after 200 %+v", before, after)
	if after.threads > before.threads+5 || after.heap > before.heap+256<<10 || after.resident > before.resident+16<<20 {
		t.Error("threads or memory have become more")
	}
	z.stop()
	if left := z.processes(); len(left) != 0 {
		t.Errorf("processes are left: %v", left)
	}
}
