package app_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
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

// expireSession makes Redis forget a session, as it does when its time has come.
func expireSession(t testing.TB, token string) {
	t.Helper()
	sum := sha256.Sum256([]byte(token))
	key := "session:" + base64.RawURLEncoding.EncodeToString(sum[:])
	if n, err := redisClient(t).Del(context.Background(), key).Result(); err != nil || n != 1 {
		t.Fatalf("expire session: %d keys, %v", n, err)
	}
}
