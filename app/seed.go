package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"doorbuster/app/catalog"
	"doorbuster/app/catalog/demo"
	"doorbuster/app/inventory"
	"doorbuster/app/money"
	"doorbuster/app/pricing"
	"doorbuster/app/volume"
)

// SeedOptions choose the demonstration catalogue and when its sale is.
type SeedOptions struct {
	Seed       uint64        // the same number makes the same catalogue
	SaleStarts time.Duration // from the database's now
	SaleAt     time.Time     // an instant instead; the zero time: use SaleStarts
	SaleLasts  time.Duration
	Products   int // to have at least; see package volume
}

// Seeded says what the shop holds after a [Seed].
type Seeded struct {
	Products, SKUs, Doorbusters int
	StartsAt, EndsAt            time.Time
	Delivered                   int // units put on shelves that had never had any
}

// saleSlug names the one sale that Seed makes and moves.
const saleSlug = "black-friday"

// Seed fills a migrated database with the demonstration catalogue, in one transaction. On a shop that has it already it
// changes what differs, above all the sale's window, and leaves orders, carts and stock as they are.
func Seed(ctx context.Context, databaseURL string, o SeedOptions) (Seeded, error) {
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return Seeded{}, fmt.Errorf("connect to seed: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var out Seeded
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) (err error) {
		out, err = seedTx(ctx, tx, demo.Make(o.Seed), o)
		return err
	})
	const uniqueViolation = "23505"
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.Code == uniqueViolation {
		return Seeded{}, errors.New("this shop has another catalogue: seed it with the number that it was seeded with, or begin with an empty database")
	}
	if err != nil {
		return Seeded{}, fmt.Errorf("seed: %w", err)
	}
	if more := o.Products - out.Products; more > 0 {
		if err := volume.Fill(ctx, conn, volume.Size{Products: more}, func(string, ...any) {}); err != nil {
			return Seeded{}, fmt.Errorf("seed more products: %w", err)
		}
		out.Products, out.SKUs = out.Products+more, out.SKUs+more
	}
	return out, nil
}

func seedTx(ctx context.Context, tx pgx.Tx, from demo.Catalogue, o SeedOptions) (Seeded, error) {
	var out Seeded
	const databaseNow = `-- name: app.now
SELECT now()`
	if err := tx.QueryRow(ctx, databaseNow).Scan(&out.StartsAt); err != nil {
		return out, fmt.Errorf("read the clock: %w", err)
	}
	now := out.StartsAt.UTC()
	out.StartsAt = now.Add(o.SaleStarts)
	if !o.SaleAt.IsZero() {
		out.StartsAt = o.SaleAt.UTC()
	}
	out.EndsAt = out.StartsAt.Add(o.SaleLasts)

	usd := func(minor int64) money.Money { return money.Money{Minor: minor, Currency: defaultCurrency} }
	categories := make([]catalog.Category, len(from.Categories))
	for i, c := range from.Categories {
		categories[i] = catalog.Category{Slug: c.Slug, Name: c.Name}
	}
	products := make([]catalog.Product, len(from.Products))
	sale := catalog.SaleWindow{Slug: saleSlug, Name: "Black Friday", StartsAt: out.StartsAt, EndsAt: out.EndsAt, PriceMinor: map[string]int64{}}
	stock := map[string]int{}
	for i, p := range from.Products {
		products[i] = catalog.Product{Slug: p.Slug, Name: p.Name, Description: p.Description, Category: p.Category}
		for _, s := range p.SKUs {
			products[i].SKUs = append(products[i].SKUs, catalog.SKU{
				Code: s.Code, Name: s.Name, List: usd(s.ListPriceMinor),
				MaxPerCustomer: s.MaxPerCustomer, SaleOnly: s.SaleOnly,
			})
			stock[s.Code] = s.Stock
			if s.SalePriceMinor > 0 {
				sale.PriceMinor[s.Code] = s.SalePriceMinor
			}
		}
		if p.SKUs[0].SaleOnly {
			out.Doorbusters++
		}
	}
	discounts := make([]pricing.Discount, len(from.Discounts))
	for i, d := range from.Discounts {
		discounts[i] = pricing.Discount{
			Code: d.Code, Percent: d.Percent, Amount: usd(d.AmountMinor), MinSubtotal: usd(d.MinSubtotalMinor),
			StartsAt: now.AddDate(-1, 0, 0), EndsAt: now.AddDate(10, 0, 0), MaxUses: d.MaxUses,
		}
	}
	out.Products, out.SKUs = len(products), len(stock)
	if err := catalog.PutTx(ctx, tx, categories, products); err != nil {
		return out, err
	}
	if err := catalog.PutSaleTx(ctx, tx, sale); err != nil {
		return out, err
	}
	if err := pricing.PutTx(ctx, tx, discounts); err != nil {
		return out, err
	}
	return out, deliverTx(ctx, tx, stock, &out)
}

// deliverTx puts units on the shelves of SKUs that never had any, so that a second seed does not deliver twice.
func deliverTx(ctx context.Context, tx pgx.Tx, stock map[string]int, out *Seeded) error {
	codes := make([]string, 0, len(stock))
	for code := range stock {
		codes = append(codes, code)
	}
	ids, err := catalog.IDsTx(ctx, tx, codes)
	if err != nil {
		return err
	}
	all := make([]int64, 0, len(ids))
	for _, id := range ids {
		all = append(all, id)
	}
	present, err := inventory.AvailableTx(ctx, tx, all)
	if err != nil {
		return err
	}
	delivery := map[int64]int{}
	for code, id := range ids {
		if _, ok := present[id]; !ok {
			delivery[id] = stock[code]
			out.Delivered += stock[code]
		}
	}
	return inventory.ReceiveTx(ctx, tx, delivery, "seed")
}
