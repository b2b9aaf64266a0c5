//go:build unix

package main_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// DESIGN, section 4: what scripts rely on in the status as JSON. The table is for people.
func TestStatus(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	for range 3 {
		get(t, stranger(), "GET", s.url("/v1/products"), "")
	}
	upload(t, s.addr)
	s.holds(1)
	code, stdout, stderr := s.do("status", "--json", "--ready")
	var status struct {
		Master  map[string]any
		Workers []map[string]any
	}
	if err := json.Unmarshal([]byte(stdout), &status); code != 0 || err != nil {
		t.Fatalf("got exit code %d, %v: %s%s", code, err, stdout, stderr)
	}
	if pid := status.Master["pid"]; pid != float64(s.cmd.Process.Pid) {
		t.Errorf("master: got pid %v, want %d", pid, s.cmd.Process.Pid)
	}
	release, _ := status.Master["release"].(string)
	if up, _ := status.Master["uptime_seconds"].(float64); release == "" || up <= 0 || status.Master["state"] != "running" {
		t.Errorf("master: got %v", status.Master)
	}
	if len(status.Workers) != 2 {
		t.Fatalf("got %d workers, want 2", len(status.Workers))
	}
	inFlight, requests := 0., 0.
	for i, w := range status.Workers {
		number := func(name string) float64 {
			n, ok := w[name].(float64)
			if !ok {
				t.Errorf("worker: %s is %v", name, w[name])
			}
			return n
		}
		if number("slot") != float64(i+1) || !alive(int(number("pid"))) || w["release"] != release || w["state"] != "ready" {
			t.Errorf("worker: got %v", w)
		}
		if number("uptime_seconds") <= 0 || number("rss_bytes") < 1<<20 {
			t.Errorf("worker: got %v", w)
		}
		inFlight += number("in_flight")
		requests += number("requests_total")
	}
	if inFlight != 1 || requests != 4 {
		t.Errorf("workers: %v in flight, %v requests, want 1 and 4", inFlight, requests)
	}

	code, stdout, _ = s.do("status")
	want := regexp.MustCompile(`(?s)^running: 2 of 2 workers ready, on ` + regexp.QuoteMeta(s.addr) + `, release ` + regexp.QuoteMeta(release) +
		`, master pid ` + strconv.Itoa(s.cmd.Process.Pid) + ` up .*SLOT +PID +STATE +RELEASE.*\n1 +` + fmt.Sprint(s.pids()[1]) + ` +ready .*\n2 +` + fmt.Sprint(s.pids()[2]) + ` +ready `)
	if code != 0 || !want.MatchString(stdout) {
		t.Errorf("got exit code %d:\n%s\nwant %s", code, stdout, want)
	}
	s.signal(os.Interrupt)
	s.await(&s.at, "draining", nil)
	if _, stdout, _ := s.do("status"); !strings.HasPrefix(stdout, "stopping: 0 of 2 workers ready") || !strings.Contains(stdout, " draining ") {
		t.Errorf("while it stops:\n%s", stdout)
	}
	s.signal(os.Interrupt)
	s.gone()
}

// Each command says in one sentence that there is no master, and what to do.
func TestCommandsWithoutMaster(t *testing.T) {
	t.Parallel()
	dir := shortTempDir(t)
	for _, command := range []string{"status", "status --json", "reload", "scale 2", "restart 1", "drain 1", "reset", "set log-level=debug", "unset log-level", "stop"} {
		code, stdout, stderr := do(t, []string{"XDG_RUNTIME_DIR=" + dir}, strings.Fields(command)...)
		socket := filepath.Join(dir, "doorbuster", "control.sock")
		if code != 3 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "no master listens on "+socket) || !strings.Contains(stderr, `"doorbuster serve"`) {
			t.Errorf("%s: got exit code %d, output %q, errors %q", command, code, stdout, stderr)
		}
	}
}

