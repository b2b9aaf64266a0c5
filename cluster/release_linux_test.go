package cluster

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// releaseCommand starts a release as workers are started: from a descriptor that they inherit.
func releaseCommand(t *testing.T, r *release, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/fd/3", args...)
	cmd.ExtraFiles = []*os.File{r.file}
	return cmd
}

func releaseSays(t *testing.T, r *release) string {
	t.Helper()
	out, err := releaseCommand(t, r).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// M8, and the reason why a crash restart is no deploy: what was adopted is executed, after its path names another file
// and after it names none.
func TestReleaseRunsFromItsDescriptor(t *testing.T) {
	t.Parallel()
	one, two := releasePrograms(t)
	for name, c := range map[string]struct {
		first, second []byte
		want          string
	}{
		"program": {one, two, "release one\n"},
		"script":  {[]byte("#!/bin/sh\necho script one\n"), []byte("#!/bin/sh\necho script two\n"), "script one\n"},
	} {
		path := putRelease(t, filepath.Join(t.TempDir(), "program"), c.first, 0o755)
		r := mustAdopt(t, path)
		if got := releaseSays(t, r); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
		if err := os.Rename(putRelease(t, path+".new", c.second, 0o755), path); err != nil {
			t.Fatal(err)
		}
		if got := releaseSays(t, r); got != c.want {
			t.Errorf("%s, renamed over: got %q, want %q", name, got, c.want)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if got := releaseSays(t, r); got != c.want {
			t.Errorf("%s, removed: got %q, want %q", name, got, c.want)
		}
	}
}

// Why changed() is rare: the kernel does not let anyone write to a program that is being executed.
func TestReleaseIsProtectedWhileItRuns(t *testing.T) {
	t.Parallel()
	one, _ := releasePrograms(t)
	path := putRelease(t, filepath.Join(t.TempDir(), "program"), one, 0o755)
	cmd := releaseCommand(t, mustAdopt(t, path), "wait")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer stdin.Close()
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		file.Close()
		t.Skip("this kernel lets running programs be overwritten, as 6.11 and 6.12 did at first")
	}
	if !errors.Is(err, unix.ETXTBSY) {
		t.Errorf("got %v, want %v", err, unix.ETXTBSY)
	}
}

// M9: a writer that only pauses leaves a file which looks finished by its times, and which cannot be executed.
func TestReleaseHeldByAWriter(t *testing.T) {
	t.Parallel()
	one, _ := releasePrograms(t)
	path := putRelease(t, filepath.Join(t.TempDir(), "program"), one, 0o755)
	writer, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := adopt(soon, path); err == nil || !strings.Contains(err.Error(), "it is still being written") {
		t.Errorf("got %v", err)
	}
	writer.Close()
	mustAdopt(t, path)
}

// M9: where programs may not be executed the mode does not tell.
func TestReleaseOnNoexec(t *testing.T) {
	t.Parallel()
	one, _ := releasePrograms(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOEXEC, ""); err != nil {
		t.Skipf("cannot mount here: %v", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	_, err := adopt(t.Context(), putRelease(t, filepath.Join(dir, "program"), one, 0o755))
	if err == nil || !strings.Contains(err.Error(), "may not execute it") {
		t.Errorf("got %v", err)
	}
}

// M16: workers do not inherit the descriptor.
func TestReleaseIsNotInherited(t *testing.T) {
	t.Parallel()
	r := mustAdopt(t, putRelease(t, filepath.Join(t.TempDir(), "program"), []byte("#!/bin/sh\n"), 0o755))
	flags, err := unix.FcntlInt(r.file.Fd(), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags %#x, %v; want close-on-exec", flags, err)
	}
}
