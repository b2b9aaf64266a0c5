//go:build unix && !linux

package devstack

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// There is no parent-death signal here: a server outlives a parent that is killed by SIGKILL.
func attributes(as *account, _ syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: as.credential()}
}

// descendants lists the children of pid, their children and so on.
func descendants(pid int) []int {
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output() //nolint:noctx // ps ends by itself
	if err != nil {
		return nil
	}
	parents := map[int]int{}
	for line := range strings.Lines(string(out)) {
		var child, parent int
		if n, _ := fmt.Sscan(line, &child, &parent); n == 2 {
			parents[child] = parent
		}
	}
	return lineage(pid, parents)
}

// programOf names the program that a process runs.
func programOf(pid int) string {
	name, _ := exec.Command("ps", "-o", "comm=", "-p", strconv.Itoa(pid)).Output() //nolint:noctx // as above
	return filepath.Base(strings.TrimSpace(string(name)))
}

func alive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}
