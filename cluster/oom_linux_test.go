package cluster_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// When memory runs out the kernel takes a worker and not the master, which would end the whole cluster.
func TestWorkersDieFirst(t *testing.T) {
	t.Parallel()
	score := func(process any) int {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%v/oom_score_adj", process))
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	own := score("self")
	z := startZoo(t, "good", nil)
	for _, pid := range z.pids() {
		if got, want := score(pid), max(500, own); got != want {
			t.Errorf("worker %d has %d, want %d", pid, got, want)
		}
	}
	if master := score(z.status().Master.PID); master != own {
		t.Errorf("the master has %d, and whoever started it %d", master, own)
	}
	z.stop()
}
