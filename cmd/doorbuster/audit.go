package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"

	"doorbuster/app"
	"doorbuster/app/audit"
)

type auditCommand struct {
	databaseFlags
	controlFlags
	Acks string `name:"acks" placeholder:"FILE" help:"What customers were told: the acknowledgement log of a load test. -: standard input."`
	JSON bool   `name:"json" help:"As JSON."`
}

// Run checks the books and fails when anything is wrong with them.
func (c *auditCommand) Run(env *environment) error {
	acks, err := c.acks()
	if err != nil {
		return err
	}
	if c.DatabaseURL == "" && c.RedisURL == "" {
		if c.databaseFlags, err = c.serversOfDev(); err != nil {
			return err
		}
	}
	report, err := app.Audit(env.signals.stop, c.DatabaseURL, c.RedisURL, acks)
	if err != nil {
		return err
	}
	if c.JSON {
		out := json.NewEncoder(env.stdout)
		out.SetIndent("", "  ")
		err = out.Encode(report)
	} else {
		err = printReport(env.stdout, report)
	}
	if err == nil && report.Findings() > 0 {
		err = errSaid
	}
	return err
}

// acks reads what customers were told, if somebody has written it down.
func (c *auditCommand) acks() (audit.Acks, error) {
	switch c.Acks {
	case "":
		return nil, nil
	case "-":
		return audit.ReadAcks(os.Stdin)
	}
	file, err := os.Open(c.Acks)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no acknowledgement log %s: \"make sale\" writes one", c.Acks)
	}
	if err != nil {
		return nil, fmt.Errorf("open the acknowledgement log: %w", err)
	}
	defer file.Close()
	acks, err := audit.ReadAcks(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Acks, err)
	}
	return acks, nil
}

func printReport(out io.Writer, r *audit.Report) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for i, c := range r.Checks {
		verdict := "ok"
		switch {
		case c.Skipped != "":
			verdict = "skipped: " + c.Skipped
		case c.Findings > 0:
			verdict = fmt.Sprintf("WRONG: %d", c.Findings)
		}
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\n", i+1, c.Name, c.Rule, verdict)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, c := range r.Checks {
		if c.Findings > 0 {
			fmt.Fprintf(out, "\n%s, %d findings:\n  %s\n", c.Name, c.Findings, strings.Join(c.Examples, "\n  "))
			if more := c.Findings - len(c.Examples); more > 0 {
				fmt.Fprintf(out, "  and %d more\n", more)
			}
		}
	}
	_, err := fmt.Fprintf(out, "\n%d findings, by the database's clock at %s\n", r.Findings(), r.At.UTC().Format("2006-01-02 15:04:05"))
	return err
}
