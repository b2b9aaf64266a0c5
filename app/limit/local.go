package limit

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// localKeys bounds the keys that a worker remembers by itself.
const localKeys = 1 << 16

// local decides as gcra.lua does, from the memory of this process. It is safe
// for concurrent use.
type local struct {
	mu   sync.Mutex
	tats *simplelru.LRU[string, int64] // microseconds
}

func newLocal() *local {
	tats, err := simplelru.NewLRU[string, int64](localKeys, nil)
	if err != nil { // for a size below 1
		panic(err)
	}
	return &local{tats: tats}
}

// decide makes all charges or none, at a time in microseconds.
func (l *local) decide(charges []Charge, now int64) Verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := Verdict{Charge: -1}
	var wait int64
	for i, c := range charges {
		interval, tolerance, tat := c.Quota.interval(), c.Quota.tolerance(), l.tat(c.Key, now)
		if c.Need <= 0 {
			continue
		}
		missing := tat + c.Need*interval - now - tolerance
		left := max(0, (now+tolerance-tat)/interval)
		switch {
		case missing > wait:
			wait, v.Charge, v.Remaining = missing, i, left
		case wait == 0 && (v.Charge < 0 || left-c.Cost < v.Remaining):
			v.Charge, v.Remaining = i, left-c.Cost
		}
	}
	if wait > 0 {
		v.Wait = time.Duration(wait) * time.Microsecond
		return v
	}
	v.Allowed = true
	for _, c := range charges {
		if c.Cost == 0 {
			continue
		}
		before := l.tat(c.Key, now)
		tat := min(before+c.Cost*c.Quota.interval(), max(before, now+2*c.Quota.tolerance()))
		if tat > now {
			l.tats.Add(c.Key, tat)
		} else {
			l.tats.Remove(c.Key)
		}
	}
	return v
}

func (l *local) tat(key string, now int64) int64 {
	tat, _ := l.tats.Get(key)
	return max(tat, now)
}

// tolerance is the time in which all units come back, in microseconds.
func (q Quota) tolerance() int64 { return q.interval() * q.Units }
