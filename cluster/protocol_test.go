//go:build linux

package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"doorbuster/cluster"
)

// firstRelease is the commit of the first release that spoke protocol 1. It knew neither abilities nor a least number: it
// took no master of another number.
const firstRelease = "c39d5d4"

// older builds the zoo of firstRelease from the history of this repository. The error is why there is none.
var older = sync.OnceValues(func() (string, error) {
	root, err := exec.Command("git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		return "", fmt.Errorf("this is no git repository: %w", err)
	}
	dir := filepath.Join(zooDir, "older")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	archive := exec.Command("git", "-C", strings.TrimSpace(string(root)), "archive", firstRelease, "go.mod", "go.sum", "cluster")
	files, err := archive.Output()
	if err != nil {
		return "", fmt.Errorf("the history has no commit %s, as in a shallow clone: %w", firstRelease, err)
	}
	unpack := exec.Command("tar", "-x", "-C", dir)
	unpack.Stdin = bytes.NewReader(files)
	if out, err := unpack.CombinedOutput(); err != nil {
		return "", fmt.Errorf("unpack the older release: %w: %s", err, out)
	}
	path := filepath.Join(dir, "zoo")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", path, "./cluster/testdata/zoo")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("build the older release: %v\n%s", err, out)) // it was built once: no reason to skip
	}
	return path, nil
})

// speaker builds testdata/speaker, the frozen side of protocol 1.
var speaker = sync.OnceValues(func() (string, error) {
	path := filepath.Join(zooDir, "speaker")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, "./testdata/speaker").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the speaker: %w\n%s", err, out)
	}
	return path, nil
})

// adopt puts a program in place that is no zoo of today.
func (z *zoo) adopt(program string) {
	z.Helper()
	if err := os.Symlink(program, z.program+".new"); err != nil {
		z.Fatal(err)
	}
	z.replace(z.program + ".new")
}

// talks checks that a master and its workers understand each other in all that protocol 1 has.
func (z *zoo) talks() {
	z.Helper()
	if n, err := z.client.Set(z.Context(), "colour", "red"); n != 2 || err != nil {
		z.Errorf("a setting: %d workers have it, %v", n, err)
	}
	pids := z.pids()
	var none any
	z.askWorker(pids[0], "broadcast?data=hello", &none)
	eventually(z.T, "a broadcast", func() bool {
		var messages []string
		z.askWorker(pids[1], "messages?n=1", &messages)
		return slices.Equal(messages, []string{"1: hello"})
	})
	for _, pid := range pids {
		var settings map[string]string
		z.askWorker(pid, "settings", &settings)
		if settings["colour"] != "red" {
			z.Errorf("worker %d has the settings %v", pid, settings)
		}
	}
	if _, err := z.get("/"); err != nil {
		z.Error(err)
	}
	for _, w := range z.status().Workers {
		if w.RSSBytes == 0 || w.State != "ready" {
			z.Errorf("the status of a worker is %+v", w)
		}
	}
	if err := z.client.Kill(z.Context(), 2); err != nil {
		z.Error(err)
	}
	z.loggedOf("worker crashed", pids[1])
	z.settle(2)
}

// reloadTo replaces the workers by a program.
func (z *zoo) reloadTo(program string) {
	z.Helper()
	z.adopt(program)
	if err := z.client.Reload(z.Context(), func(cluster.Event) {}); err != nil {
		z.Errorf("reload to %s: %v", filepath.Base(program), err)
	}
	z.settle(2)
}

// The promise of the protocol: workers of an older release run under a master of this one, before and after workers of this
// one, and also those that were written from the specification.
func TestOlderWorkers(t *testing.T) {
	t.Parallel()
	for name, build := range map[string]func() (string, error){"first release": older, "specification": speaker} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			program, err := build()
			if err != nil && name == "specification" {
				t.Fatal(err)
			} else if err != nil {
				t.Skip(err)
			}
			z := newZoo(t, "good", nil)
			z.adopt(program)
			z.begin()
			z.dial()
			z.logged("all workers are ready", 1)
			for _, w := range z.status().Workers {
				if w.Protocol != 1 || len(w.Abilities) != 0 {
					t.Errorf("protocol %d, abilities %v", w.Protocol, w.Abilities)
				}
			}
			z.talks()
			z.reloadTo(release(t, "good next"))
			for _, w := range z.status().Workers {
				if !slices.Contains(w.Abilities, "health") {
					t.Errorf("after the reload: abilities %v", w.Abilities)
				}
			}
			z.reloadTo(program) // the way back
			z.stop()
		})
	}
}

