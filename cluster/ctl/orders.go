package ctl

import (
	"context"
	"errors"
	"fmt"
	"time"

	"doorbuster/cluster"
)

// ScaleOptions are the flags of scale.
type ScaleOptions struct {
	NoWait bool `name:"no-wait" help:"Only begin. Otherwise it waits until all are ready, or have left, and fails if one does."`
	Force  bool `name:"force" help:"Add more than this machine has room for: four for each CPU, and as many as fit into its memory."`
}

// Scale sets the number of workers, and tells how it went.
func (s *Service) Scale(ctx context.Context, n int, o ScaleOptions) error {
	client, err := s.dial(ctx)
	if err != nil {
		return err
	}
	untold := false // how it ends: by an older master
	client.Notice = func(notice string) {
		untold = true
		s.explain(notice)
	}
	began := time.Now()
	if err := client.ScaleWith(ctx, n, cluster.ScaleOptions{Force: o.Force, NoWait: o.NoWait}); err != nil {
		return s.judged(ctx, "scale failed", "scale", err)
	}
	if o.NoWait || untold {
		_, err = fmt.Fprintf(s.Stdout, "scaling to %s\n", workers(n))
	} else {
		_, err = fmt.Fprintf(s.Stdout, "scaled to %s in %v\n", workers(n), time.Since(began).Round(time.Millisecond))
	}
	return err
}

// Restart replaces the worker in a slot, and waits until that is done.
func (s *Service) Restart(ctx context.Context, slot int) error {
	return s.do(ctx, "restart", func(c *cluster.Client) error { return c.Restart(ctx, slot) },
		fmt.Sprintf("restarted the worker in slot %d", slot))
}

// Drain tells the worker in a slot to leave, and waits until another one is ready.
func (s *Service) Drain(ctx context.Context, slot int) error {
	return s.do(ctx, "drain", func(c *cluster.Client) error { return c.Drain(ctx, slot) },
		fmt.Sprintf("the worker in slot %d has left, and another one is ready", slot))
}

// Reset closes all circuit breakers.
func (s *Service) Reset(ctx context.Context) error {
	return s.do(ctx, "reset", func(c *cluster.Client) error { return c.Reset(ctx) },
		"all circuit breakers are closed, and nobody waits for a restart any longer")
}

// Kill kills the worker in a slot.
func (s *Service) Kill(ctx context.Context, slot int) error {
	return s.do(ctx, "kill", func(c *cluster.Client) error { return c.Kill(ctx, slot) },
		fmt.Sprintf("killed the worker in slot %d; %s shows how it is replaced", slot, s.command("status")))
}

// Set changes a setting of all workers.
func (s *Service) Set(ctx context.Context, key, value string) error {
	client, err := s.dial(ctx)
	if err != nil {
		return err
	}
	n, err := client.Set(ctx, key, value)
	if err != nil {
		return s.judged(ctx, "set failed", "set", err)
	}
	_, err = fmt.Fprintf(s.Stdout, "%s is %s on the master and %s\n", key, value, workers(n))
	return err
}

// Unset takes a setting back.
func (s *Service) Unset(ctx context.Context, key string) error {
	client, err := s.dial(ctx)
	if err != nil {
		return err
	}
	n, err := client.Unset(ctx, key)
	if err != nil {
		return s.judged(ctx, "unset failed", "unset", err)
	}
	_, err = fmt.Fprintf(s.Stdout, "%s is not given to new workers any more; the master and %s keep it. %s replaces the workers\n", key, workers(n), s.command("reload"))
	return err
}

// StopOptions are the flags of stop.
type StopOptions struct {
	Now bool `name:"now" help:"Cut what is in flight, and do not wait for clients."`
}

// Stop stops the service, and waits until it is gone. The end of ctx leaves it stopping;
// another Stop cuts it short.
func (s *Service) Stop(ctx context.Context, o StopOptions) error {
	client, err := s.dial(ctx)
	if err != nil {
		return err
	}
	stop, again := client.Stop, s.command("stop --now")+" cuts it short"
	if o.Now {
		stop, again = client.StopNow, "it takes a moment"
	}
	err = stop(ctx)
	switch {
	case err == nil:
		_, err = fmt.Fprintln(s.Stdout, "stopped")
		return err
	case ctx.Err() == nil:
		return err
	case errors.Is(err, cluster.ErrNotHeard), errors.Is(err, cluster.ErrOlder):
		return s.judged(ctx, "", "stop", err)
	}
	return errors.New("not waiting any more; the master is stopping: " + again)
}
