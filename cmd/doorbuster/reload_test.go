//go:build unix

package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// deployment is a program in a directory of its own, that releases are moved to.
type deployment struct {
	t    *testing.T
	path string
}

// deploy puts doorbuster itself there.
func deploy(t *testing.T) deployment {
	t.Helper()
	d := deployment{t, filepath.Join(t.TempDir(), "doorbuster")}
	d.replace(binary, "")
	return d
}

// replace moves a copy of a program there, as deployments do. What is appended makes it another release and changes
// nothing else.
func (d deployment) replace(program, appended string) {
	d.t.Helper()
	raw, err := os.ReadFile(program)
	if err == nil {
		err = os.WriteFile(d.path+".new", append(raw, appended...), 0o755)
	}
	if err == nil {
		err = os.Rename(d.path+".new", d.path)
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

// brokenProgram builds a release that prints a line and exits with 3.
func brokenProgram(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	const text = `package main

import "os"

func main() {
	os.Stderr.WriteString("the flux capacitor is missing\n")
	os.Exit(3)
}
`
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "broken"), source).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return filepath.Join(dir, "broken")
}

// M8, M9, O5: a reload runs what is on disk now, and a crash restart what runs, whatever is on disk. A release that does not
// start ends the reload with its reason and its last words; the one before serves on, with the same processes.
func TestReleases(t *testing.T) {
	t.Parallel()
	program := deploy(t)
	s := launchShop(t, nil, program.path, "serve")
	s.await(&s.at, "all workers are ready", nil)
	first := s.status().Master.Release

	program.replace(binary, "\n")
	s.reload()
	second := s.status()
	if second.Master.Release == first || second.Workers[0].Release != second.Master.Release || second.Workers[1].Release != second.Master.Release {
		t.Errorf("the second release is not what runs: %+v, and %s before", second, first)
	}

	serving := s.pids()
	program.replace(brokenProgram(t), "")
	code, stdout, stderr := s.do("reload")
	want := regexp.MustCompile(`^The last it said:\n  the flux capacitor is missing\n` +
		`doorbuster: reload failed, and the release before serves on: worker 1 \(pid \d+, release [^ ]+\) exited with code 3 before it was ready\n$`)
	if code != 1 || strings.Contains(stdout, "reloaded in") || !want.MatchString(stderr) {
		t.Errorf("got exit code %d, output %q, errors %q", code, stdout, stderr)
	}
	if now := s.pids(); len(now) != 2 || now[1] != serving[1] || now[2] != serving[2] {
		t.Errorf("after a reload that failed: workers by slot: %v, and %v before", now, serving)
	}

	s.kill(serving[2])
	again := s.await(&s.at, "worker ready", func(r record) bool { return r.Slot == 2 && r.WorkerPID != serving[2] })
	if again.WorkerRelease != second.Master.Release {
		t.Errorf("a crash restart runs %s, want %s", again.WorkerRelease, second.Master.Release)
	}

	if err := os.Remove(program.path); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := s.do("reload"); code != 1 || !strings.Contains(stderr, "cannot adopt "+program.path+": there is no such file") {
		t.Errorf("nothing on disk: got exit code %d, errors %q", code, stderr)
	}

	program.replace(binary, "\n\n")
	s.reload()
	if third := s.status().Master.Release; third == first || third == second.Master.Release {
		t.Errorf("the third release is not what runs: %s", third)
	}
	s.close()
}

// Where nobody looks at a terminal, a reload tells how far it is line by line.
func TestReloadTellsItsProgress(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	code, stdout, stderr := s.do("reload")
	want := regexp.MustCompile(`^0/2  to release \S+
1/2  worker 1 \(pid \d+\) is ready
1/2  worker 1 \(pid \d+\) takes over
(?s:.*)2/2  worker 2 \(pid \d+\) takes over
(?s:.*)reloaded in \S+$`)
	if code != 0 || stderr != "" || !want.MatchString(stdout) || strings.Contains(stdout, "\x1b") {
		t.Errorf("got exit code %d, errors %q, output:\n%s", code, stderr, stdout)
	}
	s.close()
}
