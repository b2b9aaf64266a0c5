package devstack

import (
	"context"
	"errors"
	"sync"
)

// Options say where servers keep their data and how careful they are with it.
type Options struct {
	// Dir keeps the data from one start to the next. Empty means a temporary directory, removed by Close.
	Dir string

	// Durable makes a commit survive a power cut (fsync). Tests leave it off: a killed server loses no commit
	// either way, since the kernel still has what it wrote.
	Durable bool

	// Progress, if not nil, is told each step in one short line. It is never called by two goroutines at once.
	Progress func(msg string)

	// MaxConnections of PostgreSQL, 100 if 0.
	MaxConnections int
}

func (o Options) say(msg string) {
	if o.Progress != nil {
		o.Progress(msg)
	}
}

// A Stack is a running PostgreSQL and a running Redis.
type Stack struct {
	Postgres *Postgres
	Redis    *Redis
}

// Start starts both servers at the same time. ctx bounds the start only, not the life of the servers.
func Start(ctx context.Context, o Options) (*Stack, error) {
	if progress := o.Progress; progress != nil {
		var mu sync.Mutex
		o.Progress = func(msg string) {
			mu.Lock()
			defer mu.Unlock()
			progress(msg)
		}
	}
	// When one fails there is no point in finishing the other.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	var (
		s                   Stack
		postgresErr, rdsErr error
		wg                  sync.WaitGroup
	)
	wg.Go(func() {
		if s.Postgres, postgresErr = StartPostgres(ctx, o); postgresErr != nil {
			cancel()
		}
	})
	wg.Go(func() {
		if s.Redis, rdsErr = StartRedis(ctx, o); rdsErr != nil {
			cancel()
		}
	})
	wg.Wait()

	if postgresErr == nil && rdsErr == nil {
		return &s, nil
	}
	closeErr := s.Close()
	// The one that was cancelled because the other failed has nothing to add.
	switch {
	case postgresErr != nil && errors.Is(rdsErr, context.Canceled):
		rdsErr = nil
	case rdsErr != nil && errors.Is(postgresErr, context.Canceled):
		postgresErr = nil
	}
	return nil, errors.Join(postgresErr, rdsErr, closeErr)
}

// Close stops both servers and removes what was temporary. Closing again does nothing.
func (s *Stack) Close() error {
	var (
		postgresErr, redisErr error
		wg                    sync.WaitGroup
	)
	if s.Postgres != nil {
		wg.Go(func() { postgresErr = s.Postgres.Close() })
	}
	if s.Redis != nil {
		wg.Go(func() { redisErr = s.Redis.Close() })
	}
	wg.Wait()
	return errors.Join(postgresErr, redisErr)
}
