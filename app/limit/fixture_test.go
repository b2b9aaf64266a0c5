package limit

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"doorbuster/app/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// patient is the time limit where a test counts exactly, on a machine with too
// much to do.
const patient = 10 * time.Second

func client(t testing.TB, url string) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	options.MaxRetries, options.ContextTimeoutEnabled = -1, true
	c := redis.NewClient(options)
	t.Cleanup(func() { c.Close() })
	return c
}

// open returns a Limiter on the tests' Redis.
func open(t testing.TB, cfg Config) *Limiter {
	t.Helper()
	cfg.Log = slog.New(slog.DiscardHandler)
	l := New(client(t, dbtest.Redis(t)), cfg)
	t.Cleanup(l.Close)
	return l
}

// key returns one that no other test has.
func key(name string) string { return Key(name, uuid.NewString()) }

// random returns a source of numbers whose seed is told.
func random(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// frozen is a Redis that accepts connections and never says a word.
func frozen(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return "redis://" + listener.Addr().String()
}

// liar is a Redis that answers everything with the same.
func liar(t *testing.T, reply string) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buf := make([]byte, 4096)
				for {
					if _, err := conn.Read(buf); err != nil || reply == "" {
						return
					}
					fmt.Fprint(conn, reply)
				}
			}()
		}
	}()
	return "redis://" + listener.Addr().String()
}
