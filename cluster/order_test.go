//go:build unix

package cluster_test

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"doorbuster/cluster"
)

// outcome is how a command went.
type outcome struct {
	Error  string
	Output []string
}

// order gives the master a command, and waits for its verdict.
func (z *zoo) order(verb string, n int) (o outcome) {
	z.Helper()
	z.ask(fmt.Sprintf("/order/%s/%d", verb, n), &o)
	return o
}

// ordered gives the master a command, and lets it do.
func (z *zoo) ordered(verb string, n int) <-chan outcome {
	verdict := make(chan outcome, 1)
	go func() {
		var o outcome
		if err := z.tryAsk(fmt.Sprintf("/order/%s/%d", verb, n), &o); err != nil {
			o.Error = err.Error()
		}
		verdict <- o
	}()
	return verdict
}

// Master.Scale: the verdict comes when all are ready, or the surplus has left.
func TestScaleWaits(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good", nil)
	for _, workers := range []int{9, 1, 2} {
		if o := z.order("scale", workers); o.Error != "" {
			t.Errorf("scale to %d: %s", workers, o.Error)
		}
		if s := z.status(); s.Master.Ready != workers || len(s.Workers) != workers {
			t.Errorf("after scaling to %d: %+v", workers, s)
		}
	}
	for _, workers := range []int{0, -1, 1025} {
		if o := z.order("scale", workers); !strings.Contains(o.Error, "there can be 1 to 1024") {
			t.Errorf("scale to %d: %q", workers, o.Error)
		}
	}
	z.stop()
}

// Master.Scale: the first worker that fails ends it, with its last lines, and the
// workers that served before serve on.
func TestScaleFails(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "joined@3:say=no-room joined@3:exit=4", nil)
	before := z.pids()
	o := z.order("scale", 1000)
	for _, part := range []string{"worker ", "(pid ", "exited with code 4 before it was ready", "the target is 2 now, and not 1000"} {
		if !strings.Contains(o.Error, part) {
			t.Errorf("the verdict is %q, without %q", o.Error, part)
		}
	}
	if !strings.Contains(strings.Join(o.Output, "\n"), "no-room") {
		t.Errorf("the last lines are %q", o.Output)
	}
	if n := z.times("worker started"); n > 2+4 {
		t.Errorf("%d workers were started", n-2)
	}
	if s := z.settle(2); s.Master.BreakerOpen || fmt.Sprint(z.pids()) != fmt.Sprint(before) {
		t.Errorf("the workers were %v; now %+v", before, s)
	}
	z.stop()
}

// Master.Restart and Master.Drain: another worker in the slot, and a reason where
// that is not possible.
func TestRestartAndDrain(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good", nil)
	for _, verb := range []string{"restart", "drain"} {
		before := z.pids()
		if o := z.order(verb, 2); o.Error != "" {
			t.Errorf("%s: %s", verb, o.Error)
		}
		z.loggedOf("worker left", before[1])
		if after := z.pids(); len(after) != 2 || after[0] != before[0] || after[1] == before[1] {
			t.Errorf("%s: the workers were %v and are %v", verb, before, after)
		}
		if o := z.order(verb, 3); o.Error != "there is no slot 3: there are 1 to 2" {
			t.Errorf("%s 3: %q", verb, o.Error)
		}
	}
	z.order("scale", 1)
	if o := z.order("drain", 1); !strings.Contains(o.Error, "restart it instead") {
		t.Errorf("drain the last one: %q", o.Error)
	}
	if o := z.order("restart", 1); o.Error != "" {
		t.Errorf("restart the last one: %s", o.Error)
	}
	if s := z.settle(1); s.Master.CrashesTotal != 0 {
		t.Errorf("%d crashes", s.Master.CrashesTotal)
	}
	z.stop()
}

