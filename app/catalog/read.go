package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"doorbuster/app/money"
)

// Store reads the catalogue. It is safe for concurrent use.
type Store struct{ pool *pgxpool.Pool }

// NewStore returns a Store on a pool that it does not close.
func NewStore(pool *pgxpool.Pool) *Store { return &Store{pool} }

// Filter chooses a page of products. The zero value of a field chooses all.
type Filter struct {
	Category int64  // id, as [Store.Categories] gives it
	Search   string // words, as in a web search: quoted phrases, "or", -not; or a SKU, or the beginning of one or of a word
	After    int64  // id of the last product of the page before
	Limit    int    // at most so many, from 1 to 1,000
}

// The part of every catalogue query that reads SKUs. Sales that are over are left out; those to come are not, so that a
// cached product knows its price on both sides of midnight.
const skuColumns = `
       s.id, s.code, s.name, p.slug, p.name, s.currency, s.list_price_minor, coalesce(s.max_per_customer, 0), s.sale_only,
       (SELECT coalesce(jsonb_agg(jsonb_build_object('name', sale.name, 'price_minor', sp.price_minor,
                                  'starts_at', sale.starts_at, 'ends_at', sale.ends_at) ORDER BY sale.starts_at, sale.id), '[]')
          FROM sale_price sp JOIN sale ON sale.id = sp.sale_id
         WHERE sp.sku_id = s.id AND sale.ends_at > now())`

// A page is cut before the rest is read, by an index alone. Each filter is a statement of its own, and the category is
// given as an id: only then does a plan that PostgreSQL keeps for all parameters know which index to take. The constant
// limit is for that plan, too: of a parameter it expects a tenth of the table.
const (
	selectHits = `
SELECT now(), p.id, p.description, category.slug,` + skuColumns + `
  FROM `
	joinHits = ` AS hit
  JOIN product p USING (id) JOIN category ON category.id = p.category_id JOIN sku s ON s.product_id = p.id
 ORDER BY p.id, s.position`

	// Index: the primary key.
	selectAll = `-- name: catalog.products` + selectHits +
		`(SELECT id FROM (SELECT id FROM product WHERE id > $1 ORDER BY id LIMIT 1000) AS most ORDER BY id LIMIT $2)` + joinHits
	// Index: product_category.
	selectInCategory = `-- name: catalog.products_of_category` + selectHits +
		`(SELECT id FROM (SELECT id FROM product WHERE category_id = $3 AND id > $1 ORDER BY id LIMIT 1000) AS most ORDER BY id LIMIT $2)` + joinHits
)

// Products returns a page of products in the order of their ids, and the time of the database's clock at which their
// prices were read.
func (s *Store) Products(ctx context.Context, f Filter) ([]Product, time.Time, error) {
	statement, args := selectAll, []any{f.After, f.Limit}
	switch {
	case f.Search != "":
		in := ""
		if f.Category != 0 {
			in = fmt.Sprintf("@%d", f.Category)
		}
		asked := searchFor(f.Search)
		statement = searchProducts
		args = append(args, in, asked.codeFrom, asked.codeTo, asked.slug, asked.first, asked.others, asked.plain, asked.last)
	case f.Category != 0:
		statement, args = selectInCategory, append(args, f.Category)
	}
	rows, err := s.pool.Query(ctx, statement, args...)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("list products: %w", err)
	}
	products, now, err := collectProducts(rows)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("list products: %w", err)
	}
	if len(products) > 0 {
		return products, now, nil
	}
	const emptyPage = `-- name: catalog.now
SELECT now()`
	if err := s.pool.QueryRow(ctx, emptyPage).Scan(&now); err != nil {
		return nil, now, fmt.Errorf("read the clock: %w", err)
	}
	return nil, now, nil
}

const selectProduct = `-- name: catalog.product
SELECT now(), p.id, p.description, category.slug,` + skuColumns + `
  FROM product p JOIN category ON category.id = p.category_id JOIN sku s ON s.product_id = p.id
 WHERE p.slug = $1 ORDER BY s.position`

