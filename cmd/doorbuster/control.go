package main

import (
	"cmp"
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
		err = fmt.Errorf("%w. Is \"doorbuster serve\" or \"doorbuster dev\" running? CONTROL_SOCKET names another socket", err)
		return nil, &exitError{err, exitNoMaster}
	}
	return client, nil
}

// dial reaches the master, and bounds how long it may take to hear a command.
func (c *commandFlags) dial(ctx context.Context) (*cluster.Client, error) {
	client, err := c.controlFlags.dial(ctx)
	if err == nil {
		client.Timeout = c.Timeout
	}
	return client, err
}

// statusLimit is how long a master that has heard the question may take to say how it is.
const statusLimit = 5 * time.Second

type statusCommand struct {
	commandFlags
	JSON     bool `name:"json" help:"As JSON."`
	Complete bool `name:"complete" help:"Fail unless all workers are ready, on one release, with no circuit breaker open and nothing under way: for deployments."`
	Ready    bool `name:"ready" help:"Fail unless a worker is ready and nobody has said stop: for health checks."`
}

// Run prints how the cluster is.
func (c *statusCommand) Run(env *environment) error {
	ctx, cancel := context.WithTimeout(env.signals.stop, c.Timeout+statusLimit)
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
	if err == nil && c.Complete {
		err = complete(status)
	}
	return err
}

// serves is nil if a worker is ready and nobody has told the master to stop, as for its /readyz.
func serves(s cluster.Status) error {
	if m := s.Master; m.Ready == 0 || m.State == "stopping" {
		why := ""
		if len(m.Reasons) > 0 {
			why = ": " + strings.Join(m.Reasons, "; ")
		}
		return fmt.Errorf("the shop does not serve: it is %s, with %d of %d workers ready%s", m.State, m.Ready, m.Target, why)
	}
	return nil
}

// complete is nil if the shop is all that it should be.
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
	return fmt.Errorf("the shop is not complete: it is %s, with %d of %d workers ready: %s", m.State, m.Ready, m.Target,
		cmp.Or(strings.Join(why, "; "), "look again in a moment"))
}

