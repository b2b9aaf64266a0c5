package account

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"
)

// A Caller is who wants a password hashed. It travels in the context of a
// request. The zero Caller is a stranger whom nothing is known of.
type Caller struct {
	// Known callers have logged in before, and have their turn before
	// strangers.
	Known bool
	// From is what a caller shares with others who may be the same: an address.
	// Each gets the same part of the turns.
	From string
	// Account is what a known caller shares with its other browsers, wherever
	// they are. Each has few places in the queue.
	Account string
}

// places is whose places in the queue are bounded: an account's, or a
// stranger's address's. Known callers who share an address are customers, and
// many of them may.
func (c Caller) places() string {
	if c.Known {
		return c.Account
	}
	return c.From
}

type callerKey struct{}

// WithCaller says for whom passwords are hashed.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

func callerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// BusyError says that there is no turn for a password soon enough. It is
// [ErrBusy].
type BusyError struct {
	// Wait is when there may be one.
	Wait time.Duration
}

func (e *BusyError) Error() string { return ErrBusy.Error() }

// Is makes it [ErrBusy].
func (*BusyError) Is(target error) bool { return target == ErrBusy }

const (
	defaultShare = 25 // percent
	defaultQueue = 64
	// perCaller bounds the places in the queue of an account, and of the
	// strangers who share an address.
	perCaller = 8
	// knownTurns is how many known callers have their turn before a stranger
	// has one, while both wait: a crowd of customers must not shut new ones
	// out.
	knownTurns = 3
)

// budget gives out turns to hash, so that hashing takes no more than its share
// of this process's processors: after each hash its lane rests until the hash's
// time is the share of the time since it began. There are as many lanes as
// processors fit into the share, one at least.
//
// In any stretch of time T the processors spend at most share x T on hashes,
// and one hash for each lane. A hash on a machine with too much to do takes
// longer by the clock than of a processor; it counts as at most slack times the
// quickest one so far, or logins would be the slower the busier the shop is.
//
// The worst case, in time: a crowd of logins gets turns at the share's rate,
// one each 80 ms for a hash of 20 ms, one processor and 25 %. Who would wait
// longer than its context has is told at once when to come back.
//
// The worst case, in places: where the queue is full, the newcomer takes the
// last place of the address with the most, if that keeps no fewer than the
// newcomer's has then. Whoever loses a place is told at once when to come back,
// and could have been refused a moment before as well; nobody waits longer for
// it, and no more wait. So one address, with any number of browsers and
// accounts, and one account, from any number of addresses, refuse nobody else.
type budget struct {
	mu      sync.Mutex
	lanes   int
	procs   int
	share   int // percent
	queue   int
	busy    int // lanes at work or at rest
	known   line
	unknown line
	row     int           // turns of known callers since a stranger's
	fastest time.Duration // for a unit of work
	last    time.Duration // from turn to turn of a lane, lately
	stats   HashStats
}

// slack is how much longer than the quickest a hash may count as, in percent.
const slack = 125

// HashStats are what hashing has come to.
type HashStats struct {
	Hashes  int64
	Seconds float64 // of this process's processors, about
	Refused int64   // for want of a turn
	Waiting int
}

// waiter is a hash that waits for its turn.
type waiter struct {
	from   string
	places string
	turn   chan error // what becomes of it: nil, its turn has come; or why it never will
}

// line is a queue in which callers take turns.
type line struct {
	callers []string // who wait, the next one first
	waiting map[string][]*waiter
	places  map[string]int // taken, of those whose places are bounded
	n       int
}

func newBudget(cfg Config) *budget {
	b := &budget{procs: cmp.Or(cfg.Procs, runtime.GOMAXPROCS(0)), queue: cmp.Or(cfg.Queue, defaultQueue)}
	b.setShare(cmp.Or(cfg.Share, defaultShare))
	return b
}

func (b *budget) setShare(percent int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.share = percent
	b.lanes = max(1, b.procs*percent/100)
	for b.busy < b.lanes && b.known.n+b.unknown.n > 0 {
		b.busy++
		b.nextTurn()
	}
}

// run calls work when its turn comes. The work is so many units, by which the
// time that it takes is compared with others'.
func (b *budget) run(ctx context.Context, units int, work func()) error {
	caller := callerOf(ctx)
	w, err := b.enter(ctx, caller)
	if err != nil {
		return err
	}
	select {
	case err := <-w.turn:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		b.leave(caller, w)
		return fmt.Errorf("%w: %w", ErrBusy, context.Cause(ctx))
	}
	began := time.Now()
	defer func() { b.done(time.Since(began), max(units, 1)) }()
	work()
	return nil
}

