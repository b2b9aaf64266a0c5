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
// refusal, once for all who are refused meanwhile.
const (
	// heldFresh is how long a number of held units is told without looking
	// again: payments end soon. That none is held is told for as long as that
	// there is none ([inventory.HintTTL]).
	heldFresh = 200 * time.Millisecond
	// heldTimeout bounds a look. Nobody is told of held units then.
	heldTimeout = 250 * time.Millisecond
	// heldMost bounds the orders that a look counts: it says whether to wait,
	// and not for how many.
	heldMost = 5_000
)

var errHeldTimeout = errors.New("counting held units timed out")

const selectHeld = `-- name: checkout.held_units
WITH pending AS MATERIALIZED (SELECT id FROM orders WHERE status = 'pending' LIMIT $2)
SELECT l.sku_id, sum(l.quantity)::integer FROM pending JOIN order_line l ON l.order_id = pending.id
 WHERE l.sku_id = ANY ($1) GROUP BY l.sku_id`

// heldUnits remembers how many units of a SKU pending orders hold. It is safe
// for concurrent use.
type heldUnits struct {
	mu    sync.Mutex // also while one looks: the others want to know the same
	known map[int64]heldCount
}

type heldCount struct {
	units int
	until time.Time
}

// tellHeld adds to a refusal how many units are held. Where it can't find out
// it adds nothing.
func (s *Service) tellHeld(ctx context.Context, refusal *OutOfStock) {
	s.held.mu.Lock()
	defer s.held.mu.Unlock()
	now := time.Now()
	var skus []int64
	for _, l := range refusal.Lines {
		if !now.Before(s.held.known[l.SKU].until) {
			skus = append(skus, l.SKU)
		}
	}
	if skus != nil {
		if err := s.countHeld(ctx, skus); err != nil {
			s.log.DebugContext(ctx, "can't count held units", "error", err)
		}
	}
	for i, l := range refusal.Lines {
		refusal.Lines[i].Held = s.held.known[l.SKU].units
	}
}

// countHeld looks how many units of SKUs are held.
func (s *Service) countHeld(ctx context.Context, skus []int64) error {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), heldTimeout, errHeldTimeout)
	defer cancel()
	units := map[int64]int{}
	rows, err := s.cfg.Background.Query(ctx, selectHeld, skus, heldMost)
	if err == nil {
		var sku int64
		var n int
		_, err = pgx.ForEachRow(rows, []any{&sku, &n}, func() error { units[sku] = n; return nil })
	}
	// Remembered also where it failed: a database in trouble is not asked for
	// each refusal.
	now := time.Now()
	for sku, count := range s.held.known {
		if !now.Before(count.until) {
			delete(s.held.known, sku)
		}
	}
	if s.held.known == nil {
		s.held.known = map[int64]heldCount{}
	}
	for _, sku := range skus {
		lasts := inventory.HintTTL
		if units[sku] > 0 {
			lasts = heldFresh
		}
		s.held.known[sku] = heldCount{units[sku], now.Add(lasts)}
	}
	if err != nil {
		return fmt.Errorf("count held units: %w", err)
	}
	return nil
}
