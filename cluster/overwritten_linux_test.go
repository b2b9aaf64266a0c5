package cluster_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

// A release that is a script can be overwritten in place while it runs. The
// master notices when it starts a worker again, and says so.
func TestReleaseOverwrittenInPlace(t *testing.T) {
	t.Parallel()
	z := newZoo(t, "good", nil)
	script := func(comment string) []byte {
		return fmt.Appendf(nil, "#!/bin/sh\n# %s\nexec %s\n", comment, release(t, "good"))
	}
	if err := writeProgram(z.program+".new", script("one")); err != nil {
		t.Fatal(err)
	}
	z.replace(z.program + ".new")
	z.begin()
	z.dial()
	victim := z.settle(2).Workers[0].PID
	kill := func() {
		t.Helper()
		if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		z.loggedOf("worker crashed", victim)
		victim = z.settle(2).Workers[0].PID
	}
	kill()
	if n := z.times(overwritten); n != 0 {
		t.Error("it says so of a release that nobody has touched")
	}
	if err := os.WriteFile(z.program, script("another"), 0o755); err != nil {
		t.Fatal(err)
	}
	kill()
	if e := z.logged(overwritten, 1); !strings.Contains(fmt.Sprint(e.fields["error"]), "overwritten in place") {
		t.Errorf("it says %q", e.raw)
	}
	z.stop()
}

const overwritten = "the release is not what it was"