// Master.Restart: a replacement that fails is the one that dies.
func TestRestartFails(t *testing.T) {
	t.Parallel()
	z := newZoo(t, "joined:gate", nil)
	z.begin()
	z.dial()
	for _, v := range z.gate.wait("joined", 2) {
		v.pass()
	}
	z.logged("all workers are ready", 1)
	before := z.pids()
	verdict := z.ordered("restart", 2)
	if err := syscall.Kill(z.gate.wait("joined", 3)[2].pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if o := <-verdict; !strings.HasPrefix(o.Error, "worker 2 (pid ") || !strings.Contains(o.Error, "before it was ready") {
		t.Errorf("the verdict is %q", o.Error)
	}
	if after := z.pids(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the workers were %v and are %v", before, after)
	}
	z.stop()
}

// Master.Reset: whoever waits for the breaker is started now.
func TestReset(t *testing.T) {
	t.Parallel()
	z := newZoo(t, "ready@2:gate ready@2:exit=3", config{"Workers": 4})
	z.begin()
	z.dial()
	z.logged("all workers are ready", 1)
	crashes := 0
	for z.times(opened) == 0 {
		if crashes++; crashes > 20 {
			t.Fatal("the breaker does not open")
		}
		z.gate.wait("ready", crashes)[crashes-1].pass()
		z.logged("worker crashed", crashes)
		z.status() // and what was logged with it is
	}
	if o := z.order("reset", 0); o.Error != "" {
		t.Fatal(o.Error)
	}
	z.gate.wait("ready", crashes+3) // the three that can crash are there again
	if s := z.settle(4); s.Master.BreakerOpen {
		t.Error("the breaker is open")
	}
	z.gate.open()
	z.signal(syscall.SIGTERM)
	z.exit()
}

// The same by the control socket: verdicts come with the last lines, and what the
// machine has no room for is refused without force, with the numbers.
func TestOrdersOfClient(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "joined@3:say=no-room joined@3:exit=4", nil)
	ctx := t.Context()
	before := z.pids()
	most := 4 * runtime.NumCPU()
	err := z.client.Scale(ctx, 1024)
	if most < 1024 && (err == nil || !strings.HasPrefix(err.Error(), "1024 workers: there is room for ") || !strings.Contains(err.Error(), "CPU")) {
		t.Errorf("without force: %v", err)
	}
	for _, options := range []cluster.ScaleOptions{{Force: true}, {}} {
		n := 1024
		if !options.Force {
			n = 3
		}
		var verdict *cluster.VerdictError
		if err := z.client.ScaleWith(ctx, n, options); !errors.As(err, &verdict) || !slices.Contains(verdict.Output, "no-room") {
			t.Errorf("scale to %d: %v", n, err)
		}
	}
	if err := z.client.ScaleWith(ctx, 3, cluster.ScaleOptions{NoWait: true}); err != nil {
		t.Errorf("without waiting: %v", err)
	}
	z.logged("scaling failed", 3)
	z.settle(2)
	if err := errors.Join(z.client.Restart(ctx, 1), z.client.Drain(ctx, 2), z.client.Reset(ctx)); err != nil {
		t.Error(err)
	}
	if name, err := z.client.Check(ctx); err != nil || name == "" {
		t.Errorf("check: %q, %v", name, err)
	}
	after := z.pids()
	if len(after) != 2 || after[0] == before[0] || after[1] == before[1] {
		t.Errorf("the workers were %v and are %v", before, after)
	}
	var verdict *cluster.VerdictError
	if err := z.client.Restart(ctx, 3); !errors.As(err, &verdict) || verdict.Reason != "there is no slot 3: there are 1 to 2" {
		t.Errorf("restart 3: %v", err)
	}
	if err := os.Remove(z.program); err != nil {
		t.Fatal(err)
	}
	if _, err := z.client.Check(ctx); !errors.As(err, &verdict) || !strings.Contains(verdict.Reason, "there is no such file") {
		t.Errorf("check without a file: %v", err)
	}
	if s := z.status(); s.Master.ReloadsTotal != 0 {
		t.Errorf("a check counts as a reload: %d", s.Master.ReloadsTotal)
	}
	z.stop()
}

// All of them end with the master, and are refused when it is about to.
func TestOrdersAndTheEnd(t *testing.T) {
	t.Parallel()
	z := newZoo(t, "joined:gate drain:gate", nil)
	z.begin()
	z.dial()
	for _, v := range z.gate.wait("joined", 2) {
		v.pass()
	}
	z.logged("all workers are ready", 1)
	verdict := z.ordered("restart", 2)
	z.gate.wait("joined", 3)
	z.signal(syscall.SIGTERM)
	if o := <-verdict; o.Error != cluster.ErrStopped.Error() {
		t.Errorf("the verdict is %q", o.Error)
	}
	for _, verb := range []string{"scale", "restart", "drain", "reset"} {
		if o := z.order(verb, 2); o.Error != cluster.ErrStopped.Error() {
			t.Errorf("%s: %q", verb, o.Error)
		}
	}
	z.gate.open()
	z.exit()
}
