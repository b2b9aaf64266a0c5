package cluster

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
)

const (
	v1CPU    = "31 30 0:28 / /sys/fs/cgroup/cpu rw,relatime shared:7 - cgroup cgroup rw,cpu\n"
	v1Memory = "32 30 0:29 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
	v2Only   = "29 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev - cgroup2 cgroup2 rw,nsdelegate\n"
	gib      = 1 << 30
)

// M1: the count is the smallest of affinity, quota and memory, whatever the cgroups look like, and the log can say why.
func TestCountWorkers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cgroup, mountinfo string
		files             map[string]string // below /sys/fs/cgroup
		meminfo           string
		affinity          int
		perWorker         int64
		n                 int
		reason            string
	}{
		"nothing to read": {affinity: 3, perWorker: gib, n: 3, reason: "3 CPUs by affinity"},
		"one CPU":         {affinity: 1, n: 1, reason: "1 CPU by affinity"},
		"v2, own group": {
			cgroup: "0::/shop\n", mountinfo: v2Only, affinity: 8,
			files: map[string]string{"shop/cpu.max": "250000 100000\n"},
			n:     2, reason: "the cgroup's CPU quota of 2.5 CPUs (/sys/fs/cgroup/shop)",
		},
		"v2, an ancestor is tighter": {
			cgroup: "0::/a/b/c\n", mountinfo: v2Only, affinity: 8,
			files: map[string]string{"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "max 100000\n", "a/b/c/cpu.max": "400000 100000\n"},
			n:     3, reason: "the cgroup's CPU quota of 3 CPUs (/sys/fs/cgroup/a)",
		},
		"v2, the mount point itself, as in a container": {
			cgroup: "0::/\n", mountinfo: v2Only, affinity: 8,
			files: map[string]string{"cpu.max": "400000 200000\n"},
			n:     2, reason: "the cgroup's CPU quota of 2 CPUs (/sys/fs/cgroup)",
		},
		"v2, no limit": {
			cgroup: "0::/a\n", mountinfo: v2Only, affinity: 8, perWorker: gib, meminfo: "MemTotal: 104857600 kB\n",
			files: map[string]string{"a/cpu.max": "max 100000\n", "a/memory.max": "max\n"},
			n:     8, reason: "8 CPUs by affinity",
		},
		"less than one CPU is one worker": {
			cgroup: "0::/a\n", mountinfo: v2Only, affinity: 1,
			files: map[string]string{"a/cpu.max": "5000 100000\n"},
			n:     1, reason: "the cgroup's CPU quota of 0.05 CPUs (/sys/fs/cgroup/a)",
		},
		"a quota above affinity": {
			cgroup: "0::/a\n", mountinfo: v2Only, affinity: 2,
			files: map[string]string{"a/cpu.max": "200000 100000\n"},
			n:     2, reason: "2 CPUs by affinity",
		},
		"1.5 CPUs on two": {
			cgroup: "1:cpu:/x\n", mountinfo: v1CPU, affinity: 2,
			files: map[string]string{"cpu/x/cpu.cfs_quota_us": "150000\n", "cpu/x/cpu.cfs_period_us": "100000\n"},
			n:     1, reason: "the cgroup's CPU quota of 1.5 CPUs (/sys/fs/cgroup/cpu/x)",
		},
		"v1, an ancestor": {
			cgroup: "1:cpu:/x/y\n", mountinfo: v1CPU, affinity: 8,
			files: map[string]string{
				"cpu/x/cpu.cfs_quota_us": "200000\n", "cpu/x/cpu.cfs_period_us": "100000\n",
				"cpu/x/y/cpu.cfs_quota_us": "-1\n", "cpu/x/y/cpu.cfs_period_us": "100000\n",
			},
			n: 2, reason: "the cgroup's CPU quota of 2 CPUs (/sys/fs/cgroup/cpu/x)",
		},
		"v1, controllers mounted together": {
			cgroup: "4:cpu,cpuacct:/x\n", affinity: 8,
			mountinfo: "31 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n",
			files:     map[string]string{"cpu,cpuacct/x/cpu.cfs_quota_us": "100000", "cpu,cpuacct/x/cpu.cfs_period_us": "50000"},
			n:         2, reason: "the cgroup's CPU quota of 2 CPUs (/sys/fs/cgroup/cpu,cpuacct/x)",
		},
		"v1 in a container: the mount's root is the own group": {
			cgroup: "1:cpu:/docker/4f2a\n", affinity: 8,
			mountinfo: "31 30 0:28 /docker/4f2a /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n",
			files:     map[string]string{"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"},
			n:         3, reason: "the cgroup's CPU quota of 3 CPUs (/sys/fs/cgroup/cpu)",
		},
		"v1 in a container, a group of its own below": {
			cgroup: "1:cpu:/docker/4f2a/shop\n", affinity: 8,
			mountinfo: "31 30 0:28 /docker/4f2a /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n",
			files: map[string]string{
				"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000",
				"cpu/shop/cpu.cfs_quota_us": "200000", "cpu/shop/cpu.cfs_period_us": "100000",
			},
			n: 2, reason: "the cgroup's CPU quota of 2 CPUs (/sys/fs/cgroup/cpu/shop)",
		},
		"a mount of somebody else's group": {
			cgroup: "1:cpu:/docker/4f2ab\n", affinity: 8,
			mountinfo: "31 30 0:28 /docker/4f2a /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n",
			files:     map[string]string{"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"},
			n:         8, reason: "8 CPUs by affinity",
		},
		"a group above the namespace is not looked for beside the mount": {
			cgroup: "0::/../other\n", mountinfo: v2Only, affinity: 8,
			files: map[string]string{"cpu.max": "max 100000", "../other/cpu.max": "100000 100000"},
			n:     8, reason: "8 CPUs by affinity",
		},
		"a mount from outside the namespace shows an ancestor": {
			cgroup: "0::/\n", affinity: 8,
			mountinfo: "29 23 0:26 /../.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
			files:     map[string]string{"cpu.max": "200000 100000"},
			n:         2, reason: "the cgroup's CPU quota of 2 CPUs (/sys/fs/cgroup)",
		},
		"hybrid: v1 controllers and an empty v2": {
			cgroup: "9:name=systemd:/s\n4:memory:/m\n1:cpu:/c\n0::/u\n", affinity: 8, perWorker: gib,
			mountinfo: v1CPU + v1Memory + "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
			files: map[string]string{
				"cpu/c/cpu.cfs_quota_us": "600000", "cpu/c/cpu.cfs_period_us": "100000",
				"memory/m/memory.limit_in_bytes": "5368709120", "unified/u/cgroup.procs": "1\n",
			},
			n: 4, reason: "the cgroup's memory limit of 5 GiB (/sys/fs/cgroup/memory/m) at 1 GiB per worker and one to spare",
		},
		"hybrid: the controller is in v2": {
			cgroup: "4:memory:/m\n0::/u\n", affinity: 8,
			mountinfo: v1Memory + "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
			files:     map[string]string{"unified/u/cpu.max": "300000 100000\n"},
			n:         3, reason: "the cgroup's CPU quota of 3 CPUs (/sys/fs/cgroup/unified/u)",
		},
		"hybrid: a group of the same name in the other hierarchy is another group": {
			cgroup: "1:cpu:/c\n0::/u\n", affinity: 8,
			mountinfo: v1CPU + "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
			files:     map[string]string{"cpu/u/cpu.cfs_quota_us": "100000", "cpu/u/cpu.cfs_period_us": "100000"},
			n:         8, reason: "8 CPUs by affinity",
		},
		"names with a colon and a space": {
			cgroup: "0::/a:b c%d\n", affinity: 8, mountinfo: `29 23 0:26 / /sys/fs/c\040g rw - cgroup2 cgroup2 rw` + "\n",
			files: map[string]string{"../c g/a:b c%d/cpu.max": "200000 100000\n"},
			n:     2, reason: "the cgroup's CPU quota of 2 CPUs (/sys/fs/c g/a:b c%d)",
		},
		"a deleted group still has ancestors": {
			cgroup: "0::/a/b (deleted)\n", mountinfo: v2Only, affinity: 8,
			files: map[string]string{"a/cpu.max": "200000 100000\n"},
			n:     2, reason: "the cgroup's CPU quota of 2 CPUs (/sys/fs/cgroup/a)",
		},
		"total memory": {
			affinity: 8, perWorker: 512 << 20, meminfo: "MemTotal:        2097152 kB\nMemFree:  1 kB\n",
			n: 3, reason: "memory of 2 GiB at 512 MiB per worker and one to spare",
		},
		"memory for one": {
			affinity: 8, perWorker: 512 << 20, meminfo: "MemTotal:        1048576 kB\n",
			n: 1, reason: "memory of 1 GiB at 512 MiB per worker and one to spare",
		},
		"memory for less than one": {
			affinity: 2, perWorker: gib, meminfo: "MemTotal:        1000 kB\n",
			n: 1, reason: "memory of 1000 KiB at 1 GiB per worker and one to spare",
		},
		"memory not considered": {affinity: 8, meminfo: "MemTotal: 1000 kB\n", n: 8, reason: "8 CPUs by affinity"},
		"memory less than nothing is not considered": {
			affinity: 8, perWorker: -1, meminfo: "MemTotal: 1000 kB\n", n: 8, reason: "8 CPUs by affinity",
		},
		"v1's number for no limit": {
			cgroup: "4:memory:/m\n", mountinfo: v1Memory, affinity: 8, perWorker: gib, meminfo: "MemTotal: 3145728 kB\n",
			files: map[string]string{"memory/m/memory.limit_in_bytes": "9223372036854771712\n"},
			n:     2, reason: "memory of 3 GiB at 1 GiB per worker and one to spare",
		},
		"v1's number for no limit, and nothing else known": {
			cgroup: "4:memory:/m\n", mountinfo: v1Memory, affinity: 8, perWorker: gib,
			files: map[string]string{"memory/m/memory.limit_in_bytes": "9223372036854771712\n"},
			n:     8, reason: "8 CPUs by affinity",
		},
		"v2 memory of an ancestor": {
			cgroup: "0::/a/b\n", mountinfo: v2Only, affinity: 8, perWorker: gib, meminfo: "MemTotal: 104857600 kB\n",
			files: map[string]string{"a/memory.max": "4831838208\n", "a/b/memory.max": "max\n"},
			n:     3, reason: "the cgroup's memory limit of 4.5 GiB (/sys/fs/cgroup/a) at 1 GiB per worker and one to spare",
		},
		"malformed everything": {
			cgroup: "\n::\n0\n1:cpu\n0::/a\n1:cpu:/x", affinity: 8, perWorker: gib,
			mountinfo: "\n1 2 3\n31 30 0:28 / /a b c d e f g h\n31 30 0:28 / /b rw -\n31 30 0:28 / /b rw x y z -\n" +
				v2Only + v1CPU + "31 30 0:28 /",
			files: map[string]string{
				"a/cpu.max": "lots and lots\n", "a/memory.max": "-5\n", "cpu.max": "100000\n",
				"cpu/x/cpu.cfs_quota_us": "100000", "cpu/x/cpu.cfs_period_us": "0",
				"cpu/cpu.cfs_quota_us": "100000",
			},
			meminfo: "MemTotal: many kB\nMemTotal: -1 kB\nMemTotal: 5\n",
			n:       8, reason: "8 CPUs by affinity",
		},
		"numbers that overflow": {
			cgroup: "0::/a\n", mountinfo: v2Only, affinity: 8, perWorker: 1, meminfo: "MemTotal: 9223372036854775807 kB\n",
			files: map[string]string{"a/cpu.max": "9223372036854775807 1\n", "a/memory.max": "99999999999999999999\n"},
			n:     8, reason: "8 CPUs by affinity",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := fstest.MapFS{}
			for at, text := range map[string]string{
				"proc/self/cgroup": c.cgroup, "proc/self/mountinfo": c.mountinfo, "proc/meminfo": c.meminfo,
			} {
				if text != "" {
					root[at] = &fstest.MapFile{Data: []byte(text)}
				}
			}
			for name, text := range c.files {
				root[filepath.Join("sys/fs/cgroup", name)] = &fstest.MapFile{Data: []byte(text)}
			}
			n, reason := countWorkers(root, c.affinity, c.perWorker)
			if n != c.n || reason != c.reason {
				t.Errorf("got %d by %q\nwant %d by %q", n, reason, c.n, c.reason)
			}
		})
	}
}

