package main

import "syscall"

// descriptorLimit is how many descriptors each process that we start may open. It tries to make that as many as wanted:
// whoever may not raise the hard limit gets that one.
func descriptorLimit(want int) int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1024 // what is common
	}
	wanted := uint64(max(want, 0))
	for _, hard := range []uint64{max(limit.Max, wanted), limit.Max} {
		raised := syscall.Rlimit{Cur: hard, Max: hard}
		if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised) == nil { // and our children have it too
			return int(min(hard, 1<<30)) // infinity is a large number
		}
	}
	return int(min(limit.Cur, 1<<30))
}
