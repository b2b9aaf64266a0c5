package app

import (
	"context"
	"net/http"
	"time"

	"github.com/google/uuid"
)

// Edge lets tests put a handler of their own behind the outermost layer.
func (a *App) Edge(next http.Handler) http.Handler { return a.edge(next) }

// OldCursor returns a cursor that is a moment too old.
func OldCursor(list, after string) string {
	return cursor{list, after, time.Now().Add(-cursorLifetime - time.Minute)}.encode()
}

// Redact is tested on all the ways in which a password can be written.
func Redact(text, setting string) string { return redact(text, setting) }

// Heard is how often news of the catalogue and of shelves have come.
func (a *App) Heard() (catalogue, stock uint64) { return a.news.catalogue.Load(), a.news.stock.Load() }

// Listens reports whether all that happens is heard of.
func (a *App) Listens() bool { return a.news.current(time.Now()) }

// SoldOut reports whether this worker believes that a SKU is gone.
func (a *App) SoldOut(sku int64) bool { return a.hints.Gone(sku) }

// Waiting is how many checkouts wait for their turn.
func (a *App) Waiting() int64 { return a.checkoutGate.waiting.Load() }

// RequestTimeout is how long a request of a customer may take.
const RequestTimeout = requestTimeout

// ListCacheSize is how many pages of lists are in memory, besides front pages.
const ListCacheSize = listCacheSize

// CatalogueAcquires is how often a read of the catalogue took a connection.
func (a *App) CatalogueAcquires() int64 { return a.pools.of[catalogueClass].Stat().AcquireCount() }

// RemoveOldCarts is one run of the retention, whoever else has made one.
func (a *App) RemoveOldCarts(ctx context.Context) (carts, lines int64, err error) {
	carts, lines = a.retention.removedCarts.Load(), a.retention.removedLines.Load()
	err = a.retention.once(ctx)
	return a.retention.removedCarts.Load() - carts, a.retention.removedLines.Load() - lines, err
}

// RunRetention is the background work of the retention, of a shop that knows itself
// by a key, and in a hurry.
func (a *App) RunRetention(ctx context.Context, key string) (runs int64) {
	r := newRetention(a.pools.of[backgroundClass], a.redis, a.cfg)
	r.key, r.look, r.pause = key, time.Millisecond, time.Millisecond
	r.run(ctx)
	return r.runs.Load()
}

// Expire removes those of some carts that are old.
func (a *App) Expire(ctx context.Context, owners []uuid.UUID, age time.Duration) (carts, lines int64, err error) {
	return a.retention.carts.Expire(ctx, owners, age)
}

// ExpireLock is the key under which carts are removed.
const ExpireLock = 0x646f6f7263617274

// NewPages is how many pages were asked for that were not in memory.
func (a *App) NewPages() int64 { return a.misses.asked[newPage].Load() }
