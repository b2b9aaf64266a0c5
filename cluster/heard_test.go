//go:build linux

package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"doorbuster/cluster"
)

// A master that is stopped does not hear a command. Each one says so in time, and by
// what state the master is in, and is not carried out when the master goes on.
// Whether somebody's time was up or he has left makes no difference.
func TestCommandsThatNobodyHears(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good", nil)
	before := z.pids()
	impatient, err := cluster.Dial(t.Context(), z.cfg["ControlSocket"].(string))
	if err != nil {
		t.Fatal(err)
	}
	impatient.Timeout = 10 * time.Millisecond
	z.signal(syscall.SIGSTOP)
	eventually(t, "a stopped master", func() bool { return stateOfProcess(t, z.cmd.Process.Pid) == "T" })
	leaving, leave := context.WithCancel(t.Context())
	defer leave()
	var all sync.WaitGroup
	for name, command := range map[string]func(context.Context, *cluster.Client) error{
		"status":  func(ctx context.Context, c *cluster.Client) error { _, err := c.Status(ctx); return err },
		"reload":  func(ctx context.Context, c *cluster.Client) error { return c.Reload(ctx, nil) },
		"scale":   func(ctx context.Context, c *cluster.Client) error { return c.Scale(ctx, 3) },
		"restart": func(ctx context.Context, c *cluster.Client) error { return c.Restart(ctx, 1) },
		"drain":   func(ctx context.Context, c *cluster.Client) error { return c.Drain(ctx, 1) },
		"kill":    func(ctx context.Context, c *cluster.Client) error { return c.Kill(ctx, 1) },
		"reset":   func(ctx context.Context, c *cluster.Client) error { return c.Reset(ctx) },
		"set":     func(ctx context.Context, c *cluster.Client) error { _, err := c.Set(ctx, "colour", "red"); return err },
		"unset":   func(ctx context.Context, c *cluster.Client) error { _, err := c.Unset(ctx, "colour"); return err },
		"stop":    func(ctx context.Context, c *cluster.Client) error { return c.Stop(ctx) },
	} {
		all.Go(func() {
			err := command(t.Context(), impatient)
			state := fmt.Sprintf("process %d is stopped (state T)", z.cmd.Process.Pid)
			if !errors.Is(err, cluster.ErrNotHeard) || !strings.Contains(err.Error(), "within 10ms: "+state) {
				t.Errorf("%s: %v", name, err)
			}
			leave()
		})
		all.Go(func() {
			err := command(leaving, z.client)
			if !errors.Is(err, cluster.ErrNotHeard) && !errors.Is(err, context.Canceled) {
				t.Errorf("%s, given up: %v", name, err)
			}
		})
	}
	all.Wait()
	z.signal(syscall.SIGCONT)
	z.logged("a command is not carried out: nobody waits for it any more", 10)
	if s := z.settle(2); s.Master.CrashesTotal != 0 || s.Master.ReloadsTotal != 0 || fmt.Sprint(z.pids()) != fmt.Sprint(before) || len(s.Master.Settings) != 0 {
		t.Errorf("the workers were %v; now %+v", before, s)
	}
	for _, line := range []string{"scaling", "reloading", "set", "master stopping", "worker left", "command failed"} {
		if n := z.times(line); n > 0 {
			t.Errorf("the log says %q", line)
		}
	}
	z.stop()
}

// stateOfProcess returns the letter of proc_pid_stat(5).
func stateOfProcess(t *testing.T, pid int) string {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return rest[:1]
}
