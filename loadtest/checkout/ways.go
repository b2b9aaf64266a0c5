package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// schema is all that the ways in PostgreSQL alone touch, made anew for each measurement.
const schema = `
DROP SCHEMA IF EXISTS bench CASCADE;
CREATE SCHEMA bench;
CREATE TABLE bench.stock (
    sku_id    integer NOT NULL,
    bucket    integer NOT NULL,
    available integer NOT NULL CHECK (available >= 0),
    PRIMARY KEY (sku_id, bucket)
) WITH (fillfactor = 50);
CREATE TABLE bench.unit (sku_id integer NOT NULL, id integer NOT NULL, PRIMARY KEY (sku_id, id));
CREATE TABLE bench.orders (id uuid PRIMARY KEY, email text NOT NULL, total bigint NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE bench.line (order_id uuid, sku_id integer, quantity integer NOT NULL, price bigint NOT NULL, PRIMARY KEY (order_id, sku_id));
CREATE TABLE bench.payment (order_id uuid PRIMARY KEY, reference text NOT NULL UNIQUE, amount bigint NOT NULL);
`

// Stock to put there. SKU 1 is the hot one; SKUs from 1001 on are the thousand others.
const (
	oneRow     = `INSERT INTO bench.stock VALUES (1, 0, 100000000)`
	aThousand  = `INSERT INTO bench.stock SELECT 1000 + n, 0, 100000000 FROM generate_series(1, 1000) AS n`
	buckets    = 16
	bucketRows = `INSERT INTO bench.stock SELECT 1, n, 10000000 FROM generate_series(1, 16) AS n`
	unitRows   = `INSERT INTO bench.unit SELECT 1, n FROM generate_series(1, 200000) AS n`
)

// A way takes units and writes orders, in one transaction on one connection.
type way struct {
	name        string
	connections int // 0: as many as there are buyers
	orders      int // of one transaction
	stock       string
	do          func(context.Context, *pgx.Conn) error
	rates       []float64 // by round
}

func ways() []*way {
	return []*way{
		{name: "FOR UPDATE first", orders: 1, stock: oneRow, do: forUpdateFirst},
		{name: "guarded UPDATE last", orders: 1, stock: oneRow, do: updateLast(theOne)},
		{name: "one statement", orders: 1, stock: oneRow, do: oneStatement},
		{name: "16 buckets, UPDATE last", orders: 1, stock: bucketRows, do: updateLast(bucketOf)},
		{name: "unit rows, SKIP LOCKED", orders: 1, stock: unitRows, do: unitRow},
		{name: "1,000 SKUs, UPDATE last", orders: 1, stock: aThousand, do: updateLast(anyOfThousand)},
		// The point of a batch is that there is no crowd of them: as many at a time as there are workers.
		{name: "10 orders per transaction", connections: runtime.NumCPU(), orders: 10, stock: oneRow, do: together(10)},
		{name: "50 orders per transaction", connections: runtime.NumCPU(), orders: 50, stock: oneRow, do: together(50)},
	}
}

const (
	insertOrder   = `INSERT INTO bench.orders (id, email, total) VALUES ($1, $2, $3)`
	insertLine    = `INSERT INTO bench.line VALUES ($1, $2, 1, $3)`
	insertPayment = `INSERT INTO bench.payment VALUES ($1, $2, $3)`
	takeUnits     = `UPDATE bench.stock SET available = available - $3 WHERE sku_id = $1 AND bucket = $2 AND available >= $3`
	price         = 1999
)

// insert writes the three rows of an order.
func insert(ctx context.Context, tx pgx.Tx, sku int) error {
	id := uuid.Must(uuid.NewV7())
	if _, err := tx.Exec(ctx, insertOrder, id, id.String()+"@example.com", price); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, insertLine, id, sku, price); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, insertPayment, id, "ch_"+id.String(), price)
	return err
}

func take(ctx context.Context, tx pgx.Tx, sku, bucket, n int) error {
	tag, err := tx.Exec(ctx, takeUnits, sku, bucket, n)
	return oneAffected(tag.RowsAffected(), err)
}

