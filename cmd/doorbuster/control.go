package main

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"doorbuster/cluster/ctl"
)

// The commands to a running master are those of package ctl, which has their texts, their flags and their exit codes. Here
// is what only this program knows: where the master is.

// socket is the path of the control socket.
func (c *controlFlags) socket() (string, error) {
	if c.ControlSocket != "" {
		return c.ControlSocket, nil
	}
	dir, err := runtimeDir()
	return filepath.Join(dir, controlSocketName), err
}

// run gives a command to the master.
func (c *commandFlags) run(env *environment, command func(*ctl.Service) error) error {
	path, err := c.socket()
	if err != nil {
		return err
	}
	return command(&ctl.Service{
		Program: "doorbuster", Socket: path, Timeout: c.Timeout, Stdout: env.stdout, Stderr: env.stderr,
		Hint: `Is "doorbuster serve" or "doorbuster dev" running? CONTROL_SOCKET names another socket`,
	})
}

// describeCommands gives every command its examples, and those of package ctl their help.
func describeCommands(app *kong.Node) {
	for _, node := range app.Leaves(true) {
		name := strings.TrimPrefix(node.FullPath(), app.Name+" ")
		if c, ok := ctl.Lookup(name); ok {
			node.Help, node.Detail = c.Summary, c.Details(app.Name)
			continue
		}
		node.Detail = strings.TrimSpace(node.Detail + "\n\n" + ctl.Examples(app.Name, examples[name]...))
	}
}

// examples are those of the other commands.
var examples = map[string][]string{
	"dev":            {"dev", "dev --data ./shop-data"},
	"serve":          {"serve --database-url postgres://shop@localhost/shop --redis-url redis://localhost", "serve --workers 4 --env-file /etc/doorbuster.env"},
	"worker":         {"worker --database-url postgres://shop@localhost/shop --redis-url redis://localhost"},
	"migrate up":     {"migrate up --database-url postgres://shop@localhost/shop"},
	"migrate down":   {"migrate down --database-url postgres://shop@localhost/shop"},
	"migrate status": {"migrate status --database-url postgres://shop@localhost/shop"},
	"seed":           {"seed --database-url postgres://shop@localhost/shop --sale-starts +2m --sale-lasts 24h"},
	"audit":          {"audit", "audit --json --acks acks.jsonl"},
	"version":        {"version"},
}

type statusCommand struct {
	commandFlags
	ctl.StatusOptions
}

// Run prints how the cluster is.
func (c *statusCommand) Run(env *environment) error {
	return c.run(env, func(s *ctl.Service) error { return s.Status(env.signals.stop, c.StatusOptions) })
}

type logsCommand struct {
	commandFlags
	Slot int `arg:"" optional:"" help:"Slot of the workers; the status shows them. By default all."`
	ctl.LogsOptions
}

// Run prints what workers have written.
func (c *logsCommand) Run(env *environment) error {
	return c.run(env, func(s *ctl.Service) error { return s.Logs(env.signals.stop, c.Slot, c.LogsOptions) })
}

type reloadCommand struct {
	commandFlags
	ctl.ReloadOptions
}

// Run replaces the workers, shows how far it is, and fails with the reason when the old release serves on.
func (c *reloadCommand) Run(env *environment) error {
	return c.run(env, func(s *ctl.Service) error { return s.Reload(env.signals.stop, c.ReloadOptions) })
}

type scaleCommand struct {
	commandFlags
	Workers int `arg:"" help:"How many workers there should be."`
	ctl.ScaleOptions
	Wait bool `name:"wait" default:"true" hidden:"" help:"--wait=false is --no-wait."`
}

// Run sets the number of workers, and tells how it went.
func (c *scaleCommand) Run(env *environment) error {
	c.NoWait = c.NoWait || !c.Wait
	return c.run(env, func(s *ctl.Service) error { return s.Scale(env.signals.stop, c.Workers, c.ScaleOptions) })
}

// slotCommand is a command that is about one slot.
type slotCommand struct {
	commandFlags
	Slot int `arg:"" help:"Slot of the worker; the status shows them."`
}

type restartCommand struct{ slotCommand }

// Run replaces a worker.
func (c *restartCommand) Run(env *environment) error {
	return c.run(env, func(s *ctl.Service) error { return s.Restart(env.signals.stop, c.Slot) })
}

type drainCommand struct{ slotCommand }

// Run tells a worker to leave.
func (c *drainCommand) Run(env *environment) error {
	return c.run(env, func(s *ctl.Service) error { return s.Drain(env.signals.stop, c.Slot) })
}

type killCommand struct{ slotCommand }

// Run kills a worker.
func (c *killCommand) Run(env *environment) error {
	return c.run(env, func(s *ctl.Service) error { return s.Kill(env.signals.stop, c.Slot) })
}

type resetCommand struct{ commandFlags }

// Run closes the circuit breakers.
func (c *resetCommand) Run(env *environment) error {
	return c.run(env, func(s *ctl.Service) error { return s.Reset(env.signals.stop) })
}

type stopCommand struct {
	commandFlags
	ctl.StopOptions
}

// Run stops the cluster and waits until it is gone.
func (c *stopCommand) Run(env *environment) error {
	return c.run(env, func(s *ctl.Service) error { return s.Stop(env.signals.stop, c.StopOptions) })
}

type setCommand struct {
	commandFlags
	Settings map[string]string `arg:"" help:"What to change: log-level=debug, limit-NAME=UNITS/WINDOW or limit-NAME=off, password-share=PERCENT."`
}

// Run gives settings to all workers.
func (c *setCommand) Run(env *environment) error {
	return c.run(env, func(s *ctl.Service) error {
		for _, key := range slices.Sorted(maps.Keys(c.Settings)) {
			if err := s.Set(env.signals.stop, key, c.Settings[key]); err != nil {
				return err
			}
		}
		return nil
	})
}

type unsetCommand struct {
	commandFlags
	Keys []string `arg:"" help:"What to forget: log-level."`
}

// Run takes settings back.
func (c *unsetCommand) Run(env *environment) error {
	return c.run(env, func(s *ctl.Service) error {
		for _, key := range c.Keys {
			if err := s.Unset(env.signals.stop, key); err != nil {
				return err
			}
		}
		return nil
	})
}