// Product returns one product and the time of the database's clock at which its prices were read, or [ErrNotFound].
func (s *Store) Product(ctx context.Context, slug string) (Product, time.Time, error) {
	rows, err := s.pool.Query(ctx, selectProduct, slug)
	if err != nil {
		return Product{}, time.Time{}, fmt.Errorf("read product: %w", err)
	}
	products, now, err := collectProducts(rows)
	if err != nil {
		return Product{}, time.Time{}, fmt.Errorf("read product: %w", err)
	}
	if len(products) == 0 {
		return Product{}, now, fmt.Errorf("product %q: %w", slug, ErrNotFound)
	}
	return products[0], now, nil
}

func collectProducts(rows pgx.Rows) ([]Product, time.Time, error) {
	var products []Product
	var now time.Time
	_, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		var p Product
		var sku SKU
		err := scanSKU(row, &sku, &now, &p.ID, &p.Description, &p.Category)
		if n := len(products); n == 0 || products[n-1].ID != p.ID {
			p.Slug, p.Name = sku.ProductSlug, sku.ProductName
			products = append(products, p)
		}
		last := &products[len(products)-1]
		last.SKUs = append(last.SKUs, sku)
		return struct{}{}, err
	})
	return products, now, err
}

// scanSKU reads skuColumns, after what stands before them in the row.
func scanSKU(row pgx.CollectableRow, s *SKU, before ...any) error {
	var sales []struct {
		Name       string    `json:"name"`
		PriceMinor int64     `json:"price_minor"`
		StartsAt   time.Time `json:"starts_at"`
		EndsAt     time.Time `json:"ends_at"`
	}
	err := row.Scan(append(before, &s.ID, &s.Code, &s.Name, &s.ProductSlug, &s.ProductName, &s.List.Currency, &s.List.Minor,
		&s.MaxPerCustomer, &s.SaleOnly, &sales)...)
	for _, w := range sales {
		price := money.Money{Minor: w.PriceMinor, Currency: s.List.Currency}
		s.Sales = append(s.Sales, Sale{w.Name, price, w.StartsAt.UTC(), w.EndsAt.UTC()})
	}
	return err
}

const selectSKUs = `-- name: catalog.skus
SELECT now(),` + skuColumns + ` FROM sku s JOIN product p ON p.id = s.product_id WHERE s.id = ANY ($1)`

// SKUs returns the SKUs with these ids and the time of the database's clock at which their prices were read (its zero
// value when there are none). Unknown ids are left out.
func (s *Store) SKUs(ctx context.Context, ids []int64) (map[int64]*SKU, time.Time, error) {
	batch := new(pgx.Batch)
	found, now := QueueSKUs(batch, ids)
	err := s.pool.SendBatch(ctx, batch).Close()
	return found, *now, err
}

// QueueSKUs adds the statement of [Store.SKUs]. What it returns is filled in when the batch is read. In a transaction
// the time is the transaction's.
func QueueSKUs(batch *pgx.Batch, ids []int64) (map[int64]*SKU, *time.Time) {
	found, now := map[int64]*SKU{}, new(time.Time)
	batch.Queue(selectSKUs, ids).Query(func(rows pgx.Rows) error {
		_, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
			sku := new(SKU)
			err := scanSKU(row, sku, now)
			found[sku.ID] = sku
			return struct{}{}, err
		})
		if err != nil {
			return fmt.Errorf("read SKUs: %w", err)
		}
		return nil
	})
	return found, now
}

// SKUID returns the id of the SKU with this code, or [ErrNotFound].
func (s *Store) SKUID(ctx context.Context, code string) (int64, error) {
	const selectID = `-- name: catalog.sku_id
SELECT id FROM sku WHERE code = $1`
	rows, err := s.pool.Query(ctx, selectID, code)
	if err != nil {
		return 0, fmt.Errorf("look up SKU: %w", err)
	}
	id, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[int64])
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return 0, fmt.Errorf("SKU %q: %w", code, ErrNotFound)
	case err != nil:
		return 0, fmt.Errorf("look up SKU: %w", err)
	}
	return id, nil
}

// Categories returns all categories in the order they were made.
func (s *Store) Categories(ctx context.Context) ([]Category, error) {
	const selectCategories = `-- name: catalog.categories
SELECT id, slug, name FROM category ORDER BY id`
	rows, err := s.pool.Query(ctx, selectCategories)
	if err != nil {
		return nil, fmt.Errorf("list categories: %w", err)
	}
	categories, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Category])
	if err != nil {
		return nil, fmt.Errorf("list categories: %w", err)
	}
	return categories, nil
}