// What scale does not refuse: four workers for each CPU, and no more than fit into
// memory.
func TestMostWorkers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		affinity  int
		perWorker int64
		memory    string
		n         int
		reason    string
	}{
		{2, 0, "", 8, "4 for each of 2 CPUs by affinity"},
		{1, 0, "", 4, "4 on 1 CPU by affinity"},
		{2, gib, "MemTotal: 104857600 kB\n", 8, "4 for each of 2 CPUs by affinity"},
		{2, gib, "MemTotal: 5242880 kB\n", 4, "memory of 5 GiB at 1 GiB per worker and one to spare"},
		{2, gib, "MemTotal: 1024 kB\n", 1, "memory of 1 MiB at 1 GiB per worker and one to spare"},
	} {
		root := fstest.MapFS{"proc/meminfo": {Data: []byte(c.memory)}}
		if n, reason := mostWorkers(root, c.affinity, c.perWorker); n != c.n || reason != c.reason {
			t.Errorf("got %d by %q, want %d by %q", n, reason, c.n, c.reason)
		}
	}
}

// countInGroup makes this test binary enter the cgroup, by writing its pid to the file named here, before it counts.
const countInGroup = "CLUSTER_TEST_COUNT_IN"

func init() {
	procs := os.Getenv(countInGroup)
	if procs == "" {
		return
	}
	if err := os.WriteFile(procs, fmt.Appendln(nil, os.Getpid()), 0); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	n, reason := DefaultWorkers(gib)
	fmt.Printf("%d by %s\n", n, reason)
	os.Exit(0)
}

