//go:build linux

package cluster

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/fstest"
)

// The limit of processes is what the tightest cgroup leaves, in v1 and in v2.
func TestTaskLimit(t *testing.T) {
	t.Parallel()
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text + "\n")} }
	root := fstest.MapFS{
		"proc/self/cgroup":                       file("0::/shop/web"),
		"proc/self/mountinfo":                    file("36 35 98:0 / /sys/fs/cgroup rw - cgroup2 cgroup rw"),
		"sys/fs/cgroup/shop/web/pids.max":        file("max"),
		"sys/fs/cgroup/shop/web/pids.current":    file("7"),
		"sys/fs/cgroup/shop/pids.max":            file("100"),
		"sys/fs/cgroup/shop/pids.current":        file("60"),
		"sys/fs/cgroup/shop/web/other/pids.max":  file("1"),
		"sys/fs/cgroup/shop/web/unknown.current": file("1"),
	}
	tasks, where := cgroupTaskLimit(root)
	if tasks != 40 || where != "the cgroup's pids.max (/sys/fs/cgroup/shop)" {
		t.Errorf("got %d by %s", tasks, where)
	}
	m := &Master{workers: 2, cfg: Config{Log: slog.New(slog.DiscardHandler)}}
	if err := m.checkTasks(tasks, where); err != nil {
		t.Errorf("few are no reason to refuse: %v", err)
	}
	m.workers = 40
	if err := m.checkTasks(tasks, where); err == nil || !strings.Contains(err.Error(), "do not fit into the 40 processes that are left by the cgroup's pids.max (/sys/fs/cgroup/shop): raise it, or run fewer") {
		t.Errorf("got %v", err)
	}
	if tasks, _ := cgroupTaskLimit(fstest.MapFS{}); tasks < 1<<40 {
		t.Errorf("without a cgroup there are %d", tasks)
	}
}

// The limit of processes of a user counts the threads of all processes of that
// user, and binds neither root nor who may exceed limits, unless that is so in
// a user namespace only.
func TestUserTaskLimit(t *testing.T) {
	t.Parallel()
	const outer, inner = "         0          0 4294967295", "         0     100000      65536"
	const admin, resource, none = "0000000000200000", "0000000001000000", "0000000000000001"
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text + "\n")} }
	process := func(uid string, threads int, capabilities string) *fstest.MapFile {
		return file(fmt.Sprintf("Name:\tshop\nUid:\t%s\t0\t0\t0\nThreads:\t%d\nCapEff:\t%s", uid, threads, capabilities))
	}
	for name, c := range map[string]struct {
		uid, capabilities, namespace string
		bound                        bool
	}{
		"a user":                      {"1000", none, outer, true},
		"root":                        {"0", none, outer, false},
		"an administrator":            {"1000", admin, outer, false},
		"who may exceed limits":       {"1000", resource, outer, false},
		"the same in a namespace":     {"1000", admin, inner, true},
		"root of a namespace":         {"0", admin, inner, true},
		"a system without namespaces": {"1000", none, "", true},
	} {
		root := fstest.MapFS{"proc/self/status": process(c.uid, 7, c.capabilities), "proc/self/uid_map": file(c.namespace)}
		if got := processStatus(root, "self").unbound(root); got == c.bound {
			t.Errorf("%s is not bound: %v", name, got)
		}
	}
	root := fstest.MapFS{
		"proc/self/status": process("1000", 7, none), "proc/17/status": process("1000", 7, none), "proc/18/status": process("1000", 5, none),
		"proc/19/status": process("1001", 90, none), "proc/20/cmdline": file("gone"), "proc/meminfo": file(""),
	}
	tasks, where := userTaskLimit(root, "1000", 40)
	if tasks != 28 || where != "the limit of user 1000 (ulimit -u, LimitNPROC=), which is 40 with 12 taken" {
		t.Errorf("got %d by %s", tasks, where)
	}
	if tasks, _ := userTaskLimit(root, "1001", 40); tasks != 0 {
		t.Errorf("beyond the limit: got %d", tasks)
	}
	if tasks, _ := userTaskLimit(root, "1000", math.MaxUint64); tasks != math.MaxInt64 {
		t.Errorf("without a limit: got %d", tasks)
	}
	var log bytes.Buffer
	m := &Master{workers: 2, cfg: Config{Log: slog.New(slog.NewTextHandler(&log, nil))}}
	if err := m.checkTasks(tasks, where); err != nil || !strings.Contains(log.String(), "few processes") || !strings.Contains(log.String(), "which is 40 with 12 taken") {
		t.Errorf("got %v, and the log says %s", err, log.String())
	}
	m.workers = 28
	const want = "28 workers and one that replaces another do not fit into the 28 processes that are left by the limit of user 1000"
	if err := m.checkTasks(tasks, where); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v", err)
	}
}
