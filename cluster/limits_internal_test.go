//go:build linux

package cluster

import (
	"log/slog"
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
	tasks, where := taskLimit(root)
	if tasks != 40 || where != "the cgroup's pids.max (/sys/fs/cgroup/shop)" {
		t.Errorf("got %d by %s", tasks, where)
	}
	m := &Master{workers: 2, cfg: Config{Log: slog.New(slog.DiscardHandler)}}
	if err := m.checkTasks(tasks, where); err != nil {
		t.Errorf("few are no reason to refuse: %v", err)
	}
	m.workers = 40
	if err := m.checkTasks(tasks, where); err == nil || !strings.Contains(err.Error(), "which is 40: raise it, or run fewer") {
		t.Errorf("got %v", err)
	}
	if tasks, _ := taskLimit(fstest.MapFS{}); tasks < 1<<40 {
		t.Errorf("without a cgroup there are %d", tasks)
	}
}
