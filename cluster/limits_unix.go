//go:build unix

package cluster

import (
	"fmt"
	"io/fs"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// What a cluster takes of what its system has a limit for.
const (
	masterDescriptors = 24 // of the master itself: standard ones, files, the poller's, a command or two
	childDescriptors  = 2  // of the master for each worker: its link and its output
	workerDescriptors = 24 // of a worker that holds no connection
	fewDescriptors    = 1024
	workerTasks       = 16 // of a worker: threads of the Go runtime, and those in system calls
)

// checkLimits sees to it that limits show at the start, and not in the middle of a crowd. It refuses to start a master that can't hold what it has to, and logs a limit that is close.
func (m *Master) checkLimits() error {
	// A rolling restart has one worker more, and those that it has told to leave.
	children := 2*m.workers + 1
	descriptors := descriptorLimit()
	least := uint64(masterDescriptors + len(m.listeners) + childDescriptors*(m.workers+1))
	comfortable := uint64(masterDescriptors + len(m.listeners) + childDescriptors*children)
	switch {
	case descriptors < least:
		return fmt.Errorf("%d workers take %d descriptors of their master, and the limit is %d (ulimit -Hn): raise it, or run fewer",
			m.workers, least, descriptors)
	case descriptors < max(comfortable, fewDescriptors):
		m.cfg.Log.Warn("few descriptors: raise their limit (ulimit -Hn, LimitNOFILE=)", "limit", descriptors,
			"master_needs", comfortable, "connections_per_worker", max(0, int64(descriptors)-workerDescriptors))
	}
	tasks, where := m.taskLimit(os.DirFS("/"))
	m.tasks = tasks
	return m.checkTasks(tasks, where)
}

// taskLimit returns how many processes and threads more there may be, and what
// says so.
func (m *Master) taskLimit(root fs.FS) (tasks int64, where string) {
	tasks, where = cgroupTaskLimit(root)
	if user, why := m.workersTaskLimit(root); user < tasks {
		tasks, where = user, why
	}
	return tasks, where
}

func (m *Master) checkTasks(tasks int64, where string) error {
	switch {
	case tasks < int64(m.workers)+1:
		return fmt.Errorf("%d workers and one that replaces another do not fit into the %s that are left by %s: raise it, or run fewer",
			m.workers, counted(int(tasks), "process", "processes"), where)
	case tasks < workerTasks*(int64(m.workers)+1):
		m.cfg.Log.Warn("few processes: workers may fail to start, or to go on", "limit", tasks, "by", where,
			"workers_need", workerTasks*(m.workers+1))
	}
	return nil
}

// tasksInWords is a number of processes for the log.
func tasksInWords(tasks int64) any {
	if tasks == math.MaxInt64 {
		return "no limit"
	}
	return tasks
}

// descriptorLimit is the number of descriptors that this process, and a worker, may have: package os raises the soft limit
// to the hard one at the start of either.
func descriptorLimit() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1 << 20
	}
	return rlimitValue(limit.Cur)
}

// cgroupTaskLimit is taskLimit as far as the cgroups of this process say.
func cgroupTaskLimit(root fs.FS) (tasks int64, where string) {
	if runtime.GOOS != "linux" {
		return math.MaxInt64, ""
	}
	tasks, dir := tightest(root, cgroupDirs(root, "pids"), func(root fs.FS, dir string) (int64, bool) {
		most, err := strconv.ParseInt(strings.TrimSpace(readCgroupFile(root, dir, "pids.max")), 10, 64)
		if err != nil { // "max", or no such controller
			return 0, false
		}
		now, err := strconv.ParseInt(strings.TrimSpace(readCgroupFile(root, dir, "pids.current")), 10, 64)
		return max(1, most-now), err == nil // 0 would be no limit
	})
	return tasks, fmt.Sprintf("the cgroup's pids.max (%s)", dir)
}
