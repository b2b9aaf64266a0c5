package cluster_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkAccept is what a connection costs that carries one request, by the
// number of workers that share the socket. With all=true every worker is on
// watch, and so woken by every connection. It reports context switches of
// workers for each connection, which is what their number multiplies. Clients
// come one after the other, or 32 at a time.
func BenchmarkAccept(b *testing.B) {
	b.Log(machine())
	for _, workers := range []int{2, 8, 32, 64} {
		for _, all := range []bool{true, false} {
			for _, clients := range []int{1, 32} {
				b.Run(fmt.Sprintf("workers=%d/all=%v/clients=%d", workers, all, clients), func(b *testing.B) {
					var env []string
					if all {
						env = []string{onWatch + "=1000"}
					}
					benchAccept(b, startCrew(b, workers, env...), clients)
				})
			}
		}
	}
}

func benchAccept(b *testing.B, c *crew, clients int) {
	defer c.dismiss()
	before := c.switches(b)
	if clients == 1 {
		for b.Loop() {
			visit(b, c.addr)
		}
	} else {
		b.SetParallelism(clients / runtime.GOMAXPROCS(0))
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				visit(b, c.addr)
			}
		})
	}
	b.StopTimer()
	b.ReportMetric(float64(c.switches(b)-before)/float64(b.N), "switches/conn")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "conns/s")
}

// switches is the number of context switches of all threads of a crew so far.
func (c *crew) switches(tb testing.TB) (n int) {
	tb.Helper()
	for _, p := range c.procs {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", p.Process.Pid))
		if err != nil || len(threads) == 0 {
			tb.Fatalf("no threads of process %d: %v", p.Process.Pid, err)
		}
		for _, name := range threads {
			status, err := os.ReadFile(name)
			if err != nil {
				continue // it has ended
			}
			for line := range strings.Lines(string(status)) {
				if key, value, _ := strings.Cut(line, ":"); strings.HasSuffix(key, "voluntary_ctxt_switches") {
					v, err := strconv.Atoi(strings.TrimSpace(value))
					if err != nil {
						tb.Fatal(err)
					}
					n += v
				}
			}
		}
	}
	return n
}

// machine says what a figure was measured on.
func machine() string {
	var u unix.Utsname
	unix.Uname(&u)
	model := "unknown processor"
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%d x %s, Linux %s, %s", runtime.NumCPU(), model, unix.ByteSliceToString(u.Release[:]), runtime.Version())
}
