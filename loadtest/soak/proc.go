//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// errGone is of a process that is not there any more.
var errGone = errors.New("the process is gone")

// signalChild signals a child of a process. Its pid can't have become another's meanwhile: os.Process holds on to the
// process (pidfd_open(2)) before its parent is looked at.
func signalChild(parent, pid int, sig syscall.Signal) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return errGone
	}
	defer p.Release() //nolint:errcheck // it only closes a descriptor
	if now, err := parentOf(pid); err != nil || now != parent {
		return errGone
	}
	if err := p.Signal(sig); err != nil {
		if errors.Is(err, os.ErrProcessDone) {
			return errGone
		}
		return fmt.Errorf("signal process %d: %w", pid, err)
	}
	return nil
}

// parentOf reads the fourth field of proc_pid_stat(5). The second, the program's name in brackets, may hold anything.
func parentOf(pid int) (int, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	if len(fields) < 2 {
		return 0, fmt.Errorf("%q has too few fields", raw)
	}
	return strconv.Atoi(fields[1])
}

// childrenOf lists the children of a process (proc_pid_task_tid_children(5)).
func childrenOf(pid int) map[int]bool {
	children := map[int]bool{}
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range files {
		raw, _ := os.ReadFile(file) // the thread may be gone
		for child := range strings.FieldsSeq(string(raw)) {
			if n, err := strconv.Atoi(child); err == nil {
				children[n] = true
			}
		}
	}
	return children
}

// isAnswerer reports whether a process was started to answer while no worker is ready: its environment says so
// (proc_pid_environ(5)).
func isAnswerer(pid int) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return err == nil && strings.Contains(string(raw), "CLUSTER_ANSWERER=")
}

// descriptors lists the open ones of a process.
func descriptors(pid int) (open []int, err error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			open = append(open, n)
		}
	}
	return open, nil
}

// statusField reads a number of /proc/PID/status (proc_pid_status(5)); kB are bytes.
func statusField(pid int, name string) (int64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		value, ok := strings.CutPrefix(line, name+":")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		number, inKB := strings.CutSuffix(value, " kB")
		n, err := strconv.ParseInt(number, 10, 64)
		if inKB {
			n <<= 10
		}
		return n, err
	}
	return 0, fmt.Errorf("process %d has no %s", pid, name)
}

// runningFrom lists the processes whose executable is, or was, in a folder.
func runningFrom(dir string) (pids []int) {
	links, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, link := range links {
		if exe, err := os.Readlink(link); err == nil && strings.HasPrefix(exe, dir+"/") {
			if pid, err := strconv.Atoi(strings.Split(link, "/")[2]); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// limit lowers a soft limit of a process and returns how to put it back (prlimit(2)). The hard limit stays, so that what
// the process starts can have what it had before.
func limit(pid, resource int, soft uint64) (restore func(), err error) {
	var old unix.Rlimit
	if err := unix.Prlimit(pid, resource, nil, &old); err != nil {
		return nil, fmt.Errorf("read a limit of process %d: %w", pid, err)
	}
	if err := unix.Prlimit(pid, resource, &unix.Rlimit{Cur: min(soft, old.Max), Max: old.Max}, nil); err != nil {
		return nil, fmt.Errorf("set a limit of process %d: %w", pid, err)
	}
	return func() {
		unix.Prlimit(pid, resource, &old, nil) //nolint:errcheck // the process may be gone
	}, nil
}

// starve leaves a process no descriptor beyond the highest that it has. What is free below goes to whoever comes first.
func starve(pid int) (restore func(), err error) {
	open, err := descriptors(pid)
	if err != nil || len(open) == 0 {
		return nil, errGone
	}
	return limit(pid, unix.RLIMIT_NOFILE, uint64(slices.Max(open)+1))
}

// dialTo connects to an address. With a small receive buffer, the other side soon has to wait for the reader.
func dialTo(addr string, narrow bool) dialer {
	var d net.Dialer
	if narrow {
		d.Control = func(_, _ string, conn syscall.RawConn) error {
			return conn.Control(func(fd uintptr) {
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096) //nolint:errcheck // then it is as wide as any
			})
		}
	}
	return func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
}
