package checkout

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"doorbuster/app/cart"
	"doorbuster/app/money"
)

// orderColumns reads a whole order; scanOrder is its other half.
const orderColumns = `
       o.id, o.number, o.email, o.status, coalesce(o.cancel_reason, ''), o.currency, o.subtotal_minor, o.discount_minor,
       o.total_minor, coalesce(o.discount_code, ''), o.created_at, coalesce(o.over_limit, ''),
       (SELECT coalesce(jsonb_agg(jsonb_build_object('sku_id', l.sku_id, 'code', l.sku_code, 'name', l.name, 'quantity', l.quantity,
                                  'unit_price_minor', l.unit_price_minor, 'limited', l.limited) ORDER BY l.sku_id), '[]')
          FROM order_line l WHERE l.order_id = o.id)`

// scanOrder reads orderColumns and what stands after them in the row.
func scanOrder(row pgx.Row, after ...any) (Order, error) {
	var o Order
	var currency string
	var lines []struct {
		SKU            int64  `json:"sku_id"`
		Code           string `json:"code"`
		Name           string `json:"name"`
		Quantity       int    `json:"quantity"`
		UnitPriceMinor int64  `json:"unit_price_minor"`
		Limited        bool   `json:"limited"`
	}
	err := row.Scan(append([]any{
		&o.ID, &o.Number, &o.Email, &o.Status, &o.CancelReason, &currency, &o.Subtotal.Minor,
		&o.Discount.Minor, &o.Total.Minor, &o.DiscountCode, &o.CreatedAt, &o.OverLimit, &lines,
	}, after...)...)
	o.CreatedAt = o.CreatedAt.UTC()
	o.Subtotal.Currency, o.Discount.Currency, o.Total.Currency = currency, currency, currency
	for _, l := range lines {
		price := money.Money{Minor: l.UnitPriceMinor, Currency: currency}
		o.Lines = append(o.Lines, OrderLine{SKU: l.SKU, Code: l.Code, Name: l.Name, Quantity: l.Quantity, UnitPrice: price, Limited: l.Limited})
	}
	return o, err
}

type ownedKey struct {
	owner uuid.UUID
	key   string
}

// priorOrder is what stands under an idempotency key.
type priorOrder struct {
	order       Order
	fingerprint []byte
	paying      bool // a request is at work on its payment
}

// Its snapshot is taken after the carts were locked, so it sees the order of a twin that held the lock before.
// clock_timestamp, since the transaction's own time is from before the wait.
//
// An order that an account adopted at login counts as the account's own: the customer who repeats a request after logging in
// is the same one. LATERAL with a LIMIT, and no plain join, for the sake of the plan: pgx keeps statements prepared, and one
// that PostgreSQL plans for good while orders is still small and unanalysed would join by reading all of it
// (TestPlansOfAYoungDatabase). Indexes: UNIQUE (owner_id, idempotency_key), orders_adopted.
const selectPrior = `-- name: checkout.prior
SELECT` + orderColumns + `, u.owner_id, o.idempotency_key, o.fingerprint, o.status = 'pending' AND o.paying_until > clock_timestamp()
  FROM unnest($1::uuid[], $2::text[]) AS u (owner_id, key)
 CROSS JOIN LATERAL (
    (SELECT * FROM orders WHERE owner_id = u.owner_id AND idempotency_key = u.key LIMIT 1)
    UNION ALL
    (SELECT * FROM orders WHERE account_id = u.owner_id AND account_id <> owner_id AND idempotency_key = u.key LIMIT 1)
    LIMIT 1) AS o`

// queuePrior adds the statement that looks keys up. The map is filled in when the batch is read.
func queuePrior(batch *pgx.Batch, reqs []Request) map[ownedKey]priorOrder {
	owners, keys := make([]uuid.UUID, len(reqs)), make([]string, len(reqs))
	for i, r := range reqs {
		owners[i], keys[i] = r.Owner, r.Key
	}
	prior := map[ownedKey]priorOrder{}
	batch.Queue(selectPrior, owners, keys).Query(func(rows pgx.Rows) error {
		_, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (_ struct{}, err error) {
			var key ownedKey
			var p priorOrder
			p.order, err = scanOrder(row, &key.owner, &key.key, &p.fingerprint, &p.paying)
			prior[key] = p
			return struct{}{}, err
		})
		if err != nil {
			return fmt.Errorf("look up idempotency keys: %w", err)
		}
		return nil
	})
	return prior
}

// A sweeper takes leases without the lock on the cart, so whether a lease is free is decided here once more, under the lock
// on the order.
const takeLeases = `-- name: checkout.resume
WITH free AS (
    SELECT id FROM orders WHERE id = ANY ($1) AND status = 'pending' AND paying_until <= clock_timestamp() ORDER BY id FOR UPDATE
)
UPDATE orders SET paying_until = clock_timestamp() + $2 FROM free WHERE orders.id = free.id RETURNING orders.id, paying_until`

