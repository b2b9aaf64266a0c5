package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"doorbuster/app"
)

// seedFlags choose the catalogue and its sale.
type seedFlags struct {
	Seed       uint64        `name:"seed" env:"SEED" default:"1" help:"Number of the catalogue: the same number, the same catalogue."`
	Products   int           `name:"products" env:"SEED_PRODUCTS" help:"Products to have at least: series of those of the catalogue, outside the sale. For measurements. 0: the catalogue as it is."`
	SaleStarts saleStart     `name:"sale-starts" env:"SALE_STARTS" default:"now" help:"now, a time from now such as +2m, or an instant such as 2026-11-27T00:00:00Z."`
	SaleLasts  time.Duration `name:"sale-lasts" env:"SALE_LASTS" default:"24h" help:"How long the sale lasts."`
}

type seedCommand struct {
	DatabaseURL string `name:"database-url" env:"DATABASE_URL" help:"PostgreSQL, such as postgres://user@localhost/doorbuster."`
	seedFlags
}

// Run fills the database and says with what.
func (c *seedCommand) Run(env *environment) error {
	ctx := env.signals.stop
	if err := c.check(); err != nil {
		return err
	}
	if err := app.CheckDatabase(ctx, c.DatabaseURL); err != nil {
		return err
	}
	s, err := app.Seed(ctx, c.DatabaseURL, c.options())
	if err != nil {
		return err
	}
	fmt.Fprintln(env.stdout, describe(s))
	return nil
}

func (f *seedFlags) check() error {
	if f.Products < 0 {
		return errors.New("SEED_PRODUCTS is negative: give the number of products to have, or 0 for the catalogue as it is")
	}
	return atLeast("SALE_LASTS", f.SaleLasts, time.Second)
}

func (f *seedFlags) options() app.SeedOptions {
	return app.SeedOptions{Seed: f.Seed, SaleStarts: f.SaleStarts.in, SaleAt: f.SaleStarts.at, SaleLasts: f.SaleLasts, Products: f.Products}
}

func describe(s app.Seeded) string {
	return fmt.Sprintf("%d products (%d SKUs), %d doorbusters; sale from %s to %s", s.Products, s.SKUs, s.Doorbusters,
		s.StartsAt.Format(time.RFC3339), s.EndsAt.Format(time.RFC3339))
}

// saleStart is an instant, or a duration from the database's now.
type saleStart struct {
	in time.Duration
	at time.Time
}

// UnmarshalText reads "now", "+2m", "-1h" or an RFC 3339 time.
func (s *saleStart) UnmarshalText(text []byte) (err error) {
	t := string(text)
	switch {
	case t == "now":
		*s = saleStart{}
		return nil
	case strings.HasPrefix(t, "+"), strings.HasPrefix(t, "-"):
		s.in, err = time.ParseDuration(t)
	default:
		s.at, err = time.Parse(time.RFC3339, t)
	}
	if err != nil {
		return fmt.Errorf("%q is neither now, nor a time from now such as +2m, nor an instant such as 2026-11-27T00:00:00Z", t)
	}
	return nil
}
