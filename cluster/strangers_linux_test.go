package cluster_test

import (
	"os"
	"syscall"
	"testing"
)

// A master that is process 1 collects orphans, and leaves commands that the
// application has started in the same process to os/exec, however late that
// waits for them. [M17]
func TestProcessOneBesideExec(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root may make a PID namespace")
	}
	for name, c := range map[string]struct {
		namespaces uintptr
		env        []string
	}{
		"with its own /proc":     {syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, []string{"ZOO_PROC=1"}},
		"with the /proc outside": {syscall.CLONE_NEWPID, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			z := newZoo(t, "ready:fork", nil)
			z.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: c.namespaces}
			z.cmd.Env = append(z.cmd.Env, c.env...)
			z.begin()
			z.dial()
			z.gate.wait("orphan", 2)
			z.gate.open() // from now on there are dead orphans, too
			for _, query := range []string{"n=300", "n=300&raw", "n=1&wait=2500ms"} {
				var errs []string
				z.ask("/exec?"+query, &errs)
				if len(errs) > 0 {
					t.Errorf("%s: %d commands failed, such as %s", query, len(errs), errs[0])
				}
			}
			z.logged("reaped an orphan", 2)
			if _, zombies := z.family(); len(zombies) != 0 {
				t.Errorf("%d zombies are left", len(zombies))
			}
			if s := z.settle(2); s.Master.CrashesTotal != 0 {
				t.Errorf("%d crashes", s.Master.CrashesTotal)
			}
			z.stop()
		})
	}
}
