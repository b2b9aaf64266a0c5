package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"doorbuster/app/account"
	"doorbuster/app/cart"
	"doorbuster/app/catalog"
)

// MinCartRetention is how long a guest's cart is kept at least: a session that may
// reach it lives so long.
const MinCartRetention = sessionLifetime

// How carts are removed.
const (
	// retentionInterval is the time between two runs of the whole shop.
	retentionInterval = time.Hour
	// retentionLook is how often a worker looks whether a run is due.
	retentionLook = time.Minute
	// retentionBatch is how many carts a transaction looks at, and retentionPause the
	// time between two, which belongs to whoever else needs the connection.
	retentionBatch = 1000
	retentionPause = 100 * time.Millisecond
	// retentionTimeout bounds a batch.
	retentionTimeout = 5 * time.Second
	// saleRush is how long nothing is removed after the beginning of a sale.
	saleRush = time.Hour
)

// retentionKey is in Redis for as long as no run is due.
const retentionKey = "retention:carts"

// retention removes the carts of guests that nobody can reach any more, on the
// background connections. One worker of the shop does it at a time: who sets the key in
// Redis begins a run, and each batch takes an advisory lock of PostgreSQL. Without
// Redis nothing is removed.
type retention struct {
	keep  time.Duration
	pool  *pgxpool.Pool
	carts *cart.Store
	sales *catalog.Store
	redis *redis.Client
	key   string // in Redis
	log   *slog.Logger
	look  time.Duration
	pause time.Duration

	runs, removedCarts, removedLines atomic.Int64
	running                          atomic.Bool
}

func newRetention(pool *pgxpool.Pool, client *redis.Client, cfg Config) *retention {
	return &retention{
		keep: cfg.CartRetention, pool: pool, carts: cart.NewStore(pool), sales: catalog.NewStore(pool),
		redis: client, key: retentionKey, log: cfg.Log, look: retentionLook, pause: retentionPause,
	}
}

// run removes what is due until ctx ends.
func (r *retention) run(ctx context.Context) {
	if r.keep == 0 {
		return
	}
	ticker := time.NewTicker(r.look)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if !r.due(ctx) {
			continue
		}
		if err := r.once(ctx); err != nil && ctx.Err() == nil {
			r.log.WarnContext(ctx, "old carts are not removed", "error", err)
		}
		if ctx.Err() != nil {
			r.giveUp(context.WithoutCancel(ctx))
		}
	}
}

// due reports whether this worker is to begin a run.
func (r *retention) due(ctx context.Context) bool {
	if rush, err := r.rush(ctx); err != nil || rush {
		return false
	}
	return r.redis.SetArgs(ctx, r.key, pid(), redis.SetArgs{Mode: "NX", TTL: retentionInterval}).Err() == nil
}

// giveUp lets another worker begin at once, where this one leaves in the middle.
func (r *retention) giveUp(ctx context.Context) {
	if err := r.redis.Del(ctx, r.key).Err(); err != nil {
		r.log.DebugContext(ctx, "the next run is in an hour", "error", err)
	}
}

// rush reports whether a sale has begun a short while ago.
func (r *retention) rush(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, retentionTimeout)
	defer cancel()
	return r.sales.SaleBegan(ctx, saleRush)
}

var errRush = errors.New("a sale has begun")

// once looks at all carts that are old enough and says what became of them.
func (r *retention) once(ctx context.Context) (err error) {
	r.runs.Add(1)
	r.running.Store(true)
	defer r.running.Store(false)
	began := time.Now()
	carts, lines := r.removedCarts.Load(), r.removedLines.Load()
	defer func() {
		r.log.InfoContext(ctx, "removed old carts", "carts", r.removedCarts.Load()-carts, "lines", r.removedLines.Load()-lines,
			"untouched_for", r.keep.String(), "took", time.Since(began).Round(time.Millisecond).String(), "complete", err == nil)
	}()
	for last := uuid.Nil; ; {
		if last, err = r.batch(ctx, last); err != nil || last == uuid.Nil {
			return err
		}
		timer := time.NewTimer(r.pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// batch looks at some carts and returns the owner of the last.
func (r *retention) batch(ctx context.Context, after uuid.UUID) (last uuid.UUID, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, retentionTimeout, errors.New("no answer within "+retentionTimeout.String()))
	defer cancel()
	rush, err := r.sales.SaleBegan(ctx, saleRush)
	if err != nil {
		return uuid.Nil, err
	}
	if rush {
		return uuid.Nil, errRush
	}
	old, err := r.carts.Old(ctx, after, r.keep, retentionBatch)
	if err != nil || len(old.Owners) == 0 {
		return old.Last, err
	}
	registered, err := account.Registered(ctx, r.pool, old.Owners)
	if err != nil {
		return uuid.Nil, err
	}
	guests := make([]uuid.UUID, 0, len(old.Owners))
	for _, owner := range old.Owners {
		if !registered[owner] {
			guests = append(guests, owner)
		}
	}
	carts, lines, err := r.carts.Expire(ctx, guests, r.keep)
	if err != nil {
		return uuid.Nil, fmt.Errorf("after %v: %w", after, err)
	}
	r.removedCarts.Add(carts)
	r.removedLines.Add(lines)
	return old.Last, nil
}