func printStatus(out io.Writer, s cluster.Status) error {
	m := s.Master
	fmt.Fprintf(out, "%s: %d of %d workers ready, on %s, release %s, master pid %d up %v, %s\n\n",
		m.State, m.Ready, m.Target, strings.Join(m.Listeners, " "), m.Release, m.PID, seconds(m.UptimeSeconds), crashes(m.CrashesTotal))
	for _, reason := range m.Reasons {
		fmt.Fprintf(out, "! %s\n", reason)
	}
	if len(m.Reasons) > 0 {
		fmt.Fprintln(out)
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SLOT\tPID\tSTATE\tRELEASE\tUP\tMEMORY\tIN FLIGHT\tCONNECTIONS\tREQUESTS\tHEARD")
	for _, w := range s.Workers {
		fmt.Fprintf(table, "%d\t%d\t%s\t%s\t%v\t%d MB\t%d\t%d\t%d\t%v ago\n", w.Slot, w.PID, w.State, w.Release, seconds(w.UptimeSeconds), w.RSSBytes>>20, w.InFlight, w.Connections, w.RequestsTotal,
			time.Duration(w.SilentSeconds*float64(time.Second)).Round(100*time.Millisecond))
	}
	for _, w := range s.Waiting {
		fmt.Fprintf(table, "%d\t-\twaiting\t%s\t\t\t\t\t\t\n", w.Slot, w.Release)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if c := s.LastCrash; c != nil {
		fmt.Fprintf(out, "\nlast crash, at %s: worker %d (pid %d, release %s) %s\n", clock(c.Time), c.Slot, c.PID, c.Release, c.Reason)
		for _, line := range c.Output[max(0, len(c.Output)-shownLines):] {
			fmt.Fprintf(out, "  %s\n", line)
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
		fmt.Fprintf(out, "\nlast verdict, at %s: %s: %s\n", clock(v.Time), what, outcome)
	}
	if len(s.History) > 0 {
		fmt.Fprintln(out, "\nhistory:")
	}
	for _, h := range s.History {
		by := ""
		if h.By != "" {
			by = ", by " + h.By
		}
		fmt.Fprintf(out, "  %s  %s%s\n", clock(h.Time), h.What, by)
	}
	return nil
}

// shownLines is how many of the last lines of a worker are shown.
const shownLines = 5

func clock(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

func crashes(n int) string {
	if n == 1 {
		return "1 crash"
	}
	return fmt.Sprintf("%d crashes", n)
}

func seconds(s float64) time.Duration { return time.Duration(s) * time.Second }

type reloadCommand struct {
	commandFlags
	Check bool `name:"check" help:"Replace nobody: only look whether the program on disk would be adopted, and fail with the reason if not."`
}

// Help is shown after the flags.
func (*reloadCommand) Help() string {
	return "Example: doorbuster reload --check && doorbuster reload. If the new workers fail, the release before serves on."
}

// Run replaces the workers, shows how far it is, and fails with the reason when the old release serves on.
func (c *reloadCommand) Run(env *environment) error {
	ctx := env.signals.stop
	client, err := c.dial(ctx)
	if err != nil {
		return err
	}
	if c.Check {
		release, err := client.Check(ctx)
		var verdict *cluster.VerdictError
		switch {
		case errors.As(err, &verdict):
			return fmt.Errorf("a reload would be refused: %w", err)
		case err != nil:
			return err
		}
		fmt.Fprintf(env.stdout, "a reload would adopt release %s\n", release)
		return nil
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
	case errors.Is(err, cluster.ErrNotHeard):
		return err
	case ctx.Err() != nil && show.began:
		return errors.New("not waiting for the reload any more; it goes on")
	case ctx.Err() != nil:
		return errors.New("not waiting for the reload any more; whether it begins \"doorbuster status\" tells")
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
	commandFlags
	Workers int  `arg:"" help:"How many workers there should be, from 1 to 1024."`
	Wait    bool `name:"wait" default:"true" negatable:"" help:"Wait until all are ready, or have left, and fail if one does. --no-wait: only begin."`
	Force   bool `name:"force" help:"Add more than this machine has room for: four for each CPU, and as many as fit into its memory."`
}

// Help is shown after the flags.
func (*scaleCommand) Help() string {
	return "Example: doorbuster scale 4. Workers are added a few at a time; the first one that fails ends it."
}

// Run sets the number of workers, and tells how it went.
func (c *scaleCommand) Run(env *environment) error {
	ctx := env.signals.stop
	client, err := c.dial(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	err = client.ScaleWith(ctx, c.Workers, cluster.ScaleOptions{Force: c.Force, NoWait: !c.Wait})
	if err != nil {
		return judged(ctx, env, "scale", err)
	}
	if c.Wait {
		fmt.Fprintf(env.stdout, "scaled to %s in %v\n", workers(c.Workers), time.Since(began).Round(time.Millisecond))
	} else {
		fmt.Fprintf(env.stdout, "scaling to %s\n", workers(c.Workers))
	}
	return nil
}

func workers(n int) string {
	if n == 1 {
		return "1 worker"
	}
	return fmt.Sprintf("%d workers", n)
}

// judged tells how a command failed that is waited for.
func judged(ctx context.Context, env *environment, what string, err error) error {
	var verdict *cluster.VerdictError
	switch {
	case errors.As(err, &verdict):
		if len(verdict.Output) > 0 {
			fmt.Fprintf(env.stderr, "The last it said:\n  %s\n", strings.Join(verdict.Output, "\n  "))
		}
		return fmt.Errorf("%s failed: %w", what, err)
	case errors.Is(err, cluster.ErrNotHeard):
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("not waiting for the %s any more; if it has begun it goes on: \"doorbuster status\" tells", what)
	}
	return err
}

type restartCommand struct {
	commandFlags
	Slot int `arg:"" help:"Slot of the worker; the status shows them."`
}

// Help is shown after the flags.
func (*restartCommand) Help() string {
	return "Example: doorbuster restart 2. If the new one fails the old one serves on."
}

// Run replaces a worker.
func (c *restartCommand) Run(env *environment) error {
	client, err := c.dial(env.signals.stop)
	if err != nil {
		return err
	}
	if err := client.Restart(env.signals.stop, c.Slot); err != nil {
		return judged(env.signals.stop, env, "restart", err)
	}
	fmt.Fprintf(env.stdout, "restarted the worker in slot %d\n", c.Slot)
	return nil
}

type drainCommand struct {
	commandFlags
	Slot int `arg:"" help:"Slot of the worker; the status shows them."`
}

// Help is shown after the flags.
func (*drainCommand) Help() string {
	return "Example: doorbuster drain 2. There is one worker fewer until another one is ready; \"doorbuster restart\" is the way without that."
}

// Run tells a worker to leave.
func (c *drainCommand) Run(env *environment) error {
	client, err := c.dial(env.signals.stop)
	if err != nil {
		return err
	}
	if err := client.Drain(env.signals.stop, c.Slot); err != nil {
		return judged(env.signals.stop, env, "drain", err)
	}
	fmt.Fprintf(env.stdout, "the worker in slot %d has left, and another one is ready\n", c.Slot)
	return nil
}

type resetCommand struct{ commandFlags }

// Run closes the circuit breakers.
func (c *resetCommand) Run(env *environment) error {
	client, err := c.dial(env.signals.stop)
	if err != nil {
		return err
	}
	if err := client.Reset(env.signals.stop); err != nil {
		return err
	}
	fmt.Fprintln(env.stdout, "all circuit breakers are closed, and nobody waits for a restart any longer")
	return nil
}

type killCommand struct {
	commandFlags
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

type stopCommand struct{ commandFlags }

// Run stops the cluster and waits until it is gone. Ctrl-C while it waits leaves the cluster stopping; another
// "doorbuster stop" cuts it short.
func (c *stopCommand) Run(env *environment) error {
	client, err := c.dial(env.signals.stop)
	if err != nil {
		return err
	}
	if err := client.Stop(env.signals.stop); err != nil {
		if env.signals.stop.Err() != nil {
			if errors.Is(err, cluster.ErrNotHeard) {
				return errors.New("not waiting any more; the master has not heard the command, and does not carry it out")
			}
			return errors.New("not waiting any more; the master is stopping. Again: at once")
		}
		return err
	}
	fmt.Fprintln(env.stdout, "stopped")
	return nil
}

type setCommand struct {
	commandFlags
	Settings map[string]string `arg:"" help:"What to change: log-level=debug, limit-NAME=UNITS/WINDOW or limit-NAME=off, password-share=PERCENT."`
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
		fmt.Fprintf(env.stdout, "%s is %s on the master and %s\n", key, value, workers(n))
	}
	return nil
}

type unsetCommand struct {
	commandFlags
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
		fmt.Fprintf(env.stdout, "%s is not given to new workers any more; the master and %s keep it. \"doorbuster reload\" replaces the workers\n", key, workers(n))
	}
	return nil
}
