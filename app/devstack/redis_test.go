//go:build unix

package devstack_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"doorbuster/app/devstack"
)

func TestRedisStoppedAndStartedKeepsURL(t *testing.T) {
	t.Parallel()
	r := startRedis(t, devstack.Options{})
	url := r.URL()
	c := redisClient(t, url)
	for _, end := range []struct {
		how string
		do  func() error
	}{
		{"stop", r.Stop},
		{"kill", func() error { r.Kill(); return nil }},
		{"stop while paused", func() error { return errors.Join(r.Pause(), r.Stop()) }},
	} {
		if err := c.Set(within(t), "k", "v", 0).Err(); err != nil {
			t.Fatal(err)
		}
		if err := end.do(); err != nil {
			t.Fatalf("%s: %v", end.how, err)
		}
		if err := c.Ping(within(t)).Err(); err == nil {
			t.Errorf("%s: it still answers", end.how)
		}
		if err := r.Start(within(t)); err != nil {
			t.Fatalf("start after %s: %v", end.how, err)
		}
		if r.URL() != url {
			t.Errorf("start after %s: got URL %s, want %s", end.how, r.URL(), url)
		}
		if err := c.Get(within(t), "k").Err(); !errors.Is(err, redis.Nil) {
			t.Errorf("a temporary Redis remembers after %s: got %v, want redis.Nil", end.how, err)
		}
	}
}

func TestRedisPaused(t *testing.T) {
	t.Parallel()
	r := startRedis(t, devstack.Options{})
	c := redisClient(t, r.URL())
	if err := r.Pause(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(within(t), 50*time.Millisecond)
	defer cancel()
	if err := c.Ping(ctx).Err(); err == nil {
		t.Error("got an answer while paused")
	}
	if err := r.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := c.Ping(within(t)).Err(); err != nil {
		t.Errorf("after Resume: %v", err)
	}
}

func TestRedisKeepsDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(openDir(t), "a dir with spaces, +&=%2F, \"quotes' and ü")
	first := startRedis(t, devstack.Options{Dir: dir})
	if err := redisClient(t, first.URL()).Set(within(t), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	_, err := devstack.StartRedis(within(t), devstack.Options{Dir: dir})
	if want := fmt.Sprintf("%s is in use by process %d", dir, os.Getpid()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("second instance: got %v, want %q", err, want)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := startRedis(t, devstack.Options{Dir: dir})
	if got, err := redisClient(t, second.URL()).Get(within(t), "k").Result(); err != nil || got != "v" {
		t.Errorf("got %q, %v, want v", got, err)
	}

	// Without its lock it looks as if the parent had been killed and the server had stayed, as on macOS.
	if err := os.Remove(filepath.Join(dir, "redis", "lock")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(within(t), 50*time.Millisecond)
	defer cancel()
	_, err = devstack.StartRedis(ctx, devstack.Options{Dir: dir})
	if want := "a server whose parent is gone"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("orphan: got %v, want %q", err, want)
	}
}
