package main

import "golang.org/x/sys/unix"

// mountProc mounts a /proc that shows the PID namespace of this process, in a
// mount namespace of its own.
func mountProc() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return unix.Mount("proc", "/proc", "proc", 0, "")
}
