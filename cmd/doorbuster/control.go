package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"doorbuster/cluster"
)

// statusLimit is how long a running master may take to say how it is.
const statusLimit = 5 * time.Second

// socket is the path of the control socket.
func (c *controlFlags) socket() (string, error) {
	if c.ControlSocket != "" {
		return c.ControlSocket, nil
	}
	dir, err := runtimeDir()
	return filepath.Join(dir, controlSocketName), err
}

func (c *controlFlags) dial(ctx context.Context) (*cluster.Client, error) {
	path, err := c.socket()
	if err != nil {
		return nil, err
	}
	client, err := cluster.Dial(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("%w. Is \"doorbuster serve\" or \"doorbuster dev\" running? CONTROL_SOCKET names another socket", err)
	}
	return client, nil
}

type statusCommand struct {
	controlFlags
	JSON  bool `name:"json" help:"As JSON."`
	Ready bool `name:"ready" help:"Fail unless a worker is ready and nobody has said stop: for health checks."`
}

// Run prints how the cluster is.
func (c *statusCommand) Run(env *environment) error {
	ctx, cancel := context.WithTimeout(env.signals.stop, statusLimit)
	defer cancel()
	client, err := c.dial(ctx)
	if err != nil {
		return err
	}
	status, err := client.Status(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		out := json.NewEncoder(env.stdout)
		out.SetIndent("", "  ")
		err = out.Encode(status)
	} else {
		err = printStatus(env.stdout, status)
	}
	if err == nil && c.Ready {
		err = serves(status)
	}
	return err
}

// serves is nil if a worker is ready and nobody has told the master to stop, as for its /readyz.
func serves(s cluster.Status) error {
	if m := s.Master; m.Ready == 0 || m.State == "stopping" {
		return fmt.Errorf("the shop does not serve: it is %s, with %d of %d workers ready", m.State, m.Ready, m.Target)
	}
	return nil
}

func printStatus(out io.Writer, s cluster.Status) error {
	m := s.Master
	fmt.Fprintf(out, "%s: %d of %d workers ready, on %s, release %s, master pid %d up %v, %d crashes\n\n",
		m.State, m.Ready, m.Target, strings.Join(m.Listeners, " "), m.Release, m.PID, seconds(m.UptimeSeconds), m.CrashesTotal)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SLOT\tPID\tSTATE\tRELEASE\tUP\tMEMORY\tIN FLIGHT\tCONNECTIONS\tREQUESTS")
	for _, w := range s.Workers {
		fmt.Fprintf(table, "%d\t%d\t%s\t%s\t%v\t%d MB\t%d\t%d\t%d\n", w.Slot, w.PID, w.State, w.Release, seconds(w.UptimeSeconds), w.RSSBytes>>20, w.InFlight, w.Connections, w.RequestsTotal)
	}
	return table.Flush()
}

func seconds(s float64) time.Duration { return time.Duration(s) * time.Second }

type reloadCommand struct{ controlFlags }

