//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"doorbuster/cluster"
	"doorbuster/loadtest/internal/shop"
)

// rest is what a shop holds when nobody asks it for anything.
type rest struct {
	target, ready     int
	masterDescriptors int
	masterMemory      int64 // of its own: RssAnon, bytes
	masterThreads     int64
	descriptors       int            // of the worker that has the most
	goroutines        map[string]int // of all workers, the most that one has, by the function that they began with
	files             []string
}

// Allowances of a master that has lived through a script: its heap is as large as the garbage collector pleases, and Go
// keeps the threads that it has ever needed.
const (
	memoryAllowance = 32 << 20
	threadAllowance = 16
	// Pools and servers start some goroutines when they first need them. A worker that served has needed more of them.
	freshAllowance     = 2
	goroutineAllowance = 10
)

// Time limits of recovery. The longest back-off of a slot is 38 s.
const (
	healLimit = 75 * time.Second
	restLimit = 30 * time.Second
	restPulse = 200 * time.Millisecond
)

// whole returns nil when a shop is in order, and else what it is in the middle of.
func whole(status *cluster.Status, children, target int) error {
	m := status.Master
	switch {
	case m.State != "running":
		return fmt.Errorf("the state is %s: %q", m.State, m.Reasons)
	case m.BreakerOpen || len(status.Breakers) > 0:
		return errors.New("a circuit breaker is open")
	case m.Target != target:
		return fmt.Errorf("the target is %d, want %d", m.Target, target)
	case m.Ready != target || len(status.Workers) != target:
		return fmt.Errorf("%d workers are ready, of %d that there are, want %d", m.Ready, len(status.Workers), target)
	case m.Answering:
		return errors.New("the answerer is there")
	case children != target:
		return fmt.Errorf("the master has %d children, want %d", children, target)
	}
	for _, w := range status.Workers {
		if w.State != "ready" || w.Unhealthy != "" {
			return fmt.Errorf("worker %d is %s %s", w.Slot, w.State, w.Unhealthy)
		}
	}
	return nil
}

// awaitWhole waits until a shop is in order.
func awaitWhole(ctx context.Context, srv *shop.Server, target int, limit time.Duration) (cluster.Status, error) {
	var status cluster.Status
	err := poll(ctx, limit, func() error {
		asking, cancel := context.WithTimeout(ctx, statusLimit)
		defer cancel()
		var err error
		if status, err = srv.Status(asking); err != nil {
			return err
		}
		return whole(&status, len(childrenOf(srv.PID())), target)
	})
	return status, err
}

// poll repeats a check until it finds nothing, or returns what it found last.
func poll(ctx context.Context, limit time.Duration, check func() error) error {
	end := time.Now().Add(limit)
	for {
		err := check()
		if err == nil || ctx.Err() != nil {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("after %v: %w", limit, err)
		}
		think(ctx, restPulse)
	}
}

// look takes down what a shop holds now.
func look(ctx context.Context, srv *shop.Server, admin string, target int) (rest, error) {
	status, err := awaitWhole(ctx, srv, target, healLimit)
	if err != nil {
		return rest{}, err
	}
	r := rest{target: status.Master.Target, ready: status.Master.Ready, goroutines: map[string]int{}}
	open, err := descriptors(srv.PID())
	if err != nil {
		return rest{}, err
	}
	r.masterDescriptors = len(open)
	if r.masterMemory, err = statusField(srv.PID(), "RssAnon"); err != nil {
		return rest{}, err
	}
	if r.masterThreads, err = statusField(srv.PID(), "Threads"); err != nil {
		return rest{}, err
	}
	for _, w := range status.Workers {
		open, err := descriptors(w.PID)
		if err != nil {
			return rest{}, err
		}
		r.descriptors = max(r.descriptors, len(open))
		profile, err := fetch(ctx, admin, fmt.Sprintf("/debug/workers/%d/pprof/goroutine?debug=1", w.PID))
		if err != nil {
			return rest{}, fmt.Errorf("take the goroutine profile of worker %d: %w", w.PID, err)
		}
		mostOf(r.goroutines, goroutinesIn(profile))
	}
	r.files, err = filesIn(srv.RuntimeDir)
	return r, err
}

