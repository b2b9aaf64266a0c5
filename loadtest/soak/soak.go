//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"doorbuster/app/audit"
	"doorbuster/cluster"
	"doorbuster/loadtest/internal/shop"
)

// setup is the shop under test: the usual one, with limits that are short enough to be reached.
func setup(log io.Writer) shop.Setup {
	return shop.Setup{Command: "serve", Log: log, Env: []string{
		"WORKERS=" + strconv.Itoa(workers), "HEARTBEAT_INTERVAL=500ms", "HEARTBEAT_TIMEOUT=" + heartbeatTimeout.String(),
		"LAME_DUCK=" + lameDuck.String(), "DRAIN_TIMEOUT=8s", "KILL_TIMEOUT=15s", "READY_TIMEOUT=20s", "BAKE=300ms", "HOLD_TTL=10s",
	}}
}

// leaveLimit is how long workers may take to leave after a reload: longer than the kill timeout.
const leaveLimit = 20 * time.Second

// A bench is what a run works with.
type bench struct {
	*shop.Shop
	cfg      config
	dir      string // of the program under test
	out      io.Writer
	progress io.Writer
	skus     []string
	ids      []int64
	breaches []breach
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.progress, format+"\n", args...) }

// breach records what is not as it was at the start.
func (b *bench) breach(format string, args ...any) {
	b.breaches = append(b.breaches, breach{boundRest, fmt.Sprintf(format, args...)})
}

// soakAll runs the script of a seed, judges the shop, and leaves nothing behind. A broken bound is an error.
func soakAll(ctx context.Context, cfg config, stdout, progress io.Writer) (err error) {
	b := &bench{cfg: cfg, out: stdout, progress: progress}
	if b.dir, err = os.MkdirTemp("", "soak"); err != nil {
		return fmt.Errorf("make a folder for the program under test: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	program, err := os.ReadFile(cfg.bin)
	if err != nil {
		return fmt.Errorf("read the program under test: %w", err)
	}
	good := programIn(b.dir)
	if err := os.Mkdir(filepath.Dir(b.onDisk()), 0o700); err != nil {
		return fmt.Errorf("make a folder for the program under test: %w", err)
	}
	for _, path := range []string{good, b.onDisk()} {
		if err := os.WriteFile(path, program, 0o755); err != nil { //nolint:gosec // it is a program
			return fmt.Errorf("copy the program under test: %w", err)
		}
	}
	b.Shop, err = shop.Open(ctx, good, (mostWorkers+5)*(shop.ConnectionsPerWorker+1), func(msg string) { b.say("%s", msg) })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close(ctx)) }()
	if b.skus, b.ids, err = b.DeliverPlenty(ctx); err != nil {
		return err
	}
	if err := b.soak(ctx, good); err != nil {
		return err
	}
	b.printBreaches()
	if len(b.breaches) == 0 {
		return nil
	}
	return fmt.Errorf("broken bounds: %d; -seed %d -duration %v is this script again", len(b.breaches), cfg.seed, cfg.duration)
}

// soak runs one shop through the script.
func (b *bench) soak(ctx context.Context, good string) (err error) {
	var log io.Writer
	if b.cfg.log != "" {
		file, err := os.Create(b.cfg.log)
		if err != nil {
			return fmt.Errorf("write the shop's log: %w", err)
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		log = file
	}
	fmt.Fprintf(b.out, "%s\n%s\n\n", b.Machine(ctx), setup(nil).CommandLine())
	srv, err := b.StartFrom(ctx, b.onDisk(), setup(log))
	if err != nil {
		return err
	}
	running := true
	defer func() {
		if running {
			err = errors.Join(err, srv.Stop())
		}
	}()
	s := &script{
		server: srv, admin: srv.Logged("admin address")[0].Addr, good: good, onDisk: b.onDisk(), say: b.say,
		dial: dialTo(srv.Addr, false), narrow: dialTo(srv.Addr, true),
		touched: map[int][]string{}, deaths: map[int]time.Time{}, told: map[int]bool{},
	}
	before, err := b.start(ctx, s)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, srv.Tail())
	}
	r, err := b.run(ctx, s)
	if err != nil {
		return err
	}
	b.recover(ctx, s, before, r)
	running = false
	b.end(ctx, srv)
	r.evidence.gather(srv.Log())
	r.verdict = r.evidence.judge(r.witness)
	b.breaches = append(b.breaches, r.verdict.breaches...)
	b.print(s, r)
	return ctx.Err()
}

// onDisk is where the master looks for its program.
func (b *bench) onDisk() string { return filepath.Join(b.dir, "disk", "doorbuster") }

// start brings the shop to where it will be compared with in the end: fresh workers after a reload, and nobody there.
func (b *bench) start(ctx context.Context, s *script) (rest, error) {
	if said := s.reload(ctx, step{}); said != "done" {
		return rest{}, fmt.Errorf("the first reload: %s", said)
	}
	if _, err := awaitWhole(ctx, s.server, workers, leaveLimit); err != nil {
		return rest{}, err
	}
	return lookLong(ctx, s.server, s.admin, workers)
}