// M15: scale makes it more and fewer, and refuses what makes no shop.
func TestScale(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	first := s.pids()
	if code, stdout, stderr := s.do("scale", "3"); code != 0 || !strings.HasPrefix(stdout, "scaled to 3 workers in ") {
		t.Errorf("scale 3: got exit code %d, output %q, errors %q", code, stdout, stderr)
	}
	if more := s.await(&s.at, "worker ready", nil); more.Slot != 3 {
		t.Errorf("scale 3: got %+v", more)
	}
	if pids := s.pids(); len(pids) != 3 || pids[1] != first[1] || pids[2] != first[2] {
		t.Errorf("scale 3: workers by slot: %v, and %v before", pids, first)
	}
	if code, stdout, stderr := s.do("scale", "-1"); code != 2 || stdout != "" || stderr != "doorbuster: -1 workers: there can be 1 to 1024. Try doorbuster --help.\n" {
		t.Errorf("scale -1: got exit code %d, output %q, errors %q", code, stdout, stderr)
	}
	if code, _, stderr := s.do("scale", "1024"); code != 1 || !strings.Contains(stderr, "1024 workers: there is room for ") || !strings.Contains(stderr, "force") {
		t.Errorf("scale 1024: got exit code %d, errors %q", code, stderr)
	}
	for _, n := range []string{"0", "-1", "5000"} {
		code, stdout, stderr := s.do("scale", "--", n)
		if code != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, n+" workers: there can be 1 to ") {
			t.Errorf("scale %s: got exit code %d, output %q, errors %q", n, code, stdout, stderr)
		}
	}
	if _, stdout, _ := s.do("scale", "1"); !strings.HasPrefix(stdout, "scaled to 1 worker in ") {
		t.Errorf("scale 1: got %q", stdout)
	}
	for slot := 3; slot > 1; slot-- {
		if left := s.await(&s.at, "worker left", nil); left.Slot != slot || left.How != "exited with code 0" {
			t.Errorf("scale 1: got %+v, want worker %d to leave with code 0", left, slot)
		}
	}
	if pids := s.pids(); len(pids) != 1 || pids[1] != first[1] {
		t.Errorf("scale 1: workers by slot: %v, want %d", pids, first[1])
	}
	s.close()
}

// The commands that are about one slot, and the one that forgets crashes.
func TestRestartDrainReset(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	stopping := func(because string) {
		t.Helper()
		want := "told to drain by the master: " + because
		if r := s.await(&s.at, "stopping", nil); r.Because != want {
			t.Errorf("a worker stops because %q, want %q", r.Because, want)
		}
	}
	for _, c := range []struct{ command, says, because string }{
		{"restart", "restarted the worker in slot 2", "a restart of this worker, by command"},
		{"drain", "the worker in slot 2 has left, and another one is ready", "a drain of this worker, by command"},
	} {
		before := s.pids()
		if code, stdout, stderr := s.do(c.command, "2"); code != 0 || stdout != c.says {
			t.Errorf("%s: got exit code %d, output %q, errors %q", c.command, code, stdout, stderr)
		}
		if after := s.pids(); after[1] != before[1] || after[2] == before[2] {
			t.Errorf("%s: workers by slot: %v, and %v before", c.command, after, before)
		}
		stopping(c.because)
		if code, stdout, stderr := s.do(c.command, "9"); code != 1 || stdout != "" || stderr != "doorbuster: "+c.command+" failed: there is no slot 9: there are 1 to 2\n" {
			t.Errorf("%s 9: got exit code %d, output %q, errors %q", c.command, code, stdout, stderr)
		}
	}
	if code, stdout, stderr := s.do("reset"); code != 0 || !strings.HasPrefix(stdout, "all circuit breakers are closed") {
		t.Errorf("reset: got exit code %d, output %q, errors %q", code, stdout, stderr)
	}
	s.do("scale", "1")
	stopping("a scale to fewer workers")
	s.reload()
	stopping("a reload")
	s.signal(syscall.SIGTERM)
	stopping("the end of the master, told to stop by signal SIGTERM")
	s.gone()
}

