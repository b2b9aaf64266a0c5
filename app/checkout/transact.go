package checkout

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// maxTries bounds how often one transaction is run when PostgreSQL asks for a repeat.
const maxTries = 4

// retryJitter is the longest pause before a second try; it doubles with each further one.
const retryJitter = 10 * time.Millisecond

// transact runs fn in a READ COMMITTED transaction and commits it. A serialization failure or a deadlock runs it again,
// from the start. When the connection is lost during COMMIT the error wraps a *commitLost: the transaction may have been
// committed, and it is not run again.
func (s *Service) transact(ctx context.Context, fn func(pgx.Tx) error) error {
	for try := 1; ; try++ {
		err := s.transactOnce(ctx, fn)
		if try == maxTries || !repeatable(err) {
			return err
		}
		s.log.DebugContext(ctx, "transaction is run again", "try", try, "error", err)
		pause := time.NewTimer(rand.N(retryJitter << try))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		}
	}
}

func (s *Service) transactOnce(ctx context.Context, fn func(pgx.Tx) error) error {
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if err := fn(tx); err != nil {
		// A rollback that fails closes the connection, which rolls back too.
		return errors.Join(err, ignoreClosed(tx.Rollback(ctx)))
	}
	if err := tx.Commit(ctx); err != nil {
		if _, answered := errors.AsType[*pgconn.PgError](err); answered || errors.Is(err, pgx.ErrTxCommitRollback) {
			return fmt.Errorf("commit: %w", err)
		}
		return &commitLost{err}
	}
	return nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, pgx.ErrTxClosed) {
		return nil
	}
	return err
}

// commitLost says that PostgreSQL did not answer a COMMIT.
type commitLost struct{ cause error }

func (e *commitLost) Error() string { return "no answer to COMMIT: " + e.cause.Error() }
func (e *commitLost) Unwrap() error { return e.cause }

// repeatable reports whether PostgreSQL has rolled the transaction back and asks for a repeat.
// https://www.postgresql.org/docs/current/mvcc-serialization-failure-handling.html
func repeatable(err error) bool {
	const serializationFailure, deadlockDetected = "40001", "40P01"
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pgErr.Code == serializationFailure || pgErr.Code == deadlockDetected)
}
