package checkout

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"doorbuster/app/inventory"
)

// What is gone may come back: units that are held by payments under way are not
// sold yet. A refusal says how many there are, so that a customer knows whether
// waiting is worth it. They are counted apart from the batches, after the
// refusal, all SKUs in one look.
const (
	// heldFresh is how long what a look has found is told where anything is held:
	// payments end soon. That nothing is held is told for as long as that there is
	// nothing ([inventory.HintTTL]), and so is that nobody knows.
	heldFresh = 200 * time.Millisecond
	// heldTimeout bounds a look. Nobody is told of held units then.
	heldTimeout = 250 * time.Millisecond
	// heldMost bounds the orders that a look counts: it says whether to wait, and
	// not for how many.
	heldMost = 5_000
)

var errHeldTimeout = errors.New("counting held units timed out")

const selectHeld = `-- name: checkout.held_units
WITH pending AS MATERIALIZED (SELECT id FROM orders WHERE status = 'pending' LIMIT $1)
SELECT l.sku_id, sum(l.quantity)::integer FROM pending JOIN order_line l ON l.order_id = pending.id GROUP BY l.sku_id`

// heldUnits remembers how many units of each SKU pending orders hold. It is safe
// for concurrent use. One refusal at a time looks, and the others wait for that
// look.
type heldUnits struct {
	mu      sync.Mutex
	looking chan struct{} // closed when the look is over; nil: nobody looks
	units   map[int64]int
	until   time.Time
}

// tellHeld adds to a refusal how many units are held, as far as that is known.
// It waits for one look, heldTimeout at the most, however many are refused.
func (s *Service) tellHeld(ctx context.Context, refusal *OutOfStock) {
	look, mine := s.held.begin(time.Now())
	switch {
	case mine:
		units, err := s.countHeld(ctx)
		if err != nil {
			s.log.DebugContext(ctx, "can't count held units", "error", err)
		}
		s.held.end(time.Now(), units)
	case look != nil:
		select {
		case <-look:
		case <-ctx.Done():
		}
	}
	s.held.mu.Lock()
	defer s.held.mu.Unlock()
	for i, l := range refusal.Lines {
		refusal.Lines[i].Held = s.held.units[l.SKU]
	}
}

// begin returns the look that is under way, nil where none is needed, and whether
// it is the caller's, who has to end it.
func (h *heldUnits) begin(now time.Time) (look <-chan struct{}, mine bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.looking != nil || now.Before(h.until) {
		return h.looking, false
	}
	h.looking = make(chan struct{})
	return h.looking, true
}

// end takes what a look has found; nil where it has failed.
func (h *heldUnits) end(now time.Time, units map[int64]int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.looking)
	h.looking, h.units = nil, units
	h.until = now.Add(inventory.HintTTL)
	if len(units) > 0 {
		h.until = now.Add(heldFresh)
	}
}

// countHeld looks how many units are held.
func (s *Service) countHeld(ctx context.Context) (map[int64]int, error) {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), heldTimeout, errHeldTimeout)
	defer cancel()
	rows, err := s.cfg.Background.Query(ctx, selectHeld, heldMost)
	if err != nil {
		return nil, fmt.Errorf("count held units: %w", err)
	}
	units := map[int64]int{}
	var sku int64
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&sku, &n}, func() error { units[sku] = n; return nil }); err != nil {
		return nil, fmt.Errorf("count held units: %w", err)
	}
	return units, nil
}
