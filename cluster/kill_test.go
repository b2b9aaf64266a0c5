//go:build unix

package cluster_test

import (
	"strings"
	"syscall"
	"testing"

	"doorbuster/cluster"
)

// Kill is a crash like any other, and takes a slot in which a worker serves.
func TestKillCommand(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good", nil)
	before := z.pids()
	for _, slot := range []int{0, 3, -1} {
		if err := z.client.Kill(t.Context(), slot); err == nil || !strings.Contains(err.Error(), "no worker serves in slot") {
			t.Errorf("slot %d: %v", slot, err)
		}
	}
	if err := z.client.Kill(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	z.loggedOf("worker crashed", before[1])
	if after := z.settle(2); after.Master.CrashesTotal != 1 || after.Workers[0].PID != before[0] || after.Workers[1].PID == before[1] {
		t.Errorf("the workers were %v; now %+v", before, after)
	}
	z.stop()
}

// M3, M9, M10; O4: a worker may be killed at any moment of its life. One that serves, or is about to, is replaced; one that
// was leaving is not missed; one that has to prove its release takes the release with it.
func TestKillWorker(t *testing.T) {
	t.Parallel()
	kill := func(t *testing.T, pid int) {
		t.Helper()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	reload := func(z *zoo) <-chan error {
		verdict := make(chan error, 1)
		go func() { verdict <- z.client.Reload(z.Context(), func(cluster.Event) {}) }()
		return verdict
	}
	crashed := func(t *testing.T, z *zoo, pid, crashes int) {
		t.Helper()
		z.loggedOf("worker crashed", pid)
		if s := z.settle(2); s.Master.CrashesTotal != crashes {
			t.Errorf("%d crashes", s.Master.CrashesTotal)
		}
	}
	for name, test := range map[string]func(t *testing.T) *zoo{
		"starting": func(t *testing.T) *zoo {
			z := newZoo(t, "joined:gate", nil)
			z.begin()
			z.dial()
			victim := z.gate.wait("joined", 2)[0]
			kill(t, victim.pid)
			z.gate.wait("joined", 3)
			z.gate.open()
			crashed(t, z, victim.pid, 1)
			return z
		},
		"ready": func(t *testing.T) *zoo {
			z := startZoo(t, "good", nil)
			before := z.pids()
			kill(t, before[1])
			crashed(t, z, before[1], 1)
			if after := z.pids(); after[0] != before[0] || after[1] == before[1] {
				t.Errorf("the workers were %v and are %v", before, after)
			}
			return z
		},
		"draining": func(t *testing.T) *zoo {
			z := startZoo(t, "drain:gate", nil)
			z.deploy("good next")
			verdict := reload(z)
			kill(t, z.gate.wait("drain", 1)[0].pid)
			z.gate.open()
			if err := <-verdict; err != nil {
				t.Errorf("the reload: %v", err)
			}
			if s := z.settle(2); s.Master.CrashesTotal != 0 {
				t.Errorf("%d crashes", s.Master.CrashesTotal)
			}
			return z
		},
		"replacement that is starting": func(t *testing.T) *zoo {
			z := startZoo(t, "good", nil)
			before := z.status()
			z.deploy("joined:gate")
			verdict := reload(z)
			kill(t, z.gate.wait("joined", 1)[0].pid)
			if v := asVerdict(t, <-verdict); !strings.Contains(v.Reason, "was killed by SIGKILL") || !strings.HasSuffix(v.Reason, "before it was ready") {
				t.Errorf("the verdict is %q", v.Reason)
			}
			z.untouched(before, nil)
			return z
		},
		"replacement in the bake": func(t *testing.T) *zoo {
			z := startZoo(t, "good", config{"Bake": hang})
			before := z.status()
			z.deploy("good next")
			err := z.client.Reload(t.Context(), func(e cluster.Event) {
				if e.Kind == "baking" {
					kill(t, e.PID)
				}
			})
			if v := asVerdict(t, err); !strings.Contains(v.Reason, "was killed by SIGKILL") || !strings.HasSuffix(v.Reason, "after it was ready") {
				t.Errorf("the verdict is %q", v.Reason)
			}
			z.untouched(before, nil)
			return z
		},
		"one that serves, while another is replaced": func(t *testing.T) *zoo {
			z := startZoo(t, "good", nil)
			before := z.pids()
			z.deploy("joined:gate")
			verdict := reload(z)
			z.gate.wait("joined", 1)
			kill(t, before[1])
			z.loggedOf("worker crashed", before[1])
			z.gate.open()
			if err := <-verdict; err != nil {
				t.Errorf("the reload: %v", err)
			}
			crashed(t, z, before[1], 1)
			z.neverTooFew(2)
			return z
		},
		"leaving at the end": func(t *testing.T) *zoo {
			z := startZoo(t, "drain:gate", nil)
			z.signal(syscall.SIGTERM)
			for _, v := range z.gate.wait("drain", 2) {
				kill(t, v.pid)
			}
			if code := z.exit(); code != 0 {
				t.Errorf("the master ended with code %d", code)
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if z := test(t); z != nil {
				z.stop()
			}
		})
	}
}

// neverTooFew reads in the log whether a worker was told to leave while fewer than there should be would have been left (M8).
func (z *zoo) neverTooFew(target int) {
	z.Helper()
	ready := map[int]int{} // slots by pid
	for _, e := range z.log.list() {
		switch e.message {
		case "worker ready":
			ready[e.pid] = e.slot
		case "worker crashed":
			delete(ready, e.pid)
		case "worker takes over":
			for pid, slot := range ready {
				if slot == e.slot && pid != e.pid {
					delete(ready, pid)
				}
			}
			if len(ready) < target {
				z.Errorf("a worker was told to leave, and %d stay: %s", len(ready), e.raw)
			}
		}
	}
}