// enter takes a free lane or a place in the queue.
func (b *budget) enter(ctx context.Context, caller Caller) (*waiter, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := &waiter{caller.From, caller.places(), make(chan error, 1)}
	if b.busy < b.lanes {
		b.busy++
		w.turn <- nil
		return w, nil
	}
	line := b.line(caller)
	wait := b.wait(caller)
	refuse := func() (*waiter, error) {
		b.stats.Refused++
		return nil, &BusyError{wait}
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait {
		return refuse()
	}
	if w.places != "" && line.places[w.places] >= perCaller {
		return refuse()
	}
	if line.n >= b.queue {
		displaced := line.longest(caller.From)
		if displaced == nil {
			return refuse()
		}
		line.remove(displaced)
		b.stats.Refused++
		displaced.turn <- &BusyError{wait}
	}
	line.add(w)
	return w, nil
}

// line is where a caller waits.
func (b *budget) line(caller Caller) *line {
	if caller.Known {
		return &b.known
	}
	return &b.unknown
}

// wait is about how long one more of a caller would wait for its turn.
func (b *budget) wait(caller Caller) time.Duration {
	turns := b.line(caller).ahead(caller.From) + 1 // of its line, with its own
	others := min(b.known.n, turns*knownTurns)
	if caller.Known {
		others = min(b.unknown.n, turns/knownTurns)
	}
	return b.last * time.Duration(turns+others) / time.Duration(b.lanes)
}

// leave gives up waiting.
func (b *budget) leave(caller Caller, w *waiter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.line(caller).remove(w) {
		b.stats.Refused++
		return
	}
	if err := <-w.turn; err == nil { // the turn has come in this moment, and is another's
		b.stats.Refused++
		b.free()
	}
}

// done lets the lane rest.
func (b *budget) done(took time.Duration, units int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if each := took / time.Duration(units); b.fastest == 0 || each < b.fastest {
		b.fastest = each
	}
	counts := min(took, b.fastest*time.Duration(units)*slack/100+time.Microsecond*time.Duration(units))
	b.stats.Hashes++
	b.stats.Seconds += counts.Seconds()
	b.last = max(took, counts*time.Duration(b.lanes*100)/time.Duration(b.procs*b.share))
	if rest := b.last - took; rest > 0 {
		time.AfterFunc(rest, b.release)
		return
	}
	b.free()
}

// release ends the rest of a lane.
func (b *budget) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free()
}

// free gives a lane to who is next.
func (b *budget) free() {
	if b.busy > b.lanes || b.known.n+b.unknown.n == 0 {
		b.busy--
		return
	}
	b.nextTurn()
}

// nextTurn gives a turn to one of those who wait. There is one.
func (b *budget) nextTurn() {
	if b.known.n > 0 && (b.row < knownTurns || b.unknown.n == 0) {
		b.row++
		b.known.next().turn <- nil
		return
	}
	b.row = 0
	b.unknown.next().turn <- nil
}

func (b *budget) snapshot() HashStats {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.stats
	s.Waiting = b.known.n + b.unknown.n
	return s
}

func (l *line) add(w *waiter) {
	if l.waiting == nil {
		l.waiting, l.places = map[string][]*waiter{}, map[string]int{}
	}
	if len(l.waiting[w.from]) == 0 {
		l.callers = append(l.callers, w.from)
	}
	l.waiting[w.from] = append(l.waiting[w.from], w)
	l.places[w.places]++
	l.n++
}

// gone counts a waiter out.
func (l *line) gone(w *waiter) {
	l.n--
	if l.places[w.places]--; l.places[w.places] == 0 {
		delete(l.places, w.places)
	}
}

// longest is the last waiter of the caller with the most places, or nil if that
// would be left with fewer than a newcomer's caller has then.
func (l *line) longest(newcomer string) *waiter {
	most := slices.MaxFunc(l.callers, func(a, b string) int { return cmp.Compare(len(l.waiting[a]), len(l.waiting[b])) })
	waiting := l.waiting[most]
	if len(waiting)-1 < len(l.waiting[newcomer])+1 {
		return nil
	}
	return waiting[len(waiting)-1]
}

// ahead is how many have their turn before one more of a caller.
func (l *line) ahead(from string) (n int) {
	own := len(l.waiting[from])
	for _, waiting := range l.waiting {
		n += min(len(waiting), own+1)
	}
	return n
}

// next takes the first one of the caller whose turn it is.
func (l *line) next() *waiter {
	from := l.callers[0]
	l.callers = l.callers[1:]
	w := l.waiting[from][0]
	l.waiting[from] = l.waiting[from][1:]
	l.gone(w)
	if len(l.waiting[from]) > 0 {
		l.callers = append(l.callers, from)
	} else {
		delete(l.waiting, from)
	}
	return w
}

func (l *line) remove(w *waiter) bool {
	i := slices.Index(l.waiting[w.from], w)
	if i < 0 {
		return false
	}
	l.waiting[w.from] = slices.Delete(l.waiting[w.from], i, i+1)
	l.gone(w)
	if len(l.waiting[w.from]) == 0 {
		delete(l.waiting, w.from)
		l.callers = slices.DeleteFunc(l.callers, func(c string) bool { return c == w.from })
	}
	return true
}

// errShare is what is wrong with a share.
var errShare = errors.New("has to be 1 to 100 percent")

// CheckShare refuses a share of the processors that can't be one.
func CheckShare(percent int) error {
	if percent < 1 || percent > 100 {
		return errShare
	}
	return nil
}