// M1 on the real kernel: a process in a cgroup of one CPU, or of little memory, starts one worker and says why.
func TestDefaultWorkersInACgroup(t *testing.T) {
	t.Parallel()
	if runtime.NumCPU() < 2 {
		t.Skip("with one CPU affinity decides, whatever the cgroup says")
	}
	for _, c := range []struct {
		name, v1   string
		limits, v2 map[string]string
		want       string
	}{
		{
			"cpu", "/sys/fs/cgroup/cpu",
			map[string]string{"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "100000"},
			map[string]string{"cpu.max": "100000 100000"},
			"1 by the cgroup's CPU quota of 1 CPU (",
		},
		{
			"memory", "/sys/fs/cgroup/memory",
			map[string]string{"memory.limit_in_bytes": "1073741824"},
			map[string]string{"memory.max": "1073741824"},
			"1 by the cgroup's memory limit of 1 GiB (",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			group := limitedGroup(t, c.v1, c.limits)
			if group == "" {
				group = limitedGroup(t, "/sys/fs/cgroup", c.v2)
			}
			if group == "" {
				t.Skip("no cgroup can be made and limited here (that takes root and a controller that is mounted for writing)")
			}
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), countInGroup+"="+group+"/cgroup.procs")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if got := string(out); !strings.HasPrefix(got, c.want) || !strings.Contains(got, filepath.Base(group)+")") {
				t.Errorf("got %q, want %q and the group %s", got, c.want, filepath.Base(group))
			}
		})
	}
}