// Run replaces the workers, shows how far it is, and fails with the reason when the old release serves on.
func (c *reloadCommand) Run(env *environment) error {
	ctx := env.signals.stop
	client, err := c.dial(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	show := progressOn(env.stdout)
	err = client.Reload(ctx, show.event)
	show.end()
	var verdict *cluster.VerdictError
	switch {
	case errors.As(err, &verdict):
		if len(verdict.Output) > 0 {
			fmt.Fprintf(env.stderr, "The last it said:\n  %s\n", strings.Join(verdict.Output, "\n  "))
		}
		return fmt.Errorf("reload failed, and the release before serves on: %w", err)
	case ctx.Err() != nil && show.began:
		return errors.New("not waiting for the reload any more; it goes on")
	case ctx.Err() != nil:
		return errors.New("not waiting for the reload any more, which had not begun: \"doorbuster status\" tells")
	case err != nil:
		return err
	}
	fmt.Fprintf(env.stdout, "reloaded in %v\n", time.Since(began).Round(time.Millisecond))
	return nil
}

// progress shows a reload: a bar on a terminal, a line for each step elsewhere.
type progress struct {
	out      io.Writer
	terminal bool
	began    bool
	drawn    bool
}

func progressOn(out io.Writer) *progress {
	f, ok := out.(*os.File)
	return &progress{out: out, terminal: ok && isTerminal(f)}
}

const barWidth = 30

func (p *progress) event(e cluster.Event) {
	p.began = true
	text := describeEvent(e)
	switch {
	case text == "":
	case p.terminal:
		done := 0
		if e.Total > 0 {
			done = min(e.Done, e.Total) * barWidth / e.Total
		}
		// CR and "erase to the end of the line" (ECMA-48), so that a shorter text leaves nothing of a longer one.
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

// describeEvent puts those events into words that belong to a reload.
func describeEvent(e cluster.Event) string {
	switch e.Kind {
	case "rollout":
		return "to release " + e.Release
	case "ready":
		return fmt.Sprintf("worker %d (pid %d) is ready", e.Slot, e.PID)
	case "baking":
		if e.Wait < 0.01 {
			return ""
		}
		return fmt.Sprintf("worker %d (pid %d) has to stay healthy for %v", e.Slot, e.PID, time.Duration(e.Wait*float64(time.Second)))
	case "replaced":
		return fmt.Sprintf("worker %d (pid %d) takes over", e.Slot, e.PID)
	case "left":
		return fmt.Sprintf("worker %d (pid %d) has left", e.Slot, e.PID)
	case "crashed", "late", "silent", "stuck":
		return fmt.Sprintf("worker %d (pid %d) %s", e.Slot, e.PID, e.Reason)
	case "rollback":
		return "going back to release " + e.Release
	}
	return ""
}

type scaleCommand struct {
	controlFlags
	Workers int `arg:"" help:"How many workers there should be."`
}

// Run sets the number of workers.
func (c *scaleCommand) Run(env *environment) error {
	client, err := c.dial(env.signals.stop)
	if err != nil {
		return err
	}
	if err := client.Scale(env.signals.stop, c.Workers); err != nil {
		return err
	}
	fmt.Fprintf(env.stdout, "scaling to %d workers\n", c.Workers)
	return nil
}

type killCommand struct {
	controlFlags
	Slot int `arg:"" help:"Slot of the worker; the status shows them."`
}

// Run kills a worker.
func (c *killCommand) Run(env *environment) error {
	client, err := c.dial(env.signals.stop)
	if err != nil {
		return err
	}
	if err := client.Kill(env.signals.stop, c.Slot); err != nil {
		return err
	}
	fmt.Fprintf(env.stdout, "killed the worker in slot %d; \"doorbuster status\" shows how it is replaced\n", c.Slot)
	return nil
}

type stopCommand struct{ controlFlags }

// Run stops the cluster and waits until it is gone. Ctrl-C while it waits leaves the cluster stopping; another
// "doorbuster stop" cuts it short.
func (c *stopCommand) Run(env *environment) error {
	client, err := c.dial(env.signals.stop)
	if err != nil {
		return err
	}
	if err := client.Stop(env.signals.stop); err != nil {
		if env.signals.stop.Err() != nil {
			return errors.New("not waiting any more; the master is stopping. Again: at once")
		}
		return err
	}
	fmt.Fprintln(env.stdout, "stopped")
	return nil
}

type setCommand struct {
	controlFlags
	Settings map[string]string `arg:"" help:"What to change: log-level=debug."`
}

// Run gives settings to all workers.
func (c *setCommand) Run(env *environment) error {
	client, err := c.dial(env.signals.stop)
	if err != nil {
		return err
	}
	for key, value := range c.Settings {
		n, err := client.Set(env.signals.stop, key, value)
		if err != nil {
			return err
		}
		fmt.Fprintf(env.stdout, "%s is %s on the master and %d workers\n", key, value, n)
	}
	return nil
}

type unsetCommand struct {
	controlFlags
	Keys []string `arg:"" help:"What to forget: log-level."`
}

// Run takes settings back.
func (c *unsetCommand) Run(env *environment) error {
	client, err := c.dial(env.signals.stop)
	if err != nil {
		return err
	}
	for _, key := range c.Keys {
		n, err := client.Unset(env.signals.stop, key)
		if err != nil {
			return err
		}
		fmt.Fprintf(env.stdout, "%s is not given to new workers any more; the master and %d workers keep it. \"doorbuster reload\" replaces the workers\n", key, n)
	}
	return nil
}
