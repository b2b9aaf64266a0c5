package checkout

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// noneOf returns the SKUs of which there are no units.
func noneOf(units map[int64]int) (gone []int64) {
	for sku, n := range units {
		if n == 0 {
			gone = append(gone, sku)
		}
	}
	return gone
}

// What a request without an order under its key has in its cart. It locks nothing: a twin that is being placed elsewhere in
// this moment has come after this one, then.
const selectWanted = `-- name: checkout.wanted
SELECT u.nth, l.sku_id, l.quantity, k.code
  FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS u (owner_id, key, nth)
  JOIN cart_line l ON l.owner_id = u.owner_id
  JOIN sku k ON k.id = l.sku_id
 WHERE NOT EXISTS (SELECT FROM orders o WHERE o.owner_id = u.owner_id AND o.idempotency_key = u.key)
   AND NOT EXISTS (SELECT FROM orders o WHERE o.account_id = u.owner_id AND o.account_id <> o.owner_id AND o.idempotency_key = u.key)
 ORDER BY u.nth, l.sku_id`

// refuseSoldOut refuses requests for what was gone a moment ago, without a transaction: one look at the carts of all of them,
// and the rest from memory. Where nothing is known to be gone it does not even look. It returns nil for a request that
// has to be placed to know; whatever goes wrong here, the transaction finds out.
func (s *Service) refuseSoldOut(ctx context.Context, reqs []Request) map[int]error {
	if !s.cfg.SoldOut.Any() {
		return nil
	}
	owners, keys := make([]uuid.UUID, len(reqs)), make([]string, len(reqs))
	for i := range reqs {
		owners[i], keys[i] = reqs[i].Owner, reqs[i].Key
	}
	refused := map[int]*OutOfStock{}
	var nth, sku int64
	var quantity int
	var code string
	rows, err := s.pool.Query(ctx, selectWanted, owners, keys)
	if err == nil {
		_, err = pgx.ForEachRow(rows, []any{&nth, &sku, &quantity, &code}, func() error {
			if s.cfg.SoldOut.Gone(sku) {
				i := int(nth) - 1
				if refused[i] == nil {
					refused[i] = new(OutOfStock)
				}
				refused[i].Lines = append(refused[i].Lines, ShortLine{SKU: sku, Code: code, Requested: quantity})
			}
			return nil
		})
	}
	if err != nil {
		s.log.WarnContext(ctx, "can't refuse from memory", "error", fmt.Errorf("read carts: %w", err))
		return nil
	}
	out := map[int]error{}
	for i, refusal := range refused {
		out[i] = refusal
	}
	return out
}
