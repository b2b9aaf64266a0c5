// Sale runs loadtest/midnight-sale.js against a shop that is open, audits its books against what the buyers were told, and
// says how it went:
//
//	make sale                    the shop of "make run", or of "docker compose up"
//	BUYERS=3000 make sale        the script's settings are variables; its head lists them
//
// SHOP and ADMIN name another shop's addresses, ADMIN_TOKEN its token. The audit is made where the databases are: by
// DATABASE_URL and REDIS_URL if they are set, by what a running "doorbuster dev" says of its own, or inside the compose
// project's shop. It fails when the script's limits are broken, and when the audit finds anything.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"doorbuster/loadtest/internal/cli"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	setting := os.Getenv //nolint:forbidigo // this is a command, and k6 has the same variables
	s := sale{
		out: stdout, log: stderr, database: setting("DATABASE_URL") != "",
		shop: cmp.Or(setting("SHOP"), usualShop), admin: setting("ADMIN"), token: setting("ADMIN_TOKEN"),
	}
	flags := flag.NewFlagSet("sale", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&s.k6, "k6", "bin/k6", "k6 `program`")
	flags.StringVar(&s.bin, "bin", "bin/doorbuster", "the shop's `program`, for the audit")
	flags.StringVar(&s.script, "script", "loadtest/midnight-sale.js", "what k6 does")
	flags.StringVar(&s.dir, "dir", "bin/sale", "`folder` for the report, the summary and the acknowledgement log")
	if err := flags.Parse(args); err != nil {
		return cli.Refuse(stderr, "sale", err)
	}
	return cli.Finish(ctx, stderr, "sale", s.hold(ctx))
}

// sale is one run.
type sale struct {
	out, log             io.Writer
	k6, bin, script, dir string
	shop, admin, token   string
	database             bool // DATABASE_URL says where the books are
}

const usualShop = "http://localhost:3000"

// probeLimit is how long an address may take to say that somebody is there.
const probeLimit = 5 * time.Second

func (s *sale) hold(ctx context.Context) error {
	if !answers(ctx, s.shop+"/readyz", "") {
		return fmt.Errorf("there is no shop at %s: \"make run\" opens one, and so does \"docker compose up\"; SHOP names another address", s.shop)
	}
	s.findAdmin(ctx)
	audit, err := s.auditor(ctx)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o750); err != nil {
		return fmt.Errorf("make a folder for the report: %w", err)
	}
	broken, err := s.runK6(ctx)
	if err != nil {
		return err
	}
	if err := s.tookPlace(); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "the whole report: %s\n\nThe audit of the books, against what the buyers were told:\n", filepath.Join(s.dir, reportFile))
	found := s.audit(ctx, audit)
	if broken {
		return errors.Join(errors.New("a limit of the sale was broken"), found)
	}
	return found
}

// findAdmin looks for the address at which the master takes commands, where none was named.
func (s *sale) findAdmin(ctx context.Context) {
	if s.admin != "" {
		return
	}
	if s.shop != usualShop { // whoever is at the usual address may be the master of another one
		fmt.Fprintln(s.log, "sale: ADMIN does not say where the master of "+s.shop+" takes commands, so nothing is deployed or killed")
		return
	}
	const usual, ofCompose = "http://localhost:3001", "demo"
	for _, token := range []string{s.token, ofCompose} {
		if answers(ctx, usual+"/api/v1/status", token) {
			s.admin, s.token = usual, token
			return
		}
	}
	fmt.Fprintln(s.log, "sale: nobody takes commands at "+usual+", so nothing is deployed or killed; ADMIN names another address, ADMIN_TOKEN its token")
}

