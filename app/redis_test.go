package app_test

import (
	"context"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"doorbuster/app/dbtest"
)

func redisClient(t testing.TB) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(dbtest.Redis(t))
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(options)
	t.Cleanup(func() { client.Close() })
	return client
}

// redisKeys returns the keys that contain a text.
func redisKeys(t testing.TB, text string) []string {
	t.Helper()
	client := redisClient(t)
	var keys []string
	sessions := 0
	scan := client.Scan(context.Background(), 0, "session:*", 1000).Iterator()
	for scan.Next(context.Background()) {
		sessions++
		if strings.Contains(scan.Val(), text) {
			keys = append(keys, scan.Val())
		}
	}
	if err := scan.Err(); err != nil || sessions == 0 {
		t.Fatalf("scan Redis: %d sessions, %v", sessions, err)
	}
	return keys
}
