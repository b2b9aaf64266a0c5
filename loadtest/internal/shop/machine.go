package shop

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// Machine says in one line where and with what figures are taken.
func (s *Shop) Machine(ctx context.Context) string {
	return fmt.Sprintf("%d cores (%s), %s, %s %s/%s, PostgreSQL %s with fsync, %s", runtime.NumCPU(), processor(),
		FirstWords(ctx, 2, "uname", "-sr"), runtime.Version(), runtime.GOOS, runtime.GOARCH, s.Stack.Postgres.Version(), s.Stack.Redis.Kind())
}

// processor names the kind of core.
func processor() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// FirstWords runs a program and returns the first n words it says, or its name if it says nothing. The exit status does not
// count: wrk -v prints its version and exits 1.
func FirstWords(ctx context.Context, n int, name string, args ...string) string {
	out, _ := exec.CommandContext(ctx, name, args...).CombinedOutput()
	words := strings.Fields(string(out))
	return cmp.Or(strings.Join(words[:min(n, len(words))], " "), name)
}
