package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"doorbuster/cluster"
)

// ReloadOptions are the flags of reload.
type ReloadOptions struct {
	Check bool `name:"check" help:"Replace nobody: only look whether the program on disk would be adopted, and fail with the reason if not."`
	Back  bool `name:"back" help:"Go back to the release before the one that serves, which the master has kept, whatever is on disk. Twice: come back."`
}

// Reload replaces the workers, shows how far it is, and fails with the reason when the
// release before serves on.
func (s *Service) Reload(ctx context.Context, o ReloadOptions) error {
	if o.Check && o.Back {
		return errors.New("either --check or --back: what would be gone back to was checked when it was adopted")
	}
	client, err := s.dial(ctx)
	if err != nil {
		return err
	}
	if o.Check {
		return s.check(ctx, client)
	}
	reload := client.Reload
	if o.Back {
		reload = client.ReloadBack
	}
	began := time.Now()
	show := progressOn(s.Stdout)
	err = reload(ctx, show.event)
	show.end()
	switch {
	case err == nil:
		_, err = fmt.Fprintf(s.Stdout, "reloaded in %v\n", time.Since(began).Round(time.Millisecond))
		return err
	case ctx.Err() != nil && show.began:
		return errors.New("not waiting for the reload any more; it goes on")
	}
	return s.judged(ctx, "reload failed, and the release before serves on", "reload", err)
}

func (s *Service) check(ctx context.Context, client *cluster.Client) error {
	release, err := client.Check(ctx)
	if err != nil {
		return s.judged(ctx, "a reload would be refused", "check", err)
	}
	_, err = fmt.Fprintf(s.Stdout, "a reload would adopt release %s\n", release)
	return err
}

// progress shows a reload: a bar on a terminal, a line for each step elsewhere.
type progress struct {
	out      io.Writer
	terminal bool
	began    bool
	drawn    bool
}

func progressOn(out io.Writer) *progress {
	p := &progress{out: out}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

const barWidth = 30

func (p *progress) event(e cluster.Event) {
	p.began = true
	text := describe(e)
	switch {
	case text == "":
	case p.terminal:
		done := 0
		if e.Total > 0 {
			done = min(e.Done, e.Total) * barWidth / e.Total
		}
		// CR and "erase to the end of the line" (ECMA-48), so that a shorter text leaves
		// nothing of a longer one.
		fmt.Fprintf(p.out, "\r\x1b[K[%s%s] %d/%d  %s", strings.Repeat("=", done), strings.Repeat(" ", barWidth-done), e.Done, e.Total, text)
		p.drawn = true
	default:
		fmt.Fprintf(p.out, "%d/%d  %s\n", e.Done, e.Total, text)
	}
}

func (p *progress) end() {
	if p.drawn {
		fmt.Fprintln(p.out)
	}
}

// describe puts those events into words that belong to a reload.
func describe(e cluster.Event) string {
	worker := fmt.Sprintf("worker %d (pid %d) ", e.Slot, e.PID)
	switch e.Kind {
	case cluster.EventRollout:
		return "to release " + e.Release
	case cluster.EventReady:
		return worker + "is ready"
	case cluster.EventBaking:
		if e.Wait < 0.01 {
			return ""
		}
		return worker + fmt.Sprintf("has to stay healthy for %v", time.Duration(e.Wait*float64(time.Second)))
	case cluster.EventReplaced:
		return worker + "takes over"
	case cluster.EventLeft:
		return worker + "has left"
	case cluster.EventCrashed, cluster.EventLate, cluster.EventSilent, cluster.EventStuck:
		return worker + e.Reason
	case cluster.EventRollback:
		return "going back to release " + e.Release
	}
	return ""
}
