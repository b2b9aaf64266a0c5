package limit

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Quota is how many units there are in a window of time. The zero Quota is no
// limit.
type Quota struct {
	Units  int64         // at once, and again in each window
	Window time.Duration // in which they come back
}

// The bounds of a quota. Times are counted in microseconds, and Lua has
// floating point numbers of 53 bits.
const (
	maxUnits  = 1_000_000
	minWindow = time.Second
	maxWindow = 31 * 24 * time.Hour
)

// ParseQuota reads UNITS/WINDOW, such as 30/1m, or "off", which is no limit.
func ParseQuota(text string) (Quota, error) {
	if text == "off" {
		return Quota{}, nil
	}
	fail := func() (Quota, error) {
		return Quota{}, fmt.Errorf("%q is no quota: write units/window, such as 30/1m, with 1 to %d units and %v to %v, or off",
			text, maxUnits, minWindow, maxWindow)
	}
	before, after, ok := strings.Cut(text, "/")
	units, err := strconv.ParseInt(before, 10, 64)
	window, windowErr := time.ParseDuration(after)
	if !ok || errors.Join(err, windowErr) != nil || units < 1 || units > maxUnits || window < minWindow || window > maxWindow {
		return fail()
	}
	return Quota{units, window}, nil
}

// String is what [ParseQuota] reads.
func (q Quota) String() string {
	if q.Unlimited() {
		return "off"
	}
	window := q.Window.String()
	if strings.HasSuffix(window, "m0s") {
		window = strings.TrimSuffix(window, "0s")
	}
	if strings.HasSuffix(window, "h0m") {
		window = strings.TrimSuffix(window, "0m")
	}
	return strconv.FormatInt(q.Units, 10) + "/" + window
}

// Unlimited reports whether there is no limit.
func (q Quota) Unlimited() bool { return q.Units == 0 }

// share is what one of so many workers may let through by itself: its part, and
// no fewer units than the floor where the quota has so many.
func (q Quota) share(workers, floor int64) Quota {
	if q.Unlimited() || workers <= 1 {
		return q
	}
	part := (q.Units + workers - 1) / workers
	return Quota{max(part, min(floor, q.Units)), q.Window}
}

// interval is the time in which one unit comes back, in microseconds.
func (q Quota) interval() int64 { return q.Window.Microseconds() / q.Units }

// A Charge is what a decision costs a key.
type Charge struct {
	Key   string // unique for the quota and its subject
	Quota Quota
	// Need is how many units there must be; 0 never refuses.
	Need int64
	// Cost is how many units it takes, or gives back if it is negative.
	Cost int64
	// Floor is how many units of the quota each worker lets through at least
	// while it decides by itself. 0: its part of the quota alone.
	Floor int64
}

// share is the charge as one of so many workers makes it by itself.
func (c Charge) share(workers int64) Charge {
	c.Quota = c.Quota.share(workers, c.Floor)
	c.Need, c.Cost = min(c.Need, c.Quota.Units), max(-c.Quota.Units, min(c.Cost, c.Quota.Units))
	return c
}

// Take needs units and takes them. More than there can ever be count as all of
// them, so that no quota is too low for anybody to pass.
func Take(key string, q Quota, units int64) Charge {
	units = min(units, q.Units)
	return Charge{Key: key, Quota: q, Need: units, Cost: units}
}

// Look needs a unit and takes none.
func Look(key string, q Quota) Charge { return Charge{Key: key, Quota: q, Need: min(1, q.Units)} }

// Book takes units without asking whether there are any. The key's debt is
// bounded by one window.
func Book(key string, q Quota, units int64) Charge {
	return Charge{Key: key, Quota: q, Cost: min(units, q.Units)}
}

// GiveBack returns units that were taken.
func GiveBack(key string, q Quota, units int64) Charge {
	return Charge{Key: key, Quota: q, Cost: -min(units, q.Units)}
}

// A Verdict is what has become of a decision.
type Verdict struct {
	// Allowed is whether all charges were made. Otherwise none was.
	Allowed bool
	// Charge is the index of the charge that decided: the one that has to wait
	// longest, or that has the fewest units left. -1: there was none.
	Charge int
	// Wait is when Charge could be made. 0 if it was.
	Wait time.Duration
	// Remaining is how many units Charge has left.
	Remaining int64
}
