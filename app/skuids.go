package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"doorbuster/app/catalog"
)

// skuIDs remembers the ids of SKU codes: they never change. That a code does not
// exist is remembered for absentFor.
type skuIDs struct {
	store  *catalog.Store
	absent *lru.Cache[string, time.Time] // until when a code is not asked for

	mu    sync.RWMutex
	known map[string]int64
}

func newSKUIDs(store *catalog.Store) *skuIDs {
	absent, err := lru.New[string, time.Time](absentSize)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return &skuIDs{store: store, absent: absent, known: map[string]int64{}}
}

// forget makes the next question for a code one to PostgreSQL: the SKU is gone.
func (s *skuIDs) forget(code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, code)
}

// id returns the id of a code, or catalog.ErrNotFound. Codes that exist are remembered for good, so that map is bounded by
// the catalogue.
func (s *skuIDs) id(ctx context.Context, code string) (int64, error) {
	s.mu.RLock()
	id, ok := s.known[code]
	s.mu.RUnlock()
	if ok {
		return id, nil
	}
	asked := time.Now()
	if until, ok := s.absent.Get(code); ok && asked.Before(until) || !validText(code, maxQuery) {
		return 0, fmt.Errorf("SKU: %w", catalog.ErrNotFound)
	}
	id, err := s.store.SKUID(ctx, code)
	if errors.Is(err, catalog.ErrNotFound) {
		s.absent.Add(code, asked.Add(absentFor))
	}
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[code] = id
	return id, nil
}
