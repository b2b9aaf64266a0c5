package limit

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed gcra.lua
var gcra string

var script = redis.NewScript(gcra)

const (
	// defaultTimeout is what a decision may wait for Redis. A round trip takes
	// a tenth of a millisecond; a worker that is short of processor time may
	// lose some milliseconds.
	defaultTimeout = 25 * time.Millisecond
	// probeInterval is how often a Redis that was away is tried.
	probeInterval = 250 * time.Millisecond
	// sayInterval bounds how often the log says that Redis is away.
	sayInterval = time.Minute
	// mostTogether bounds the decisions of one call, so that the script, which
	// keeps all other clients of Redis waiting, takes well under a millisecond.
	mostTogether = 128
)

// Config is how a [Limiter] works. Log is required.
type Config struct {
	Workers int           // that share a quota while Redis is away; default 1
	Timeout time.Duration // how long a decision may wait for Redis; default 25 ms
	Log     *slog.Logger
}

// A Limiter decides. It is safe for concurrent use. Make it with [New], and end
// it with [Limiter.Close].
type Limiter struct {
	client *redis.Client
	cfg    Config
	local  *local
	memory *refusals
	now    func() int64 // for the script, in µs; 0: the clock of Redis
	slack  int64        // for the script, in ms

	mu      sync.Mutex
	waiting []*question
	flying  bool

	away       atomic.Bool
	lastSaid   atomic.Int64 // when the log said so, Unix seconds
	locally    atomic.Int64
	trips      atomic.Int64
	background sync.WaitGroup
	stop       context.CancelFunc
	stopped    context.Context //nolint:containedctx // it bounds calls, which are nobody's in particular
}

// question is a decision that Redis has to take.
type question struct {
	charges []Charge
	answer  chan Verdict // closed without one: Redis is away
}

// New returns a Limiter on a client that it does not close. The client should
// be its own, without retries: others' commands would keep its decisions
// waiting.
func New(client *redis.Client, cfg Config) *Limiter {
	cfg.Workers = max(cfg.Workers, 1)
	cfg.Timeout = cmp.Or(cfg.Timeout, defaultTimeout)
	stopped, stop := context.WithCancel(context.Background())
	return &Limiter{
		client: client, cfg: cfg, local: newLocal(), memory: newRefusals(), now: func() int64 { return 0 }, stopped: stopped, stop: stop,
	}
}

// Close ends the background work. Decisions after it are taken without Redis.
func (l *Limiter) Close() {
	l.mu.Lock()
	l.stop() // lost begins no probe from here on
	l.mu.Unlock()
	l.background.Wait()
}

// Decide makes all charges or none. Charges of unlimited quotas are left out.
// No key may be there twice.
func (l *Limiter) Decide(charges ...Charge) Verdict {
	limited, indices := withoutUnlimited(charges)
	if len(limited) == 0 {
		return Verdict{Allowed: true, Charge: -1}
	}
	v, known := l.memory.refusal(limited, time.Now())
	if !known {
		v = l.decide(limited)
	}
	if slices.ContainsFunc(limited, func(c Charge) bool { return c.Cost < 0 }) {
		l.memory.forget(limited)
	}
	if indices != nil && v.Charge >= 0 {
		v.Charge = indices[v.Charge]
	}
	return v
}

// Known returns the refusal of charges that is remembered from a moment ago, if
// there is one. It asks nobody and charges nothing.
func (l *Limiter) Known(charges ...Charge) (v Verdict, known bool) {
	return l.memory.refusal(charges, time.Now())
}

// Refuses reports whether anybody was refused a moment ago: without that there
// is no need to find out who asks, for [Limiter.Known].
func (l *Limiter) Refuses() bool { return l.memory.some.Load() }

func (l *Limiter) decide(charges []Charge) Verdict {
	if !l.away.Load() {
		if v, ok := l.ask(charges); ok {
			l.memory.note(charges, v, time.Now())
			return v
		}
	}
	l.locally.Add(1)
	shares := make([]Charge, len(charges))
	for i, c := range charges {
		shares[i] = c.share(int64(l.cfg.Workers))
	}
	return l.local.decide(shares, time.Now().UnixMicro())
}

// withoutUnlimited returns the charges of quotas that limit, and where they
// were; no places if all of them do.
func withoutUnlimited(charges []Charge) (limited []Charge, places []int) {
	unlimited := func(c Charge) bool { return c.Quota.Unlimited() }
	if !slices.ContainsFunc(charges, unlimited) {
		return charges, nil
	}
	for i, c := range charges {
		if !unlimited(c) {
			limited, places = append(limited, c), append(places, i)
		}
	}
	return limited, places
}

