package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"text/tabwriter"
	"time"

	"doorbuster/loadtest/internal/figures"
	"doorbuster/loadtest/internal/wrk"
)

// A reloading is a row of the table: reloads of one kind.
type reloading struct {
	bake, traffic string
	reloads       int

	took     []time.Duration // each reload, as the command says
	spawns   []time.Duration // from fork to ready, each worker
	requests int
	failed   int
	says     error // the first failure, if the traffic tells
}

// reloadLimit bounds the traffic during reloads, whatever happens to them; leaveLimit is how long a worker may take to
// leave after its reload, which is more than the program's own drain limit.
const (
	reloadLimit = 5 * time.Minute
	leaveLimit  = 20 * time.Second
)

// noBake lets a reload go on as soon as the first new worker is ready.
const noBake = "BAKE=0s"

// reload measures how long it takes to replace all workers, and what fails meanwhile.
func (b *bench) reload(ctx context.Context) error {
	if !b.cfg.wants("reload") {
		return nil
	}
	workers := runtime.NumCPU()
	many := (b.cfg.spawns + workers - 1) / workers
	few := (many + 2) / 3
	var all []*reloading
	for _, s := range []struct {
		setup setup
		rows  []*reloading
	}{
		{clusterOf(workers, noBake), []*reloading{
			{bake: noBake, traffic: "none", reloads: many},
			{bake: noBake, traffic: "reads", reloads: many},
			{bake: noBake, traffic: "orders", reloads: few},
		}},
		{clusterOf(workers), []*reloading{
			{bake: "default", traffic: "none", reloads: few},
			{bake: "default", traffic: "reads", reloads: few},
		}},
	} {
		if err := b.With(ctx, s.setup, func(srv *server) error {
			for _, row := range s.rows {
				if err := b.underTraffic(ctx, srv, row, workers); err != nil {
					return fmt.Errorf("reload under %s: %w", row.traffic, err)
				}
				b.say("%d reloads under %s, %s: %d requests, %d failed", row.reloads, row.traffic, row.bake, row.requests, row.failed)
			}
			return nil
		}); err != nil {
			return err
		}
		all = append(all, s.rows...)
	}
	return b.printReloads(workers, all)
}

// underTraffic reloads again and again while there is traffic.
func (b *bench) underTraffic(ctx context.Context, srv *server, row *reloading, workers int) error {
	switch row.traffic {
	case "reads":
		run, err := wrk.Start(ctx, reads(srv, b.cfg.connections, reloadLimit))
		if err != nil {
			return err
		}
		err = b.reloadAll(ctx, srv, row, workers)
		s, stopped := run.Stop()
		row.requests, row.failed = s.Requests, s.Failed
		return errors.Join(err, stopped)
	case "orders":
		until, enough := context.WithTimeout(ctx, reloadLimit)
		defer enough()
		reloaded := make(chan error, 1)
		go func() {
			defer enough()
			reloaded <- b.reloadAll(ctx, srv, row, workers)
		}()
		did, err := (&buyers{addr: srv.Addr, count: b.cfg.connections, skus: b.skus, until: until}).run(ctx)
		row.requests, row.failed, row.says = len(did.checkouts)+did.failed, did.failed, did.complaint
		return errors.Join(<-reloaded, err)
	}
	return b.reloadAll(ctx, srv, row, workers)
}

// reloadedIn is what "doorbuster reload" says at the end.
var reloadedIn = regexp.MustCompile(`(?m)^reloaded in (\S+)$`)

func (b *bench) reloadAll(ctx context.Context, srv *server, row *reloading, workers int) error {
	before := srv.Logged("worker ready")
	for range row.reloads {
		if err := b.reloadOnce(ctx, srv, row, workers); err != nil {
			return err
		}
	}
	entries, err := srv.Await(ctx, "worker ready", len(before)+workers*row.reloads)
	if err != nil {
		return fmt.Errorf("find the new workers in the log: %w", err)
	}
	for _, e := range entries[len(before):] {
		took, err := time.ParseDuration(e.After)
		if err != nil {
			return fmt.Errorf("read how long a worker took to be ready: %w", err)
		}
		row.spawns = append(row.spawns, took)
	}
	return nil
}

// reloadOnce returns when the old workers are gone: whatever they break counts, and nobody of them weighs on the next one.
func (b *bench) reloadOnce(ctx context.Context, srv *server, row *reloading, workers int) error {
	const left = "worker left"
	before := srv.Logged(left)
	out, err := b.Command(ctx, srv.RuntimeDir, "reload")
	if err != nil {
		return err
	}
	said := reloadedIn.FindStringSubmatch(out)
	if said == nil {
		return fmt.Errorf("doorbuster reload does not say how long it took:\n%s", out)
	}
	took, err := time.ParseDuration(said[1])
	if err != nil {
		return fmt.Errorf("read what doorbuster reload said: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, leaveLimit, fmt.Errorf("it took more than %v", leaveLimit))
	defer cancel()
	if _, err := srv.Await(ctx, left, len(before)+workers); err != nil {
		return fmt.Errorf("wait until the old workers have left: %w\n%s", err, srv.Tail())
	}
	row.took = append(row.took, took)
	return nil
}

func (b *bench) printReloads(workers int, rows []*reloading) error {
	fmt.Fprintf(b.out, "\nReload of %d workers: what \"doorbuster reload\" says it took, and what failed meanwhile; %d connections\n\n", workers, b.cfg.connections)
	t := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "setting\ttraffic\treloads\tseconds\tper worker\tspawns\tfork to ready ms\tserved\tfailed")
	var says error
	for _, row := range rows {
		each := figures.Over(row.took, time.Duration.Seconds)
		ready := figures.Over(row.spawns, figures.Milliseconds)
		served, failed := "-", "-"
		if row.traffic != "none" {
			served, failed = fmt.Sprintf("%s %s", figures.Thousands(float64(row.requests-row.failed)), row.traffic), figures.Thousands(float64(row.failed))
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%.2f\t%d\t%.0f (%.0f-%.0f)\t%s\t%s\n", row.bake, row.traffic, row.reloads, each,
			each.Median/float64(workers), len(row.spawns), ready.Median, ready.Min, ready.Max, served, failed)
		if says == nil {
			says = row.says
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if says != nil {
		fmt.Fprintln(b.out, "\nThe first failure:", says)
	}
	return nil
}
