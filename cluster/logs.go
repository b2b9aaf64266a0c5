//go:build unix

package cluster

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bounds of what is kept of the workers' output, for [Client.Logs].
const (
	logRoom      = 64 << 10  // bytes of the lines of a slot
	logLineCost  = 64        // bytes that a line takes besides its text
	followerRoom = 256 << 10 // bytes of the lines that wait for one who follows
	maxFollowers = 32
)

// logbook keeps the last lines that workers have written, by slot, so that the last
// words of one that crashed are there when the next one has its slot. Those who
// follow get what comes. Nobody who writes ever waits for them: what a follower has
// no room for is dropped, and counted.
type logbook struct {
	mu        sync.Mutex
	slots     map[int]*logRing
	followers map[*follower]struct{}
	newest    int64 // number of the last line
}

type logRing struct {
	lines []numberedLine // the oldest first
	size  int            // in bytes
}

type numberedLine struct {
	LogLine
	number int64
}

func (l *LogLine) size() int { return len(l.Text) + logLineCost }

// follower is somebody who reads lines as they come.
type follower struct {
	slot    int           // 0: all
	wake    chan struct{} // holds a token when something waits
	waiting []LogLine
	size    int // in bytes
	missed  int // lines that came after those
}

// begin makes a slot known.
func (b *logbook) begin(slot int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ring(slot)
}

func (b *logbook) ring(slot int) *logRing {
	if b.slots == nil {
		b.slots, b.followers = map[int]*logRing{}, map[*follower]struct{}{}
	}
	r := b.slots[slot]
	if r == nil {
		r = new(logRing)
		b.slots[slot] = r
	}
	return r
}

// add takes whole lines of a worker.
func (b *logbook) add(slot, pid int, lines []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now, r := time.Now(), b.ring(slot)
	for text := range strings.Lines(string(lines)) {
		line := LogLine{Time: now, Slot: slot, PID: pid, Text: strings.ToValidUTF8(strings.TrimSuffix(text, "\n"), "?")}
		b.newest++
		r.add(numberedLine{line, b.newest})
		for f := range b.followers {
			f.add(line)
		}
	}
}

func (r *logRing) add(line numberedLine) {
	r.lines = append(r.lines, line)
	r.size += line.size()
	for r.size > logRoom {
		r.size -= r.lines[0].size()
		r.lines[0] = numberedLine{} // or its text would stay until the slice is made anew
		r.lines = r.lines[1:]
	}
}

func (f *follower) add(line LogLine) {
	switch {
	case f.slot != 0 && f.slot != line.Slot:
		return
	case f.missed > 0 || f.size+line.size() > followerRoom:
		f.missed++
	default:
		f.waiting = append(f.waiting, line)
		f.size += line.size()
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// open returns the lines that are asked for, and who gets those that follow without
// a gap; nil if nobody does. The error says what can't be had.
func (b *logbook) open(o LogOptions) (lines []LogLine, f *follower, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if o.Slot != 0 && b.slots[o.Slot] == nil {
		return nil, nil, fmt.Errorf("no worker has been started in slot %d", o.Slot)
	}
	if o.Follow && len(b.followers) >= maxFollowers {
		return nil, nil, fmt.Errorf("%d follow the log already: end one of them", maxFollowers)
	}
	var found []numberedLine
	for slot, r := range b.slots {
		if o.Last >= 0 && (o.Slot == 0 || o.Slot == slot) {
			found = append(found, r.lines...)
		}
	}
	slices.SortFunc(found, func(a, b numberedLine) int { return cmp.Compare(a.number, b.number) })
	if o.Last > 0 {
		found = found[max(0, len(found)-o.Last):]
	}
	for _, l := range found {
		lines = append(lines, l.LogLine)
	}
	if o.Follow {
		f = &follower{slot: o.Slot, wake: make(chan struct{}, 1)}
		b.followers[f] = struct{}{}
	}
	return lines, f, nil
}

// take returns what waits for a follower. What it has missed came after that.
func (b *logbook) take(f *follower) []LogLine {
	b.mu.Lock()
	defer b.mu.Unlock()
	lines := f.waiting
	if f.missed > 0 {
		lines = append(lines, LogLine{Time: time.Now(), Missed: f.missed})
	}
	f.waiting, f.size, f.missed = nil, 0, 0
	return lines
}

func (b *logbook) leave(f *follower) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.followers, f)
}

// handleLogs does without the master's goroutine: the log can be read while that
// hangs.
func (m *Master) handleLogs(w http.ResponseWriter, r *http.Request) {
	options, err := logOptions(r.URL.Query())
	if err != nil {
		writeOutcome(w, http.StatusBadRequest, outcome{Reason: err.Error()})
		return
	}
	if err := m.running(); err != nil {
		writeFailure(w, err)
		return
	}
	lines, f, err := m.logs.open(options)
	if err != nil {
		writeFailure(w, err)
		return
	}
	w.Header().Set("Content-Type", ndjson)
	w.Header().Set("Cache-Control", "no-store")
	out := bufio.NewWriter(w)
	write := func(lines []LogLine) error {
		for _, line := range lines {
			if err := json.NewEncoder(out).Encode(line); err != nil {
				return err
			}
		}
		if err := out.Flush(); err != nil {
			return err
		}
		return http.NewResponseController(w).Flush()
	}
	err = write(lines)
	if f == nil {
		return
	}
	defer m.logs.leave(f)
	for err == nil {
		select {
		case <-f.wake:
			err = write(m.logs.take(f))
		case <-r.Context().Done():
			return
		case <-m.ended:
			write(m.logs.take(f)) //nolint:errcheck // the client is gone, or has it
			return
		}
	}
}

func logOptions(q url.Values) (o LogOptions, err error) {
	number := func(name string) int {
		if err != nil || !q.Has(name) {
			return 0
		}
		n, wrong := strconv.Atoi(q.Get(name))
		if wrong != nil || n < 0 {
			err = fmt.Errorf("%s is %q: it is a number", name, q.Get(name))
		}
		return n
	}
	o.Slot, o.Last = number("slot"), number("n")
	if q.Has("n") && o.Last == 0 {
		o.Last = -1
	}
	if q.Has("follow") && err == nil {
		if o.Follow, err = strconv.ParseBool(q.Get("follow")); err != nil {
			err = fmt.Errorf("follow is %q: it is true or false", q.Get("follow"))
		}
	}
	return o, err
}
