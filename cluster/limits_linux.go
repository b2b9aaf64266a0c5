package cluster

import (
	"fmt"
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// workersTaskLimit returns how many processes and threads more the user that
// workers run as may have: RLIMIT_NPROC counts those of a user and not of
// a process (getrlimit(2)). Where /proc hides processes of the same user in
// another container, there are fewer.
func (m *Master) workersTaskLimit(root fs.FS) (tasks int64, where string) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(unix.RLIMIT_NPROC, &limit); err != nil {
		return math.MaxInt64, ""
	}
	most := limit.Cur
	for _, l := range m.cfg.Rlimits {
		if l.Resource == unix.RLIMIT_NPROC {
			most = l.Soft
		}
	}
	own := processStatus(root, "self")
	if m.cfg.User != nil { // who has no capabilities
		return userTaskLimit(root, strconv.FormatUint(uint64(m.cfg.User.UID), 10), most)
	}
	if own.unbound(root) {
		return math.MaxInt64, ""
	}
	return userTaskLimit(root, own.uid, most)
}

// userTaskLimit returns what a limit leaves of a user's processes and threads.
func userTaskLimit(root fs.FS, uid string, most uint64) (tasks int64, where string) {
	if uid == "" || uid == "0" || most > math.MaxInt64 { // RLIM_INFINITY is above
		return math.MaxInt64, ""
	}
	entries, err := fs.ReadDir(root, "proc")
	if err != nil {
		return math.MaxInt64, ""
	}
	var now int64
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		if p := processStatus(root, e.Name()); p.uid == uid {
			now += p.threads
		}
	}
	return max(0, int64(most)-now), fmt.Sprintf("the limit of user %s (ulimit -u, LimitNPROC=), which is %d with %d taken", uid, most, now)
}

// processState is what proc_pid_status(5) has of a process.
type processState struct {
	uid          string // the real one
	threads      int64
	capabilities uint64 // effective ones
}

func processStatus(root fs.FS, pid string) (p processState) {
	for line := range strings.Lines(readCgroupFile(root, path.Join("/proc", pid), "status")) {
		name, value, _ := strings.Cut(line, ":")
		fields := strings.Fields(value)
		if len(fields) == 0 {
			continue
		}
		switch name {
		case "Uid":
			p.uid = fields[0]
		case "Threads":
			p.threads, _ = strconv.ParseInt(fields[0], 10, 64)
		case "CapEff":
			p.capabilities, _ = strconv.ParseUint(fields[0], 16, 64)
		}
	}
	return p
}

// unbound reports whether the kernel does not hold RLIMIT_NPROC against this
// process: it is root's, or may exceed limits (copy_process in kernel/fork.c).
// The root of a user namespace of its own is none (user_namespaces(7)).
func (p processState) unbound(root fs.FS) bool {
	const exempt = 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_SYS_RESOURCE
	outer := strings.Fields(readCgroupFile(root, "/proc/self", "uid_map"))
	initial := len(outer) == 3 && outer[0] == "0" && outer[1] == "0" && outer[2] == strconv.Itoa(math.MaxUint32)
	return initial && (p.uid == "0" || p.capabilities&exempt != 0)
}
