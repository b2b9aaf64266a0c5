package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"doorbuster/cluster"
	"doorbuster/loadtest/internal/client"
	"doorbuster/loadtest/internal/figures"
)

// evenEnough is the promise: the busiest worker has at most this many times the connections of the least busy one.
const evenEnough = 1.5

// settleLimit is how long workers may take to notice that connections are gone.
const settleLimit = 10 * time.Second

// evenness dials many connections at once and counts which worker got how many.
func (b *bench) evenness(ctx context.Context) error {
	if !b.cfg.wants("evenness") {
		return nil
	}
	fmt.Fprintf(b.out, "\nConnections per worker, dialled in one burst and kept; the busiest over the least busy (promised: %.1f at most)\n\n", evenEnough)
	t := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "workers\tconnections\tbursts\tmedian\tworst\tthe worst burst\t")
	for _, workers := range []int{2, 4} {
		if err := b.With(ctx, clusterOf(workers), func(s *server) error {
			for _, connections := range []int{64, wideConnections} {
				bursts, err := b.bursts(ctx, s, connections)
				if err != nil {
					return fmt.Errorf("dial %d connections to %d workers: %w", connections, workers, err)
				}
				printBursts(t, workers, connections, bursts)
				b.say("evenness, %d workers, %d connections: %v", workers, connections, bursts)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return t.Flush()
}

func printBursts(t *tabwriter.Writer, workers, connections int, bursts [][]int) {
	worst := slices.MaxFunc(bursts, func(x, y []int) int { return cmp.Compare(unevenness(x), unevenness(y)) })
	ratios := figures.Over(bursts, unevenness)
	verdict := ""
	if ratios.Max > evenEnough {
		above := 0
		for _, b := range bursts {
			if unevenness(b) > evenEnough {
				above++
			}
		}
		verdict = fmt.Sprintf("above %.1f: %d of %d", evenEnough, above, len(bursts))
	}
	distribution := strings.Trim(strings.ReplaceAll(fmt.Sprint(worst), " ", "/"), "[]")
	fmt.Fprintf(t, "%d\t%d\t%d\t%.2f\t%.2f\t%s\t%s\n", workers, connections, len(bursts), ratios.Median, ratios.Max, distribution, verdict)
}

// unevenness is infinite if somebody got nothing.
func unevenness(counts []int) float64 {
	least := slices.Min(counts)
	if least == 0 {
		return math.Inf(1)
	}
	return float64(slices.Max(counts)) / float64(least)
}

// bursts returns the connections per worker, in ascending order, for each burst.
func (b *bench) bursts(ctx context.Context, s *server, connections int) ([][]int, error) {
	all := make([][]int, b.cfg.bursts)
	for i := range all {
		status, err := settle(ctx, s)
		if err != nil {
			return nil, err
		}
		counts := map[string]int{}
		for _, w := range status.Workers {
			counts[strconv.Itoa(w.PID)] = 0 // also the one that gets none
		}
		if err := burst(ctx, s.Addr, connections, counts); err != nil {
			return nil, err
		}
		for _, n := range counts {
			all[i] = append(all[i], n)
		}
		slices.Sort(all[i])
	}
	return all, nil
}

// settle waits until the workers know of no connection any more: what is left of a burst would weigh on the next.
func settle(ctx context.Context, s *server) (cluster.Status, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, settleLimit, fmt.Errorf("workers still count connections after %v", settleLimit))
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		status, err := s.Status(ctx)
		if err != nil {
			return status, err
		}
		open := 0
		for _, w := range status.Workers {
			open += w.Connections
		}
		if open == 0 {
			return status, nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return status, context.Cause(ctx)
		}
	}
}

// burst dials at once, has each connection answered, keeps all of them until the last was, and counts who answered.
func burst(ctx context.Context, addr string, connections int, counts map[string]int) error {
	clients, workers, errs := make([]*client.Client, connections), make([]string, connections), make([]error, connections)
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			<-begin
			if clients[i], errs[i] = client.Dial(ctx, addr); errs[i] != nil {
				return
			}
			var r client.Reply
			r, errs[i] = clients[i].Get(ctx, readPath)
			workers[i] = r.Worker
			if errs[i] == nil && r.Status != http.StatusOK {
				errs[i] = fmt.Errorf("GET %s: %d, want 200: %s", readPath, r.Status, r.Body)
			}
		})
	}
	close(begin)
	wg.Wait()
	for i, c := range clients {
		if c != nil {
			c.Close()
		}
		counts[workers[i]]++
	}
	return errors.Join(errs...)
}
