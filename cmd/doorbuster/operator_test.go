//go:build unix

package main_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"doorbuster/cluster/ctl"
)

// The last words of a worker that crashed are there when another one has its slot, and one who follows reads on until the
// shop ends.
func TestLogs(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	follow := start(t, []string{"XDG_RUNTIME_DIR=" + s.dir}, "logs", "-f", "-n", "10000")
	victim := s.pids()[2]
	s.crash(victim) // the runtime says why, and what all goroutines were doing
	s.await(&s.at, "worker crashed", nil)
	s.await(&s.at, "worker ready", nil)
	follow.until("SIGABRT: abort")
	code, stdout, stderr := s.do("logs", "2", "-n", "10000")
	if code != 0 || stderr != "" || !strings.Contains(stdout, "SIGABRT: abort") || !strings.Contains(stdout, "goroutine ") {
		t.Errorf("got exit code %d, errors %q, output %q", code, stderr, stdout)
	}
	if code, stdout, _ := s.do("logs", "1"); code != 0 || strings.Contains(stdout, "SIGABRT") {
		t.Errorf("of another slot: got exit code %d, output %q", code, stdout)
	}
	if code, stdout, stderr := s.do("logs", "3"); code != 1 || stdout != "" || stderr != "doorbuster: no worker has been started in slot 3\n" {
		t.Errorf("of no slot: got exit code %d, output %q, errors %q", code, stdout, stderr)
	}
	s.close()
	if code := follow.wait(); code != 0 {
		t.Errorf("one who follows: got exit code %d, errors %q", code, follow.stderr)
	}
	if words := strings.Join(follow.said, "\n"); !strings.Contains(words, `"told to drain by the master: the end of the master`) {
		t.Errorf("one who follows was told %q", words)
	}
}

// Back to the release before, though its file is gone; and a stop that waits for nobody.
func TestBackAndStopNow(t *testing.T) {
	t.Parallel()
	program := deploy(t)
	s := launchShop(t, []string{"DRAIN_TIMEOUT=1h", "KILL_TIMEOUT=2h"}, program.path, "serve")
	s.await(&s.at, "all workers are ready", nil)
	first := s.status().Master.Release
	if code, _, stderr := s.do("reload", "--back"); code != 1 || !strings.Contains(stderr, "this master has not run any other release than "+first) {
		t.Errorf("at first: got exit code %d, errors %q", code, stderr)
	}
	program.replace(binary, "\n")
	s.reload()
	second := s.status().Master.Release
	if _, stdout, _ := s.do("status"); !strings.Contains(stdout, ", release "+second+" (before: "+first+"), ") {
		t.Errorf("the status does not say what was before: %s", stdout)
	}
	if err := os.Remove(program.path); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := s.do("reload", "--back"); code != 0 || !regexp.MustCompile(`(?s)^0/2  to release `+regexp.QuoteMeta(first)+`\n.*reloaded in `).MatchString(stdout) {
		t.Errorf("got exit code %d, output %q, errors %q", code, stdout, stderr)
	}
	for _, w := range s.status().Workers {
		if w.Release != first {
			t.Errorf("worker %d runs %s, want %s", w.Slot, w.Release, first)
		}
	}
	upload(t, s.addr)
	s.holds(1)
	if code, stdout, stderr := s.do("stop", "--now"); code != 0 || stdout != "stopped" {
		t.Errorf("stop --now: got exit code %d, output %q, errors %q", code, stdout, stderr)
	}
	s.await(&s.at, "stopping at once", nil)
	s.gone()
}

// Every command has examples in its help, and the flags of the log at the end; those of package ctl are all there, with
// all of their flags.
func TestHelpOfEveryCommand(t *testing.T) {
	t.Parallel()
	names := []string{"dev", "serve", "worker", "migrate up", "migrate down", "migrate status", "seed", "audit", "version"}
	for _, c := range ctl.Commands() {
		names = append(names, c.Name)
	}
	for _, name := range names {
		code, text, stderr := do(t, nil, append(strings.Fields(name), "--help")...)
		if code != 0 || stderr != "" || !strings.Contains(text, "\n    doorbuster "+name) {
			t.Errorf("%s: got exit code %d, errors %q, and no example:\n%s", name, code, stderr, text)
		}
		if at := strings.Index(text, "--log-format"); at < 0 || strings.LastIndex(text, "\n\n") > at {
			t.Errorf("%s: something follows the flags of the log:\n%s", name, text)
		}
	}
	service := ctl.Service{Program: "doorbuster"}
	for _, c := range ctl.Commands() {
		_, text, _ := do(t, nil, c.Name, "--help")
		var own strings.Builder
		service.Stdout = &own
		if code := service.Main(t.Context(), []string{c.Name, "--help"}); code != 0 {
			t.Errorf("%s: exit code %d", c.Name, code)
		}
		for _, flag := range regexp.MustCompile(`\n  (--?\S+) `).FindAllStringSubmatch(own.String(), -1) {
			if !strings.Contains(text, flag[1]) {
				t.Errorf("%s lacks the flag %s:\n%s", c.Name, flag[1], text)
			}
		}
		if short := strings.Join(strings.Fields(text), " "); !strings.Contains(short, strings.Join(strings.Fields(c.Summary), " ")) {
			t.Errorf("%s lacks its summary:\n%s", c.Name, text)
		}
	}
}
