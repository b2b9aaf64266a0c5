package catalog

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// SaleWindow is a sale to write: one window for many SKUs.
type SaleWindow struct {
	Slug, Name       string
	StartsAt, EndsAt time.Time
	PriceMinor       map[string]int64 // by SKU code, in the SKU's currency
}

// PutTx creates the categories and products that are not there yet, by slug and code, and updates those that are. It
// never deletes, since orders and carts may mention them, and a SKU keeps its product and its place there. It fails when a
// product names a category that does not exist or has no SKU. Sales in the argument are ignored; see [PutSaleTx].
func PutTx(ctx context.Context, tx pgx.Tx, categories []Category, products []Product) error {
	batch := new(pgx.Batch)
	for _, c := range categories {
		batch.Queue(`-- name: catalog.put_category
INSERT INTO category (slug, name) VALUES ($1, $2) ON CONFLICT (slug) DO UPDATE SET name = excluded.name`, c.Slug, c.Name)
	}
	for i := range products {
		p := &products[i]
		if len(p.SKUs) == 0 {
			return fmt.Errorf("put catalogue: product %s has no SKU", p.Slug)
		}
		batch.Queue(`-- name: catalog.put_product
INSERT INTO product (category_id, slug, name, description) SELECT id, $2, $3, $4 FROM category WHERE slug = $1
ON CONFLICT (slug) DO UPDATE SET category_id = excluded.category_id, name = excluded.name, description = excluded.description`,
			p.Category, p.Slug, p.Name, p.Description).Exec(exactly(1, "product %s: no category %s", p.Slug, p.Category))
		for position, s := range p.SKUs {
			batch.Queue(`-- name: catalog.put_sku
INSERT INTO sku (product_id, code, name, position, currency, list_price_minor, max_per_customer, sale_only)
SELECT id, $2, $3, $4, $5, $6, nullif($7, 0), $8 FROM product WHERE slug = $1
ON CONFLICT (code) DO UPDATE SET name = excluded.name, currency = excluded.currency, list_price_minor = excluded.list_price_minor,
       max_per_customer = excluded.max_per_customer, sale_only = excluded.sale_only`,
				p.Slug, s.Code, s.Name, position, s.List.Currency, s.List.Minor, s.MaxPerCustomer, s.SaleOnly)
		}
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("put catalogue: %w", err)
	}
	return nil
}

// exactly fails when a statement has not written as many rows as it was given.
func exactly(rows int, format string, args ...any) func(pgconn.CommandTag) error {
	return func(tag pgconn.CommandTag) error {
		if tag.RowsAffected() != int64(rows) {
			return fmt.Errorf(format, args...)
		}
		return nil
	}
}

// PutSaleTx creates a sale or, where one with its slug exists, moves it and replaces its prices. It fails when a
// price is for a SKU that does not exist.
func PutSaleTx(ctx context.Context, tx pgx.Tx, sale SaleWindow) error {
	const putSale = `-- name: catalog.put_sale
INSERT INTO sale (slug, name, starts_at, ends_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (slug) DO UPDATE SET name = excluded.name, starts_at = excluded.starts_at, ends_at = excluded.ends_at
RETURNING id`
	var id int64
	if err := tx.QueryRow(ctx, putSale, sale.Slug, sale.Name, sale.StartsAt, sale.EndsAt).Scan(&id); err != nil {
		return fmt.Errorf("put sale %s: %w", sale.Slug, err)
	}
	codes, prices := make([]string, 0, len(sale.PriceMinor)), make([]int64, 0, len(sale.PriceMinor))
	for code, price := range sale.PriceMinor {
		codes, prices = append(codes, code), append(prices, price)
	}
	batch := new(pgx.Batch)
	batch.Queue(`-- name: catalog.drop_sale_prices
DELETE FROM sale_price WHERE sale_id = $1`, id)
	batch.Queue(`-- name: catalog.put_sale_prices
INSERT INTO sale_price (sale_id, sku_id, price_minor)
SELECT $1, sku.id, u.price FROM unnest($2::text[], $3::bigint[]) AS u (code, price) JOIN sku ON sku.code = u.code`,
		id, codes, prices).Exec(exactly(len(codes), "sale %s: not every SKU of it exists", sale.Slug))
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("put prices of sale %s: %w", sale.Slug, err)
	}
	return nil
}

// IDsTx returns the ids of SKUs by code. Unknown codes are left out.
func IDsTx(ctx context.Context, tx pgx.Tx, codes []string) (map[string]int64, error) {
	const selectIDs = `-- name: catalog.sku_ids
SELECT code, id FROM sku WHERE code = ANY ($1)`
	rows, err := tx.Query(ctx, selectIDs, codes)
	if err != nil {
		return nil, fmt.Errorf("look up SKUs: %w", err)
	}
	ids := map[string]int64{}
	var code string
	var id int64
	if _, err := pgx.ForEachRow(rows, []any{&code, &id}, func() error { ids[code] = id; return nil }); err != nil {
		return nil, fmt.Errorf("look up SKUs: %w", err)
	}
	return ids, nil
}
