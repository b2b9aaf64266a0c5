package cluster_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// A reload brings a new environment, with the variables that are no more left
// out. A crash restart, and a reload that fails, keep that of the release.
func TestEnvironmentOfAReload(t *testing.T) {
	t.Parallel()
	z := newZoo(t, "good", nil)
	file := filepath.Join(z.dir, "environment")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("COLOUR=red\nSHAPE=round\n")
	z.cmd.Env = append(z.cmd.Env, "ZOO_ENV="+file)
	z.begin()
	z.dial()
	z.settle(2)
	want := func(when string, has ...string) {
		t.Helper()
		for _, pid := range z.pids() {
			var environment []string
			z.askWorker(pid, "environment", &environment)
			for _, kv := range []string{"COLOUR=red", "COLOUR=blue", "SHAPE=round"} {
				if slices.Contains(environment, kv) != slices.Contains(has, kv) {
					t.Errorf("%s: worker %d: %s is there: %v", when, pid, kv, !slices.Contains(has, kv))
				}
			}
		}
	}
	want("at the start", "COLOUR=red", "SHAPE=round")
	write("COLOUR=blue\n")
	victim := z.pids()[0]
	if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	z.loggedOf("worker crashed", victim)
	z.settle(2)
	want("after a crash", "COLOUR=red", "SHAPE=round")
	z.deploy("joined:exit=3")
	asVerdict(t, z.client.Reload(t.Context(), nil))
	z.settle(2)
	want("after a failed reload", "COLOUR=red", "SHAPE=round")
	z.deploy("good")
	if _, err := z.reloadFile(); err != nil {
		t.Fatal(err)
	}
	z.settle(2)
	want("after a reload", "COLOUR=blue")
	write("=nothing\n")
	if v := asVerdict(t, z.client.Reload(t.Context(), nil)); !strings.Contains(v.Reason, "NAME=value") {
		t.Errorf("a damaged environment: %s", v.Reason)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if v := asVerdict(t, z.client.Reload(t.Context(), nil)); !strings.Contains(v.Reason, "ask for the environment of workers: ") {
		t.Errorf("no environment: %s", v.Reason)
	}
	want("in the end", "COLOUR=blue")
	z.stop()
}

// Workers run as another user, with a nice value of their own in all threads and
// limits of their own, although only root can reach their executable by its
// path. The master stays what it was.
func TestWorkersOfAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root may start a process as another user")
	}
	const nobody = 65534
	z := startZoo(t, "good", config{
		"User": map[string]any{"UID": nobody, "GID": nobody, "Groups": []int{1, 2}}, "Nice": 7,
		"Rlimits": []map[string]any{{"resource": syscall.RLIMIT_NOFILE, "soft": 100, "hard": 200}},
	})
	check := func() {
		t.Helper()
		for _, pid := range z.pids() {
			var got struct {
				UID, GID   int
				Groups     []int
				Soft, Hard uint64
				Workers    int
			}
			z.askWorker(pid, "account", &got)
			if got.UID != nobody || got.GID != nobody || !slices.Equal(got.Groups, []int{1, 2}) || got.Soft != 100 || got.Hard != 200 || got.Workers != 2 {
				t.Errorf("worker %d: %+v", pid, got)
			}
			nice := niceValues(t, pid)
			if slices.ContainsFunc(nice, func(n string) bool { return n != "7" }) {
				t.Errorf("the threads of worker %d have the nice values %v", pid, nice)
			}
		}
	}
	check()
	if _, err := z.reload("good next"); err != nil {
		t.Fatal(err)
	}
	z.settle(2)
	check()
	z.stop()
}

// niceValues returns those of all threads of a process.
func niceValues(t *testing.T, pid int) (values []string) {
	t.Helper()
	for _, stat := range threadStats(t, pid) {
		values = append(values, stat[16]) // field 19 of proc_pid_stat(5); these begin with the third
	}
	return values
}

// What no worker could be started with is refused by New.
func TestImpossibleProcesses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cfg  config
		says string
	}{
		"nice value": {config{"Nice": 20}, "nice value of 20: they go from -20 to 19"},
		"resource":   {config{"Rlimits": []map[string]any{{"resource": 99, "soft": 1, "hard": 1}}}, "limit of resource 99: invalid argument"},
		"soft limit": {config{"Rlimits": []map[string]any{{"resource": 7, "soft": 2, "hard": 1}}}, "the soft limit of 2 is above the hard one of 1"},
		"hard limit": {config{"User": map[string]any{"UID": 1, "GID": 1}, "Rlimits": []map[string]any{{"resource": 7, "soft": 2, "hard": 1 << 40}}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			z := newZoo(t, "good", c.cfg)
			z.begin()
			if code := z.exit(); code != 1 {
				t.Errorf("it ended with code %d", code)
			}
			if list := z.log.list(); len(list) != 1 || !strings.Contains(list[0].raw, c.says) {
				t.Errorf("it says %+v, want %q", list, c.says)
			}
		})
	}
}

// threadStats returns what proc_pid_stat(5) says of each thread, from the state
// on.
func threadStats(t *testing.T, pid int) (stats [][]string) {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(files) == 0 {
		t.Fatalf("the threads of %d: %v", pid, err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		stats = append(stats, strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:])))
	}
	return stats
}
