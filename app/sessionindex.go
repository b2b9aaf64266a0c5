package app

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
)

const (
	// sessionPrefix begins the keys of sessions in Redis.
	sessionPrefix = "session:"
	// indexPrefix begins the keys of the sessions of an account.
	indexPrefix = "account-sessions:"
	// maxSessions is in how many browsers an account can be logged in. One more
	// ends the oldest, so that nobody fills Redis with log-ins.
	maxSessions = 100
)

// sessionIndex knows in which sessions an account is logged in, so that all of
// them can be ended. It is a sorted set in Redis of their keys, by when they
// end at the latest. Only log-ins and log-outs touch it: requests cost nothing
// more for it.
//
// A log-in enters its session here before it stores it, and looks afterwards
// whether it is still there. So a session is either seen by whoever ends all of
// them, or ends itself.
type sessionIndex struct{ client *redis.Client }

// sessionKey is the key under which scs stores a session.
func sessionKey(token string) string {
	sum := sha256.Sum256([]byte(token))
	return sessionPrefix + base64.RawURLEncoding.EncodeToString(sum[:])
}

// add enters a session that is about to be stored.
func (x sessionIndex) add(ctx context.Context, account uuid.UUID, key string) error {
	index, now := indexPrefix+account.String(), time.Now()
	var tooMany *redis.StringSliceCmd
	_, err := x.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.ZAdd(ctx, index, redis.Z{Score: float64(now.Add(sessionLifetime).UnixMicro()), Member: key})
		p.ZRemRangeByScore(ctx, index, "-inf", strconv.FormatInt(now.UnixMicro(), 10))
		p.Expire(ctx, index, sessionLifetime)
		tooMany = p.ZRange(ctx, index, 0, -maxSessions-1)
		return nil
	})
	if err != nil {
		return fmt.Errorf("enter session: %w", err)
	}
	return x.end(ctx, index, tooMany.Val())
}

// has reports whether a session is still entered.
func (x sessionIndex) has(ctx context.Context, account uuid.UUID, key string) (bool, error) {
	err := x.client.ZScore(ctx, indexPrefix+account.String(), key).Err()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look session up: %w", err)
	}
	return true, nil
}

// remove strikes a session off that its customer has ended.
func (x sessionIndex) remove(ctx context.Context, account uuid.UUID, key string) error {
	if err := x.client.ZRem(ctx, indexPrefix+account.String(), key).Err(); err != nil {
		return fmt.Errorf("strike session off: %w", err)
	}
	return nil
}

// endAll ends all sessions of an account.
func (x sessionIndex) endAll(ctx context.Context, account uuid.UUID) error {
	index := indexPrefix + account.String()
	keys, err := x.client.ZRange(ctx, index, 0, -1).Result()
	if err != nil {
		return fmt.Errorf("list sessions: %w", err)
	}
	return x.end(ctx, index, keys)
}

// end ends sessions and strikes them off in one step: a log-in that finds its
// session entered is ended later or not at all.
func (x sessionIndex) end(ctx context.Context, index string, keys []string) error {
	if len(keys) == 0 {
		return nil
	}
	members := make([]any, len(keys))
	for i, key := range keys {
		members[i] = key
	}
	_, err := x.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Del(ctx, keys...)
		p.ZRem(ctx, index, members...)
		return nil
	})
	if err != nil {
		return fmt.Errorf("end sessions: %w", err)
	}
	return nil
}
