//go:build unix

package ctl_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"doorbuster/cluster"
	"doorbuster/cluster/ctl"
)

// The tests give commands to a real master with real workers: this program, started again with socketVariable.
const socketVariable = "CTL_TEST_SOCKET"

func TestMain(m *testing.M) {
	if signal.Ignored(syscall.SIGINT) { // as in the background of a script
		signal.Notify(make(chan os.Signal, 1), syscall.SIGINT)
	}
	if socket := os.Getenv(socketVariable); socket != "" {
		if err := serve(socket); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// serve is the service: its workers say hello, and there is room for two of them.
func serve(socket string) error {
	worker, err := cluster.Join()
	if errors.Is(err, cluster.ErrNoMaster) {
		master, err := cluster.New(cluster.Config{
			Listen: []string{"127.0.0.1:0"}, Workers: 2, ControlSocket: socket, Bake: 1, Output: os.Stdout,
			OnSetting: func(key, _ string) error {
				if key != "colour" {
					return fmt.Errorf("there is no setting %q", key)
				}
				return nil
			},
		})
		if err != nil {
			return err
		}
		return master.Run(context.Background())
	}
	if err != nil {
		return err
	}
	if worker.Slot() > 2 {
		fmt.Println("no room")
		os.Exit(4)
	}
	fmt.Println("hello from slot", worker.Slot())
	if err := worker.OnSetting(func(_, _ string) error { return nil }); err != nil {
		return err
	}
	return worker.Serve(&cluster.Server{HTTP: &http.Server{}, LameDuck: time.Millisecond})
}

// service is a service under test, and its command line.
type service struct {
	*testing.T
	ctl.Service
	master *exec.Cmd
	log    *bufio.Scanner
	ended  chan struct{}
}

// start runs the service, and returns when its workers are ready.
func start(t *testing.T) *service {
	t.Helper()
	dir, err := os.MkdirTemp("", "ctl") // t.TempDir is too long for the path of a socket
	if err != nil {
		t.Fatal(err)
	}
	s := &service{T: t, Service: ctl.Service{Program: "shop", Socket: filepath.Join(dir, "socket"), Hint: "Start it"}, ended: make(chan struct{})}
	s.master = exec.Command(os.Args[0])
	s.master.Env = append(os.Environ(), socketVariable+"="+s.Socket)
	log, err := s.master.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.master.Start(); err != nil {
		t.Fatal(err)
	}
	s.log = bufio.NewScanner(log)
	t.Cleanup(func() {
		s.master.Process.Kill()
		<-s.ended
		os.RemoveAll(dir)
	})
	ready := make(chan struct{})
	go func() {
		defer close(s.ended)
		for s.log.Scan() {
			if strings.Contains(s.log.Text(), "all workers are ready") {
				close(ready)
			}
		}
		s.master.Wait()
	}()
	select {
	case <-ready:
	case <-s.ended:
		t.Fatal("the service has ended")
	}
	return s
}

// do carries out a command line.
func (s *service) do(ctx context.Context, line string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	own := s.Service
	own.Stdout, own.Stderr = &out, &err
	code = own.Main(ctx, strings.Fields(line))
	return code, out.String(), err.String()
}

// Every command, by the line that people type: what it says, and its exit code.
func TestCommands(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, c := range []struct {
		line           string
		code           int
		stdout, stderr string // regular expressions
	}{
		{"status", 0, `^running: 2 of 2 workers ready, on 127\.0\.0\.1:\d+, release \S+, master pid \d+ up \d+s, 0 crashes\n\nSLOT `, `^$`},
		{"status --ready --complete", 0, `^running`, `^$`},
		{"status --json", 0, `(?s)^{\n  "master": {\n    "pid": .*"protocol": `, `^$`},
		{"status --loud", 2, `^$`, `^shop: status: flag provided but not defined: -loud\. Try shop --help\.\n$`},
		{"status 1", 2, `^$`, `^shop: status: it takes no arguments\. `},
		{"logs 1", 0, `^hello from slot 1\n$`, `^$`},
		{"logs --lines=2", 0, `^\[[12] \d+\] hello from slot [12]\n\[[12] \d+\] hello from slot [12]\n$`, `^$`},
		{"logs -n 1 2 --json", 0, `^{"time":"[^"]+","slot":2,"pid":\d+,"text":"hello from slot 2"}\n$`, `^$`},
		{"logs -n 0", 0, `^$`, `^$`},
		{"logs -n -1", 1, `^$`, `^shop: -1 lines: there can be 0 and more\n$`},
		{"logs 9", 1, `^$`, `^shop: no worker has been started in slot 9\n$`},
		{"logs two", 2, `^$`, `^shop: SLOT is "two": it is a number\. `},
		{"logs 1 2", 2, `^$`, `^shop: logs: too many arguments: it takes \[SLOT\]\. `},
		{"reload --check", 0, `^a reload would adopt release \S+\n$`, `^$`},
		{"reload --back", 1, `^$`, `^shop: reload failed, and the release before serves on: this master has not run any other release than `},
		{"reload --back --check", 1, `^$`, `^shop: either --check or --back`},
		{"reload", 0, `(?s)^0/2  to release \S+\n.*2/2  worker 2 \(pid \d+\) takes over\n.*reloaded in \S+\n$`, `^$`},
		{"scale 3", 1, `^$`, `^The last it said:\n(?s:.*)  no room\nshop: scale failed: worker 3 \(pid \d+, release \S+\) exited with code 4 before it was ready`},
		{"scale 1", 0, `^scaled to 1 worker in \S+\n$`, `^$`},
		{"scale --no-wait 2", 0, `^scaling to 2 workers\n$`, `^$`},
		{"scale 2", 0, `^scaled to 2 workers in \S+\n$`, `^$`},
		{"scale -1", 1, `^$`, `^shop: -1 workers: there can be 1 to 1024\n$`},
		{"scale", 2, `^$`, `^shop: scale: WORKERS is missing\. `},
		{"scale many", 2, `^$`, `^shop: WORKERS is "many": it is a number\. `},
		{"restart 1", 0, `^restarted the worker in slot 1\n$`, `^$`},
		{"restart 9", 1, `^$`, `^shop: restart failed: there is no slot 9: there are 1 to 2\n$`},
		{"drain 2", 0, `^the worker in slot 2 has left, and another one is ready\n$`, `^$`},
		{"drain", 2, `^$`, `^shop: drain: SLOT is missing\. `},
		{"reset", 0, `^all circuit breakers are closed`, `^$`},
		{"set colour=red", 0, `^colour is red on the master and 2 workers\n$`, `^$`},
		{"set colour", 2, `^$`, `^shop: "colour" is not KEY=VALUE\. `},
		{"set size=7", 1, `^$`, `^shop: there is no setting "size"\n$`},
		{"unset colour", 0, `^colour is not given to new workers any more; the master and 2 workers keep it\. "shop reload" replaces the workers\n$`, `^$`},
		{"unset colour", 1, `^$`, `^shop: setting "colour" was not made`},
		{"unset", 2, `^$`, `^shop: unset: KEY \.\.\. is missing\. `},
		{"kill 9", 1, `^$`, `^shop: no worker serves in slot 9\n$`},
		{"kill 2", 0, `^killed the worker in slot 2; "shop status" shows how it is replaced\n$`, `^$`},
		{"sell", 2, `^$`, `^shop: there is no command "sell"\. Try shop --help\.\n$`},
		{"status --control-socket=/nowhere", 3, `^$`, `^shop: no master listens on /nowhere: .*\. Start it\n$`},
		{"status --control-socket=/" + strings.Repeat("x", 130), 3, `^$`, `: a path of more than about 100 bytes does not work\. Start it\n$`},
		{"stop --now", 0, `^stopped\n$`, `^$`},
		{"stop", 3, `^$`, `^shop: no master listens on `},
	} {
		code, stdout, stderr := s.do(t.Context(), c.line)
		if code != c.code || !regexp.MustCompile(c.stdout).MatchString(stdout) || !regexp.MustCompile(c.stderr).MatchString(stderr) {
			t.Errorf("%s: got exit code %d, output %q, errors %q; want %d, %s and %s", c.line, code, stdout, stderr, c.code, c.stdout, c.stderr)
		}
	}
}

// One who follows the log gets what is written while he does, and ends with exit code 0 when he has had enough, or when
// the master ends.
func TestFollow(t *testing.T) {
	t.Parallel()
	s := start(t)
	follow := func(ctx context.Context) (lines *bufio.Scanner, code <-chan int) {
		read, write := io.Pipe()
		ended, own := make(chan int, 1), s.Service
		own.Stdout, own.Stderr = write, write
		go func() {
			ended <- own.Main(ctx, []string{"logs", "1", "-f", "-n", "0"})
			write.Close()
		}()
		return bufio.NewScanner(read), ended
	}
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	leaving, left := follow(ctx)
	staying, stayed := follow(t.Context())
	// Neither is told when the master has him, so there is something to read until both have read something.
	var reading sync.WaitGroup
	for name, lines := range map[string]*bufio.Scanner{"one": leaving, "other": staying} {
		reading.Go(func() {
			if !lines.Scan() || lines.Text() != "hello from slot 1" {
				t.Errorf("the %s reads %q, %v", name, lines.Text(), lines.Err())
			}
		})
	}
	read := make(chan struct{})
	go func() {
		reading.Wait()
		close(read)
	}()
	for more := true; more; {
		if code, _, stderr := s.do(t.Context(), "restart 1"); code != 0 {
			t.Fatal(stderr)
		}
		select {
		case <-read:
			more = false
		default:
		}
	}
	go func() { // what more comes
		for leaving.Scan() {
		}
	}()
	leave()
	if code := <-left; code != ctl.ExitDone {
		t.Errorf("one who leaves: exit code %d", code)
	}
	go func() {
		for staying.Scan() {
		}
	}()
	if code, _, stderr := s.do(t.Context(), "stop"); code != 0 {
		t.Error(stderr)
	}
	if code := <-stayed; code != ctl.ExitDone {
		t.Errorf("one who stays: exit code %d", code)
	}
}

// A master that is stopped is exit code 4, for every command, whether its time is up or somebody interrupts it.
func TestNobodyHears(t *testing.T) {
	t.Parallel()
	s := start(t)
	if err := s.master.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for _, line := range []string{
		"status", "logs", "logs -f", "reload", "reload --check", "reload --back", "scale 2", "restart 1", "drain 1", "reset", "kill 1",
		"set colour=red", "unset colour", "stop", "stop --now",
	} {
		all.Go(func() {
			code, stdout, stderr := s.do(t.Context(), line+" --timeout=10ms")
			if code != ctl.ExitNotHeard || stdout != "" || !strings.HasPrefix(stderr, "shop: the master does not answer within 10ms: ") || strings.Count(stderr, "\n") != 1 {
				t.Errorf("%s: got exit code %d, output %q, errors %q", line, code, stdout, stderr)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			code, stdout, stderr = s.do(ctx, line)
			if code != ctl.ExitNotHeard || stdout != "" || !strings.Contains(stderr, "the master does not answer") || strings.Count(stderr, "\n") != 1 {
				t.Errorf("%s, interrupted: got exit code %d, output %q, errors %q", line, code, stdout, stderr)
			}
		})
	}
	all.Wait()
	if err := s.master.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := s.do(t.Context(), "status --json")
	var status cluster.Status
	if err := json.Unmarshal([]byte(stdout), &status); code != 0 || err != nil || status.Master.Ready != 2 || status.Master.ReloadsTotal != 0 || len(status.Master.Settings) != 0 {
		t.Errorf("afterwards: exit code %d, %v: %s%s", code, err, stdout, stderr)
	}
	if code, _, stderr := s.do(t.Context(), "stop"); code != 0 {
		t.Error(stderr)
	}
}

// The help of everything: each command with its examples, each flag with its sentence, and the exit codes.
func TestHelp(t *testing.T) {
	t.Parallel()
	s := &service{Service: ctl.Service{Program: "shop"}}
	_, all, _ := s.do(t.Context(), "--help")
	if _, none, _ := s.do(t.Context(), ""); none != all || !strings.Contains(all, ctl.ExitCodes) {
		t.Errorf("without a command it says %q", none)
	}
	if len(ctl.Commands()) < 11 {
		t.Errorf("there are %d commands", len(ctl.Commands()))
	}
	for _, c := range ctl.Commands() {
		for _, line := range []string{c.Name + " --help", c.Name + " -h"} {
			code, text, stderr := s.do(t.Context(), line)
			if code != 0 || stderr != "" || !strings.Contains(text, c.Summary) || !strings.Contains(text, "\n  shop "+c.Name) || !strings.Contains(text, "\n  --timeout ") {
				t.Errorf("%s: got exit code %d, errors %q:\n%s", line, code, stderr, text)
			}
			if regexp.MustCompile(`\n  --?\S+ *\n`).MatchString(text) {
				t.Errorf("%s: a flag is not explained:\n%s", line, text)
			}
		}
		if found, ok := ctl.Lookup(c.Name); !ok || found.Name != c.Name || !strings.Contains(all, "\n  "+c.Name) {
			t.Errorf("%s is not found", c.Name)
		}
	}
	if _, ok := ctl.Lookup("sell"); ok {
		t.Error("a command is found that there is not")
	}
}
