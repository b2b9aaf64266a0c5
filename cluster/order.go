//go:build unix

package cluster

import (
	"context"
	"fmt"
	"os"
	"runtime"

	"doorbuster/cluster/internal/supervisor"
)

// Scale sets how many workers there should be, from 1 to 1024, and waits for the
// outcome. Workers are added a few at a time, and leave one after the other. It
// returns nil when all are ready, or when all that were too many have left; a
// *[VerdictError] when an additional worker fails, and then there are as many as
// had become ready; [ErrSuperseded] when another Scale or a signal has set a
// number since; [ErrStopped] when the master was told to stop. Once begun it goes
// on, also when ctx ends.
func (m *Master) Scale(ctx context.Context, workers int) error {
	return m.scaleWith(ctx, workers, ScaleOptions{Force: true})
}

func (m *Master) scaleWith(ctx context.Context, workers int, options ScaleOptions) error {
	if err := m.running(); err != nil {
		return err
	}
	if workers < 1 || workers > maxWorkers {
		return fmt.Errorf("%d workers: there can be 1 to %d", workers, maxWorkers)
	}
	var most int
	var why string
	if !options.Force {
		most, why = m.most()
	}
	verdict := make(chan error, 1)
	what := fmt.Sprintf("scale to %d", workers)
	if err := m.call(ctx, func(l *loop) {
		if !options.Force && workers > max(most, l.sup.Target) { // fewer than there are is always a way out
			l.asked(ctx, what)
			verdict <- fmt.Errorf("%d workers: there is room for %d (%s); \"force\" adds them all the same", workers, most, why)
			return
		}
		l.order(ctx, what, verdict, func(t supervisor.Ticket) supervisor.Event {
			return supervisor.Scale{Ticket: t, Workers: workers}
		})
	}); err != nil {
		return err
	}
	if options.NoWait {
		select {
		case err := <-verdict: // it was refused
			return err
		default:
			return nil
		}
	}
	return m.await(ctx, verdict)
}

// most is how many workers are not refused without force: what the machine has room
// for, and what the master was told to begin with.
func (m *Master) most() (n int, reason string) {
	root, memory := os.DirFS("/"), m.cfg.MaxWorkerMemory
	if runtime.GOOS != "linux" {
		memory = 0 // which nobody can be asked about
	}
	n, reason = mostWorkers(root, runtime.NumCPU(), memory)
	if m.workers > n {
		return m.workers, "as many as at the start"
	}
	return n, reason
}

// Restart replaces the worker in a slot by another one of the same release, which
// is ready before the old one is told to leave, and waits until that has gone. It
// returns a *[VerdictError] when the replacement fails, and then the old worker
// serves on, or when the slot has no worker that serves; [ErrSuperseded] when a
// reload began meanwhile; [ErrStopped] when the master was told to stop. Once begun
// it goes on, also when ctx ends.
func (m *Master) Restart(ctx context.Context, slot int) error {
	return m.order(ctx, fmt.Sprintf("restart %d", slot), func(t supervisor.Ticket) supervisor.Event {
		return supervisor.Restart{Ticket: t, Slot: slot}
	})
}

// Drain tells the worker in a slot to leave in order, now, and waits until it has
// gone and another one is ready in its slot. Until then there is one fewer: Restart
// is the way without that. It is refused, with a *[VerdictError], when nobody else
// is ready or the slot could not be filled again. The other errors are those of
// Restart.
func (m *Master) Drain(ctx context.Context, slot int) error {
	return m.order(ctx, fmt.Sprintf("drain %d", slot), func(t supervisor.Ticket) supervisor.Event {
		return supervisor.Leave{Ticket: t, Slot: slot}
	})
}

// Reset closes all circuit breakers and ends all pauses before restarts: whoever is
// missing is started now. It returns [ErrStopped] when the master was told to stop.
func (m *Master) Reset(ctx context.Context) error {
	var refused error
	if err := m.call(ctx, func(l *loop) {
		l.asked(ctx, "reset")
		if l.sup.Stopping > 0 {
			refused = ErrStopped
			return
		}
		l.step(supervisor.Reset{})
	}); err != nil {
		return err
	}
	return refused
}

// order hands an event with a ticket to the supervisor, and waits for its verdict.
func (m *Master) order(ctx context.Context, what string, event func(supervisor.Ticket) supervisor.Event) error {
	verdict := make(chan error, 1)
	if err := m.call(ctx, func(l *loop) { l.order(ctx, what, verdict, event) }); err != nil {
		return err
	}
	return m.await(ctx, verdict)
}

// command is one that waits for its verdict.
type command struct {
	what    string
	verdict chan<- error
}

func (l *loop) order(ctx context.Context, what string, verdict chan<- error, event func(supervisor.Ticket) supervisor.Event) {
	l.ticket++
	l.orders[l.ticket] = command{what, verdict}
	l.asked(ctx, what)
	l.step(event(l.ticket))
}

// await waits for a verdict. One that came with the end of the master counts.
func (m *Master) await(ctx context.Context, verdict <-chan error) error {
	select {
	case err := <-verdict:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-m.ended:
		select {
		case err := <-verdict:
			return err
		default:
			return ErrStopped
		}
	}
}

// failure puts a verdict into the error that it is; nil if all went well.
func (l *loop) failure(v supervisor.Verdict) error {
	if v.Reason == "" {
		return nil
	}
	if err := endedBy(v.End); err != nil {
		return err
	}
	failed := &VerdictError{Reason: v.Reason}
	if v.Culprit != 0 {
		culprit := l.remembered(v.Culprit)
		failed.Reason, failed.Output = culprit.subject+v.Reason, culprit.said
	}
	return failed
}
