package app

import (
	"context"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// Time limits of [App.Warm].
const (
	warmLimit = 2 * time.Second
	// warmListen is how long it waits to hear of changes. What was read before counts as
	// old then, and is asked for again.
	warmListen = 500 * time.Millisecond
)

// Warm reads the pages that everybody sees into memory, for a worker that is about to
// serve: the categories, the first page of the whole list and of each category, and
// each product on those. Otherwise the first thing that a new worker does is to ask
// PostgreSQL for all of them at once, in the middle of a reload, and under load some
// who want them are turned away.
//
// It needs no memory of what was read most, which would be one more thing to keep: a
// sale's products are on their category's first page. What it misses is read when
// somebody wants it. It ends after two seconds, whatever it has by then, and when ctx
// does: a database that is slow or away keeps no worker from its work. The error says
// why something is missing, and is no trouble yet.
func (a *App) Warm(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, warmLimit)
	defer cancel()
	began := time.Now()
	listening := time.NewTimer(warmListen)
	defer listening.Stop()
	select {
	case <-a.news.heard():
	case <-listening.C:
	case <-ctx.Done():
	}
	pages, err := a.warmPages(ctx)
	a.log.DebugContext(ctx, "front pages are in memory", "pages", pages, "products", a.products.count(), "took", time.Since(began), "error", err)
	return err
}

func (a *App) warmPages(ctx context.Context) (pages int, err error) {
	if _, err := a.categories.get(ctx, "", time.Now()); err != nil {
		return 0, err
	}
	ids := *a.categoryIDs.Load()
	keys := []pageKey{{listQuery: listQuery{limit: defaultLimit}}}
	for _, slug := range slices.Sorted(maps.Keys(ids)) {
		keys = append(keys, pageKey{ids[slug], listQuery{limit: defaultLimit, category: slug}})
	}
	keys = keys[:min(len(keys), frontPageCacheSize/4)] // as many as are kept that nobody has asked for
	var group errgroup.Group
	group.SetLimit(int(a.pools.of[catalogueClass].Config().MaxConns))
	for _, key := range keys {
		group.Go(func() error { return a.warmPage(ctx, key) })
	}
	return len(keys), group.Wait()
}

// warmPage reads one front page, and what is on it.
func (a *App) warmPage(ctx context.Context, key pageKey) error {
	asked := a.frontPages.asks()
	p, err := a.readPage(ctx, key.encode())
	if err != nil {
		return err
	}
	if _, err := a.frontPages.keep(key.encode(), p.list(), asked); err != nil {
		return err
	}
	for i := range p.products {
		if _, err := a.products.keep(p.products[i].Slug, p.product(i), asked); err != nil {
			return err
		}
	}
	return nil
}