// What scripts ask before and after a deployment; and what a master that is stopped
// does not hear.
func TestCheckAndComplete(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	if code, stdout, stderr := s.do("reload", "--check"); code != 0 || !strings.HasPrefix(stdout, "a reload would adopt release ") {
		t.Errorf("reload --check: got exit code %d, output %q, errors %q", code, stdout, stderr)
	}
	if code, stdout, stderr := s.do("status", "--complete"); code != 0 {
		t.Errorf("status --complete: got exit code %d, output %q, errors %q", code, stdout, stderr)
	}
	s.signal(syscall.SIGSTOP)
	for _, command := range []string{"status", "reload", "stop", "scale 3"} {
		code, stdout, stderr := s.do(append(strings.Fields(command), "--timeout=10ms")...)
		if code != 4 || stdout != "" || !strings.HasPrefix(stderr, "doorbuster: the master does not answer within 10ms: ") {
			t.Errorf("%s: got exit code %d, output %q, errors %q", command, code, stdout, stderr)
		}
	}
	s.signal(syscall.SIGCONT)
	s.await(&s.at, "a command is not carried out: nobody waits for it any more", nil)
	if n := len(s.pids()); n != 2 {
		t.Errorf("there are %d workers", n)
	}
	s.close()
}

// M14: a setting reaches every worker while it runs, those that are started later, and the master.
func TestSet(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	before := s.pids()
	for _, c := range []struct{ setting, says string }{
		{"log-level=loud", "log-level can be debug, info, warn or error"},
		{"colour=red", `there is no setting "colour"`},
	} {
		if code, stdout, stderr := s.do("set", c.setting); code != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, c.says) {
			t.Errorf("set %s: got exit code %d, output %q, errors %q", c.setting, code, stdout, stderr)
		}
	}
	client := stranger()
	get(t, client, "GET", s.url("/v1/products"), "")
	if lines := s.records(0, "request"); len(lines) > 0 {
		t.Errorf("requests are logged without being asked for: %+v", lines)
	}
	if code, stdout, stderr := s.do("set", "log-level=debug"); code != 0 || stdout != "log-level is debug on the master and 2 workers" {
		t.Errorf("got exit code %d, output %q, errors %q", code, stdout, stderr)
	}
	// debugged asks until each of the slots has said something on this level.
	debugged := func(slots int) map[int]int {
		t.Helper()
		said := map[int]int{}
		from := s.now()
		poll(t, "each worker logs its requests", func() bool {
			get(t, client, "GET", s.url("/v1/products"), "")
			for _, r := range s.records(from, "request") {
				if r.Level == "DEBUG" && r.Path == "/v1/products" {
					said[r.Slot] = r.PID
				}
			}
			return len(said) == slots
		})
		return said
	}
	if said := debugged(2); !maps.Equal(said, before) {
		t.Errorf("processes that log requests: %v, want %v: nobody was to be restarted", said, before)
	}
	s.do("scale", "3")
	s.await(&s.at, "worker started", nil) // the master's own word on this level
	s.await(&s.at, "worker ready", nil)
	debugged(3)
	s.reload()
	if said := debugged(3); !maps.Equal(said, s.pids()) {
		t.Errorf("after a reload, processes that log requests: %v, want %v", said, s.pids())
	}

	// What is unset is so for workers that start from then on.
	const unset = "log-level is not given to new workers any more; the master and 3 workers keep it. \"doorbuster reload\" replaces the workers"
	if code, stdout, stderr := s.do("unset", "log-level"); code != 0 || stdout != unset {
		t.Errorf("got exit code %d, output %q, errors %q", code, stdout, stderr)
	}
	s.reload()
	from := s.now()
	for range 20 {
		get(t, client, "GET", s.url("/v1/products"), "")
	}
	if code, stdout, stderr := s.do("unset", "log-level"); code != 1 || stdout != "" || !strings.Contains(stderr, `setting "log-level" was not made`) {
		t.Errorf("unset twice: got exit code %d, output %q, errors %q", code, stdout, stderr)
	}
	if lines := s.records(from, "request"); len(lines) > 0 {
		t.Errorf("after unset and a reload requests are logged: %+v", lines)
	}
	s.close()
}

// M17: one master at a time. The second is told the pid of the first, which is not disturbed.
func TestSecondMaster(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	env := []string{"XDG_RUNTIME_DIR=" + s.dir, "ADDR=127.0.0.1:0"}
	code, stdout, stderr := do(t, env, "serve")
	if code != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, fmt.Sprintf("a master with pid %d is running already", s.cmd.Process.Pid)) {
		t.Errorf("serve: got exit code %d, output %q, errors %q", code, stdout, stderr)
	}
	code, stdout, stderr = do(t, env, "dev")
	if code != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "a shop is running already") {
		t.Errorf("dev: got exit code %d, output %q, errors %q", code, stdout, stderr)
	}
	if raw, err := os.ReadFile(filepath.Join(s.dir, "doorbuster", "doorbuster.pid")); err != nil || string(raw) != fmt.Sprintln(s.cmd.Process.Pid) {
		t.Errorf("the PID file holds %q, %v", raw, err)
	}
	if code, _ := get(t, stranger(), "GET", s.url("/v1/products"), ""); code != http.StatusOK {
		t.Errorf("the first one: got %d", code)
	}
	s.close()
}