// limitedGroup makes a cgroup below parent for the test; "" if it cannot be made or has no such limits.
func limitedGroup(t *testing.T, parent string, limits map[string]string) string {
	t.Helper()
	group, err := os.MkdirTemp(parent, "doorbuster-test-")
	if err != nil {
		return ""
	}
	t.Cleanup(func() {
		if err := os.Remove(group); err != nil { // its process was waited for
			t.Error(err)
		}
	})
	for name, limit := range limits {
		// Not created: where the parent is a plain folder this is to fail.
		file, err := os.OpenFile(filepath.Join(group, name), os.O_WRONLY, 0)
		if err != nil {
			return ""
		}
		_, err = file.WriteString(limit)
		file.Close()
		if err != nil {
			return ""
		}
	}
	return group
}

// M1: whatever the machine, there is a count and a reason.
func TestDefaultWorkersHere(t *testing.T) {
	t.Parallel()
	n, reason := DefaultWorkers(0)
	if n < 1 || n > runtime.NumCPU() || reason == "" {
		t.Errorf("got %d by %q, want 1 to %d and a reason", n, reason, runtime.NumCPU())
	}
	if one, reason := DefaultWorkers(math.MaxInt64); runtime.GOOS == "linux" && (one != 1 || !strings.Contains(reason, "memory")) {
		t.Errorf("workers of more memory than there is: got %d by %q, want 1 by memory", one, reason)
	}
}
