package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
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

// clockTick is the unit of times in /proc/PID/stat: USER_HZ, 100 on every architecture that Go runs on.
const clockTick = time.Second / 100

// processorTime is what processes have used of the processor so far.
func processorTime(pids []int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, fmt.Errorf("read the processor time of process %d: %w", pid, err)
		}
		ticks, err := ticksOf(string(raw))
		if err != nil {
			return 0, fmt.Errorf("read the processor time of process %d: %w", pid, err)
		}
		sum += time.Duration(ticks) * clockTick
	}
	return sum, nil
}

// ticksOf reads utime and stime of proc_pid_stat(5), the 14th and 15th field. The second, the program's name in brackets,
// may hold anything, so fields are counted from its end.
func ticksOf(stat string) (int64, error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	const user, system = 14 - 3, 15 - 3
	if len(fields) <= system {
		return 0, fmt.Errorf("%q has too few fields", stat)
	}
	u, err := strconv.ParseInt(fields[user], 10, 64)
	if err != nil {
		return 0, err
	}
	s, err := strconv.ParseInt(fields[system], 10, 64)
	return u + s, err
}
