//go:build unix

package main

import (
	"bufio"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"doorbuster/app/dbtest"
)

// asCommand makes this test binary be the command; with the value "told" it is a command's command, which waits for
// SIGTERM and exits with 9. (A shell with a trap can miss the signal: it looks for one before it waits, and not again.)
const asCommand = "TESTSERVERS_TEST_COMMAND"

func TestMain(m *testing.M) {
	switch os.Getenv(asCommand) {
	case "":
	case "told":
		told := make(chan os.Signal, 1)
		signal.Notify(told, syscall.SIGTERM)
		os.Stdout.WriteString("ready\n")
		<-told
		os.Exit(9)
	default:
		os.Unsetenv(asCommand)
		main()
		return
	}
	dbtest.Main(m)
}

func command(t *testing.T, env []string, args ...string) (cmd *exec.Cmd, stderr *strings.Builder) {
	t.Helper()
	cmd = exec.CommandContext(t.Context(), os.Args[0], args...)
	stderr = new(strings.Builder)
	cmd.Env, cmd.Stderr = append(os.Environ(), append(env, asCommand+"=1")...), stderr
	return cmd, stderr
}

// sharing makes the command use the servers of this test binary: most tests are not about starting any.
func sharing(t *testing.T) []string {
	t.Helper()
	return []string{"TEST_DATABASE_URL=" + dbtest.EmptyDatabase(t), "TEST_REDIS_URL=" + dbtest.Redis(t)}
}

func TestStartsServersForACommand(t *testing.T) {
	t.Parallel()
	cmd, stderr := command(t, []string{"TEST_SERVERS=private", "TEST_DATABASE_URL=", "TEST_REDIS_URL="},
		"--", "sh", "-c", `echo "$TEST_DATABASE_URL"; echo "$TEST_REDIS_URL"; exit 7`)
	out, err := cmd.Output()
	if got := cmd.ProcessState.ExitCode(); got != 7 {
		t.Errorf("exit code: got %d (%v), want 7", got, err)
	}
	if !regexp.MustCompile(`^postgres://\S+\n(unix|redis)://\S+\n$`).Match(out) {
		t.Errorf("the command saw %q, want two URLs", out)
	}
	line := regexp.MustCompile(`^tests run on: PostgreSQL [\d.]+ and \S+ .*, private servers \(TEST_SERVERS=private\)\n$`)
	if !line.MatchString(stderr.String()) {
		t.Errorf("stderr: got %q, want %s", stderr, line)
	}
	dir := regexp.MustCompile(`host=([^&]*)/s&`).FindSubmatch(out)
	if dir == nil {
		t.Fatalf("no directory in %q", out)
	}
	if _, err := os.Stat(string(dir[1])); !os.IsNotExist(err) {
		t.Errorf("%s is still there", dir[1])
	}
}

func TestPassesSignalsOn(t *testing.T) {
	t.Parallel()
	cmd, stderr := command(t, sharing(t), "env", asCommand+"=told", os.Args[0])
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("got %q, %v, stderr %s, want ready", line, err, stderr)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 9 {
		t.Errorf("exit code: got %d, want 9 from the command", got)
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	env := sharing(t)
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"true"}, 0, "tests run on: "},
		{[]string{"sh", "-c", "kill -9 $$"}, 137, "tests run on: "},
		{[]string{"/no/such/command"}, 1, "no such file"},
		{[]string{"--"}, 2, "usage: "},
	} {
		cmd, stderr := command(t, env, c.args...)
		_ = cmd.Run()
		if got := cmd.ProcessState.ExitCode(); got != c.code || !strings.Contains(stderr.String(), c.says) {
			t.Errorf("%q: got code %d and %q, want %d and %q", c.args, got, stderr, c.code, c.says)
		}
	}
	cmd, stderr := command(t, []string{"TEST_SERVERS=both", "TEST_DATABASE_URL=", "TEST_REDIS_URL="}, "true")
	_ = cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != 1 || !strings.Contains(stderr.String(), "must be containers or private") {
		t.Errorf("TEST_SERVERS=both: got code %d and %q", got, stderr)
	}
}
