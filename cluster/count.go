package cluster

import (
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// DefaultWorkers returns how many workers fit on this machine, at least 1: the smallest of
//
//   - the CPUs that the process may run on (its affinity, which a cpuset narrows too),
//   - the CPU quota of its cgroup and of every ancestor up to the mount point, v1 or v2, rounded down, and
//   - the memory of the machine, or the cgroup's limit where that is lower, divided by memoryPerWorker (bytes), less
//     one: a rolling restart starts each replacement beside the worker that it replaces. 0 leaves memory out.
//
// reason is one clause for a log line. It says which bound decided, with its numbers.
//
// The quota is rounded down because the kernel throttles whatever exceeds it: with one worker too many all of them
// stand still together for the rest of a period (100 ms by default), and a sale feels that in p99 while the average
// looks well. GOMAXPROCS of Go 1.25 and newer is no substitute, as it rounds up and never goes below 2 by quota.
//
// Where there is no cgroup to ask (macOS, Windows) the count is [runtime.NumCPU]. A limit that cannot be read, or not
// be understood, is no limit: a wrong guess costs some speed, a refusal would cost the shop.
func DefaultWorkers(memoryPerWorker int64) (n int, reason string) {
	cpus := runtime.NumCPU()
	if runtime.GOOS != "linux" {
		return cpus, cpusInWords(int64(cpus) * 1000)
	}
	return countWorkers(os.DirFS("/"), cpus, memoryPerWorker)
}

// countWorkers is DefaultWorkers on a given root file system and affinity.
func countWorkers(root fs.FS, affinity int, memoryPerWorker int64) (n int, reason string) {
	n, reason = affinity, cpusInWords(int64(affinity)*1000)+" by affinity"
	if quota, dir := tightest(root, cgroupDirs(root, "cpu"), cpuQuota); quota < int64(affinity)*1000 {
		n = max(1, int(quota/1000))
		reason = fmt.Sprintf("the cgroup's CPU quota of %s (%s)", cpusInWords(quota), dir)
	}
	if memoryPerWorker <= 0 {
		return n, reason
	}
	if fit, why := fitInMemory(root, memoryPerWorker); fit < int64(n) {
		n, reason = int(fit), why
	}
	return n, reason
}

// fitInMemory is how many workers of that size there is room for, and one to spare.
func fitInMemory(root fs.FS, memoryPerWorker int64) (n int64, reason string) {
	memory := totalMemory(root)
	of := "memory of " + bytesInWords(memory)
	if limit, dir := tightest(root, cgroupDirs(root, "memory"), memoryLimit); limit < memory {
		memory, of = limit, fmt.Sprintf("the cgroup's memory limit of %s (%s)", bytesInWords(limit), dir)
	}
	return max(1, memory/memoryPerWorker-1), fmt.Sprintf("%s at %s per worker and one to spare", of, bytesInWords(memoryPerWorker))
}

// workersPerCPU is how many workers for each CPU are a wish, and not a typing error:
// a worker that waits for others needs no CPU meanwhile.
const workersPerCPU = 4

// mostWorkers is how many workers a machine has room for, and why. Memory is no
// matter of taste: what exceeds it is killed.
func mostWorkers(root fs.FS, affinity int, memoryPerWorker int64) (n int, reason string) {
	cpus, why := countWorkers(root, affinity, 0)
	n, reason = workersPerCPU*cpus, fmt.Sprintf("%d for each of %s", workersPerCPU, why)
	if cpus == 1 {
		reason = fmt.Sprintf("%d on %s", workersPerCPU, why)
	}
	if memoryPerWorker <= 0 {
		return n, reason
	}
	if fit, why := fitInMemory(root, memoryPerWorker); fit < int64(n) {
		n, reason = int(fit), why
	}
	return n, reason
}

// tightest returns the smallest limit that read finds in the directories, and where; MaxInt64 when there is none.
func tightest(root fs.FS, dirs []string, read func(fs.FS, string) (int64, bool)) (limit int64, where string) {
	limit = math.MaxInt64
	for _, dir := range dirs {
		if v, ok := read(root, dir); ok && v > 0 && v < limit {
			limit, where = v, dir
		}
	}
	return limit, where
}

// cpuQuota reads the quota of one cgroup in thousandths of a CPU. v2 has "max 100000" or "150000 100000" in one file
// (cgroup-v2.rst), v1 has two files and -1 for no quota (sched-bwc.rst).
func cpuQuota(root fs.FS, dir string) (milli int64, ok bool) {
	fields := strings.Fields(readCgroupFile(root, dir, "cpu.max"))
	if len(fields) == 0 {
		fields = []string{
			strings.TrimSpace(readCgroupFile(root, dir, "cpu.cfs_quota_us")),
			strings.TrimSpace(readCgroupFile(root, dir, "cpu.cfs_period_us")),
		}
	}
	if len(fields) != 2 {
		return 0, false
	}
	quota, errQuota := strconv.ParseInt(fields[0], 10, 64)
	period, errPeriod := strconv.ParseInt(fields[1], 10, 64)
	if errQuota != nil || errPeriod != nil || quota <= 0 || period <= 0 || quota > math.MaxInt64/1000 {
		return 0, false
	}
	return max(1, quota*1000/period), true
}

// memoryLimit reads the limit of one cgroup in bytes. v2 says "max" for no limit; v1 says the largest multiple of a
// page that an int64 holds, which is no limit either, because every machine has less.
func memoryLimit(root fs.FS, dir string) (bytes int64, ok bool) {
	text := readCgroupFile(root, dir, "memory.max")
	if text == "" {
		text = readCgroupFile(root, dir, "memory.limit_in_bytes")
	}
	bytes, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	return bytes, err == nil
}

// totalMemory is the machine's, in bytes; MaxInt64 when it is not known.
func totalMemory(root fs.FS) int64 {
	for line := range strings.Lines(readCgroupFile(root, "/proc", "meminfo")) {
		fields := strings.Fields(line) // "MemTotal:       24684268 kB"
		if len(fields) != 3 || fields[0] != "MemTotal:" || fields[2] != "kB" {
			continue
		}
		if kib, err := strconv.ParseInt(fields[1], 10, 64); err == nil && kib > 0 && kib < math.MaxInt64/1024 {
			return kib * 1024
		}
	}
	return math.MaxInt64
}

// cgroupDirs lists the directories where the limits of a controller may be: those of this process's cgroup and of its
// ancestors, as far as they are mounted, in v1 and in v2. On a hybrid system both exist. A controller works in one
// hierarchy and has no files in the others, so asking too many is right everywhere.
func cgroupDirs(root fs.FS, controller string) []string {
	var dirs []string
	mounts := cgroupMounts(root)
	// "4:cpu,cpuacct:/shop" is v1, "0::/shop" is v2 (cgroups(7)).
	for line := range strings.Lines(readCgroupFile(root, "/proc/self", "cgroup")) {
		_, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		controllers, group, ok := strings.Cut(rest, ":")
		v2 := controllers == ""
		if !ok || !v2 && !slices.Contains(strings.Split(controllers, ","), controller) {
			continue
		}
		for _, m := range mounts {
			rel, ok := groupBelow(m.root, group)
			if !ok || v2 != (m.fstype == "cgroup2") {
				continue
			}
			for dir := path.Join(m.point, rel); ; dir = path.Dir(dir) {
				dirs = append(dirs, dir)
				if dir == path.Clean(m.point) || dir == "/" {
					break
				}
			}
		}
	}
	return dirs
}

// A cgroupMount is one line of mountinfo. In a container its root, the directory of the hierarchy that one sees at the
// mount point, is often not "/" but the container's own group.
type cgroupMount struct{ root, point, fstype string }

// cgroupMounts reads "36 35 98:0 ROOT POINT rw,noatime [optional fields] - FSTYPE SOURCE OPTIONS" (proc_pid_mountinfo(5)).
func cgroupMounts(root fs.FS) []cgroupMount {
	var mounts []cgroupMount
	for line := range strings.Lines(readCgroupFile(root, "/proc/self", "mountinfo")) {
		fields := strings.Fields(line)
		if len(fields) < 10 {
			continue
		}
		dash := 6 + slices.Index(fields[6:], "-")
		if dash < 6 || len(fields) < dash+2 {
			continue
		}
		if fstype := fields[dash+1]; fstype == "cgroup" || fstype == "cgroup2" {
			mounts = append(mounts, cgroupMount{mountUnescape.Replace(fields[3]), mountUnescape.Replace(fields[4]), fstype})
		}
	}
	return mounts
}

// mountUnescape undoes what the kernel does to names in mountinfo, where spaces separate.
var mountUnescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// groupBelow returns the group's path below the root of a mount. ok is false when the mount shows another part of the
// hierarchy. Both paths are relative to the cgroup namespace, and ".." leads out of it (cgroup_namespaces(7)): a mount
// made outside shows an ancestor at its mount point, with names in between that nobody can tell.
func groupBelow(mountRoot, group string) (rel string, ok bool) {
	if up := leadsUp(group); leadsUp(mountRoot) > up && path.Clean(mountRoot) == "/" {
		return "", true
	}
	if mountRoot == group {
		return "", true
	}
	rel, ok = strings.CutPrefix(group, strings.TrimSuffix(mountRoot, "/")+"/")
	return rel, ok && leadsUp("/"+rel) == 0
}

// leadsUp counts the leading ".." of a path.
func leadsUp(p string) (n int) {
	for strings.HasPrefix(p+"/", "/../") {
		n, p = n+1, p[len("/.."):]
	}
	return n
}

// readCgroupFile returns "" for a file that is not there.
func readCgroupFile(root fs.FS, dir, name string) string {
	text, err := fs.ReadFile(root, strings.TrimPrefix(path.Join(dir, name), "/"))
	if err != nil {
		return ""
	}
	return string(text)
}

func cpusInWords(milli int64) string {
	if milli == 1000 {
		return "1 CPU"
	}
	return strconv.FormatFloat(float64(milli)/1000, 'f', -1, 64) + " CPUs"
}

func bytesInWords(n int64) string {
	value, unit := float64(n), 0
	for ; value >= 1024 && unit < 4; unit++ {
		value /= 1024
	}
	return strconv.FormatFloat(math.Round(value*10)/10, 'f', -1, 64) + " " + [...]string{"bytes", "KiB", "MiB", "GiB", "TiB"}[unit]
}
