//go:build unix

package cluster_test

import (
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"doorbuster/cluster"
)

// What a worker executes ignores no signal that the worker itself was not told to ignore: a program whose reader has gone
// ends by SIGPIPE, and one whose terminal has gone by SIGHUP. A worker that was started to ignore SIGHUP, as by nohup, does so, and so do its programs.
func TestSignalsOfExecutedPrograms(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("no /proc to look into")
	}
	mask := func(signals ...syscall.Signal) (m uint64) {
		for _, s := range signals {
			m |= 1 << (s - 1)
		}
		return m
	}
	for name, c := range map[string]struct {
		trap string
		want uint64
	}{
		"plain": {"", 0},
		"nohup": {"trap '' HUP; ", mask(syscall.SIGHUP)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			z := newZoo(t, "good", config{"Workers": 1})
			z.cfg["Command"] = []string{"/bin/sh", "-c", c.trap + "exec " + z.program} // a shell that is the worker's beginning
			z.prepare()
			z.begin()
			z.dial()
			z.logged("all workers are ready", 1)
			pid := z.pids()[0]
			var said string
			z.askWorker(pid, "shell?command="+url.QueryEscape("grep SigIgn /proc/self/status"), &said)
			_, digits, _ := strings.Cut(strings.TrimSpace(said), "\t")
			ignored, err := strconv.ParseUint(digits, 16, 64)
			if err != nil {
				t.Fatalf("%q: %v", said, err)
			}
			if got := ignored & mask(syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGTERM); got != c.want {
				t.Errorf("it ignores %#x, want %#x", got, c.want)
			}
			// A signal that is not meant for a worker does not end it.
			for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGPIPE} {
				if err := syscall.Kill(pid, s); err != nil {
					t.Fatal(err)
				}
			}
			z.askWorker(pid, "shell?command=true", &said)
			if got := z.pids()[0]; got != pid {
				t.Errorf("worker %d was replaced by %d", pid, got)
			}
			z.stop()
		})
	}
}

// M10: a worker that is killed because it does not leave takes along what it has started, unless that has a session of its
// own.
func TestKillTakesChildren(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "drain:hang", config{"Workers": 1, "KillTimeout": 200 * time.Millisecond})
	victim := z.pids()[0]
	var child, daemon int
	z.askWorker(victim, "child", &child)
	z.askWorker(victim, "child?daemon", &daemon)
	z.gate.wait("orphan", 2)
	z.deploy("good")
	if err := z.client.Reload(t.Context(), func(cluster.Event) {}); err != nil {
		t.Fatal(err)
	}
	if how := fmt.Sprint(z.loggedOf("worker left", victim).fields["how"]); !strings.Contains(how, "SIGKILL") {
		t.Errorf("the worker %s", how)
	}
	eventually(t, "the end of what the worker had started", func() bool { return !runs(child) })
	if !runs(daemon) {
		t.Error("the daemon was killed, too")
	}
	z.stop()
}

// runs reports whether a process is there and no zombie: nobody may be there to reap it.
func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(stat), ") ")
	return err == nil && rest != "" && rest[0] != 'Z' && rest[0] != 'X'
}
