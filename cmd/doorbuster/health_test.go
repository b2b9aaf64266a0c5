//go:build unix

package main_test

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"doorbuster/app/devstack"
	"doorbuster/cluster"
)

// S4, M11: a database that is away is no reason to replace a worker: the next one could not ask it either. Both are away
// for twice the heartbeat timeout, under traffic that needs them, and no worker calls itself unhealthy or is restarted.
func TestOutageRestartsNobody(t *testing.T) {
	t.Parallel()
	const heartbeatTimeout = 3 * time.Second
	for name, c := range map[string]struct {
		away, back func(*devstack.Postgres, *devstack.Redis) error
	}{
		"PostgreSQL frozen": {
			func(p *devstack.Postgres, _ *devstack.Redis) error { return p.Pause() },
			func(p *devstack.Postgres, _ *devstack.Redis) error { return p.Resume() },
		},
		"Redis stopped": {
			func(_ *devstack.Postgres, r *devstack.Redis) error { return r.Stop() },
			func(_ *devstack.Postgres, r *devstack.Redis) error { return r.Start(t.Context()) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			postgres, err := devstack.StartPostgres(t.Context(), devstack.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { postgres.Close() })
			redis, err := devstack.StartRedis(t.Context(), devstack.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { redis.Close() })
			database := "DATABASE_URL=" + postgres.URL()
			for _, command := range []string{"migrate up", "seed"} {
				if code, _, stderr := do(t, []string{database}, strings.Fields(command)...); code != 0 {
					t.Fatalf("%s: got exit code %d: %s", command, code, stderr)
				}
			}
			s := openShop(t, database, "REDIS_URL="+redis.URL(), "HEARTBEAT_INTERVAL=100ms", "HEARTBEAT_TIMEOUT="+heartbeatTimeout.String())
			before := s.pids()
			if err := c.away(postgres, redis); err != nil {
				t.Fatal(err)
			}
			s.bother(2*heartbeatTimeout, func(w cluster.WorkerStatus) {
				if w.Unhealthy != "" {
					t.Errorf("worker %d is unhealthy: %s", w.Slot, w.Unhealthy)
				}
			})
			if err := c.back(postgres, redis); err != nil {
				t.Fatal(err)
			}
			poll(t, "the shop serves again", func() bool {
				code, _ := get(t, stranger(), "GET", s.url("/v1/cart"), "")
				return code == http.StatusOK
			})
			if after := s.pids(); !maps.Equal(after, before) {
				t.Errorf("the workers are %v, and were %v", after, before)
			}
			if n := s.status().Master.CrashesTotal; n != 0 {
				t.Errorf("%d crashes", n)
			}
			s.close()
		})
	}
}

// bother has customers ask for what needs both databases, and looks at the workers meanwhile.
func (s *shop) bother(d time.Duration, look func(cluster.WorkerStatus)) {
	s.t.Helper()
	end := time.Now().Add(d)
	var customers sync.WaitGroup
	for i := range 6 {
		customers.Go(func() {
			for n := 0; time.Now().Before(end); n++ {
				for _, path := range []string{"/v1/cart", fmt.Sprintf("/v1/products?q=%d-%d", i, n), "/v1/orders"} {
					resp, err := stranger().Get(s.url(path))
					if err != nil {
						s.t.Errorf("%s: %v", path, err)
						return
					}
					resp.Body.Close()
				}
			}
		})
	}
	for time.Now().Before(end) {
		for _, w := range s.status().Workers {
			look(w)
		}
	}
	customers.Wait()
}
