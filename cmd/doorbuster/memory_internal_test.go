package main

import (
	"log/slog"
	"math"
	"runtime"
	"runtime/debug"
	"testing"
)

func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	const mb = 1 << 20
	for _, c := range []struct{ living, most, want int64 }{
		{0, math.MaxInt64, softLimit},
		{softLimit - crowdRoom, math.MaxInt64, softLimit},
		{384 * mb, math.MaxInt64, 384*mb + crowdRoom},
		{385 * mb, math.MaxInt64, 384*mb + crowdRoom + crowdStep}, // a little more or less is no change
		{415 * mb, math.MaxInt64, 384*mb + crowdRoom + crowdStep},
		{400 * mb, 450 * mb, 450 * mb}, // the container's
		{10 * mb, 100 * mb, 100 * mb},
	} {
		if got := memoryLimit(c.living, c.most); got != c.want {
			t.Errorf("%d MB live, %d MB at the most: got %d MB, want %d", c.living/mb, c.most/mb, got/mb, c.want/mb)
		}
	}
}

// The limit follows what lives, up and down again. It is the process's, so nothing runs beside this test.
func TestMemoryLimitFollows(t *testing.T) { //nolint:paralleltest // see above
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	was := debug.SetMemoryLimit(-1)
	percent := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(percent); debug.SetMemoryLimit(was) })
	tuneMemory(slog.New(slog.DiscardHandler))
	until := func(reached func(limit int64) bool) {
		t.Helper()
		for !reached(debug.SetMemoryLimit(-1)) { // collections tell after their end, on another goroutine
			runtime.GC()
		}
	}
	until(func(limit int64) bool { return limit == softLimit })
	crowd := make([]byte, softLimit)
	until(func(limit int64) bool { return limit >= softLimit+crowdRoom })
	runtime.KeepAlive(crowd)
	until(func(limit int64) bool { return limit == softLimit })
}
