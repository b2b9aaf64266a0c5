// Package dbtest gives each test a database of its own. Only tests import it, and its command testservers.
//
// A package that uses it hands its tests over, so that the servers are closed at the end:
//
//	func TestMain(m *testing.M) { dbtest.Main(m) }
//
// and then a test asks for what it needs:
//
//	pool := dbtest.Pool(t) // on a fresh, migrated database, gone with the test
//
// The servers start when the first test asks for them, once per test binary. Many packages at once do better with
// servers that they share:
//
//	go run ./app/dbtest/testservers -- go test -race ./...
//
// # Where servers come from
//
//  1. TEST_DATABASE_URL and TEST_REDIS_URL, if set. The user needs the right to create databases.
//  2. Containers, where a Docker engine answers and has or can pull the images (TEST_POSTGRES_IMAGE, by default
//     postgres:17.7-alpine; TEST_REDIS_IMAGE, by default redis:8.4-alpine; and testcontainers/ryuk, which removes the
//     containers of a run that was killed. With TESTCONTAINERS_RYUK_DISABLED=true the next run does that).
//     Where the engine publishes ports is found by trying: a Redis is started, and the addresses that an engine can be
//     reached by are connected to until it answers. These are TESTCONTAINERS_HOST_OVERRIDE alone, if set, else the
//     host of DOCKER_HOST, the loopback address, the address that the ports are bound to, the gateways of the engine's
//     bridge and of this process, and what Docker Desktop and Podman name their hosts; without the reaper, the
//     container's own address as well. What answered becomes this process's TESTCONTAINERS_HOST_OVERRIDE, for
//     testcontainers. Where nothing answers within 20 seconds, containers are of no use, and the reason says what was
//     tried.
//  3. The private servers of package devstack.
//
// TEST_SERVERS=containers or TEST_SERVERS=private insists on one of the last two.
package dbtest

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Bounds of what a test may wait for; a test's own context is already cancelled when its cleanups run.
const (
	startTimeout   = 5 * time.Minute // images may have to be pulled
	databaseLimit  = time.Minute     // to create or drop a database while all others do the same
	cleanupTimeout = time.Minute
)

// shared is what the tests of this binary run on. A test binary is one program with one environment: there is
// nobody to hand it in.
var shared = New(os.Getenv)

// Main runs the tests of a package, closes the servers they started, and ends the program.
func Main(m *testing.M) { os.Exit(Run(m)) }

// Run is Main for a TestMain with more to do: it runs the tests, closes the servers, and returns the exit code.
// After it no goroutine of this package is left, so goleak may look.
func Run(m interface{ Run() int }) int {
	code := m.Run()
	if err := shared.Close(); err != nil {
		os.Stderr.WriteString("dbtest: " + err.Error() + "\n")
		return max(code, 1)
	}
	return code
}

// Database returns the URL of a fresh, migrated database, which is dropped when the test ends.
func Database(tb testing.TB) string {
	tb.Helper()
	return create(tb, true)
}

// EmptyDatabase returns the URL of a fresh database without a schema, which is dropped when the test ends.
func EmptyDatabase(tb testing.TB) string {
	tb.Helper()
	return create(tb, false)
}

// Pool returns connections to a fresh, migrated database. Both are gone when the test ends; a test that still
// holds a connection then is told.
func Pool(tb testing.TB) *pgxpool.Pool {
	tb.Helper()
	pool, err := pgxpool.New(tb.Context(), Database(tb))
	if err != nil {
		tb.Fatalf("dbtest: %v", err)
	}
	tb.Cleanup(func() {
		tb.Helper()
		closed := make(chan struct{})
		go func() {
			pool.Close() // waits for connections that are in use
			close(closed)
		}()
		select {
		case <-closed:
		case <-time.After(cleanupTimeout):
			tb.Errorf("dbtest: %d connections are still in use %s after the end of the test",
				pool.Stat().AcquiredConns(), cleanupTimeout)
		}
	})
	return pool
}

// Redis returns the URL of a Redis that all tests share, those of other packages too. Keys must be unique: build
// them from ids that are.
func Redis(tb testing.TB) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), startTimeout)
	defer cancel()
	url, err := shared.RedisURL(ctx)
	if err != nil {
		tb.Fatalf("dbtest: %v", err)
	}
	return url
}

func create(tb testing.TB, migrated bool) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), startTimeout)
	defer cancel()
	name, url, err := shared.createDatabase(ctx, tb.Name(), migrated)
	if err != nil {
		tb.Fatalf("dbtest: %v", err)
	}
	tb.Cleanup(func() {
		tb.Helper()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), cleanupTimeout)
		defer cancel()
		if err := shared.dropDatabase(ctx, name); err != nil {
			tb.Errorf("dbtest: %v", err)
		}
	})
	return url
}
