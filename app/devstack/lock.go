package devstack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

var errLocked = errors.New("locked by another process")

// takeLock locks dir by the file "lock" in it, which then holds our pid for others to read.
func takeLock(dir string) (*os.File, error) {
	name := filepath.Join(dir, "lock")
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock file: %w", err)
	}
	if lock(file) != nil {
		file.Close()
		return nil, errLocked
	}
	// A sweep may have removed the directory just before; then this locks a file that nobody can find.
	if there, err := os.Stat(name); err != nil || !sameFile(there, file) {
		file.Close()
		return nil, errLocked
	}
	if err := file.Truncate(0); err == nil {
		_, err = file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
		if err != nil {
			file.Close()
			return nil, fmt.Errorf("write lock file: %w", err)
		}
	}
	return file, nil
}

// holder describes who has locked the directory.
func holder(dir string) string {
	if pid := readPID(filepath.Join(dir, "lock")); pid > 0 {
		return "process " + strconv.Itoa(pid)
	}
	return "another process"
}

func sameFile(there os.FileInfo, file *os.File) bool {
	here, err := file.Stat()
	return err == nil && os.SameFile(there, here)
}

// sweep removes temporary directories whose owner was killed before it could. Whatever is not surely a leftover of
// the same account (someone holds its lock, its server still runs) stays.
func sweep(parent string, as *account) {
	left, _ := filepath.Glob(filepath.Join(parent, tempPrefix+"*"))
	for _, dir := range left {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || !as.owns(info) {
			continue
		}
		// Opened without O_CREATE: a directory that is only just being made has no lock file yet.
		file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if lock(file) == nil && serverIn(dir) == 0 {
			_ = os.RemoveAll(dir)
		}
		file.Close()
	}
}

// note writes down which process serves from dir. The program's name is there because after a reboot someone else
// may have the pid.
func note(dir string, pid int, program string) error {
	return os.WriteFile(filepath.Join(dir, "pid"), fmt.Appendf(nil, "%d\n%s\n", pid, filepath.Base(program)), 0o600)
}

// serverIn returns the pid of the server that serves from dir, 0 if it does not run.
func serverIn(dir string) int {
	raw, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		return 0
	}
	var (
		pid     int
		program string
	)
	if _, err := fmt.Sscan(string(raw), &pid, &program); err != nil || !alive(pid) || programOf(pid) != program {
		return 0
	}
	return pid
}

// readPID returns the number in the first line of the file, 0 if there is none.
func readPID(name string) int {
	raw, err := os.ReadFile(name)
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	pid, _ := strconv.Atoi(strings.TrimSpace(line))
	return pid
}
