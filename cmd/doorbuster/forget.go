package main

import (
	"fmt"

	"doorbuster/app"
)

type forgetCommand struct {
	databaseFlags
	controlFlags
	Email  string `arg:"" name:"email" help:"The address, however it is spelled."`
	DryRun bool   `name:"dry-run" help:"Say what would be changed, and change nothing."`
}

// Run forgets an address and says what it has changed. Of a running "dev" it needs no setting.
func (c *forgetCommand) Run(env *environment) (err error) {
	if c.DatabaseURL == "" && c.RedisURL == "" {
		if c.databaseFlags, err = c.serversOfDev(); err != nil {
			return err
		}
	}
	f, err := app.Forget(env.signals.stop, c.DatabaseURL, c.RedisURL, c.Email, c.DryRun)
	if err != nil {
		return err
	}
	verb := "forgot"
	if c.DryRun {
		verb = "would forget"
	}
	if f.Nothing() {
		fmt.Fprintf(env.stdout, "nothing is known of %s\n", c.Email)
		return nil
	}
	if f.Account {
		fmt.Fprintf(env.stdout, "%s the account, and %d lines in its cart\n", verb, f.CartLines)
	}
	fmt.Fprintf(env.stdout, "%s %d sessions\n", verb, f.Sessions)
	fmt.Fprintf(env.stdout, "%s the address of %d orders and %d allowances, which stay for the books as %s\n", verb, f.Orders, f.Allowances, f.Pseudonym)
	if f.Others > 0 {
		fmt.Fprintf(env.stdout, "%d orders of the account have another address, which stays: forget that as well if it is the same customer's\n", f.Others)
	}
	return nil
}
