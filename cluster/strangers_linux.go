package cluster

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// strangerPatience is how long a child that the loop did not start is left,
// once it has ended, to whoever did.
const strangerPatience = time.Second

// reapStrangers collects children that the loop did not start: a master that is
// process 1 becomes the parent of every orphan. Among them may be a command of
// the application's own, whose os/exec needs the status. So a stranger is only
// taken when it was there already strangerPatience ago, and when this process
// holds no pidfd of it: package os keeps one from the start of a process until
// it was waited for or released (Linux 5.4).
func (l *loop) reapStrangers() {
	now := time.Now()
	dead := slices.DeleteFunc(deadChildren(), l.started)
	for pid := range l.strangers {
		if !slices.Contains(dead, pid) { // somebody waited for it
			delete(l.strangers, pid)
		}
	}
	var held map[int]bool // read when needed: it takes a look at every descriptor
	for _, pid := range dead {
		since, known := l.strangers[pid]
		if !known {
			l.strangers[pid] = now
			continue
		}
		if now.Sub(since) < strangerPatience {
			continue
		}
		if held == nil {
			held = heldProcesses()
		}
		if held[pid] {
			continue
		}
		delete(l.strangers, pid)
		var ws syscall.WaitStatus
		if got, err := wait4(pid, &ws); got == pid && err == nil {
			l.cfg.Log.Debug("reaped an orphan", "orphan_pid", pid)
		}
	}
	l.strangersAt = time.Time{}
	if len(dead) > 0 {
		l.strangersAt = now.Add(strangerPatience)
	}
}

// started reports whether the loop has started a process and not reaped it.
func (l *loop) started(pid int) bool {
	if _, ok := l.helpers[pid]; ok {
		return true
	}
	for _, c := range l.children {
		if c.pid == pid && !c.reaped {
			return true
		}
	}
	return false
}

// deadChildren returns the children that have ended and were not waited for. In
// a PID namespace whose /proc shows another one it is the first of them only:
// more the kernel does not tell.
func deadChildren() []int {
	first := firstDeadChild()
	if first == 0 {
		return nil
	}
	if self, err := os.Readlink("/proc/self"); err != nil || self != strconv.Itoa(os.Getpid()) {
		return []int{first}
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return []int{first}
	}
	var dead []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it is gone
		}
		// "pid (name) state parent …", and the name may hold anything.
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(fields) > 1 && fields[0] == "Z" && fields[1] == strconv.Itoa(os.Getpid()) {
			dead = append(dead, pid)
		}
	}
	return dead
}

// firstDeadChild returns a child that has ended, and leaves its status; 0 if
// there is none.
func firstDeadChild() int {
	var info struct { // siginfo_t, sigaction(2)
		_     [3]int32
		child struct {
			_   [0]uintptr // what is in the union is aligned to a pointer
			pid int32
		}
		_ [128]byte
	}
	err := ignoringEINTR(func() error {
		return unix.Waitid(unix.P_ALL, 0, (*unix.Siginfo)(unsafe.Pointer(&info)), unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) //nolint:gosec // it is no smaller
	})
	if err != nil {
		return 0
	}
	return int(info.child.pid)
}

// heldProcesses returns the processes that this one has a pidfd of. Where /proc
// shows another PID namespace the numbers are those of both: of two processes
// that might be meant, neither is taken from its owner.
func heldProcesses() map[int]bool {
	held := map[int]bool{}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return held
	}
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err != nil || !strings.Contains(target, "[pidfd]") {
			continue
		}
		info, err := os.ReadFile("/proc/self/fdinfo/" + e.Name())
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(info)) { // "Pid:	4711", "NSpid:	4711	5" (proc_pid_fdinfo(5))
			name, numbers, _ := strings.Cut(line, ":")
			if name != "Pid" && name != "NSpid" {
				continue
			}
			for number := range strings.FieldsSeq(numbers) {
				if pid, err := strconv.Atoi(number); err == nil && pid > 0 {
					held[pid] = true
				}
			}
		}
	}
	return held
}