// Workers of this release run under a master of the first one.
func TestOlderMaster(t *testing.T) {
	t.Parallel()
	program, err := older()
	if err != nil {
		t.Skip(err)
	}
	z := newZoo(t, "good", nil)
	z.cmd.Path, z.cmd.Args = program, []string{program}
	z.begin()
	z.dial()
	z.logged("all workers are ready", 1)
	z.talks()
	z.reloadTo(program)
	z.reloadTo(release(t, "good next"))
	z.signal(syscall.SIGKILL)
	z.exit()
}

// Workers of this release run under a master that was written from the specification.
func TestMasterOfTheSpecification(t *testing.T) {
	t.Parallel()
	program, err := speaker()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), program, release(t, "good")).CombinedOutput()
	if err != nil || !bytes.HasSuffix(out, []byte("ok\n")) {
		t.Errorf("%v: %s", err, out)
	}
}

// A newer master, whatever its number, is one that a worker of this release joins.
func TestNewerMaster(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "start:protocol=99", nil)
	z.talks()
	z.stop()
}

// A client of this release and a master of the first one, which tells nobody that it has taken a command: what is under
// way goes on, whoever waits is told what is true within the time limit, and what that master can't do is refused in words.
func TestClientOfOlderMaster(t *testing.T) {
	t.Parallel()
	program, err := older()
	if err != nil {
		t.Skip(err)
	}
	z := newZoo(t, "drain:gate", nil)
	z.cmd.Path, z.cmd.Args = program, []string{program}
	z.begin()
	z.dial()
	z.logged("all workers are ready", 1)
	notices := make(chan string, 10)
	z.client.Notice = func(s string) { notices <- s }
	if err := z.client.ScaleWith(t.Context(), 2, cluster.ScaleOptions{}); err != nil || !strings.Contains(<-notices, "does not tell how scaling ends") {
		t.Errorf("scale: %v", err)
	}
	const unknown = "the master is of an older release, which does not know this command"
	for name, err := range map[string]error{
		"restart": z.client.Restart(t.Context(), 1),
		"back":    z.client.ReloadBack(t.Context(), nil),
		"logs":    z.client.Logs(t.Context(), cluster.LogOptions{}, nil),
		"force":   z.client.ScaleWith(t.Context(), 2, cluster.ScaleOptions{Force: true}),
	} {
		if err == nil || !strings.HasPrefix(err.Error(), unknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := z.client.Unset(t.Context(), "colour"); err == nil || !strings.HasPrefix(err.Error(), unknown) {
		t.Errorf("unset: %v", err)
	}
	if s := z.settle(2); s.Master.ReloadsTotal != 0 {
		t.Errorf("back was taken for a reload: %+v", s.Master)
	}

	z.client.Timeout = 3 * time.Second
	stopped := make(chan error, 1)
	go func() { stopped <- z.client.Stop(t.Context()) }()
	z.gate.wait("drain", 2)
	if said := <-notices; !strings.Contains(said, "waiting on") {
		t.Errorf("whoever waits is told %q", said)
	}
	// One who leaves is not told that nothing is done.
	leaving, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() { left <- z.client.Reload(leaving, nil) }()
	select {
	case err := <-left: // refused at once: it is stopping
		if !errors.Is(err, cluster.ErrStopped) {
			t.Error(err)
		}
	case <-notices:
	}
	leave()
	z.gate.open()
	z.exit()
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
}

// The same for one who goes before the time limit, and for "at once", which that master has no word for.
func TestLeavingAnOlderMaster(t *testing.T) {
	t.Parallel()
	program, err := older()
	if err != nil {
		t.Skip(err)
	}
	z := newZoo(t, "drain:gate", nil)
	z.cmd.Path, z.cmd.Args = program, []string{program}
	z.begin()
	z.dial()
	z.logged("all workers are ready", 1)
	leaving, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() { left <- z.client.Stop(leaving) }()
	z.gate.wait("drain", 2)
	leave()
	if err := <-left; err == nil || errors.Is(err, cluster.ErrNotHeard) || !strings.Contains(err.Error(), "may carry the command out") {
		t.Errorf("one who leaves is told %v", err)
	}
	now := make(chan error, 1)
	go func() { now <- z.client.StopNow(t.Context()) }()
	z.logged("stopping at once", 1)
	z.gate.open()
	z.exit()
	if err := <-now; err != nil {
		t.Error(err)
	}
}
