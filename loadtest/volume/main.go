// Volume makes the shop in a database large, for measurements of what a table costs
// that is not small any more:
//
//	go run ./loadtest/volume -database-url "$DATABASE_URL" -products 1000000 -orders 10000000
//
// The database has to be migrated. PostgreSQL makes
// the rows; 1,000,000 products and 10,000,000 orders take about 15 GB. A run that
// was broken off is continued. What is made can't be told from customers' orders
// and is never removed: use a database that can be thrown away.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"

	"doorbuster/app/volume"
	"doorbuster/loadtest/internal/cli"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var size volume.Size
	flags := flag.NewFlagSet("volume", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&size.Products, "products", 1_000_000, "products to have in all, besides those of the seed")
	flags.IntVar(&size.Orders, "orders", 10_000_000, "orders to have in all, besides those of customers")
	url := flags.String("database-url", "", "`URL` of the PostgreSQL")
	if err := flags.Parse(args); err != nil {
		return cli.Refuse(stderr, "volume", err)
	}
	if *url == "" {
		return cli.Refuse(stderr, "volume", errors.New("-database-url is empty: give it a PostgreSQL URL such as postgres://user@localhost/doorbuster"))
	}
	return cli.Finish(ctx, stderr, "volume", fill(ctx, *url, size, stdout))
}

func fill(ctx context.Context, url string, size volume.Size, stdout io.Writer) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	began := time.Now()
	err = volume.Fill(ctx, conn, size, func(format string, args ...any) {
		fmt.Fprintf(stdout, "%6.0fs  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	})
	if err == nil {
		fmt.Fprintf(stdout, "%6.0fs  %d products, %d orders, with statistics\n", time.Since(began).Seconds(), size.Products, size.Orders)
	}
	return err
}
