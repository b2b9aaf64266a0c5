//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"doorbuster/cluster"
)

// A seed is one script, another seed is another one, and a script of ten minutes has nearly everything in it.
func TestPlanIsDrawn(t *testing.T) {
	t.Parallel()
	write := func(seed uint64) string {
		var out bytes.Buffer
		if err := printPlan(&out, draw(seed, 10*time.Minute)); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	if a, b := write(1), write(1); a != b {
		t.Errorf("the same seed draws\n%s\nand\n%s", a, b)
	}
	if write(1) == write(2) {
		t.Error("two seeds draw the same script")
	}
	never := map[string]bool{}
	for _, f := range faults {
		never[f.name] = true
	}
	for seed := range uint64(100) {
		free := map[int]time.Duration{}
		for _, s := range draw(seed, 10*time.Minute) {
			delete(never, s.fault.name)
			f := s.fault
			switch {
			case s.lane != f.lane || s.at < free[s.lane]+leastPause || s.at+s.length > 10*time.Minute:
				t.Errorf("seed %d: %v begins too early, or ends too late", seed, s)
			case s.length < f.least || s.length > max(f.least, f.most) || s.count < 1 || s.count > max(1, f.count) || s.pick < 0 || s.pick >= 1:
				t.Errorf("seed %d: %v is out of its bounds", seed, s)
			}
			free[s.lane] = s.at + s.length
		}
	}
	if len(never) > 0 {
		t.Errorf("never drawn: %v", never)
	}
}

func TestFlagsAreChecked(t *testing.T) {
	t.Parallel()
	program := "-bin plan_test.go "
	for _, tt := range []struct{ args, want string }{
		{program, ""},
		{program + "-seed 7 -duration 5s", ""},
		{"-plan -bin nowhere", ""},
		{"-bin nowhere", "make build makes it"},
		{program + "-duration 4s", "-duration"},
		{program + "-duration 2h", "-duration"},
		{program + "more", "unexpected argument"},
	} {
		cfg, err := parseFlags(strings.Fields(tt.args), io.Discard)
		switch {
		case tt.want == "" && (err != nil || cfg.seed == 0):
			t.Errorf("%s: got seed %d, %v", tt.args, cfg.seed, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: got %v, want an error with %q", tt.args, err, tt.want)
		}
	}
}

// The census tells who holds a slot from who leaves, and a process too many from one that was there for a moment only.
func TestCensus(t *testing.T) {
	t.Parallel()
	pids := func(all ...int) map[int]bool {
		set := map[int]bool{}
		for _, pid := range all {
			set[pid] = true
		}
		return set
	}
	var status cluster.Status
	status.Master.Target = 2
	status.Workers = []cluster.WorkerStatus{
		{PID: 1, Slot: 1, State: "ready"},
		{PID: 2, Slot: 2, State: "starting"},
		{PID: 4, Slot: 1, State: "draining"},
		{PID: 6, Slot: 3, State: "ready"},
		{PID: 7, Slot: 4, State: "ready"},
	}
	for name, tt := range map[string]struct {
		before, after map[int]bool
		over          int
		target        int // before
	}{
		"as it should be":            {pids(1, 2), pids(1, 2), 0, 2},
		"one more":                   {pids(1, 2, 3), pids(1, 2, 3), 0, 2},
		"one more, and one leaves":   {pids(1, 2, 3, 4), pids(1, 2, 3, 4), 0, 2},
		"two more":                   {pids(1, 2, 3, 5), pids(1, 2, 3, 5), 1, 2},
		"two more, and one is gone":  {pids(1, 2, 3, 5), pids(1, 2, 3), 0, 2},
		"two more, and one is new":   {pids(1, 2, 3), pids(1, 2, 3, 5), 0, 2},
		"after a larger target":      {pids(1, 2, 3, 6, 7), pids(1, 2, 3, 6, 7), 0, 4},
		"and one more":               {pids(1, 2, 3, 5, 6, 7), pids(1, 2, 3, 5, 6, 7), 1, 4},
		"superfluous from the start": {pids(1, 2, 3, 6), pids(1, 2, 3, 6), 1, 2},
		"one has left earlier":       {pids(1, 2, 3, 9), pids(1, 2, 3, 9), 0, 2},
	} {
		c := census{target: tt.target, here: pids(1, 2, 3, 4, 5, 6, 7, 9)}
		c.count(tt.before, tt.after, &status, pids(9))
		if len(c.over) != tt.over {
			t.Errorf("%s: got %q", name, c.over)
		}
	}
	var c census
	leaving := pids(9)
	c.count(pids(1, 2), pids(1, 2), &status, leaving)
	if leaving[9] {
		t.Error("who has left is remembered, and its pid may be another's")
	}
	for look, want := range []int{0, 1} {
		if c.count(pids(1, 2, 3, 5), pids(1, 2, 3, 5), &status, leaving); len(c.over) != want {
			t.Errorf("look %d: got %q", look+1, c.over)
		}
	}
}

// A shop that is not in order is not taken for one.
func TestWhole(t *testing.T) {
	t.Parallel()
	good := func() (s cluster.Status) {
		s.Master.State, s.Master.Target, s.Master.Ready = "running", 1, 1
		s.Workers = []cluster.WorkerStatus{{State: "ready"}}
		return s
	}
	if s := good(); whole(&s, 1, 1) != nil {
		t.Errorf("got %v", whole(&s, 1, 1))
	}
	for name, spoil := range map[string]func(*cluster.Status){
		"degraded":  func(s *cluster.Status) { s.Master.State = "degraded" },
		"breaker":   func(s *cluster.Status) { s.Breakers = make([]cluster.BreakerStatus, 1) },
		"target":    func(s *cluster.Status) { s.Master.Target = 2 },
		"not ready": func(s *cluster.Status) { s.Master.Ready = 0 },
		"one more":  func(s *cluster.Status) { s.Workers = append(s.Workers, s.Workers...) },
		"answerer":  func(s *cluster.Status) { s.Master.Answering = true },
		"starting":  func(s *cluster.Status) { s.Workers[0].State = "starting" },
		"unhealthy": func(s *cluster.Status) { s.Workers[0].Unhealthy = "it hangs" },
	} {
		s := good()
		spoil(&s)
		if whole(&s, 1, 1) == nil {
			t.Errorf("%s: it is taken for whole", name)
		}
	}
	if s := good(); whole(&s, 2, 1) == nil {
		t.Error("a process that nobody knows is taken for nothing")
	}
}

// What the script does to processes, tried on one that sleeps.
func TestProcesses(t *testing.T) {
	t.Parallel()
	sleep := exec.CommandContext(t.Context(), "sleep", "600")
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	pid, me := sleep.Process.Pid, unix.Getpid()
	if parent, err := parentOf(pid); err != nil || parent != me {
		t.Errorf("its parent is %d, %v, want %d", parent, err, me)
	}
	if !childrenOf(me)[pid] {
		t.Errorf("%d is not among %v", pid, childrenOf(me))
	}
	if n, err := statusField(pid, "VmSize"); err != nil || n < 1<<12 {
		t.Errorf("its size is %d, %v", n, err)
	}
	soft := func() uint64 {
		var l unix.Rlimit
		if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &l); err != nil {
			t.Fatal(err)
		}
		return l.Cur
	}
	if dir := "/proc/self"; slices.Contains(runningFrom(dir), pid) {
		t.Errorf("%d runs from %s", pid, dir)
	}
	if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err != nil || !slices.Contains(runningFrom(filepath.Dir(exe)), pid) {
		t.Errorf("it is not found to run from the folder of %s, %v", exe, err)
	}
	before := soft()
	restore, err := starve(pid)
	if err != nil {
		t.Fatal(err)
	}
	open, err := descriptors(pid)
	if err != nil || soft() != uint64(slices.Max(open))+1 {
		t.Errorf("its limit is %d with %v open, %v", soft(), open, err)
	}
	restore()
	if soft() != before {
		t.Errorf("its limit is %d, and was %d", soft(), before)
	}
	if err := signalChild(1, pid, syscall.SIGKILL); err == nil {
		t.Error("a process was signalled as the child of another")
	}
	if err := signalChild(me, pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	sleep.Wait()
	if err := signalChild(me, pid, syscall.SIGKILL); err == nil {
		t.Error("a process that is gone was signalled")
	}
}

// The time that this program lost is found where it was lost, and counted once.
func TestSpans(t *testing.T) {
	t.Parallel()
	now := time.Now()
	at := func(from, to int) span {
		return span{now.Add(time.Duration(from) * time.Second), now.Add(time.Duration(to) * time.Second)}
	}
	if got := covered(at(10, 20), []span{at(0, 5), at(8, 11), at(15, 17), at(19, 30), at(40, 50)}); got != 4*time.Second {
		t.Errorf("covered: got %v, want 4 s", got)
	}
	for _, tt := range []struct {
		other span
		want  bool
	}{{at(0, 9), false}, {at(0, 10), true}, {at(12, 13), true}, {at(20, 21), true}, {at(21, 22), false}} {
		if got := touches(at(10, 20), []span{tt.other}); got != tt.want {
			t.Errorf("%v touches: got %v, want %v", tt.other, got, tt.want)
		}
	}
}
