//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	"doorbuster/cluster"
	"doorbuster/loadtest/internal/shop"
)

// census watches how many processes the master has, until ctx ends.
type census struct {
	samples int          // at which the master could be asked
	most    int          // children at a moment, those that leave included
	target  int          // the largest so far
	held    int          // the most that held a slot, or answered, at a moment
	here    map[int]bool // at the last look, those that did not leave
	over    []string
}

// Between two looks. Nothing tells when a process gets a child.
const censusPulse = 100 * time.Millisecond

// take looks again and again. A child holds a slot, or is the answerer, unless the master says that it leaves, or that its
// slot is one of those that a smaller target has made superfluous: these leave one after the other. Only those count that
// were there before the master was asked and still are after that, so that its word is about them, and at the look before:
// one that was killed takes a moment to be gone.
func (c *census) take(ctx context.Context, srv *shop.Server) {
	ticker := time.NewTicker(censusPulse)
	defer ticker.Stop()
	leaving := map[int]bool{}
	for {
		select {
		case <-ticker.C:
		case <-srv.Exited():
			return
		case <-ctx.Done():
			return
		}
		before := childrenOf(srv.PID())
		asking, cancel := context.WithTimeout(ctx, statusLimit)
		status, err := srv.Status(asking)
		cancel()
		if err != nil {
			continue
		}
		after := childrenOf(srv.PID())
		c.count(before, after, &status, leaving)
	}
}

// count is one look. leaving are those of whom the master has ever said so.
func (c *census) count(before, after map[int]bool, status *cluster.Status, leaving map[int]bool) {
	target := status.Master.Target
	c.target = max(c.target, target)
	superfluous := map[int]bool{}
	for _, w := range status.Workers {
		if w.State == "draining" {
			leaving[w.PID] = true
		}
		superfluous[w.PID] = w.Slot > target
	}
	held, serving := 0, 0
	here := map[int]bool{}
	for pid := range before {
		if !after[pid] || leaving[pid] {
			continue
		}
		here[pid] = true
		if !c.here[pid] {
			continue
		}
		serving++
		if !superfluous[pid] {
			held++
		}
	}
	c.here = here
	for pid := range leaving {
		if !before[pid] && !after[pid] {
			delete(leaving, pid) // its number may become another's
		}
	}
	c.samples++
	c.most, c.held = max(c.most, len(before)), max(c.held, held)
	if held > target+1 || serving > c.target+1 {
		c.over = append(c.over, fmt.Sprintf("%d processes hold a slot or answer, of a target of %d workers; with those that are superfluous %d, of a target that was %d",
			held, target, serving, c.target))
	}
}
