package cluster_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// When memory runs out the kernel takes a worker and not the master, which would end the whole cluster.
func TestWorkersDieFirst(t *testing.T) {
	t.Parallel()
	score := func(process any) string {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%v/oom_score_adj", process))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(text))
	}
	if score("self") >= "500" && len(score("self")) >= 3 {
		t.Skip("this process is among the first already")
	}
	z := startZoo(t, "good", nil)
	for _, pid := range z.pids() {
		if got := score(pid); got != "500" {
			t.Errorf("worker %d has %s", pid, got)
		}
	}
	if master, own := score(z.status().Master.PID), score("self"); master != own {
		t.Errorf("the master has %s, and whoever started it %s", master, own)
	}
	z.stop()
}