// resume takes the payment lease of the orders that are resumed. Where somebody else has it, or the order itself, it refuses.
func (t *placing) resume(ctx context.Context) error {
	out := t.out
	var ids []uuid.UUID
	for _, p := range out {
		if p.resumed {
			ids = append(ids, p.order.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	if t.around {
		held, err := heldOrdersTx(ctx, t.tx, ids)
		if err != nil {
			return err
		}
		ids = slices.DeleteFunc(ids, func(id uuid.UUID) bool { return held.orders[id] })
	}
	rows, err := t.tx.Query(ctx, takeLeases, ids, t.lease())
	if err != nil {
		return fmt.Errorf("resume orders: %w", err)
	}
	leases := map[uuid.UUID]time.Time{}
	var id uuid.UUID
	var lease time.Time
	if _, err := pgx.ForEachRow(rows, []any{&id, &lease}, func() error { leases[id] = lease; return nil }); err != nil {
		return fmt.Errorf("resume orders: %w", err)
	}
	for i, p := range out {
		if !p.resumed {
			continue
		}
		if out[i].lease = leases[p.order.ID]; out[i].lease.IsZero() {
			out[i] = placed{err: ErrInFlight}
		}
	}
	return nil
}

const insertOrders = `-- name: checkout.insert_orders
INSERT INTO orders (id, owner_id, account_id, cart_id, idempotency_key, fingerprint, paying_until, email, currency,
                    subtotal_minor, discount_minor, total_minor, discount_code, discount_counted, hold_expires_at,
                    over_limit)
SELECT u.id, u.owner_id, u.account_id, u.cart_id, u.key, u.fingerprint, clock_timestamp() + $13, u.email, u.currency,
       u.subtotal, u.discount, u.subtotal - u.discount, nullif(u.code, ''), CASE WHEN u.code <> '' THEN u.counted END, clock_timestamp() + $12,
       nullif(u.over_limit, '')
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::bytea[], $7::text[], $8::text[],
              $9::bigint[], $10::bigint[], $11::text[], $14::boolean[], $15::text[])
       WITH ORDINALITY AS u (id, owner_id, account_id, cart_id, key, fingerprint, email, currency, subtotal, discount, code, counted,
                             over_limit, nth)
 ORDER BY u.nth
RETURNING id, number, created_at, paying_until`

const insertLines = `-- name: checkout.insert_lines
INSERT INTO order_line (order_id, sku_id, sku_code, name, quantity, unit_price_minor, limited, agreed_limit)
SELECT u.order_id, u.sku_id, u.sku_code, u.name, u.quantity, u.price, u.agreed > 0, nullif(u.agreed, 0)
  FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::integer[], $6::bigint[], $7::integer[])
       AS u (order_id, sku_id, sku_code, name, quantity, price, agreed)`

// queueOrders adds the statements that write the drafts' orders, and fills in their numbers when the answer comes.
func (s *Service) queueOrders(batch *pgx.Batch, drafts []*draft) {
	var (
		ids, owners, carts              []uuid.UUID
		accounts                        []uuid.NullUUID
		keys, emails, currencies, codes []string
		fingerprints                    [][]byte
		subtotals, discounts            []int64
		lineOrders                      []uuid.UUID
		lineSKUs, linePrices            []int64
		lineCodes, lineNames            []string
		lineQuantities                  []int
		lineLimits                      []int
		counted                         []bool
		overLimit                       []string
		byID                            = map[uuid.UUID]*draft{}
	)
	for _, d := range drafts {
		o := &d.order
		byID[o.ID] = d
		ids, owners, carts = append(ids, o.ID), append(owners, d.request.Owner), append(carts, d.cart.ID)
		accounts = append(accounts, d.request.Account)
		keys, emails, currencies = append(keys, d.request.Key), append(emails, o.Email), append(currencies, o.Total.Currency)
		codes, fingerprints = append(codes, o.DiscountCode), append(fingerprints, d.request.fingerprint())
		subtotals, discounts = append(subtotals, o.Subtotal.Minor), append(discounts, o.Discount.Minor)
		counted, overLimit = append(counted, d.counted), append(overLimit, o.OverLimit)
		for _, l := range o.Lines {
			lineOrders, lineSKUs, linePrices = append(lineOrders, o.ID), append(lineSKUs, l.SKU), append(linePrices, l.UnitPrice.Minor)
			lineCodes, lineNames = append(lineCodes, l.Code), append(lineNames, l.Name)
			lineQuantities, lineLimits = append(lineQuantities, l.Quantity), append(lineLimits, l.Limit)
		}
	}
	batch.Queue(insertOrders, ids, owners, accounts, carts, keys, fingerprints, emails, currencies, subtotals, discounts, codes,
		s.cfg.HoldTTL, s.lease(), counted, overLimit).Query(func(rows pgx.Rows) error {
		var id uuid.UUID
		var number int64
		var created, lease time.Time
		_, err := pgx.ForEachRow(rows, []any{&id, &number, &created, &lease}, func() error {
			byID[id].order.Number, byID[id].order.CreatedAt, byID[id].lease = number, created.UTC(), lease
			return nil
		})
		return err
	})
	batch.Queue(insertLines, lineOrders, lineSKUs, lineCodes, lineNames, lineQuantities, linePrices, lineLimits)
}

// committed asks which orders of a transaction were committed. The server may
// still be at work on the COMMIT that we know nothing about, so it takes the
// owners' cart locks first, which that transaction holds to its end: what is
// not there then never will be. It has its own time limit: the transaction's
// may have ended with it. And it has a connection of another class: the batches
// may have no other than the one that is lost, which pgx keeps until it has
// closed it, for up to 15 s.
func (s *Service) committed(ctx context.Context, owners, ids []uuid.UUID) ([]uuid.UUID, error) {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), lookupTimeout, errLookupTimeout)
	defer cancel()
	const selectCommitted = `-- name: checkout.committed
SELECT id FROM orders WHERE id = ANY ($1)`
	var found []uuid.UUID
	fewTimes := func(n int, _ error) bool { return n < maxTries }
	err := s.transact(ctx, s.cfg.Reads, "BEGIN", fewTimes, func(tx pgx.Tx) error {
		if _, err := cart.LockTx(ctx, tx, owners); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, selectCommitted, ids)
		if err != nil {
			return fmt.Errorf("look up orders: %w", err)
		}
		if found, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID]); err != nil {
			return fmt.Errorf("look up orders: %w", err)
		}
		return nil
	})
	return found, err
}
