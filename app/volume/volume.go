// Package volume makes a shop large: products by the hundred thousand, and years
// of orders. It is for measurements and tests, to see what a statement costs when
// its table is not small any more.
//
// PostgreSQL makes the rows itself, in batches of a transaction each, so neither
// side needs much memory, and a run that is broken off goes on where it was. What
// is made is made of the demonstration catalogue (package demo) and of counted
// numbers: the same every time. The books balance: an audit finds nothing.
package volume

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"doorbuster/app/catalog/demo"
)

// Size is what a shop is to hold of what this package makes, beside what it has.
type Size struct {
	Products int
	Orders   int // confirmed ones, two of each customer; they need products
}

// batch is how many rows of a kind a transaction makes.
const batch = 20_000

// lastCategory is a category with few products, the last of all: the worst place
// for whoever looks through them in order.
const (
	lastCategory = "last-chance"
	lastProducts = 100
)

// DB is a connection, or a pool of them.
type DB interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Begin(ctx context.Context) (pgx.Tx, error)
}

// Fill makes what is missing to a size, and then has PostgreSQL collect statistics.
// It says what it has done so far now and then.
func Fill(ctx context.Context, db DB, size Size, say func(format string, args ...any)) error {
	if size.Orders > 0 && size.Products < 1 {
		return errors.New("orders need products: ask for at least one")
	}
	for _, part := range []struct {
		what, count, sql string
		size             int
	}{
		{"products", countProducts, insertProducts, size.Products},
		{"orders", countOrders, insertOrders, size.Orders},
	} {
		var have int
		if err := db.QueryRow(ctx, part.count).Scan(&have); err != nil {
			return fmt.Errorf("count %s: %w", part.what, err)
		}
		for have < part.size {
			most := min(have+batch, part.size)
			if err := fillBatch(ctx, db, part.sql, have, most, part.size); err != nil {
				return fmt.Errorf("make %s %d to %d: %w", part.what, have+1, most, err)
			}
			have = most
			say("%d of %d %s", have, part.size, part.what)
		}
	}
	if _, err := db.Exec(ctx, "VACUUM ANALYZE"); err != nil {
		return fmt.Errorf("collect statistics: %w", err)
	}
	return nil
}

// fillBatch makes the rows from, not included, to.
func fillBatch(ctx context.Context, db DB, sql string, from, to, size int) error {
	return pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		const patient = `-- name: volume.settings
SELECT set_config('synchronous_commit', 'off', true), set_config('statement_timeout', '0', true)`
		if _, err := tx.Exec(ctx, patient); err != nil {
			return err
		}
		if sql == insertProducts {
			return insertProductsTx(ctx, tx, from, to, size)
		}
		_, err := tx.Exec(ctx, sql, from, to)
		return err
	})
}

// insertProductsTx gives the demonstration catalogue along, as columns.
func insertProductsTx(ctx context.Context, tx pgx.Tx, from, to, size int) error {
	var categories, slugs, names, descriptions []string
	var prices []int64
	made := demo.Make(1)
	for _, p := range made.Products {
		categories, slugs = append(categories, p.Category), append(slugs, p.Slug)
		names, descriptions = append(names, p.Name), append(descriptions, p.Description)
		prices = append(prices, p.SKUs[0].ListPriceMinor)
	}
	var categorySlugs, categoryNames []string
	for _, c := range append(made.Categories, demo.Category{Slug: lastCategory, Name: "Last Chance"}) {
		categorySlugs, categoryNames = append(categorySlugs, c.Slug), append(categoryNames, c.Name)
	}
	const insertCategories = `-- name: volume.categories
INSERT INTO category (slug, name) SELECT * FROM unnest($1::text[], $2::text[]) ON CONFLICT DO NOTHING`
	if _, err := tx.Exec(ctx, insertCategories, categorySlugs, categoryNames); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, insertProducts, from, to, categories, slugs, names, descriptions, prices, size-lastProducts, lastCategory)
	return err
}

// A product's number is the end of its slug, and its SKU's code.
const countProducts = `-- name: volume.count_products
SELECT coalesce(max(substring(code FROM 7)::bigint), 0) FROM sku WHERE code ~>=~ 'SERIES' AND code ~<~ 'SERIET'`

