package limit

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// rememberedRefusals bounds the keys that are remembered as refused.
	rememberedRefusals = 4096
	// refusalMemory is how long a refusal is good for without asking again:
	// units may be given back, and quotas may be raised.
	refusalMemory = time.Second
)

// refusals remembers which keys were refused a moment ago, so that a flood
// costs Redis nothing. It is safe for concurrent use.
type refusals struct {
	some atomic.Bool // there is something to look for
	mu   sync.Mutex
	keys *simplelru.LRU[string, refused]
}

type refused struct {
	need      int64     // that was refused
	quota     Quota     // that it was judged by
	free      time.Time // when it would not be any more
	until     time.Time // when to ask again
	remaining int64
}

func newRefusals() *refusals {
	keys, err := simplelru.NewLRU[string, refused](rememberedRefusals, nil)
	if err != nil { // for a size below 1
		panic(err)
	}
	return &refusals{keys: keys}
}

// refusal returns a verdict that is known without asking.
func (r *refusals) refusal(charges []Charge, now time.Time) (v Verdict, known bool) {
	if !r.some.Load() {
		return Verdict{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, c := range charges {
		k, ok := r.keys.Get(c.Key)
		switch {
		case !ok || c.Need < k.need || c.Quota != k.quota || c.Quota.Unlimited(): // less may be there, and need 0 is never refused
		case !now.Before(k.until):
			r.keys.Remove(c.Key)
			r.some.Store(r.keys.Len() > 0)
		case !known || k.free.Sub(now) > v.Wait:
			v, known = Verdict{Charge: i, Wait: k.free.Sub(now), Remaining: k.remaining}, true
		}
	}
	return v, known
}

// note remembers a refusal.
func (r *refusals) note(charges []Charge, v Verdict, now time.Time) {
	if v.Allowed || v.Charge < 0 {
		return
	}
	c, free := charges[v.Charge], now.Add(v.Wait)
	until := free
	if latest := now.Add(refusalMemory); until.After(latest) {
		until = latest
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys.Add(c.Key, refused{c.Need, c.Quota, free, until, v.Remaining})
	r.some.Store(true)
}

// forget makes Redis be asked about keys again.
func (r *refusals) forget(charges []Charge) {
	if !r.some.Load() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range charges {
		r.keys.Remove(c.Key)
	}
	r.some.Store(r.keys.Len() > 0)
}
