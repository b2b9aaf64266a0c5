package audit

// Each query returns a line of text for everything that is wrong.

const stockQuery = `-- name: audit.stock
SELECT format('SKU %s: received %s, available %s, held %s, sold %s', coalesce(k.code, b.sku_id::text), b.received, b.available, b.held, b.sold)
  FROM (SELECT sku_id, sum(received) AS received, sum(available) AS available, sum(held) AS held, sum(sold) AS sold
          FROM (SELECT sku_id, quantity AS received, 0 AS available, 0 AS held, 0 AS sold FROM stock_receipt
                UNION ALL
                SELECT sku_id, 0, available, 0, 0 FROM stock
                UNION ALL
                SELECT l.sku_id, 0, 0, CASE o.status WHEN 'pending' THEN l.quantity ELSE 0 END, CASE o.status WHEN 'confirmed' THEN l.quantity ELSE 0 END
                  FROM order_line l JOIN orders o ON o.id = l.order_id) AS entries
         GROUP BY sku_id) AS b
  LEFT JOIN sku k ON k.id = b.sku_id
 WHERE b.received <> b.available + b.held + b.sold OR b.available < 0`

const paidQuery = `-- name: audit.paid
SELECT format('order %s: %s, total %s %s, paid %s %s', coalesce(o.id, p.order_id), o.status, o.total_minor, o.currency, p.amount, p.currencies)
  FROM orders o
  FULL JOIN (SELECT order_id, count(*) AS n, sum(amount_minor) AS amount, string_agg(DISTINCT currency, '+') AS currencies FROM payment GROUP BY order_id) p
    ON p.order_id = o.id
 WHERE o.id IS NULL OR (o.status = 'confirmed') <> (p.n IS NOT NULL) OR p.n > 1 OR o.total_minor <> p.amount OR o.currency <> p.currencies`

// Money that was captured and that nobody owes stays a finding until somebody has paid it back.
const refundsQuery = `-- name: audit.refunds
SELECT format('order %s: %s %s (%s) have to be refunded since %s: %s', order_id, amount_minor, currency, provider_reference, noted_at, reason)
  FROM refund_due WHERE refunded_at IS NULL`

const keysQuery = `-- name: audit.keys
SELECT format('owner %s, key %s: %s orders', owner_id, idempotency_key, count(*))
  FROM orders WHERE idempotency_key IS NOT NULL GROUP BY owner_id, idempotency_key HAVING count(*) > 1`

const cartsQuery = `-- name: audit.carts
SELECT format('cart %s: %s orders', cart_id, count(*)) FROM orders GROUP BY cart_id HAVING count(*) > 1`

const lateQuery = `-- name: audit.late
SELECT format('order %s: pending, and its hold ended at %s', id, hold_expires_at)
  FROM orders WHERE status = 'pending' AND hold_expires_at < now() - $1::interval`

const sumsQuery = `-- name: audit.sums
SELECT format('order %s: subtotal %s, lines %s; total %s, discount %s', o.id, o.subtotal_minor, l.subtotal, o.total_minor, o.discount_minor)
  FROM orders o
  LEFT JOIN (SELECT order_id, sum(quantity * unit_price_minor) AS subtotal FROM order_line GROUP BY order_id) l ON l.order_id = o.id
 WHERE o.subtotal_minor IS DISTINCT FROM l.subtotal OR o.total_minor <> o.subtotal_minor - o.discount_minor`

// A customer may have as much as the most generous of these orders was allowed
// when it was placed: the shop may have lowered the limit since. Owners are
// judged by what each has ordered: a guest who logs in may have had enough
// before, and so may the account.
const limitsQuery = `-- name: audit.limits
SELECT format('SKU %s, %s: %s, and %s were allowed', coalesce(k.code, h.sku_id::text), h.customer, h.n, coalesce(h.agreed, k.max_per_customer))
  FROM (` + heldBy + `o.owner_id` + heldOf + `) AS h LEFT JOIN sku k ON k.id = h.sku_id WHERE h.n > coalesce(h.agreed, k.max_per_customer)`

const allowancesQuery = `-- name: audit.allowances
SELECT format('SKU %s, %s: %s are counted, %s are held', coalesce(a.sku_id, h.sku_id), coalesce(a.customer, h.customer), a.taken, h.n)
  FROM allowance a FULL JOIN (` + heldBy + `coalesce(o.counted_for, o.owner_id)` + heldOf + `) AS h USING (sku_id, customer)
 WHERE coalesce(a.taken, 0) <> coalesce(h.n, 0)`

const overLimitQuery = `-- name: audit.over_limit
SELECT format('order %s: confirmed, though its address had enough of %s', id, over_limit)
  FROM orders WHERE over_limit IS NOT NULL AND status = 'confirmed'`

// heldBy and heldOf, with an owner between them, are the units of limited lines
// that each customer, by both names, has or may still get. An order that was
// placed though its address had enough must not be confirmed, and does not count
// for the address while it is pending.
const (
	heldBy = `
       SELECT l.sku_id, c.customer, sum(l.quantity) AS n, max(l.agreed_limit) AS agreed
         FROM order_line l JOIN orders o ON o.id = l.order_id
        CROSS JOIN LATERAL (VALUES ('owner:' || `
	heldOf = `), ('email:' || o.email)) AS c (customer)
        WHERE l.limited AND o.status <> 'cancelled'
          AND (o.over_limit IS NULL OR o.status = 'confirmed' OR NOT starts_with(c.customer, 'email:'))
        GROUP BY l.sku_id, c.customer`
)

// Whether a use was counted is on the order: a code may have become limited since. Orders of a release that did not note it
// are counted as the code is today.
const usesQuery = `-- name: audit.uses
SELECT format('code %s: %s uses are counted, %s orders have it', d.code, d.uses, count(o.id))
  FROM discount d
  LEFT JOIN orders o ON o.discount_code = d.code AND o.status <> 'cancelled' AND coalesce(o.discount_counted, d.max_uses IS NOT NULL)
 GROUP BY d.code HAVING d.uses <> count(o.id)`

// https://www.postgresql.org/docs/current/runtime-config-wal.html
const durableQuery = `-- name: audit.durable
SELECT format('%s is off: a crash may lose orders that were acknowledged', name)
  FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes') AND setting = 'off'`
