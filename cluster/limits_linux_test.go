package cluster_test

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A master whose workers take more descriptors than it may have is refused in a
// sentence, one that may have few says so, and works.
func TestDescriptorsAtTheStart(t *testing.T) {
	t.Parallel()
	limited := func(t *testing.T, limit string, workers int) *zoo {
		t.Helper()
		z := newZoo(t, "good", config{"Workers": workers})
		z.cmd.Args = []string{"sh", "-c", `ulimit -n ` + limit + `; exec "$0"`, z.cmd.Path}
		z.cmd.Path = "/bin/sh"
		z.begin()
		return z
	}
	z := limited(t, "40", 20)
	if code := z.exit(); code != 1 {
		t.Errorf("it ended with code %d", code)
	}
	const want = "20 workers take 67 descriptors of their master, and the limit is 40 (ulimit -Hn): raise it, or run fewer"
	if list := z.log.list(); len(list) != 1 || !strings.Contains(list[0].raw, want) {
		t.Errorf("it says %+v", list)
	}
	z = limited(t, "64", 2)
	z.dial()
	z.logged("few descriptors: raise their limit (ulimit -Hn, LimitNOFILE=)", 1)
	z.settle(2)
	if _, err := z.reload("good next"); err != nil {
		t.Error(err)
	}
	z.stop()
}

// The same goes for processes: the limit is that of the user that workers run
// as, and none of root's.
func TestProcessesAtTheStart(t *testing.T) {
	t.Parallel()
	const someone = 54321
	limited := func(t *testing.T, cfg config) *zoo {
		t.Helper()
		z := newZoo(t, "good", cfg)
		z.cmd.Args = []string{"sh", "-c", `ulimit -u 20; exec "$0"`, z.cmd.Path}
		z.cmd.Path = "/bin/bash" // dash has no such limit
		z.begin()
		return z
	}
	refused := func(t *testing.T, z *zoo, want string) {
		t.Helper()
		if code := z.exit(); code != 1 {
			t.Errorf("it ended with code %d", code)
		}
		if list := z.log.list(); len(list) != 1 || !strings.Contains(list[0].raw, want) {
			t.Errorf("it says %+v, want %s", list, want)
		}
	}
	t.Run("of workers", func(t *testing.T) {
		t.Parallel()
		cfg := config{"Rlimits": []map[string]any{{"resource": unix.RLIMIT_NPROC, "soft": 1, "hard": 1}}}
		if os.Getuid() == 0 {
			cfg["User"] = map[string]any{"UID": someone, "GID": someone}
		}
		z := newZoo(t, "good", cfg)
		z.begin()
		refused(t, z, "2 workers and one that replaces another do not fit into the ")
	})
	t.Run("of their user", func(t *testing.T) {
		t.Parallel()
		if os.Getuid() != 0 {
			t.Skip("only root may start a process as another user")
		}
		z := limited(t, config{"Workers": 20, "User": map[string]any{"UID": someone, "GID": someone}})
		refused(t, z, "20 workers and one that replaces another do not fit into the 20 processes that are left by the limit of user 54321 "+
			"(ulimit -u, LimitNPROC=), which is 20 with 0 taken: raise it, or run fewer")
	})
	t.Run("of root", func(t *testing.T) {
		t.Parallel()
		if os.Getuid() != 0 {
			t.Skip("only root is not bound by it")
		}
		z := limited(t, config{"Workers": 2})
		z.dial()
		z.settle(2)
		z.stop()
	})
}

// What a worker has started ends with it when the master has to kill it.
func TestKilledWithItsChildren(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "ready:fork drain:hang", config{"KillTimeout": 100 * time.Millisecond})
	left := z.gate.wait("orphan", 2) // these never get through the gate
	z.signal(syscall.SIGTERM)
	if code := z.exit(); code != 0 { // it also waits for all that hold standard error
		t.Errorf("the master ended with code %d", code)
	}
	for _, v := range left {
		if err := syscall.Kill(v.pid, 0); err == nil && len(z.processes()) > 0 {
			t.Errorf("process %d is left", v.pid)
		}
	}
	for _, e := range z.log.list() {
		if how, _ := e.fields["how"].(string); e.message == "worker left" && how != "was killed by SIGKILL from the master: it did not leave in time" {
			t.Errorf("the log says that a worker %s", how)
		}
	}
	z.nothingLeft()
}
