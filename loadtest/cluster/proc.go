package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// memoryUse is that of one process or of several, in bytes.
type memoryUse struct {
	rss  int64 // all that is resident; pages that processes share count for each of them
	pss  int64 // the same, a shared page divided by those who share it: this is what may be added up
	anon int64 // what it wrote itself: heap and stacks, and no part of the executable
}

func (m memoryUse) plus(o memoryUse) memoryUse {
	return memoryUse{m.rss + o.rss, m.pss + o.pss, m.anon + o.anon}
}

// memoryOf reads /proc/PID/smaps_rollup and /proc/PID/status (proc_pid_smaps_rollup(5), proc_pid_status(5)).
func memoryOf(pid int) (m memoryUse, err error) {
	for file, wanted := range map[string]map[string]*int64{
		"smaps_rollup": {"Rss": &m.rss, "Pss": &m.pss},
		"status":       {"RssAnon": &m.anon},
	} {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		if err != nil {
			return m, fmt.Errorf("read the memory of process %d: %w", pid, err)
		}
		if err := kilobytes(string(raw), wanted); err != nil {
			return m, fmt.Errorf("read the memory of process %d in %s: %w", pid, file, err)
		}
	}
	return m, nil
}

// kilobytes finds lines such as "Rss:    1234 kB".
func kilobytes(text string, wanted map[string]*int64) error {
	found := 0
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		into := wanted[name]
		if into == nil {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
		if err != nil {
			return fmt.Errorf("line %q: %w", line, err)
		}
		*into = n << 10
		found++
	}
	if found != len(wanted) {
		return fmt.Errorf("found %d of %d lines", found, len(wanted))
	}
	return nil
}
