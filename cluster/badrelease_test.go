//go:build unix

package cluster_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"doorbuster/cluster"
)

// O5, M9, M3; anchors/cluster.md 2.1, 2.3, 2.4, 2.5: a release that does not work ends its reload with a verdict that says
// why. The release before serves on with the same processes, none of which was ever missing.
func TestBadReleases(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]struct {
		behaviour string
		cfg       config
		reason    string // in the verdict
		output    string // in its last lines
	}{
		"exits at once": {
			behaviour: "start:say=no-database start:exit=3",
			reason:    "exited with code 3 before it was ready", output: "no-database",
		},
		"exits after 50 ms": {
			behaviour: "joined:wait=50ms joined:say=no-database joined:exit=3",
			reason:    "exited with code 3 before it was ready", output: "no-database",
		},
		"exits after 500 ms": {
			behaviour: "joined:wait=500ms joined:say=no-database joined:exit=3",
			reason:    "exited with code 3 before it was ready", output: "no-database",
		},
		"says that all is well and leaves": {
			behaviour: "joined:say=done joined:exit=0",
			reason:    "exited with code 0 before it was ready", output: "done",
		},
		"is never ready": {
			behaviour: "joined:say=warming-up joined:hang", cfg: config{"ReadyTimeout": time.Second},
			reason: "was not ready within 1s", output: "warming-up",
		},
		"stops before it is ready": {
			behaviour: "joined:say=stopping joined:stop", cfg: config{"ReadyTimeout": time.Second},
			reason: "was not ready within 1s", output: "stopping",
		},
		"panics when it is ready": {
			behaviour: "ready:panic=boom", cfg: config{"Bake": hang},
			reason: "exited with code 2", output: "panic: boom",
		},
		"panics in the bake": {
			behaviour: "ready:wait=50ms ready:panic=boom", cfg: config{"Bake": hang},
			reason: "after it was ready", output: "goroutine 1",
		},
		"leaves unasked in the bake": {
			behaviour: "ready:wait=50ms ready:say=bye ready:exit=0", cfg: config{"Bake": hang},
			reason: "exited with code 0", output: "bye",
		},
		"stops in the bake": {
			behaviour: "ready:say=stopping ready:stop", cfg: config{"Bake": 500 * time.Millisecond, "HeartbeatTimeout": 2 * time.Second},
			reason: "sent no heartbeat for 2s", output: "stopping",
		},
		"uses too much memory": {
			behaviour: "joined:grow=300 joined:say=fed", cfg: config{"MaxWorkerMemory": 200 << 20},
			reason: "and the limit is 200 MB", output: "fed",
		},
		"needs a newer master": {
			behaviour: "start:protocol=0",
			reason:    "exited with code 1 before it was ready", output: "the master speaks version 0 of the protocol, and this program needs version 1 at least",
		},
		"floods its output and exits": {
			behaviour: "start:flood=20 start:exit=3",
			reason:    "exited with code 3 before it was ready", output: "0123456789",
		},
		"works in slot 1 only": {
			behaviour: "joined@2:say=no-room joined@2:exit=4",
			reason:    "exited with code 4 before it was ready", output: "no-room",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			z := startZoo(t, "good", bad.cfg)
			before := z.status()
			events, err := z.reload(bad.behaviour)
			verdict := asVerdict(t, err)
			if !strings.Contains(verdict.Reason, bad.reason) {
				t.Errorf("the verdict is %q; it should speak of %q", verdict.Reason, bad.reason)
			}
			if !strings.Contains(strings.Join(verdict.Output, "\n"), bad.output) {
				t.Errorf("the last lines are %q; they should have %q", verdict.Output, bad.output)
			}
			if n := len(verdict.Output); n > 20 || slices.ContainsFunc(verdict.Output, func(line string) bool { return len(line) > 500 }) {
				t.Errorf("the output is not short: %d lines", n)
			}
			z.untouched(before, events)
			z.stop()
		})
	}
}

func asVerdict(t *testing.T, err error) *cluster.VerdictError {
	t.Helper()
	verdict, ok := errors.AsType[*cluster.VerdictError](err)
	if !ok {
		t.Fatalf("the reload ended with %v and not with a verdict", err)
	}
	return verdict
}

// untouched checks that after a failed reload the cluster is what it was: the release, its processes (the first of them;
// another may have been replaced and come back), and nothing else.
func (z *zoo) untouched(before cluster.Status, events []cluster.Event) {
	z.Helper()
	after := z.settle(before.Master.Target)
	if after.Master.Release != before.Master.Release {
		z.Errorf("the release is %s now and was %s", after.Master.Release, before.Master.Release)
	}
	replaced := slices.ContainsFunc(events, func(e cluster.Event) bool { return e.Kind == "replaced" })
	for i, w := range after.Workers {
		if old := before.Workers[i]; w.Release != old.Release || w.PID != old.PID && !replaced {
			z.Errorf("slot %d has pid %d of %s now and had %d of %s", w.Slot, w.PID, w.Release, old.PID, old.Release)
		}
	}
	if after.Master.ReloadsTotal != before.Master.ReloadsTotal+1 || after.Master.ReloadsFailed != before.Master.ReloadsFailed+1 {
		z.Errorf("%d reloads, %d failed; before %d and %d", after.Master.ReloadsTotal, after.Master.ReloadsFailed, before.Master.ReloadsTotal, before.Master.ReloadsFailed)
	}
}

