package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"

	"doorbuster/loadtest/internal/figures"
)

// postgresAlone measures all ways in turns, and prints the table.
func (b *bench) postgresAlone(ctx context.Context) (_ []*way, err error) {
	all := ways()
	defer func() {
		_, dropped := b.DB.Exec(context.WithoutCancel(ctx), "DROP SCHEMA IF EXISTS bench CASCADE")
		err = errors.Join(err, dropped)
	}()
	for _, w := range all {
		w.connections = cmp.Or(w.connections, b.cfg.connections[0])
	}
	for round := range b.cfg.rounds {
		for _, i := range figures.Turns(round, len(all)) {
			rate, err := b.try(ctx, all[i])
			if err != nil {
				return nil, fmt.Errorf("PostgreSQL alone, %s: %w", all[i].name, err)
			}
			all[i].rates = append(all[i].rates, rate)
		}
		b.say("round %d of %d in PostgreSQL alone", round+1, b.cfg.rounds)
	}
	fmt.Fprintf(b.out, "\nPostgreSQL alone: an order, a line and a payment for each unit of one SKU; %v each\n\n", b.cfg.alone)
	t := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\tconnections\torders/s")
	for _, w := range all {
		fmt.Fprintf(t, "%s\t%d\t%s\n", w.name, w.connections, figures.Of(w.rates).Whole())
	}
	return all, t.Flush()
}

// try measures one way on fresh tables, and counts afterwards: no order may be missing.
func (b *bench) try(ctx context.Context, w *way) (perSecond float64, err error) {
	if _, err := b.DB.Exec(ctx, schema+w.stock); err != nil {
		return 0, fmt.Errorf("make the tables: %w", err)
	}
	conns := make([]*pgx.Conn, w.connections)
	for i := range conns {
		if conns[i], err = pgx.Connect(ctx, b.Stack.Postgres.URL()); err != nil {
			return 0, err
		}
		defer conns[i].Close(context.WithoutCancel(ctx))
		if err := w.do(ctx, conns[i]); err != nil { // prepares its statements
			return 0, err
		}
	}
	var done atomic.Int64
	errs := make([]error, len(conns))
	var wg sync.WaitGroup
	began := time.Now()
	for i, conn := range conns {
		wg.Go(func() {
			for time.Since(began) < b.cfg.alone && errs[i] == nil {
				if errs[i] = w.do(ctx, conn); errs[i] == nil {
					done.Add(1)
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	if err := errors.Join(errs...); err != nil {
		return 0, err
	}
	var complete int64
	const countComplete = `
SELECT count(*) FROM bench.orders o JOIN bench.line l ON l.order_id = o.id JOIN bench.payment p ON p.order_id = o.id`
	if err := b.DB.QueryRow(ctx, countComplete).Scan(&complete); err != nil {
		return 0, err
	}
	if want := (done.Load() + int64(len(conns))) * int64(w.orders); complete != want {
		return 0, fmt.Errorf("there are %d orders, and %d were committed", complete, want)
	}
	return float64(done.Load()) * float64(w.orders) / took.Seconds(), nil
}
