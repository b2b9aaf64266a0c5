//go:build unix

package cluster_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"doorbuster/cluster"
)

// M14: a broadcast reaches all siblings, and not the one who sent it.
func TestBroadcast(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good raced", config{"Workers": 3})
	pids := z.pids()
	var none any
	z.askWorker(pids[0], "broadcast?data=first", &none)
	heard := func(pid, n int) (messages []string) {
		z.askWorker(pid, fmt.Sprintf("messages?n=%d", n), &messages)
		return messages
	}
	for _, pid := range pids[1:] {
		if got := heard(pid, 1); !slices.Equal(got, []string{"1: first"}) {
			t.Errorf("pid %d heard %q", pid, got)
		}
	}
	z.askWorker(pids[1], "broadcast?data=second", &none)
	if got := heard(pids[0], 1); !slices.Equal(got, []string{"2: second"}) {
		t.Errorf("the first sender heard %q", got)
	}
	if got := heard(pids[2], 2); !slices.Equal(got, []string{"1: first", "2: second"}) {
		t.Errorf("who sent nothing heard %q", got)
	}
	z.askWorker(pids[0], "broadcast?data="+strings.Repeat("x", 32<<10+1), &none)
	if text, _ := none.(string); !strings.Contains(text, "the limit is 32768") {
		t.Errorf("a broadcast that is too long: %v", none)
	}
	z.stop()
}

// M14: a setting reaches all workers that there are, and that come later; who refuses it is named.
func TestSettings(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good raced", nil)
	has := func(want string) {
		t.Helper()
		for _, pid := range z.pids() {
			var settings map[string]string
			z.askWorker(pid, "settings", &settings)
			if settings["colour"] != want {
				t.Errorf("pid %d has the settings %v", pid, settings)
			}
		}
	}
	if n, err := z.client.Set(t.Context(), "colour", "red"); n != 2 || err != nil {
		t.Errorf("%d workers have it, %v", n, err)
	}
	has("red")
	if err := z.client.Scale(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	z.settle(3)
	has("red")

	// One that is starting when the setting is made has it, too.
	z.deploy("joined:gate")
	verdict := make(chan error, 1)
	go func() { verdict <- z.client.Reload(t.Context(), func(cluster.Event) {}) }()
	z.gate.wait("joined", 1)
	if n, err := z.client.Set(t.Context(), "colour", "blue"); n != 3 || err != nil {
		t.Errorf("%d workers have it, %v", n, err)
	}
	z.gate.open()
	if err := <-verdict; err != nil {
		t.Fatal(err)
	}
	z.settle(3)
	has("blue")

	_, err := z.client.Set(t.Context(), "picky", "yes")
	if err == nil || !strings.Contains(err.Error(), "worker 2 refuses: not here") || !strings.Contains(err.Error(), "worker 3 refuses: not here") {
		t.Errorf("a setting that some refuse: %v", err)
	}
	if n, err := z.client.Set(t.Context(), "unknown", ""); n != 0 || err == nil || err.Error() != "no such setting" {
		t.Errorf("a setting that the master refuses: %d workers have it, %v", n, err)
	}
	z.stop()
}

// M14, M8, M10: a worker that reads nothing does not hold up the master or its siblings, and does not stop a rolling
// restart. When it reads again it gets what it must not miss.
func TestWorkerThatReadsNothing(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good", config{"Workers": 3, "KillTimeout": time.Second})
	pids := z.pids()
	if err := syscall.Kill(pids[0], syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var none any
	for range 64 { // more than a socket holds
		z.askWorker(pids[1], "broadcast?data="+url.QueryEscape(strings.Repeat("x", 16<<10)), &none)
	}
	var messages []string
	z.askWorker(pids[2], "messages?n=1", &messages)
	if s := z.status(); s.Master.State != "running" || len(s.Workers) != 3 {
		t.Errorf("the cluster is %s with %d workers", s.Master.State, len(s.Workers))
	}
	n, err := z.client.Set(t.Context(), "colour", "red")
	if err == nil || !strings.Contains(err.Error(), "1 workers did not answer") {
		t.Errorf("a setting that one did not read: %d workers have it, %v", n, err)
	}
	if err := syscall.Kill(pids[0], syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the worker to read again", func() bool {
		_, err := z.client.Set(t.Context(), "size", "large")
		return err == nil
	})
	eventually(t, "the setting", func() bool {
		var settings map[string]string
		z.askWorker(pids[0], "settings", &settings)
		return settings["colour"] == "red"
	})
	if err := syscall.Kill(pids[0], syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if _, err := z.reload("good next"); err != nil {
		t.Errorf("reload: %v", err)
	}
	if e := z.loggedOf("worker left", pids[0]); !strings.Contains(e.fields["how"].(string), "SIGKILL") {
		t.Errorf("the log says %q", e.raw)
	}
	z.settle(3)
	z.stop()
}
