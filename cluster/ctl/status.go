package ctl

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"doorbuster/cluster"
)

// StatusOptions are the flags of status.
type StatusOptions struct {
	JSON     bool `name:"json" help:"As JSON."`
	Complete bool `name:"complete" help:"Fail unless all workers are ready, on one release, with no circuit breaker open and nothing under way: for deployments."`
	Ready    bool `name:"ready" help:"Fail unless a worker is ready and nobody has said stop: for health checks."`
}

// statusLimit is how long a master that has heard the question may take to answer it.
const statusLimit = 5 * time.Second

// Status prints how the cluster is, and why.
func (s *Service) Status(ctx context.Context, o StatusOptions) error {
	client, err := s.dial(ctx)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, cmp.Or(s.Timeout, defaultTimeout)+statusLimit)
	defer cancel()
	status, err := client.Status(limited)
	if err != nil {
		return s.judged(ctx, "", "status", err)
	}
	if o.JSON {
		out := json.NewEncoder(s.Stdout)
		out.SetIndent("", "  ")
		err = out.Encode(status)
	} else {
		err = printStatus(s.Stdout, status)
	}
	if err == nil && o.Ready {
		err = serves(status)
	}
	if err == nil && o.Complete {
		err = complete(status)
	}
	return err
}

// serves is nil if a worker is ready and nobody has told the master to stop, as for
// /readyz of package admin.
func serves(s cluster.Status) error {
	m := s.Master
	if m.Ready > 0 && m.State != "stopping" {
		return nil
	}
	why := ""
	if len(m.Reasons) > 0 {
		why = ": " + strings.Join(m.Reasons, "; ")
	}
	return fmt.Errorf("it does not serve: it is %s, with %d of %s ready%s", m.State, m.Ready, workers(m.Target), why)
}

// complete is nil if all is as it should be.
func complete(s cluster.Status) error {
	m := s.Master
	why := m.Reasons
	for _, w := range s.Workers {
		if w.State != "ready" {
			why = append(why, fmt.Sprintf("worker %d (pid %d) is %s", w.Slot, w.PID, w.State))
		}
		if w.Release != m.Release {
			why = append(why, fmt.Sprintf("worker %d (pid %d) runs release %s, and not %s", w.Slot, w.PID, w.Release, m.Release))
		}
	}
	if m.State == "running" && m.Ready == m.Target && len(s.Workers) == m.Target && len(why) == 0 {
		return nil
	}
	return fmt.Errorf("it is not complete: it is %s, with %d of %s ready: %s", m.State, m.Ready, workers(m.Target),
		cmp.Or(strings.Join(why, "; "), "look again in a moment"))
}

// shownLines is how many of the last lines of a worker are shown.
const shownLines = 5

func printStatus(to io.Writer, s cluster.Status) error {
	var out strings.Builder
	m := s.Master
	before := ""
	if m.Before != "" {
		before = " (before: " + m.Before + ")"
	}
	fmt.Fprintf(&out, "%s: %d of %s ready, on %s, release %s%s, master pid %d up %v, %s\n\n",
		m.State, m.Ready, workers(m.Target), strings.Join(m.Listeners, " "), m.Release, before, m.PID, seconds(m.UptimeSeconds), crashes(m.CrashesTotal))
	for _, reason := range m.Reasons {
		fmt.Fprintf(&out, "! %s\n", reason)
	}
	if len(m.Reasons) > 0 {
		fmt.Fprintln(&out)
	}
	if err := printWorkers(&out, s); err != nil {
		return err
	}
	if c := s.LastCrash; c != nil {
		fmt.Fprintf(&out, "\nlast crash, at %s: worker %d (pid %d, release %s) %s\n", clock(c.Time), c.Slot, c.PID, c.Release, c.Reason)
		for _, line := range c.Output[max(0, len(c.Output)-shownLines):] {
			fmt.Fprintf(&out, "  %s\n", line)
		}
	}
	if v := s.LastVerdict; v != nil {
		outcome := "done"
		if !v.OK {
			outcome = "failed: " + v.Reason
		}
		what := v.Command
		if v.Release != "" {
			what += " to release " + v.Release
		}
		fmt.Fprintf(&out, "\nlast verdict, at %s: %s: %s\n", clock(v.Time), what, outcome)
	}
	if len(s.History) > 0 {
		fmt.Fprintln(&out, "\nhistory:")
	}
	for _, h := range s.History {
		by := ""
		if h.By != "" {
			by = ", by " + h.By
		}
		fmt.Fprintf(&out, "  %s  %s%s\n", clock(h.Time), h.What, by)
	}
	_, err := io.WriteString(to, out.String())
	return err
}

func printWorkers(out io.Writer, s cluster.Status) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SLOT\tPID\tSTATE\tRELEASE\tUP\tMEMORY\tIN FLIGHT\tCONNECTIONS\tREQUESTS\tCRASHES\tHEARD")
	for _, w := range s.Workers {
		fmt.Fprintf(table, "%d\t%d\t%s\t%s\t%v\t%d MB\t%d\t%d\t%d\t%d\t%v ago\n", w.Slot, w.PID, w.State, w.Release, seconds(w.UptimeSeconds), w.RSSBytes>>20,
			w.InFlight, w.Connections, w.RequestsTotal, w.CrashesTotal, time.Duration(w.SilentSeconds*float64(time.Second)).Round(100*time.Millisecond))
	}
	for _, w := range s.Waiting {
		fmt.Fprintf(table, "%d\t-\twaiting\t%s\t\t\t\t\t\t%d\t\n", w.Slot, w.Release, w.CrashesTotal)
	}
	return table.Flush()
}

func clock(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

func crashes(n int) string {
	if n == 1 {
		return "1 crash"
	}
	return fmt.Sprintf("%d crashes", n)
}

func seconds(s float64) time.Duration { return time.Duration(s) * time.Second }
