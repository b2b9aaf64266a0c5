package main

import (
	"testing"

	"doorbuster/cluster"
)

// O1: a container is healthy while a worker is ready, also in the middle of a deploy or with a slot that crashes, and no longer
// once it stops.
func TestServes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		state string
		ready int
		want  string
	}{
		{"running", 2, ""},
		{"rolling", 1, ""},
		{"degraded", 1, ""},
		{"starting", 0, "the shop does not serve: it is starting, with 0 of 2 workers ready"},
		{"degraded", 0, "the shop does not serve: it is degraded, with 0 of 2 workers ready"},
		{"stopping", 2, "the shop does not serve: it is stopping, with 2 of 2 workers ready"},
	} {
		var s cluster.Status
		s.Master.State, s.Master.Ready, s.Master.Target = c.state, c.ready, 2
		got := ""
		if err := serves(s); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s, %d ready: got %q, want %q", c.state, c.ready, got, c.want)
		}
	}
}
