//go:build unix

package devstack_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"doorbuster/app/devstack"
)

func TestStackStartsBothAndCloseLeavesNothing(t *testing.T) {
	t.Parallel()
	var steps []string // no lock: Progress promises one caller at a time, and the race detector watches
	s, err := devstack.Start(within(t), devstack.Options{Progress: func(msg string) { steps = append(steps, msg) }})
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, s)

	if got := query[string](t, s.Postgres.URL(), "SELECT current_user || ' ' || current_database()"); got != "doorbuster doorbuster" {
		t.Errorf("user and database: got %q, want doorbuster doorbuster", got)
	}
	if err := redisClient(t, s.Redis.URL()).Set(within(t), "k", "v", 0).Err(); err != nil {
		t.Error(err)
	}
	said := strings.Join(steps, "\n")
	for _, want := range []string{"starting PostgreSQL " + s.Postgres.Version() + " from /", "redis"} {
		if !strings.Contains(said, want) {
			t.Errorf("progress does not say %q:\n%s", want, said)
		}
	}

	pid, sockets := postmaster(t, s.Postgres.URL()), socketDir(t, s.Postgres.URL())
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if running(pid) {
		t.Errorf("postmaster %d still runs after Close", pid)
	}
	if home := filepath.Dir(sockets); !missing(home) {
		t.Errorf("%s is still there after Close", home)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestStartCancelledLeavesNothing(t *testing.T) {
	dir := openDir(t)
	t.Setenv("TMPDIR", dir)
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	_, err := devstack.Start(ctx, devstack.Options{Progress: func(msg string) {
		if strings.HasPrefix(msg, "starting PostgreSQL") {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		t.Errorf("left behind: %s", e.Name())
	}
}

// The system's temporary directory of root may be one that nobody else enters.
func TestPrivateTemporaryDirectory(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s, err := devstack.Start(within(t), devstack.Options{})
	if err != nil {
		t.Fatal(err)
	}
	home := filepath.Dir(socketDir(t, s.Postgres.URL()))
	mustClose(t, s)
	if !missing(home) {
		t.Errorf("%s is still there after Close", home)
	}
}

// killedParent starts servers in a process of its own, kills that, and returns what was the URL of PostgreSQL and
// the pid of the postmaster.
func killedParent(t *testing.T, dir string) (url string, pid int) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells a child that its parent died")
	}
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), asParent+"=1", asParent+"_DIR="+dir)
	parent.Stderr = os.Stderr
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	defer parent.Wait()
	defer parent.Process.Kill()
	url, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	url = strings.TrimSpace(url)
	if pid = postmaster(t, url); !running(pid) {
		t.Fatalf("postmaster %d does not run", pid)
	}
	execute(t, url, "CREATE TABLE t AS SELECT 42 AS n")
	return url, pid
}

// The parent is killed by SIGKILL, so that no code of ours runs. Its servers must end all the same, and a later
// start must remove its directories.
func TestServersDieWithTheirParent(t *testing.T) {
	t.Parallel()
	url, pid := killedParent(t, "")
	eventually(t, "the postmaster ends after its parent", func() bool { return !running(pid) })
	r, err := devstack.StartRedis(within(t), devstack.Options{})
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, r)
	if home := filepath.Dir(socketDir(t, url)); r.Kind()[0] != 'm' && !missing(home) {
		t.Errorf("%s is still there after a later start", home)
	}
}

// The next start on kept data may come before the old server is gone.
func TestKeptDirectoryOfAKilledParent(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	killedParent(t, dir)
	s, err := devstack.Start(within(t), devstack.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, s)
	if got := query[int](t, s.Postgres.URL(), "SELECT n FROM t"); got != 42 {
		t.Errorf("got %d, want 42", got)
	}
}

// Ctrl-C in a terminal is a SIGINT to the process group. The servers must not be in ours.
func TestServersHaveTheirOwnProcessGroup(t *testing.T) {
	t.Parallel()
	p := startPostgres(t, devstack.Options{})
	pid := postmaster(t, p.URL())
	group, err := syscall.Getpgid(pid)
	if err != nil {
		t.Fatal(err)
	}
	if group != pid {
		t.Errorf("postmaster %d: got process group %d, want its own", pid, group)
	}
}

func TestManyStacksAtOnce(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			s, err := devstack.Start(within(t), devstack.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			mustClose(t, s)
		})
	}
	wg.Wait()
}
