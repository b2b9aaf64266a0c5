//go:build unix

package cluster_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// M17: the control socket and the folders that are made for a master belong to its account alone, whatever the umask. A
// folder that is there stays as it is.
func TestControlSocketIsPrivate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ umask, run, state string }{
		{"0", "run/shop", "state"},
		{"022", "run/shop", "state"},
		{"0277", ".", "."}, // leaves a socket 0400, and would leave folders that can't be used
	} {
		z := newZoo(t, "good", nil)
		if err := os.Chmod(z.dir, 0o755); err != nil {
			t.Fatal(err)
		}
		socket, pidFile := filepath.Join(z.dir, c.run, "control"), filepath.Join(z.dir, c.state, "pid")
		z.cfg["ControlSocket"], z.cfg["PIDFile"] = socket, pidFile
		z.prepare()
		z.cmd.Path, z.cmd.Args = "/bin/sh", []string{"sh", "-c", "umask " + c.umask + ` && exec "$0"`, z.cmd.Path}
		z.begin()
		z.dial()
		want := map[string]os.FileMode{socket: os.ModeSocket | 0o600, z.dir: os.ModeDir | 0o755}
		for _, made := range []string{filepath.Dir(pidFile), filepath.Dir(socket), filepath.Dir(filepath.Dir(socket))} {
			if len(made) > len(z.dir) {
				want[made] = os.ModeDir | 0o700
			}
		}
		for path, mode := range want {
			if info, err := os.Lstat(path); err != nil || info.Mode() != mode {
				t.Errorf("umask %s: %s is %v, want %v; %v", c.umask, path, info.Mode(), mode, err)
			}
		}
		z.settle(2)
		z.stop()
	}
}

// refusedStart runs a master that can't start, and returns what it says.
func (z *zoo) refusedStart() string {
	z.Helper()
	z.prepare()
	z.begin()
	first := z.log.wait(1, "the reason", func(entry) bool { return true })[0]
	if first.message == "master started" {
		z.Fatal("the master starts")
	}
	if code := z.exit(); code != 1 || len(z.log.list()) != 1 {
		z.Errorf("the master ended with code %d and says %v", code, z.log.list())
	}
	return first.raw
}

// M17: the control socket of a master that runs is not taken away from it, not even by one with another PID file.
func TestControlSocketOfAnother(t *testing.T) {
	t.Parallel()
	first := startZoo(t, "good", nil)
	socket := first.cfg["ControlSocket"].(string)
	link := filepath.Join(first.dir, "link")
	if err := os.Symlink(socket, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{socket, link} {
		second := newZoo(t, "good", config{"ControlSocket": path})
		if says := second.refusedStart(); !strings.Contains(says, "control socket "+path+" is in use by another master") {
			t.Errorf("the second master says %q", says)
		}
		if _, err := os.Lstat(second.cfg["PIDFile"].(string)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the second master has left its PID file: %v", err)
		}
	}
	if s := first.settle(2); s.Master.PID != first.cmd.Process.Pid {
		t.Errorf("the control socket leads to %d", s.Master.PID)
	}
	first.stop()
}

// M17: what is no socket is left alone, and a path that can't be one is refused in words.
func TestControlSocketAtAnotherThing(t *testing.T) {
	t.Parallel()
	const left = "there is something else at this path, which is left alone"
	for name, c := range map[string]struct {
		want string
		make func(path string) error
	}{
		"a file":            {left, func(path string) error { return os.WriteFile(path, []byte("keep"), 0o600) }},
		"a folder":          {left, func(path string) error { return os.Mkdir(path, 0o700) }},
		"a pipe":            {left, func(path string) error { return unix.Mkfifo(path, 0o600) }},
		"a link to nothing": {left, func(path string) error { return os.Symlink("nowhere", path) }},
		"a path that is too long/" + strings.Repeat("x", 120): {"a path of more than about 100 bytes does not work", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			z := newZoo(t, "good", nil)
			path := filepath.Join(z.dir, filepath.Base(strings.ReplaceAll(name, " ", "-")))
			z.cfg["ControlSocket"] = path
			var before os.FileInfo
			if c.make != nil {
				err := c.make(path)
				if err == nil {
					before, err = os.Lstat(path)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if says := z.refusedStart(); !strings.Contains(says, c.want) || !strings.Contains(says, path) {
				t.Errorf("the master says %q and should speak of %q", says, c.want)
			}
			after, err := os.Lstat(path)
			if c.make != nil && (err != nil || !os.SameFile(before, after) || before.Mode() != after.Mode() || before.Size() != after.Size()) {
				t.Errorf("%v became %v, %v", before, after, err)
			}
			if _, err := os.Lstat(z.cfg["PIDFile"].(string)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the PID file is left: %v", err)
			}
		})
	}
}
