package main

import (
	"errors"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// gcPercent is the garbage collector's target when GOGC says nothing. A worker that serves a few hot products has a live
// heap of about 10 MB and makes 100 MB of garbage a second at full load, so that at Go's 100 it collects many times a
// second: 400 buys 13 % more product reads for 14 MB more memory (six alternating runs of wrk).
const gcPercent = 400

// Go's soft memory limit, where GOMEMLIMIT says nothing, keeps the generous gcPercent from costing more than that: a worker
// whose caches are warm collects as often as it takes to stay below softLimit, or below memoryShare of its container.
const (
	softLimit   = 384 << 20 // bytes
	memoryShare = 0.9
)

// tuneMemory sets the collector's two knobs. The environment's own settings win.
func tuneMemory(log *slog.Logger) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	limit := int64(softLimit)
	switch cgroup, err := memlimit.FromCgroup(); {
	case err == nil:
		limit = min(limit, int64(float64(cgroup)*memoryShare))
	case !errors.Is(err, memlimit.ErrNoLimit) && !errors.Is(err, memlimit.ErrNoCgroup):
		log.Debug("the cgroup does not say how much memory there is", "error", err)
	}
	debug.SetMemoryLimit(limit)
	log.Debug("memory limit", "bytes", limit)
}
