//go:build linux

package cluster_test

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"doorbuster/cluster"
)

// Master.ReloadBack: the release before runs again, although its file is gone, in the environment that it had; twice is
// there and back. What is reloaded without a change is no other release.
func TestReloadBack(t *testing.T) {
	t.Parallel()
	z := newZoo(t, "good", nil)
	variables := z.dir + "/variables"
	write := func(line string) {
		t.Helper()
		if err := os.WriteFile(variables, []byte(line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("COLOUR=red")
	z.cmd.Env = append(z.cmd.Env, "ZOO_ENV="+variables)
	z.begin()
	z.dial()
	z.logged("all workers are ready", 1)
	runs := func(behaviour, colour string) {
		t.Helper()
		s := z.settle(2)
		if got, _ := z.running(); got != behaviour {
			t.Errorf("%q runs, want %q", got, behaviour)
		}
		for _, w := range s.Workers {
			var env []string
			z.askWorker(w.PID, "environment", &env)
			if all := strings.Join(env, "\n") + "\n"; !strings.Contains(all, "COLOUR="+colour+"\n") || w.Release != s.Master.Release {
				t.Errorf("worker %d runs %s without COLOUR=%s", w.PID, w.Release, colour)
			}
		}
	}
	back := func() error { return z.client.ReloadBack(t.Context(), func(cluster.Event) {}) }

	if err := back(); !strings.Contains(asVerdict(t, err).Reason, "this master has not run any other release than ") {
		t.Errorf("without a release before: %v", err)
	}
	runs("good", "red")
	first := z.status().Master
	if err := z.client.Reload(t.Context(), nil); err != nil { // the same again
		t.Error(err)
	}
	if s := z.status(); s.Master.Before != "" {
		t.Errorf("the release before is %q", s.Master.Before)
	}
	write("COLOUR=blue")
	if _, err := z.reload("good next"); err != nil {
		t.Error(err)
	}
	if err := z.client.Reload(t.Context(), nil); err != nil { // the same again
		t.Error(err)
	}
	runs("good next", "blue")
	second := z.status().Master
	if second.Before != first.Release || second.Release == first.Release {
		t.Errorf("at first %+v, then %+v", first, second)
	}
	if err := os.Remove(z.program); err != nil { // and that of the first is gone as well
		t.Fatal(err)
	}
	if err := back(); err != nil {
		t.Error(err)
	}
	runs("good", "red")
	if s := z.status().Master; s.Release != first.Release || s.Before != second.Release || s.ReloadsFailed != 1 {
		t.Errorf("back is %+v, want %s, and %s before", s, first.Release, second.Release)
	}
	if err := syscall.Kill(z.pids()[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	z.logged("worker crashed", 1)
	runs("good", "red") // crash restarts, too
	if err := back(); err != nil {
		t.Error(err)
	}
	runs("good next", "blue")
	z.stop()
}

// While a reload is under way, back is to where it came from; the reload is superseded.
func TestReloadBackFromTheMiddle(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good", nil)
	if _, err := z.reload("good next"); err != nil {
		t.Fatal(err)
	}
	z.deploy("joined@2:gate")
	forward := make(chan error, 1)
	go func() { forward <- z.client.Reload(t.Context(), nil) }()
	z.gate.wait("joined", 1) // slot 1 was replaced already
	if err := z.client.ReloadBack(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if err := <-forward; !errors.Is(err, cluster.ErrSuperseded) {
		t.Errorf("the reload ended with %v", err)
	}
	z.settle(2)
	if got, _ := z.running(); got != "good next" {
		t.Errorf("%q runs", got)
	}
	z.stop()
}

// A release before whose file was overwritten in place is none.
func TestReloadBackToAFileThatIsGone(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good", nil)
	program, err := os.ReadFile(release(t, "good next"))
	if err != nil {
		t.Fatal(err)
	}
	own := z.dir + "/own"
	if err := writeProgram(own, program); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(own, z.program+".new"); err != nil {
		t.Fatal(err)
	}
	z.replace(z.program + ".new")
	for range 2 { // there, and on: then nobody runs it
		if err := z.client.Reload(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		z.deploy("good newest")
	}
	if err := writeProgram(own, append(program, '\n')); err != nil {
		t.Fatal(err)
	}
	if err := z.client.ReloadBack(t.Context(), nil); !strings.Contains(asVerdict(t, err).Reason, "was overwritten in place") {
		t.Errorf("got %v", err)
	}
	if got, _ := z.running(); got != "good newest" {
		t.Errorf("%q runs", got)
	}
	z.stop()
}

// Master.StopNow: what a drain would wait for is cut at once, and a second call asks for nothing more: nobody is killed.
func TestStopNow(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "drain:gate", config{"ShutdownDelay": hang})
	waits := make(chan error, 1)
	go func() { waits <- z.client.Stop(t.Context()) }()
	z.gate.wait("drain", 2)
	now := make(chan error, 2)
	for range 2 {
		go func() { now <- z.client.StopNow(t.Context()) }()
	}
	z.logged("stopping at once", 1)
	if n := z.times("stopping at once"); n != 1 {
		t.Errorf("it is cut short %d times", n)
	}
	z.gate.open()
	z.exit()
	if err := errors.Join(<-waits, <-now, <-now); err != nil {
		t.Error(err)
	}
	if n := z.times("killing worker"); n > 0 {
		t.Errorf("%d workers were killed", n)
	}
}