// O5; anchors/cluster.md 2.23: what is not even a program is refused before anything is started.
func TestUnusableFiles(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good", nil)
	program, err := os.ReadFile(release(t, "good"))
	if err != nil {
		t.Fatal(err)
	}
	foreign := bytes.Clone(program)
	binary.NativeEndian.PutUint16(foreign[18:], 8) // e_machine in elf(5): MIPS
	for _, c := range []struct {
		name    string
		content []byte
		mode    os.FileMode
		reason  string
	}{
		{"not executable", program, 0o644, "not executable"},
		{"cut short", program[:len(program)/2], 0o755, "cut short"},
		{"for another machine", foreign, 0o755, "this machine is"},
		{"empty", nil, 0o755, "it is empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, started := z.status(), z.times("worker started")
			path := z.program + ".new"
			if err := writeProgram(path, c.content); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, c.mode); err != nil {
				t.Fatal(err)
			}
			z.replace(path)
			_, err := z.reloadFile()
			if verdict := asVerdict(t, err); !strings.Contains(verdict.Reason, c.reason) {
				t.Errorf("the verdict is %q; it should speak of %q", verdict.Reason, c.reason)
			}
			z.untouched(before, nil)
			if n := z.times("worker started"); n != started {
				t.Errorf("%d workers were started", n-started)
			}
		})
	}
	if _, err := z.reload("good again"); err != nil {
		t.Errorf("a good release after bad ones: %v", err)
	}
	z.stop()
}

// O5, M10; anchors/cluster.md 2.22: a worker that ignores that it should leave is killed at the limit, which is the
// master's: nothing that the worker does ends it but its end. The rolling restart goes on to its end.
func TestDeafRelease(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good", config{"KillTimeout": 500 * time.Millisecond})
	if _, err := z.reload("drain:hang"); err != nil {
		t.Fatalf("deploy a release that does not leave: %v", err)
	}
	deaf := z.settle(2)
	events, err := z.reload("good again")
	if err != nil {
		t.Fatalf("replace a release that does not leave: %v", err)
	}
	for _, w := range deaf.Workers {
		for _, kind := range []string{"stuck", "left"} {
			if !slices.ContainsFunc(events, func(e cluster.Event) bool { return string(e.Kind) == kind && e.PID == w.PID }) && kind == "stuck" {
				t.Errorf("no event %q of pid %d", kind, w.PID)
			}
		}
		if left := z.loggedOf("worker left", w.PID); !strings.Contains(left.fields["how"].(string), "SIGKILL") {
			t.Errorf("pid %d left: %v", w.PID, left.fields["how"])
		}
	}
	if s := z.settle(2); s.Master.CrashesTotal != 0 {
		t.Errorf("%d crashes", s.Master.CrashesTotal)
	}
	z.stop()
}

// O5, M12; anchors/cluster.md 2.18: a worker that has grown too large is replaced without being missed.
func TestLeakingRelease(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good", config{"MaxWorkerMemory": 200 << 20, "HeartbeatTimeout": 3 * time.Second})
	pids := z.pids()
	z.askWorker(pids[1], "grow?mb=300", new(int))
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		eventually(t, "the new worker", func() bool {
			s := z.status()
			if s.Master.Ready < 2 {
				t.Errorf("%d workers were ready while one was replaced", s.Master.Ready)
			}
			return s.Master.State == "running" && len(s.Workers) == 2 && s.Workers[1].PID != pids[1]
		})
	}()
	if e := z.loggedOf("replacing worker", pids[1]); !strings.Contains(e.reason, "the limit is 200 MB") {
		t.Errorf("the log says %q", e.raw)
	}
	z.loggedOf("worker left", pids[1])
	<-watched
	if s := z.status(); s.Workers[0].PID != pids[0] || s.Master.CrashesTotal != 0 {
		t.Errorf("the other worker was %d and is %d; %d crashes", pids[0], s.Workers[0].PID, s.Master.CrashesTotal)
	}
	z.stop()
}

// O5; anchors/cluster.md 2.20: a release that writes without end is deployed and replaced, and the master does not grow.
func TestFloodingRelease(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good", nil)
	before := z.status().Master.RSSBytes
	if _, err := z.reload("joined:flood=30 ready:gush"); err != nil {
		t.Fatalf("deploy a release that floods: %v", err)
	}
	if _, err := z.reload("good again"); err != nil {
		t.Fatalf("replace a release that floods: %v", err)
	}
	if after := z.settle(2).Master.RSSBytes; after > before+128<<20 {
		t.Errorf("the master had %d MB and has %d MB", before>>20, after>>20)
	}
	z.stop()
}

// M8, M10: when nobody reads what the master writes for its workers, as on a terminal that was stopped, these may have to
// wait. The master does not.
func TestNobodyReadsTheOutput(t *testing.T) {
	t.Parallel()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	z := newZoo(t, "good", config{"KillTimeout": time.Second})
	z.cmd.Stdout = write
	z.begin()
	z.dial()
	z.logged("all workers are ready", 1)
	for _, behaviour := range []string{"ready:gush", "good next"} {
		if _, err := z.reload(behaviour); err != nil {
			t.Errorf("reload to %q: %v", behaviour, err)
		}
	}
	z.settle(2)
	z.stop()
}
