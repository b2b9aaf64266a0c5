//go:build !unix

package main

import (
	"doorbuster/app"
	"doorbuster/cluster"
)

// runShop runs one worker in this process: there is no master on this system.
func (c *devCommand) runShop(env *environment, databases databaseFlags, ready func(addr string)) error {
	if err := c.tune(env); err != nil {
		return err
	}
	listener, err := c.listen(env.signals.stop, env.log)
	if err != nil {
		return err
	}
	return c.serve(env, databases, seat{
		release: app.ReleaseName(), stop: env.signals.stop, close: listener.Close,
		serve: func(s *cluster.Server, _ *app.App) error {
			ready(listener.Addr().String())
			return s.Serve(env.signals.stop, env.signals.hurry, listener)
		},
	})
}