func answers(ctx context.Context, url, token string) bool {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// The files of a sale.
const (
	acksFile   = "acks.jsonl"
	reportFile = "report.html"
	logFile    = "k6.log" // of each connection that was cut, k6 has a line to say
	// written by the script's handleSummary
	summaryFile = "summary.json"
)

// limitsBroken is k6's exit code for thresholds that have been crossed, of which it has said which (its errext/exitcodes).
const limitsBroken = 99

// runK6 reports whether a limit was broken.
func (s *sale) runK6(ctx context.Context) (broken bool, err error) {
	acks := filepath.Join(s.dir, acksFile)
	said := filepath.Join(s.dir, logFile)
	for _, last := range []string{acks, said, filepath.Join(s.dir, summaryFile)} { // k6 appends to the first two
		if err := os.RemoveAll(last); err != nil {
			return false, fmt.Errorf("remove what the last sale left: %w", err)
		}
	}
	cmd := exec.CommandContext(ctx, s.k6, "run", "--quiet", "--no-usage-report", "--no-color",
		"--console-output="+acks, "--log-output=file="+said, "--log-format=raw", s.script)
	cmd.Env = append(os.Environ(), "SHOP="+s.shop, "ADMIN="+s.admin, "ADMIN_TOKEN="+s.token, "OUT="+s.dir,
		"K6_WEB_DASHBOARD=true", "K6_WEB_DASHBOARD_PORT=-1", "K6_WEB_DASHBOARD_PERIOD=1s", "K6_WEB_DASHBOARD_EXPORT="+filepath.Join(s.dir, reportFile))
	cmd.Stdout, cmd.Stderr = s.out, s.log
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it ends in order, and tells what it has
	cmd.WaitDelay = time.Minute
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == limitsBroken {
		return true, nil
	}
	if err != nil {
		why, _ := os.ReadFile(said)
		return false, fmt.Errorf("the sale did not come to its end: k6: %w\n%s", err, why)
	}
	return false, nil
}

// summary is as much of the script's summary as is looked at here.
type summary struct {
	Orders    int      `json:"orders"`
	SoldOut   int      `json:"sold_out"`
	CutByKill int      `json:"cut_by_kill"`
	Failed    int      `json:"failed"`
	Undecided int      `json:"undecided"`
	Broken    []string `json:"broken"`
}

// tookPlace fails when no buyer came as far as an answer: k6 has no limit for what never happened.
func (s *sale) tookPlace() error {
	raw, err := os.ReadFile(filepath.Join(s.dir, summaryFile))
	if err != nil {
		return fmt.Errorf("read how the sale went: %w", err)
	}
	var told summary
	if err := json.Unmarshal(raw, &told); err != nil {
		return fmt.Errorf("read how the sale went, in %s: %w", summaryFile, err)
	}
	if told.Orders+told.SoldOut+told.Failed+told.Undecided == 0 {
		return errors.New("no buyer came as far as an answer")
	}
	return nil
}

// auditor returns a command that audits the books of the shop. It reads the acknowledgement log from standard input.
func (s *sale) auditor(ctx context.Context) ([]string, error) {
	own := []string{s.bin, "audit", "--acks", "-"}
	if s.database || exec.CommandContext(ctx, s.bin, "status").Run() == nil { // a shop of this machine
		return own, nil
	}
	inside := []string{"docker", "compose", "exec", "-T", "shop", "/doorbuster", "audit", "--acks", "-"}
	if exec.CommandContext(ctx, "docker", "compose", "exec", "-T", "shop", "/doorbuster", "version").Run() == nil {
		return inside, nil
	}
	return nil, errors.New("the books can't be audited: neither DATABASE_URL nor a running \"make run\" nor a compose project in this folder says where they are")
}

func (s *sale) audit(ctx context.Context, command []string) error {
	acks, err := os.Open(filepath.Join(s.dir, acksFile))
	if err != nil {
		return fmt.Errorf("read what the buyers were told: %w", err)
	}
	defer acks.Close()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = acks, s.out, s.log
	if err := cmd.Run(); err != nil {
		return errors.New("the audit has found something")
	}
	return nil
}
