package main

import (
	"errors"
	"log/slog"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// gcPercent is the garbage collector's target when GOGC says nothing. A worker that serves a few hot products has a live
// heap of about 10 MB and makes 100 MB of garbage a second at full load, so that at Go's 100 it collects many times a
// second: 400 buys 13 % more product reads for 14 MB more memory (six alternating runs of wrk).
const gcPercent = 400

// Go's soft memory limit, where GOMEMLIMIT says nothing, keeps the generous gcPercent from costing more than that: a worker
// whose caches are warm collects as often as it takes to stay below softLimit.
//
// A crowd may need more than that just to wait: 15,000 requests with their connections are 400 MB. A collector that has no
// room left runs all the time and takes half of the CPU (the herd of make bench-checkout took 11.7 s then, and 6.8 s
// without the limit). So the limit leaves crowdRoom beyond what lives, in steps, up to memoryShare of the container; and
// crowdPause after it rose the memory of those who have left is given back.
const (
	softLimit   = 384 << 20 // bytes
	crowdRoom   = 128 << 20 // bytes
	crowdStep   = 32 << 20  // bytes
	crowdPause  = 10 * time.Second
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
	most := int64(math.MaxInt64)
	switch cgroup, err := memlimit.FromCgroup(); {
	case err == nil:
		most = int64(float64(cgroup) * memoryShare)
	case !errors.Is(err, memlimit.ErrNoLimit) && !errors.Is(err, memlimit.ErrNoCgroup):
		log.Debug("the cgroup does not say how much memory there is", "error", err)
	}
	limit := memoryLimit(0, most)
	debug.SetMemoryLimit(limit)
	log.Debug("memory limit", "bytes", limit)
	// An idle worker does not collect, and would not notice that they have left.
	look := time.AfterFunc(math.MaxInt64, debug.FreeOSMemory)
	afterEachCollection(func() {
		before := limit
		if limit = memoryLimit(living(), most); limit == before {
			return
		}
		debug.SetMemoryLimit(limit)
		if limit > before {
			look.Reset(crowdPause)
		}
	})
}

// memoryLimit is the soft limit of a worker in which so much lives. All in bytes.
func memoryLimit(living, most int64) int64 {
	stepped := (living + crowdRoom + crowdStep - 1) / crowdStep * crowdStep
	return min(max(softLimit, stepped), most)
}

// living returns what was in use after the last collection, in bytes: stacks and the runtime's own memory included.
func living() int64 {
	samples := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
	}
	metrics.Read(samples)
	n := func(i int) int64 { return int64(samples[i].Value.Uint64()) }
	return n(0) + n(1) - n(2) - n(3) - n(4) - n(5)
}

// afterEachCollection has do called whenever a garbage collection has ended, one call at a time: the collector's word for
// it is that it found an object which nobody refers to.
func afterEachCollection(do func()) {
	sentinel := new([4]*byte) // not a tiny object: those share a block, and live as long as their neighbours
	runtime.AddCleanup(sentinel, func(do func()) {
		do()
		afterEachCollection(do)
	}, do)
}