// An address that can't be had is one sentence, before anything is started, and nothing is left behind.
func TestAddressesOfMaster(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	taken := l.Addr().String()
	for name, c := range map[string]struct {
		settings []string
		says     string
	}{
		"ADDR taken":               {[]string{"ADDR=" + taken}, taken + " is taken by another program, or by a connection that goes out from this port: stop it, or choose another address"},
		"ADMIN_ADDR taken":         {[]string{"ADMIN_ADDR=" + taken}, "ADMIN_ADDR " + taken + " is taken by another program, or by a connection that goes out from this port: stop it, or choose another address"},
		"ADMIN_ADDR for everybody": {[]string{"ADMIN_ADDR=0.0.0.0:0"}, "ADMIN_ADDR 0.0.0.0:0: others can reach this address, and whoever does could stop the shop: set a token"},
		"ADMIN_ADDR malformed":     {[]string{"ADMIN_ADDR=nonsense"}, "ADMIN_ADDR nonsense"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := shortTempDir(t)
			code, stdout, stderr := do(t, append([]string{"XDG_RUNTIME_DIR=" + dir, "ADDR=127.0.0.1:0"}, c.settings...), "serve")
			warned, last := "", strings.TrimSuffix(stderr, "\n")
			if i := strings.LastIndexByte(last, '\n'); i >= 0 {
				warned, last = last[:i], last[i+1:]
			}
			if code != 1 || stdout != "" || !strings.Contains(last, c.says) {
				t.Errorf("got exit code %d, output %q, errors %q", code, stdout, stderr)
			}
			if tried := strings.Contains(warned, "trying again for a moment"); tried != strings.HasSuffix(name, " taken") || strings.Contains(warned, "\n") {
				t.Errorf("before the error it says %q", warned)
			}
			if left, err := os.ReadDir(filepath.Join(dir, "doorbuster")); err != nil || len(left) != 0 {
				t.Errorf("the runtime directory holds %v, %v", left, err)
			}
		})
	}
}

// M15: "doorbuster stop" waits until all is gone. A second one cuts what the first waits for.
func TestStopTwice(t *testing.T) {
	t.Parallel()
	s := openShop(t, "WORKERS=1", "DRAIN_TIMEOUT=1h", "KILL_TIMEOUT=2h")
	upload(t, s.addr)
	s.holds(1)
	stop := func() (ended chan struct{}) {
		p := start(t, []string{"XDG_RUNTIME_DIR=" + s.dir}, "stop")
		ended = make(chan struct{})
		go func() {
			defer close(ended)
			if code := p.wait(); code != 0 || strings.Join(p.said, "\n") != "stopped" {
				t.Errorf("got exit code %d, output %q, errors %q", code, p.said, p.stderr)
			}
		}()
		return ended
	}
	first := stop()
	s.await(&s.at, "draining", nil)
	select {
	case <-first:
		t.Error("it does not wait")
	default:
	}
	impatient := stop()
	s.await(&s.at, "drain limit reached, cutting requests", nil)
	<-first
	<-impatient
	s.gone()
}

// Ctrl-C on a reload that waits leaves the reload alone, and says so.
func TestReloadIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	s := openShop(t, "WORKERS=1")
	finish := upload(t, s.addr)
	s.holds(1)
	reload := start(t, []string{"XDG_RUNTIME_DIR=" + s.dir}, "reload")
	s.await(&s.at, "draining", nil)
	reload.signal(syscall.SIGINT)
	if code := reload.wait(); code != 1 || reload.stderr.String() != "doorbuster: not waiting for the reload any more; it goes on\n" {
		t.Errorf("got exit code %d, errors %q", code, reload.stderr)
	}
	finish()
	s.await(&s.at, "reloaded", nil)
	s.close()
}
