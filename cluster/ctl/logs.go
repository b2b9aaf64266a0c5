package ctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"doorbuster/cluster"
)

// LogsOptions are the flags of logs.
type LogsOptions struct {
	Follow bool `name:"follow" short:"f" help:"Go on with what workers write from now on, until Ctrl-C or the end of the master."`
	Lines  int  `name:"lines" short:"n" default:"100" help:"How many of the last lines to begin with."`
	JSON   bool `name:"json" help:"A JSON object for each line, with its time, slot and pid."`
}

// Logs prints what workers have written: as they have written it for one slot, and with
// slot and pid before each line for all of them, which is slot 0. It returns nil when
// one who follows has had enough, by the end of ctx.
func (s *Service) Logs(ctx context.Context, slot int, o LogsOptions) error {
	if o.Lines < 0 {
		return fmt.Errorf("%d lines: there can be 0 and more", o.Lines)
	}
	client, err := s.dial(ctx)
	if err != nil {
		return err
	}
	reading, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	options := cluster.LogOptions{Slot: slot, Last: o.Lines, Follow: o.Follow}
	if o.Lines == 0 {
		options.Last = -1
	}
	lines := 0
	err = client.Logs(reading, options, func(l cluster.LogLine) {
		lines++
		if err := s.printLine(l, slot == 0, o.JSON); err != nil {
			stop(fmt.Errorf("write the log: %w", err))
		}
	})
	switch {
	case o.Follow && ctx.Err() != nil && !errors.Is(err, cluster.ErrNotHeard):
		return nil
	case err != nil && ctx.Err() != nil:
		return s.judged(ctx, "", "log", err)
	case err == nil && lines == 0 && o.Lines > 0 && !o.Follow:
		s.explain("no worker has written anything yet")
	}
	return err
}

func (s *Service) printLine(l cluster.LogLine, who, asJSON bool) (err error) {
	switch {
	case asJSON:
		return json.NewEncoder(s.Stdout).Encode(l)
	case l.Missed > 0:
		s.explain(fmt.Sprintf("%d lines were dropped here: they came faster than they were read", l.Missed))
	case who:
		_, err = fmt.Fprintf(s.Stdout, "[%d %d] %s\n", l.Slot, l.PID, l.Text)
	default:
		_, err = fmt.Fprintln(s.Stdout, l.Text)
	}
	return err
}