// ask has Redis decide. It is not ok if Redis does not answer in time.
func (l *Limiter) ask(charges []Charge) (v Verdict, ok bool) {
	q := &question{charges, make(chan Verdict, 1)}
	l.mu.Lock()
	l.waiting = append(l.waiting, q)
	leads := !l.flying
	l.flying = true
	l.mu.Unlock()
	if leads {
		l.fly()
	}
	select {
	case v, ok = <-q.answer:
		return v, ok
	default:
	}
	patience := time.NewTimer(l.cfg.Timeout)
	defer patience.Stop()
	select {
	case v, ok = <-q.answer:
	case <-patience.C:
	}
	return v, ok
}

// fly takes what waits to Redis. What has come meanwhile flies after it, and
// its askers do not keep this one.
func (l *Limiter) fly() {
	l.mu.Lock()
	batch := l.waiting[:min(len(l.waiting), mostTogether)]
	l.waiting = l.waiting[len(batch):]
	l.mu.Unlock()

	verdicts, err := []Verdict(nil), errAway
	if !l.away.Load() {
		verdicts, err = l.call(batch)
	}
	for i, q := range batch {
		if err == nil {
			q.answer <- verdicts[i]
		}
		close(q.answer)
	}
	if err != nil && !errors.Is(err, errAway) {
		l.lost(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.flying = len(l.waiting) > 0; l.flying {
		go l.fly()
	}
}

var errAway = errors.New("redis is away")

// call runs the script.
func (l *Limiter) call(batch []*question) ([]Verdict, error) {
	ctx, cancel := context.WithTimeout(l.stopped, l.cfg.Timeout) // of nobody's request: others wait for it, too
	defer cancel()
	l.trips.Add(1)
	keys, args := make([]string, 0, 2*len(batch)), make([]any, 0, 2+9*len(batch))
	args = append(args, l.now(), l.slack)
	for _, q := range batch {
		args = append(args, len(q.charges))
		for _, c := range q.charges {
			keys = append(keys, c.Key)
			args = append(args, c.Quota.interval(), c.Quota.tolerance(), c.Need, c.Cost)
		}
	}
	reply, err := script.Run(ctx, l.client, keys, args...).Int64Slice()
	const each = 4
	if err == nil && len(reply) != each*len(batch) {
		err = fmt.Errorf("the limit script returned %d numbers for %d decisions", len(reply), len(batch))
	}
	if err != nil {
		return nil, err
	}
	verdicts := make([]Verdict, len(batch))
	for i := range verdicts {
		r := reply[each*i:]
		verdicts[i] = Verdict{r[0] == 1, int(r[1]), time.Duration(r[2]) * time.Microsecond, r[3]}
	}
	return verdicts, nil
}

// lost makes this process decide by itself until Redis is back.
func (l *Limiter) lost(err error) {
	if !l.away.CompareAndSwap(false, true) {
		return
	}
	if now, last := time.Now().Unix(), l.lastSaid.Load(); now-last >= int64(sayInterval.Seconds()) && l.lastSaid.CompareAndSwap(last, now) {
		l.cfg.Log.Warn("limits are counted by each worker alone: Redis does not answer in time", "error", err,
			"timeout", l.cfg.Timeout.String(), "workers", l.cfg.Workers)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped.Err() == nil {
		l.background.Go(l.probe)
	}
}

// probe tries Redis until a write comes back in time.
func (l *Limiter) probe() {
	again := time.NewTicker(probeInterval)
	defer again.Stop()
	for {
		select {
		case <-again.C:
		case <-l.stopped.Done():
			return
		}
		probe := &question{charges: []Charge{Book(keyPrefix+"probe", Quota{1, time.Second}, 1)}}
		if _, err := l.call([]*question{probe}); err == nil {
			l.away.Store(false)
			return
		}
	}
}

// keyPrefix begins all keys in Redis.
const keyPrefix = "limit:"

// Key is the key of a subject for a quota: of an address for log-ins, say.
func Key(quota, subject string) string { return keyPrefix + quota + ":" + subject }

// Stats are what a Limiter has to say of itself.
type Stats struct {
	Local   bool  // Redis is away: decisions are taken by this process alone
	Locally int64 // decisions that were
	Trips   int64 // calls of Redis
}

// Stats returns the numbers of now.
func (l *Limiter) Stats() Stats { return Stats{l.away.Load(), l.locally.Load(), l.trips.Load()} }
