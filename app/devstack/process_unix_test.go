//go:build unix

package devstack

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// A child has exited when the last of its descendants has, also of those that left its session and lost their parent.
func TestExitedWithTheWholeFamily(t *testing.T) {
	t.Parallel()
	trace := filepath.Join(t.TempDir(), "trace")
	orphan := `(sleep 0.5; echo ended >"$0") & exit 3`
	p, err := spawn(exec.CommandContext(t.Context(), "sh", "-c", orphan, trace), nil, syscall.SIGKILL)
	if err != nil {
		t.Fatal(err)
	}
	<-p.exited
	if _, err := os.Stat(trace); err != nil {
		t.Errorf("it is said to have exited while a descendant runs: %v", err)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 3 {
		t.Errorf("exit code %d", code)
	}
}
