//go:build unix

package main_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"doorbuster/app/dbtest"
	"doorbuster/cluster"
)

// developShop is openShop with "doorbuster dev", which runs the shop as its child.
func developShop(t *testing.T, settings ...string) *shop {
	t.Helper()
	s := launchShop(t, append([]string{"TMPDIR=" + shortTempDir(t)}, settings...), binary, "dev")
	s.await(&s.at, "all workers are ready", nil)
	s.until("Ctrl-C stops everything")
	return s
}

// openings are the two commands that open a shop: what one does with a signal, the other passes on.
var openings = map[string]func(*testing.T, ...string) *shop{"serve": openShop, "dev": developShop}

// M8, M15: SIGUSR2, SIGTTIN, SIGTTOU and SIGHUP, in this order.
func TestSignals(t *testing.T) {
	t.Parallel()
	for name, open := range openings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			before := s.pids()

			s.signal(syscall.SIGUSR2)
			s.await(&s.at, "reloaded", nil)
			after := s.pids()
			if len(after) != 2 || after[1] == before[1] || after[2] == before[2] {
				t.Errorf("SIGUSR2: workers by slot: %v, and %v before", after, before)
			}

			s.signal(syscall.SIGTTIN)
			if scaled := s.await(&s.at, "scaling", nil); scaled.Workers != 3 {
				t.Errorf("SIGTTIN: scaling to %d workers, want 3", scaled.Workers)
			}
			if third := s.await(&s.at, "worker ready", nil); third.Slot != 3 {
				t.Errorf("SIGTTIN: got a worker in slot %d, want 3", third.Slot)
			}

			for _, slot := range []int{3, 2} {
				s.signal(syscall.SIGTTOU)
				if left := s.await(&s.at, "worker left", nil); left.Slot != slot || left.How != "exited with code 0" {
					t.Errorf("SIGTTOU: got %+v, want worker %d to leave with code 0", left, slot)
				}
			}
			s.signal(syscall.SIGTTOU)
			s.await(&s.at, "can't scale", nil)
			if left := s.pids(); len(left) != 1 || left[1] != after[1] {
				t.Errorf("SIGTTOU: workers by slot: %v, want %v", left, after[1])
			}

			s.signal(syscall.SIGHUP)
			if name == "dev" { // to a program in a terminal it says that the terminal is closed
				s.gone()
				return
			}
			s.await(&s.at, "SIGHUP is kept for replacing the master in place, which this version does not do: SIGUSR2 replaces the workers, SIGTERM stops", nil)
			if left := s.pids(); left[1] != after[1] {
				t.Errorf("SIGHUP: workers by slot: %v, want %v", left, after[1])
			}
			s.close()
		})
	}
}

// M15: SIGTERM and SIGINT end a shop that holds nothing with 0, and wait for one that does; the second cuts.
func TestSignalsThatStop(t *testing.T) {
	t.Parallel()
	for name, open := range openings {
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
			t.Run(name+" "+sig.String(), func(t *testing.T) {
				t.Parallel()
				s := open(t, "DRAIN_TIMEOUT=1h", "KILL_TIMEOUT=2h", "WORKERS=1")
				upload(t, s.addr)
				s.holds(1)
				s.signal(sig)
				s.await(&s.at, "master stopping", nil)
				s.await(&s.at, "draining", nil) // still: it would wait for an hour
				s.signal(sig)
				s.await(&s.at, "stopping at once", nil)
				s.await(&s.at, "drain limit reached, cutting requests", nil)
				if left := s.await(&s.at, "worker left", nil); left.How != "exited with code 1" {
					t.Errorf("got %+v, want code 1", left)
				}
				s.gone()
			})
		}
	}
}

// M15: the third signal kills workers that do not even hear the second.
func TestThirdSignalKills(t *testing.T) {
	t.Parallel()
	s := openShop(t, "WORKERS=1")
	s.freeze(s.pids()[1])
	s.signal(os.Interrupt)
	s.await(&s.at, "master stopping", nil)
	s.signal(os.Interrupt)
	s.await(&s.at, "stopping at once", nil)
	s.signal(os.Interrupt)
	s.await(&s.at, "stopping at once", nil)
	if left := s.await(&s.at, "worker left", nil); !strings.Contains(left.How, "SIGKILL") || len(s.records(0, "killing worker")) != 0 {
		t.Errorf("got %+v, want it to be killed by the signal and not by the clock", left)
	}
	s.gone()
}

