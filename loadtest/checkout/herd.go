package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"text/tabwriter"

	"doorbuster/loadtest/internal/figures"
	"doorbuster/loadtest/internal/shop"
)

// fewUnits is how much there is for a herd of n when most go away with nothing.
func fewUnits(n int) int { return max(1, n/30) }

// herds are the units that each of the two herds finds.
func (b *bench) herds() []int { return []int{fewUnits(b.cfg.herd), b.cfg.herd} }

// midnight releases the herds, one after the other and each on a shop that has just been started, and then audits the
// books: those of the whole run, against what the herds were told.
func (b *bench) midnight(ctx context.Context) (err error) {
	plan := planHerd(b.cfg.herd, runtime.NumCPU(), descriptorLimit(b.cfg.herd*2))
	if plan.note != "" {
		fmt.Fprintf(b.out, "\n%s\n", plan.note)
	}
	path := b.cfg.acks
	if path == "" {
		dir, err := os.MkdirTemp("", "herd")
		if err != nil {
			return fmt.Errorf("make a folder for the acknowledgement log: %w", err)
		}
		defer os.RemoveAll(dir)
		path = filepath.Join(dir, "acks.jsonl")
	}
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write the acknowledgement log: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	fmt.Fprintf(b.out, "\nMidnight: %d buyers on as many kept connections, in %d processes, released at one instant;\n"+
		"ms from then to the definite answer\n\n", plan.buyers, len(plan.crowds))
	t := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "units\tordered\t(pending)\tsold out\tbusy\tother\tsent away\tno answer\t"+
		"p50 ms\tp99 ms\tmax ms\torders/s\tworker MB\treplaced")
	log := bufio.NewWriter(file)
	var wrong error
	for i, units := range b.herds() {
		b.say("a herd of %d for %d units", plan.buyers, units)
		o, err := b.herd(ctx, plan, i, units, log)
		if err != nil {
			return fmt.Errorf("a herd of %d for %d units: %w", plan.buyers, units, err)
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t%d\t%d\n", figures.Thousands(float64(units)),
			o.ordered, o.pending, o.soldOut, o.busy, o.other, o.sentAway, o.unanswered,
			ms(o.within(0.5)), ms(o.within(0.99)), ms(o.within(1)), figures.Thousands(o.perSecond()), o.peakWorker>>20, o.replaced)
		wrong = errors.Join(wrong, o.check(plan.buyers, units))
	}
	if err := errors.Join(t.Flush(), log.Flush()); err != nil {
		return err
	}
	return errors.Join(wrong, b.audit(ctx, path))
}

// herd releases one herd and writes down what it was told. Each has a net of its own: the addresses of the one before are
// taken for another minute (TIME-WAIT).
func (b *bench) herd(ctx context.Context, plan herdPlan, net, units int, log io.Writer) (o outcome, err error) {
	err = b.With(ctx, setups()[ours].Setup, func(srv *shop.Server) error {
		name := fmt.Sprintf("%016x", rand.Uint64())
		crowds := make([]*crowd, len(plan.crowds))
		first := 0
		for i, n := range plan.crowds {
			c, err := startCrowd(ctx, crowdOrder{Addr: srv.Addr, SKU: herdSKU(units), Name: name, First: first, Buyers: n, Net: 1 + net})
			if err != nil {
				return err
			}
			defer c.close()
			crowds[i], first = c, first+n
		}
		all := func(do func(*crowd) error) error {
			errs := make([]error, len(crowds))
			var wg sync.WaitGroup
			for i, c := range crowds {
				wg.Go(func() { errs[i] = do(c) })
			}
			wg.Wait()
			return errors.Join(errs...)
		}
		if err := all((*crowd).ready); err != nil {
			return err
		}
		b.say("all connections are open and all carts filled")
		if err := all((*crowd).release); err != nil {
			return err
		}
		for _, c := range crowds {
			if err := o.add(c.lines, log); err != nil {
				return err
			}
		}
		o.replaced = len(srv.Logged("replacing worker"))
		o.peakWorker, err = srv.PeakWorker(ctx)
		return err
	})
	return o, err
}

// A crowd is a process that runs, seen from the one that started it.
type crowd struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	lines []byte // what it says at the end
}

func startCrowd(ctx context.Context, order crowdOrder) (*crowd, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, program, crowdArgument)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a crowd: %w", err)
	}
	c := &crowd{cmd: cmd, in: in, out: bufio.NewReader(out)}
	if err := json.NewEncoder(in).Encode(order); err != nil {
		return nil, errors.Join(fmt.Errorf("instruct a crowd: %w", err), c.close())
	}
	return c, nil
}

// ready waits until the crowd is.
func (c *crowd) ready() error {
	line, err := c.out.ReadString('\n')
	if err == nil && line != "\"ready\"\n" {
		err = fmt.Errorf("it said %q", line)
	}
	if err != nil {
		return fmt.Errorf("wait for a crowd: %w", err)
	}
	return nil
}

// release gives the word and reads what the crowd says when all is over.
func (c *crowd) release() (err error) {
	if _, err := io.WriteString(c.in, "\"go\"\n"); err != nil {
		return fmt.Errorf("release a crowd: %w", err)
	}
	if c.lines, err = io.ReadAll(c.out); err != nil {
		return fmt.Errorf("listen to a crowd: %w", err)
	}
	return c.close()
}

// close ends the crowd if it has not ended. A second call does nothing.
func (c *crowd) close() error {
	if c.cmd.ProcessState != nil {
		return nil
	}
	c.in.Close() // whoever waits for a word ends
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("a crowd: %w", err)
	}
	return nil
}

// herdPlan divides a herd among processes.
type herdPlan struct {
	buyers int
	crowds []int // buyers in each
	note   string
}

// Descriptors that a process needs besides its buyers, and by how much a worker may have more than its share of them.
const (
	spareDescriptors = 200
	evenEnough       = 1.25
	maxCrowd         = 15_000 // in one process: two collect garbage twice as fast
)

// planHerd makes a herd small enough for processes that may open so many descriptors.
func planHerd(buyers, workers, limit int) herdPlan {
	room := limit - spareDescriptors
	fits := int(float64(room) / evenEnough * float64(workers))
	p := herdPlan{buyers: min(buyers, fits)}
	if p.buyers < buyers {
		p.note = "The herd is " + strconv.Itoa(p.buyers) + " buyers and not " + strconv.Itoa(buyers) + ": a process may open " +
			strconv.Itoa(limit) + " descriptors here (ulimit -Hn), and each of " + strconv.Itoa(workers) + " workers needs one for each connection."
	}
	processes := (p.buyers + min(room, maxCrowd) - 1) / min(room, maxCrowd)
	for i := range processes {
		p.crowds = append(p.crowds, p.buyers*(i+1)/processes-p.buyers*i/processes)
	}
	return p
}
