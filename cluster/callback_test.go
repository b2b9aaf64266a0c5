//go:build unix

package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"doorbuster/cluster"
)

// M10, M15, M16: a worker whose application blocks, wherever its master calls it, hears the drain, the hurry and the end of
// its master.
func TestBlockedCallbacks(t *testing.T) {
	t.Parallel()
	blocks := map[string]func(z *zoo, pids []int){
		"message": func(z *zoo, pids []int) {
			var none any
			z.askWorker(pids[0], "broadcast?data=block", &none)
			z.gate.wait("message", 1)
		},
		"setting": func(z *zoo, _ []int) {
			if _, err := z.client.Set(z.Context(), "block", ""); err == nil || !strings.Contains(err.Error(), "2 workers did not answer") {
				z.Errorf("a setting that blocks: %v", err)
			}
			z.gate.wait("setting", 2)
		},
		"health": func(z *zoo, pids []int) {
			var none any
			for _, pid := range pids {
				z.askWorker(pid, "sick?why=block", &none)
			}
			z.gate.wait("health", 2)
		},
		"everything": func(z *zoo, pids []int) {
			var none any
			z.askWorker(pids[0], "broadcast?data=block", &none)
			z.askWorker(pids[1], "broadcast?data=block", &none)
			z.client.Set(z.Context(), "block", "")
			for _, pid := range pids {
				z.askWorker(pid, "sick?why=block", &none)
			}
			z.gate.wait("message", 2)
			z.gate.wait("setting", 2)
			z.gate.wait("health", 2)
		},
	}
	ends := map[string]func(z *zoo, pids []int){
		"drain": func(z *zoo, pids []int) {
			z.signal(syscall.SIGTERM)
			if code := z.exit(); code != 0 {
				z.Errorf("the master ended with code %d", code)
			}
			for _, pid := range pids {
				if how := z.loggedOf("worker left", pid).fields["how"]; how != "exited with code 0" {
					z.Errorf("worker %d %v", pid, how)
				}
			}
		},
		"hurry": func(z *zoo, pids []int) {
			answer := make(chan error, 1)
			go func() { _, err := z.get("/hold"); answer <- err }()
			z.gate.wait("request", 1)
			z.signal(syscall.SIGTERM)
			z.logged("master stopping", 1)
			z.signal(syscall.SIGTERM)
			z.exit()
			<-answer
			for _, pid := range pids {
				if how := fmt.Sprint(z.loggedOf("worker left", pid).fields["how"]); !strings.HasPrefix(how, "exited with code") {
					z.Errorf("worker %d %v", pid, how)
				}
			}
		},
		"the master is killed": func(z *zoo, _ []int) {
			z.signal(syscall.SIGKILL)
			z.exit() // and all workers: nothing else would end them, the kill timeout is longer than the test's patience
		},
	}
	for where, block := range blocks {
		for how, end := range ends {
			t.Run(where+", "+how, func(t *testing.T) {
				t.Parallel()
				z := startZoo(t, "good", config{"KillTimeout": 2 * hang})
				pids := z.pids()
				block(z, pids)
				end(z, pids)
			})
		}
	}
}

// M16: a worker that neither reads nor leaves ends itself when its master is no more, by its own clock.
func TestOrphanThatDoesNotLeave(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "drain:hang", config{"KillTimeout": 200 * time.Millisecond})
	var none any
	z.askWorker(z.pids()[0], "broadcast?data=block", &none)
	z.gate.wait("message", 1)
	z.signal(syscall.SIGKILL)
	z.exit()
	if !slices.ContainsFunc(z.log.list(), func(e entry) bool { return strings.Contains(e.raw, "this worker has not left within 200ms: killed") }) {
		t.Error("nobody said why it was ended")
	}
}

// M14: broadcasts that nobody takes are dropped and counted, one that panics ends nothing, and whatever comes after it
// arrives.
func TestCallbackThatFails(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good raced", nil)
	pids := z.pids()
	var none any
	tell := func(data string) { z.askWorker(pids[0], "broadcast?data="+url.QueryEscape(data), &none) }
	heard := func(n int) (messages []string) {
		z.askWorker(pids[1], fmt.Sprintf("messages?n=%d", n), &messages)
		return messages
	}
	tell("panic")
	tell("after the panic")
	if got := heard(1); got[0] != "1: after the panic" {
		t.Errorf("heard %q", got)
	}

	tell("block")
	held := z.gate.wait("message", 1)
	const room = 64
	for i := range room + 10 {
		tell(fmt.Sprintf("kept %d", i))
	}
	eventually(t, "the dropped broadcasts in the status", func() bool { return z.status().Workers[1].MissedMessages == 10 })
	held[0].pass()
	if got := heard(2 + room); got[1] != "1: block" || got[1+room] != fmt.Sprintf("1: kept %d", room-1) {
		t.Errorf("heard %q", got)
	}
	if s := z.status(); s.Master.CrashesTotal != 0 {
		t.Errorf("%d crashes", s.Master.CrashesTotal)
	}

	// A setting that panics is refused like one with an error.
	if n, err := z.client.Set(t.Context(), "panic", ""); n != 0 || err == nil || !strings.Contains(err.Error(), "worker 1 refuses: OnSetting(panic) panicked: applied too hard") {
		t.Errorf("%d workers have it, %v", n, err)
	}
	if n, err := z.client.Set(t.Context(), "colour", "red"); n != 2 || err != nil {
		t.Errorf("after it: %d workers have it, %v", n, err)
	}
	z.stop()
}