// M4: a shop that is told to stop while it starts does not open, whenever that is.
func TestStoppedWhileItStarts(t *testing.T) {
	t.Parallel()
	database, redis := dbtest.Database(t), dbtest.Redis(t)
	for i := range 40 {
		dir := shortTempDir(t)
		p := start(t, []string{"XDG_RUNTIME_DIR=" + dir, "ADDR=127.0.0.1:0", "DATABASE_URL=" + database, "REDIS_URL=" + redis}, "serve")
		<-time.After(time.Duration(i) * 500 * time.Microsecond) // there is nothing that tells how far it is
		p.signal(syscall.SIGTERM)
		code := p.wait()
		if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); code != 0 && (!ok || status.Signal() != syscall.SIGTERM) {
			t.Errorf("got exit code %d, %v, want 0, or SIGTERM before it listened to signals", code, p.cmd.ProcessState)
		}
		if left, err := os.ReadDir(filepath.Join(dir, "doorbuster")); len(left) != 0 {
			t.Errorf("the runtime directory holds %v, %v", left, err)
		}
	}
}

// W7, M3: a worker that somebody tells to stop drains. The master has not asked for that, and starts another one.
func TestSignalToWorker(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	old := s.pids()[2]
	if err := syscall.Kill(old, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.await(&s.at, "drained", func(r record) bool { return r.PID == old })
	s.await(&s.at, "worker crashed", func(r record) bool {
		return r.WorkerPID == old && strings.HasPrefix(r.Reason, "exited with code 0")
	})
	s.await(&s.at, "worker ready", func(r record) bool { return r.Slot == 2 })
	s.close()
}

// O4: what dev passes on reaches its child directly as well, and neither outlives the other.
func TestDevAndItsChild(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end  func(s *shop, master int)
		code int
	}{
		"the child is stopped": {func(_ *shop, master int) { syscall.Kill(master, syscall.SIGTERM) }, 0},
		"the child is killed":  {func(_ *shop, master int) { syscall.Kill(master, syscall.SIGKILL) }, 1},
		"the parent is killed": {func(s *shop, _ int) { s.cmd.Process.Kill() }, -1},
		"doorbuster stop":      {func(s *shop, _ int) { s.do("stop") }, 0},
		"the child is reloaded": {func(s *shop, master int) {
			syscall.Kill(master, syscall.SIGUSR2)
			s.await(&s.at, "reloaded", nil)
			s.do("stop")
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tmp := shortTempDir(t)
			s := developShop(t, "TMPDIR="+tmp)
			c.end(s, s.status().Master.PID)
			if code := s.wait(); code != c.code { // it also waits until nobody holds standard error any more
				t.Errorf("got exit code %d, want %d", code, c.code)
			}
			if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 && c.code != -1 {
				t.Errorf("it left %v behind, %v", left, err)
			}
		})
	}
}

// What a dev that was killed leaves in the temporary directory goes with the next one.
func TestDevSweeps(t *testing.T) {
	t.Parallel()
	tmp := shortTempDir(t)
	left := func(when string, want int) {
		t.Helper()
		if entries, err := os.ReadDir(tmp); err != nil || len(entries) != want {
			t.Errorf("%s it holds %v, %v", when, entries, err)
		}
	}
	killed := developShop(t, "TMPDIR="+tmp)
	left("while it runs", 1)
	killed.cmd.Process.Kill()
	killed.wait()
	left("after the kill", 1)
	next := developShop(t, "TMPDIR="+tmp)
	left("with the next one", 1)
	next.close()
	left("in the end", 0)
}

// M17: "doorbuster dev" says that the shop is open when it is, and what it says works: the commands find the master.
func TestDevSaysHowToReload(t *testing.T) {
	t.Parallel()
	dir := shortTempDir(t)
	socket := filepath.Join(dir, "s.sock")
	p := start(t, []string{"ADDR=127.0.0.1:0", "CONTROL_SOCKET=" + socket, "DATABASE_URL=" + dbtest.Database(t), "REDIS_URL=" + dbtest.Redis(t)}, "dev")
	p.until("The shop is open:")
	line := p.until(" status ")
	fields := regexp.MustCompile(`\S+`).FindAllString(line, -1)
	if code, stdout, stderr := do(t, nil, fields[1:]...); code != 0 || !strings.Contains(stdout, "workers ready") {
		t.Errorf("%v: got exit code %d, %q, %q", fields, code, stdout, stderr)
	}
	client, err := cluster.Dial(context.Background(), socket)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	if code := p.wait(); code != 0 {
		t.Errorf("got exit code %d", code)
	}
}

// M16: a SHUTDOWN_DELAY ends with the master: no load balancer looks at it any more, and the next master waits for the
// address. The workers drain then, and leave in order.
func TestDelayEndsWithTheMaster(t *testing.T) {
	t.Parallel()
	s := openShop(t, "SHUTDOWN_DELAY=1h", "KILL_TIMEOUT=2h")
	s.signal(syscall.SIGTERM)
	for range s.pids() {
		s.await(&s.at, "stopping", func(r record) bool { return r.Role != "master" })
	}
	if _, err := http.Get(s.url("/livez")); err != nil {
		t.Errorf("the workers do not serve during the delay: %v", err)
	}
	s.signal(syscall.SIGKILL)
	s.wait()
	if drained := len(s.records(0, "drained")); drained != 2 {
		t.Errorf("%d of 2 workers have drained", drained)
	}
}
