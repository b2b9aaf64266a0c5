//go:build unix

package main_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"doorbuster/app/dbtest"
	"doorbuster/app/devstack"
	"doorbuster/cluster"
)

// smallPostgres is a migrated PostgreSQL that lets 30 connections in, 3 of them for superusers.
func smallPostgres(t *testing.T) (setting string) {
	t.Helper()
	postgres, err := devstack.StartPostgres(t.Context(), devstack.Options{MaxConnections: 30})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := postgres.Close(); err != nil {
			t.Error(err)
		}
	})
	setting = "DATABASE_URL=" + postgres.URL()
	for _, command := range [][]string{{"migrate", "up"}, {"seed"}} {
		if code, _, stderr := do(t, []string{setting}, command...); code != 0 {
			t.Fatalf("%v: got exit code %d: %s", command, code, stderr)
		}
	}
	return setting
}

// Workers whose pools would not fit into max_connections share what there is: no customer is told that there are too many
// clients, not during a reload either, which has one worker more.
func TestPoolsFitIntoPostgres(t *testing.T) {
	t.Parallel()
	database := smallPostgres(t)
	ask(t, strings.TrimPrefix(database, "DATABASE_URL="), "WITH much AS (UPDATE stock SET available = 1000000 RETURNING 1) SELECT count(*)::text FROM much")
	s := openShop(t, database, "WORKERS=12", "DATABASE_MAX_CONNS=10", "READY_TIMEOUT="+hang.String(), "LOG_LEVEL=debug")
	const sharing = "PostgreSQL lets in fewer connections than DATABASE_MAX_CONNS for each worker: sharing them"
	if got := s.records(0, sharing); len(got) != 12 {
		t.Errorf("%d workers say that they share connections", len(got))
	}
	var keys, bought atomic.Int64
	c := newCrowd(s)
	c.join("readers", 24, reads(stranger, s.url("/v1/products")))
	// Each buys something else: that twelve workers wait for one row is another
	// matter than connections.
	goods := ask(t, strings.TrimPrefix(database, "DATABASE_URL="), `SELECT string_agg(code, ' ') FROM
		(SELECT code FROM sku WHERE max_per_customer IS NULL AND NOT sale_only ORDER BY code LIMIT 24) AS unlimited`)
	for code := range strings.FieldsSeq(goods) {
		c.join("buyer of "+code, 1, buys(s, code, &keys, &bought))
	}
	c.working()
	if err := s.client.Reload(t.Context(), nil); err != nil {
		t.Error(err)
	}
	c.working()
	c.leave()
	for _, k := range c.kinds { // a connection that was cut by the reload is another test's matter
		t.Logf("%s: %d answers, %d failures", k.name, k.answered.Load(), len(k.failures))
		for _, failure := range k.failures {
			if bad := new(badAnswer); errors.As(failure.err, &bad) && strings.HasPrefix(bad.status, "50") && !bad.slow() {
				t.Errorf("%s: %v", k.name, bad)
			}
		}
	}
	noneTooMany(s)
	s.close()
}

// noneTooMany looks for connections that PostgreSQL had no room for.
func noneTooMany(s *shop) {
	s.t.Helper()
	for _, line := range s.stderr.all() {
		if strings.Contains(line, "SQLSTATE 53300") || strings.Contains(line, "too many clients") {
			s.t.Errorf("the log says %s", line)
		}
	}
}

// Workers that a scale adds get what the pools of those that are there leave. A
// scale that PostgreSQL has no room for fails with the numbers, and what was
// there serves on.
func TestPoolsFitAfterAScale(t *testing.T) {
	t.Parallel()
	database := smallPostgres(t)
	s := openShop(t, database, "WORKERS=2", "DATABASE_MAX_CONNS=10", "READY_TIMEOUT="+hang.String())
	listeners := func() string {
		return ask(t, strings.TrimPrefix(database, "DATABASE_URL="), `SELECT string_agg(substring(application_name FROM 'pool of .*'), ', ' ORDER BY application_name DESC)
			FROM pg_stat_activity WHERE application_name LIKE '% listener%'`)
	}
	awaitPools := func(want string) {
		t.Helper()
		poll(t, "the pools are "+want, func() bool { return listeners() == want })
	}
	awaitPools("pool of 8, pool of 8")
	c := newCrowd(s)
	c.join("readers", 24, reads(stranger, s.url("/v1/products")))
	c.working()
	if err := s.client.Scale(t.Context(), 4); err != nil {
		t.Error(err)
	}
	awaitPools("pool of 8, pool of 8, pool of 2, pool of 2")
	c.working()
	err := s.client.ScaleWith(t.Context(), 12, cluster.ScaleOptions{Force: true})
	const want = "the workers that are there, 4, may take 24: what is left is too little for 8 more and one that replaces another; " +
		"scale to 4 at most, or reload, which shares anew, or raise max_connections to 45"
	if verdict, ok := errors.AsType[*cluster.VerdictError](err); !ok || !strings.Contains(strings.Join(verdict.Output, " "), want) {
		t.Errorf("a scale beyond what there is: %+v, want %s", err, want)
	}
	poll(t, "4 workers", func() bool { return len(s.pids()) == 4 && s.status().Master.Target == 4 })
	if err := s.client.Reload(t.Context(), nil); err != nil {
		t.Error(err)
	}
	poll(t, "the pools are shared anew", func() bool { return !strings.Contains(listeners(), "pool of 8") })
	c.working()
	c.leave()
	for _, k := range c.kinds {
		for _, failure := range k.failures {
			if bad := new(badAnswer); errors.As(failure.err, &bad) && strings.HasPrefix(bad.status, "50") && !bad.slow() {
				t.Errorf("%s: %v", k.name, bad)
			}
		}
	}
	noneTooMany(s)
	s.close()
}

// What can't work at all is refused with what to set.
func TestTooManyWorkersForPostgres(t *testing.T) {
	t.Parallel()
	p := start(t, []string{
		"ADDR=127.0.0.1:0", "WORKERS=14", smallPostgres(t), "REDIS_URL=" + dbtest.Redis(t), "READY_TIMEOUT=" + hang.String(),
	}, "serve")
	code := p.wait()
	lines := p.stderr.all()
	const want = "DATABASE_URL names a PostgreSQL that lets 30 connections in, 3 of them reserved, and 14 workers and one that replaces " +
		"another take 30: raise max_connections to 33, or set WORKERS to 12 at most"
	if last := lines[len(lines)-1]; code != 1 || !strings.Contains(last, want) {
		t.Errorf("got exit code %d and %q", code, last)
	}
}