// oneAffected makes "sold out" an error: there is enough of everything.
func oneAffected(rows int64, err error) error {
	if err == nil && rows != 1 {
		return fmt.Errorf("%d rows were written, want 1", rows)
	}
	return err
}

// forUpdateFirst is check-then-act with a lock: nobody else gets anywhere until the commit.
func forUpdateFirst(ctx context.Context, conn *pgx.Conn) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		var available int
		if err := tx.QueryRow(ctx, `SELECT available FROM bench.stock WHERE sku_id = 1 AND bucket = 0 FOR UPDATE`).Scan(&available); err != nil {
			return err
		}
		if err := insert(ctx, tx, 1); err != nil {
			return err
		}
		return take(ctx, tx, 1, 0, 1)
	})
}

// Where units are taken from.
func theOne() (sku, bucket int)        { return 1, 0 }
func bucketOf() (sku, bucket int)      { return 1, 1 + rand.IntN(buckets) }
func anyOfThousand() (sku, bucket int) { return 1001 + rand.IntN(manySKUs), 0 }

// updateLast holds the row's lock for two round trips only.
func updateLast(choose func() (sku, bucket int)) func(context.Context, *pgx.Conn) error {
	return func(ctx context.Context, conn *pgx.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			sku, bucket := choose()
			if err := insert(ctx, tx, sku); err != nil {
				return err
			}
			return take(ctx, tx, sku, bucket, 1)
		})
	}
}

// oneStatement leaves no round trip between lock and commit.
func oneStatement(ctx context.Context, conn *pgx.Conn) error {
	const place = `
WITH taken AS (
    UPDATE bench.stock SET available = available - 1 WHERE sku_id = 1 AND bucket = 0 AND available >= 1 RETURNING sku_id
), placed AS (
    INSERT INTO bench.orders (id, email, total) SELECT $1::uuid, $2::text, $3::bigint FROM taken RETURNING id
), lines AS (
    INSERT INTO bench.line SELECT $1::uuid, sku_id, 1, $3::bigint FROM taken
)
INSERT INTO bench.payment SELECT $1::uuid, $4::text, $3::bigint FROM taken`
	id := uuid.Must(uuid.NewV7())
	tag, err := conn.Exec(ctx, place, id, id.String()+"@example.com", price, "ch_"+id.String())
	return oneAffected(tag.RowsAffected(), err)
}

// unitRow takes a row that nobody else is taking.
func unitRow(ctx context.Context, conn *pgx.Conn) error {
	const takeOne = `
DELETE FROM bench.unit WHERE sku_id = 1 AND id = (SELECT id FROM bench.unit WHERE sku_id = 1 LIMIT 1 FOR UPDATE SKIP LOCKED)`
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := insert(ctx, tx, 1); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, takeOne)
		return oneAffected(tag.RowsAffected(), err)
	})
}

const (
	insertOrders = `
INSERT INTO bench.orders (id, email, total) SELECT id, email, $3::bigint FROM unnest($1::uuid[], $2::text[]) AS u (id, email)`
	insertLines    = `INSERT INTO bench.line SELECT id, 1, 1, $2::bigint FROM unnest($1::uuid[]) AS u (id)`
	insertPayments = `
INSERT INTO bench.payment SELECT id, reference, $3::bigint FROM unnest($1::uuid[], $2::text[]) AS u (id, reference)`
)

// together places many orders in one transaction.
func together(n int) func(context.Context, *pgx.Conn) error {
	return func(ctx context.Context, conn *pgx.Conn) error {
		ids, emails, references := make([]uuid.UUID, n), make([]string, n), make([]string, n)
		for i := range ids {
			ids[i] = uuid.Must(uuid.NewV7())
			emails[i], references[i] = ids[i].String()+"@example.com", "ch_"+ids[i].String()
		}
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, insertOrders, ids, emails, price); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, insertLines, ids, price); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, insertPayments, ids, references, price); err != nil {
				return err
			}
			return take(ctx, tx, 1, 0, n)
		})
	}
}
