package inventory

import (
	"sync"
	"sync/atomic"
	"time"
)

// HintTTL is how long [Hints] believe that a SKU is gone without looking again.
const HintTTL = time.Second

// Hints remember which SKUs had no unit left a moment ago, so that a crowd that comes too late is refused from memory. They
// are forgotten after [HintTTL], and nobody is ever given a unit because of them. The zero value is ready to use, and safe
// for concurrent use.
type Hints struct {
	last atomic.Pointer[time.Time] // when the last of them ends: mostly long ago, and then nobody takes the lock
	tell func(gone, back []int64)

	mu   sync.Mutex
	ends map[int64]time.Time // by SKU
}

// OnNews sets what is told of SKUs that are gone, or back, as far as transactions of this process have found it out. Call it
// before the first [Hints.Found].
func (h *Hints) OnNews(tell func(gone, back []int64)) { h.tell = tell }

// Found notes what a transaction of this process has seen.
func (h *Hints) Found(gone, back []int64) {
	if gone = h.note(gone, back); h.tell != nil && len(gone)+len(back) > 0 {
		h.tell(gone, back)
	}
}

// Heard notes what somebody else has found.
func (h *Hints) Heard(gone, back []int64) { h.note(gone, back) }

// note returns which of those that are gone are news.
func (h *Hints) note(gone, back []int64) (news []int64) {
	if len(gone) == 0 && !h.Any() {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ends == nil {
		h.ends = map[int64]time.Time{}
	}
	now := time.Now()
	end := now.Add(HintTTL)
	for _, sku := range gone {
		if !now.Before(h.ends[sku]) {
			news = append(news, sku)
			h.ends[sku] = end
			h.last.Store(&end)
		}
	}
	for _, sku := range back {
		delete(h.ends, sku)
	}
	for sku, end := range h.ends {
		if !now.Before(end) {
			delete(h.ends, sku)
		}
	}
	return news
}

// Any reports whether it is worth asking [Hints.Gone].
func (h *Hints) Any() bool {
	last := h.last.Load()
	return last != nil && time.Now().Before(*last)
}

// Gone reports whether a SKU had no unit left a moment ago.
func (h *Hints) Gone(sku int64) bool {
	if !h.Any() {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Now().Before(h.ends[sku])
}
