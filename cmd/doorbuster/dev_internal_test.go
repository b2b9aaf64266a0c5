//go:build unix

package main

import (
	"errors"
	"os/exec"
	"testing"
)

// A shop that a passed-on signal ends before it could take it has ended in
// order. One that is ended by a signal that nobody passed on has not, nor one
// that fails while it stops.
func TestEndOfTheShopOfDev(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]struct{ told, untold error }{
		"exit 0":        {nil, nil},
		"kill -TERM $$": {nil, errSaid},
		"kill -KILL $$": {errSaid, errSaid},
		"exit 1":        {errSaid, errSaid},
	} {
		err := exec.Command("sh", "-c", script).Run()
		if told, untold := judgeEnd(err, true), judgeEnd(err, false); !errors.Is(told, want.told) || !errors.Is(untold, want.untold) {
			t.Errorf("%s: got %v and, untold, %v, want %v", script, told, untold, want)
		}
	}
	if err := judgeEnd(exec.ErrNotFound, true); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}