// M14: a setting that nobody has applied is not kept; one that somebody has is, until it is unset.
func TestSettingsThatAreKept(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good raced", nil)
	set := func(key, value, says string) {
		t.Helper()
		_, err := z.client.Set(t.Context(), key, value)
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s=%s: %v", key, value, err)
		}
	}
	kept := func(want map[string]string) {
		t.Helper()
		if got := z.status().Master.Settings; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("kept %v, want %v", got, want)
		}
	}
	set("nowhere", "x", "none has applied it")
	set("panic", "x", "none has applied it")
	kept(map[string]string{})
	set("colour", "red", "")
	set("picky", "yes", "worker 2 refuses: not here")
	kept(map[string]string{"colour": "red", "picky": "yes"})

	left, err := z.client.Unset(t.Context(), "picky")
	if left != 2 || err != nil {
		t.Errorf("unset: %d workers have it, %v", left, err)
	}
	if _, err := z.client.Unset(t.Context(), "picky"); err == nil || !strings.Contains(err.Error(), `setting "picky" was not made`) {
		t.Errorf("unset twice: %v", err)
	}
	kept(map[string]string{"colour": "red"})
	if _, err := z.reload("good next"); err != nil {
		t.Fatal(err)
	}
	for _, pid := range z.pids() {
		var settings map[string]string
		z.askWorker(pid, "settings", &settings)
		if fmt.Sprint(settings) != "map[colour:red]" {
			t.Errorf("worker %d has %v", pid, settings)
		}
	}
	z.stop()
}

// M9, M14: a setting that the workers of the next release refuse, or that makes them hang, does not keep them from serving.
func TestSettingThatLaterWorkersHangOn(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good", config{"ReadyTimeout": hang / 2})
	// Who blocks does so at the gate: the workers that are there pass, later ones do not.
	verdict := make(chan error, 1)
	go func() {
		_, err := z.client.Set(z.Context(), "block", "")
		verdict <- err
	}()
	for _, v := range z.gate.wait("setting", 2) {
		v.pass()
	}
	if err := <-verdict; err != nil {
		t.Fatal(err)
	}
	if _, err := z.reload("good next"); err != nil {
		t.Errorf("reload: %v", err)
	}
	z.gate.wait("setting", 4)
	z.settle(2)
	z.stop()
}

// M15: Config.OnSetting may panic, ask the master and block: nothing else of the master waits for it.
func TestJudgeThatFails(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good raced", nil)
	refused := func(key, says string) {
		t.Helper()
		if n, err := z.client.Set(t.Context(), key, "x"); n != 0 || err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %d workers have it, %v", key, n, err)
		}
	}
	refused("master-panics", "Config.OnSetting panicked: judged too hard")
	if n, err := z.client.Set(t.Context(), "master-asks", "x"); n != 2 || err != nil {
		t.Errorf("one that asks the master: %d workers have it, %v", n, err)
	}
	refused("master-sets", "Config.OnSetting has not returned within 2s")
	refused("master-blocks", "Config.OnSetting has not returned within 2s")
	refused("colour", "the setting before is still being judged")
	z.gate.wait("judge", 1)[0].pass()
	eventually(t, "the judge", func() bool {
		n, err := z.client.Set(t.Context(), "colour", "red")
		return n == 2 && err == nil
	})
	// Nothing is kept of the others, and nobody who waits for a judge holds up a stop.
	if got := fmt.Sprint(z.status().Master.Settings); got != "map[colour:red master-asks:x]" {
		t.Errorf("kept %s", got)
	}
	verdict := make(chan error, 1)
	go func() {
		_, err := z.client.Set(context.WithoutCancel(t.Context()), "master-blocks", "")
		verdict <- err
	}()
	z.gate.wait("judge", 2)
	z.signal(syscall.SIGTERM)
	if code := z.exit(); code != 0 {
		t.Errorf("the master ended with code %d", code)
	}
	if err := <-verdict; err == nil {
		t.Error("the setting was made, after the end")
	}
}

// Without a worker that is ready, nobody can judge a setting.
func TestSettingWithoutWorkers(t *testing.T) {
	t.Parallel()
	z := newZoo(t, "joined:gate", nil)
	z.begin()
	z.dial()
	z.gate.wait("joined", 2)
	if n, err := z.client.Set(t.Context(), "colour", "red"); n != 0 || err == nil || !strings.Contains(err.Error(), "no worker is ready") {
		t.Errorf("%d workers have it, %v", n, err)
	}
	z.stop()
	if _, err := z.client.Unset(t.Context(), "colour"); err == nil || errors.Is(err, cluster.ErrUnsupported) {
		t.Errorf("unset after the end: %v", err)
	}
}