// lookLong takes the most of what a shop holds over a few seconds: pools open and close connections as they please.
func lookLong(ctx context.Context, srv *shop.Server, admin string, target int) (rest, error) {
	const looks = 10
	var most rest
	for range looks {
		r, err := look(ctx, srv, admin, target)
		if err != nil {
			return rest{}, err
		}
		r.masterDescriptors, r.descriptors = max(r.masterDescriptors, most.masterDescriptors), max(r.descriptors, most.descriptors)
		r.masterMemory, r.masterThreads = max(r.masterMemory, most.masterMemory), max(r.masterThreads, most.masterThreads)
		mostOf(r.goroutines, most.goroutines)
		most = r
		think(ctx, restPulse)
	}
	return most, nil
}

// onceClient keeps no connection: those are descriptors of the master.
var onceClient = http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// fetch asks an admin address for something.
func fetch(ctx context.Context, admin, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := onceClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return string(body), err
}

// goroutinesIn counts the goroutines of a profile (runtime/pprof, debug=1) by the function that they began with: the last
// line of each stack.
func goroutinesIn(profile string) map[string]int {
	counts := map[string]int{}
	for stack := range strings.SplitSeq(profile, "\n\n") {
		n, function := 0, ""
		for line := range strings.Lines(stack) {
			if count, _, ok := strings.Cut(line, " @ "); ok {
				n, _ = strconv.Atoi(count) // the heading has none
			}
			if fields := strings.Fields(line); len(fields) > 2 && fields[0] == "#" {
				function, _, _ = strings.Cut(fields[2], "+")
			}
		}
		if function != "" {
			counts[function] += n
		}
	}
	return counts
}

// mostOf raises counts to others.
func mostOf(counts, others map[string]int) {
	for k, n := range others {
		counts[k] = max(counts[k], n)
	}
}

func filesIn(dir string) (files []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, d.Name())
		}
		return err
	})
	return files, err
}

// grown compares what a shop holds with what it held before, and says what is more than it may be. Where the workers are as
// fresh as they were then, they may have no more descriptors.
func grown(before, now rest, fresh bool) (leaks []string) {
	more := func(what string, was, is, allowed int64) {
		if is > was+allowed {
			leaks = append(leaks, fmt.Sprintf("%s: %d, and %d at the start", what, is, was))
		}
	}
	if now.target != before.target || now.ready != before.ready {
		leaks = append(leaks, fmt.Sprintf("%d of %d workers are ready, and %d of %d were", now.ready, now.target, before.ready, before.target))
	}
	more("descriptors of the master", int64(before.masterDescriptors), int64(now.masterDescriptors), 0)
	more("memory of the master in MB", before.masterMemory>>20, now.masterMemory>>20, memoryAllowance>>20)
	more("threads of the master", before.masterThreads, now.masterThreads, threadAllowance)
	if fresh {
		more("descriptors of a worker", int64(before.descriptors), int64(now.descriptors), 0)
	}
	for function, n := range now.goroutines {
		if fresh {
			more("goroutines of a worker in "+function, int64(before.goroutines[function]), int64(n), freshAllowance)
		} else {
			more("goroutines of a worker that served in "+function, int64(before.goroutines[function]), int64(n), goroutineAllowance)
		}
	}
	if !slices.Equal(before.files, now.files) {
		leaks = append(leaks, fmt.Sprintf("the runtime directory holds %q, and held %q", now.files, before.files))
	}
	return leaks
}

// awaitRest waits until a shop holds no more than before, and returns what it has too much of in the end.
func awaitRest(ctx context.Context, srv *shop.Server, admin string, before rest, fresh bool) (now rest, leaks []string, err error) {
	err = poll(ctx, restLimit, func() error {
		now, err = look(ctx, srv, admin, before.target)
		if err != nil {
			return err
		}
		if leaks = grown(before, now, fresh); len(leaks) > 0 {
			return errors.New("leaks")
		}
		return nil
	})
	if len(leaks) > 0 {
		err = nil
	}
	return now, leaks, err
}
