//go:build unix

package devstack

import (
	"os"
	"syscall"
	"testing"
)

// A directory that is closed can be opened again at once, also while a program is being started elsewhere in this process: until
// its exec, the child has all our open files, the lock's too.
func TestCloseUnlocksForChildren(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, err := takeLock(dir)
	if err != nil {
		t.Fatal(err)
	}
	child, err := syscall.Dup(int(file.Fd())) // as fork does it
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(child)
	if err := (&home{dir: dir, locks: []*os.File{file}}).close(); err != nil {
		t.Fatal(err)
	}
	again, err := takeLock(dir)
	if err != nil {
		t.Fatalf("it is still locked: %v", err)
	}
	again.Close()
}
