package app

import (
	"sync"
	"time"
)

// logThrottle keeps what happens to thousands at once from being said thousands of times. It lets a few lines of a kind
// through each second; the next one after that says how many were not written. The zero value is ready to use, and safe
// for concurrent use.
type logThrottle struct {
	mu    sync.Mutex
	kinds map[string]*logKind
}

type logKind struct {
	second  time.Time // when the present second began
	lines   int       // written in it
	missing int       // not written since the last one that was
}

// logsPerSecond is how many lines of a kind are written in a second.
const logsPerSecond = 5

// allow reports whether a line may be written now, and how many of its kind were not, before it.
func (t *logThrottle) allow(kind string, now time.Time) (missing int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.kinds[kind]
	if k == nil {
		k = new(logKind)
		if t.kinds == nil {
			t.kinds = map[string]*logKind{}
		}
		t.kinds[kind] = k
	}
	if now.Sub(k.second) >= time.Second {
		k.second, k.lines = now, 0
	}
	if k.lines >= logsPerSecond {
		k.missing++
		return 0, false
	}
	missing, k.missing = k.missing, 0
	k.lines++
	return missing, true
}