// A result is what was found.
type result struct {
	witness  *witness
	census   census
	evidence evidence
	verdict  verdict
	before   rest
	after    rest
	healed   time.Duration // after the script
	acks     string        // file
}

// run has the script and the clients go on side by side.
func (b *bench) run(ctx context.Context, s *script) (*result, error) {
	r := &result{witness: newWitness(), acks: filepath.Join(b.dir, "acks.jsonl")}
	file, err := os.Create(r.acks)
	if err != nil {
		return nil, fmt.Errorf("write the acknowledgement log: %w", err)
	}
	acks := bufio.NewWriter(file)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	enough, over := context.WithCancel(ctx)
	crowd := &crowd{dial: s.dial, narrow: s.narrow, witness: r.witness, skus: b.skus, seed: b.cfg.seed, acks: acks}
	watching, seen := context.WithCancel(ctx)
	defer seen()
	pauses := watchPauses(watching)
	var all, counting sync.WaitGroup
	all.Go(func() { crowd.run(ctx, enough) })
	counting.Go(func() { r.census.take(watching, s.server) })
	began := time.Now()
	s.run(ctx, draw(b.cfg.seed, b.cfg.duration), b.cfg.duration)
	ended := time.Now()
	b.heal(ctx, s, r)
	r.witness.close()
	over()
	all.Wait()
	seen()
	counting.Wait()
	r.evidence = evidence{
		began: began, ended: ended, touched: s.touched, deaths: s.deaths, stops: s.stops, short: s.short, broken: s.broken, pauses: pauses(),
	}
	b.breaches = append(b.breaches, s.failed...)
	for _, over := range r.census.over {
		b.breaches = append(b.breaches, breach{boundProcesses, over})
	}
	select {
	case <-s.server.Exited():
		b.breach("the master has ended:\n%s", s.server.Tail())
	default:
	}
	return r, errors.Join(acks.Flush(), file.Close())
}

// heal waits until the shop has recovered, under its clients: the script takes back what it has ordered, and no more.
func (b *bench) heal(ctx context.Context, s *script, r *result) {
	began := time.Now()
	b.say("the script is over; waiting until the shop has recovered")
	if said := s.scaleTo(ctx, workers); said != "done" {
		b.say("scale back: %s", said) // the target is set all the same, or awaitWhole tells
	}
	if status, err := s.server.Status(ctx); err == nil && len(status.Master.Settings) > 0 {
		s.command(ctx, "unset log-level", func(ctx context.Context, c *cluster.Client) error {
			_, err := c.Unset(ctx, "log-level")
			return err
		})
	}
	if _, err := awaitWhole(ctx, s.server, workers, healLimit); err != nil && ctx.Err() == nil {
		b.breach("the shop has not recovered: %v", err)
	}
	r.healed = time.Since(began)
}

// recover compares what the shop holds with what it held at the start: first the workers that have served, then fresh ones.
func (b *bench) recover(ctx context.Context, s *script, before rest, r *result) {
	r.before = before
	_, leaks, err := awaitRest(ctx, s.server, s.admin, before, false)
	b.leaked(ctx, leaks, err, "after the clients have left")
	if said := s.reload(ctx, step{}); said != "done" && ctx.Err() == nil {
		b.breach("the last reload: %s", said)
	}
	r.after, leaks, err = awaitRest(ctx, s.server, s.admin, before, true)
	b.leaked(ctx, leaks, err, "after the last reload")
}

func (b *bench) leaked(ctx context.Context, leaks []string, err error, when string) {
	if err != nil && ctx.Err() == nil {
		b.breach("%s: %v", when, err)
	}
	for _, l := range leaks {
		b.breach("%s: %s", when, l)
	}
}

// end stops the shop and looks for what is left of it.
func (b *bench) end(ctx context.Context, srv *shop.Server) {
	if err := srv.Stop(); err != nil {
		b.breach("%v", err)
	}
	if pids := runningFrom(b.dir); len(pids) > 0 {
		b.breach("processes that are left: %v", pids)
	}
	if files, err := filesIn(srv.RuntimeDir); err != nil || len(files) > 0 {
		b.breach("files that are left: %q, %v", files, err)
	}
	if err := b.audit(ctx); err != nil && ctx.Err() == nil {
		b.breach("the audit: %v", err)
	}
}

// audit has the program check its books against what the customers were told.
func (b *bench) audit(ctx context.Context) error {
	out, failed := b.Command(ctx, "", "audit", "--acks", filepath.Join(b.dir, "acks.jsonl"), "--json")
	var report audit.Report
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&report); err != nil {
		return errors.Join(failed, fmt.Errorf("read what the audit found: %w", err))
	}
	var wrong []string
	for _, c := range report.Checks {
		if c.Findings > 0 || c.Skipped != "" {
			wrong = append(wrong, fmt.Sprintf("%s: %d findings %s %q", c.Name, c.Findings, c.Skipped, c.Examples))
		}
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "; "))
	}
	fmt.Fprintf(b.out, "doorbuster audit: %d checks, nothing found\n", len(report.Checks))
	return nil
}