const insertProducts = `-- name: volume.products
WITH pattern AS MATERIALIZED (
    SELECT u.nth, category.id AS category_id, u.slug, u.name, u.description, u.price
      FROM unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[])
           WITH ORDINALITY AS u (category, slug, name, description, price, nth) JOIN category ON category.slug = u.category
), new AS MATERIALIZED (
    SELECT n, p.slug || '-' || n AS slug, p.name || ' Series ' || n AS name, p.description, p.price,
           CASE WHEN n > $8 THEN (SELECT id FROM category WHERE slug = $9) ELSE p.category_id END AS category_id
      FROM generate_series($1::bigint + 1, $2::bigint) AS n JOIN pattern p ON p.nth = 1 + n % (SELECT count(*) FROM pattern)
), product AS (
    INSERT INTO product (category_id, slug, name, description) SELECT category_id, slug, name, description FROM new ORDER BY n
    RETURNING id, slug
), sku AS (
    INSERT INTO sku (product_id, code, name, position, currency, list_price_minor)
    SELECT product.id, 'SERIES' || lpad(n::text, 10, '0'), 'Standard', 0, 'USD', price FROM new JOIN product USING (slug)
    RETURNING id
), receipt AS (
    INSERT INTO stock_receipt (sku_id, quantity, note) SELECT id, 100, 'volume' FROM sku
)
INSERT INTO stock (sku_id, available) SELECT id, 100 FROM sku`

const countOrders = `-- name: volume.count_orders
SELECT coalesce(max(substring(provider_reference FROM 8)::bigint), 0) FROM payment
 WHERE provider_reference >= 'volume_' AND provider_reference < 'volume` + "`" + `'`

// Each order is of one unit. Each customer has two, and a cart with one unit.
const insertOrders = `-- name: volume.orders
WITH new AS MATERIALIZED (
    SELECT n, md5('volume order ' || n)::uuid AS cart_id, md5('volume customer ' || n / 2)::uuid AS owner_id,
           (lpad(to_hex(1700000000000 + n), 12, '0') || '7' || substr(md5('volume ' || n), 1, 19))::uuid AS id,
           timestamptz '2023-11-14 22:00Z' + n * interval '1 ms' AS at, s.id AS sku_id, s.code, s.list_price_minor AS price
      FROM generate_series($1::bigint + 1, $2::bigint) AS n
     CROSS JOIN (SELECT count(*) AS skus FROM sku WHERE code ~>=~ 'SERIES' AND code ~<~ 'SERIET') AS c
      JOIN sku s ON s.code = 'SERIES' || lpad((1 + n * 7919 % skus)::text, 10, '0')
), cart AS (
    INSERT INTO cart (owner_id, id) SELECT DISTINCT ON (owner_id) owner_id, md5('volume cart ' || n)::uuid FROM new
        ON CONFLICT DO NOTHING RETURNING owner_id
), cart_line AS (
    INSERT INTO cart_line (owner_id, sku_id, quantity)
    SELECT DISTINCT ON (owner_id) owner_id, sku_id, 1 FROM new JOIN cart USING (owner_id)
), placed AS (
    INSERT INTO orders (id, owner_id, cart_id, idempotency_key, fingerprint, paying_until, email, status, currency,
                        subtotal_minor, discount_minor, total_minor, created_at, hold_expires_at, settled_at)
    SELECT id, owner_id, cart_id, 'volume-' || n, '', at, 'volume-' || n / 2 || '@example.com', 'confirmed', 'USD', price, 0, price, at, at, at
      FROM new ORDER BY n
), line AS (
    INSERT INTO order_line (order_id, sku_id, sku_code, name, quantity, unit_price_minor, limited)
    SELECT id, sku_id, code, 'Series', 1, price, false FROM new
), receipt AS (
    INSERT INTO stock_receipt (sku_id, quantity, note) SELECT sku_id, count(*), 'volume' FROM new GROUP BY sku_id
)
INSERT INTO payment (order_id, provider_reference, amount_minor, currency, captured_at)
SELECT id, 'volume_' || lpad(n::text, 12, '0'), price, 'USD', at FROM new`
