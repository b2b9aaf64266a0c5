package checkout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// maxTries bounds how often one transaction is run when PostgreSQL asks for a repeat.
const maxTries = 4

// The pause before a second try is retryJitter at the longest; it doubles with each further one, up to maxRetryJitter.
const (
	retryJitter    = 10 * time.Millisecond
	maxRetryJitter = 500 * time.Millisecond
)

// A repeat says whether a transaction that failed for the n-th time, counting from 1, is run again.
type repeat func(n int, err error) bool

// transact runs fn in a READ COMMITTED transaction that begins so and commits it, again and again from the start where repeat
// says so and ctx has not ended. When COMMIT has no answer the error wraps a *commitLost: the transaction may have been committed.
func (s *Service) transact(ctx context.Context, pool *pgxpool.Pool, begin string, again repeat, fn func(pgx.Tx) error) error {
	longest := retryJitter
	for try := 1; ; try++ {
		err := transactOnce(ctx, pool, begin, fn)
		if err == nil || !again(try, err) || ctx.Err() != nil {
			return err
		}
		s.log.DebugContext(ctx, "transaction is run again", "try", try, "error", err)
		pause := time.NewTimer(rand.N(longest))
		longest = min(2*longest, maxRetryJitter)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		}
	}
}

func transactOnce(ctx context.Context, pool *pgxpool.Pool, begin string, fn func(pgx.Tx) error) error {
	tx, err := pool.BeginTx(ctx, pgx.TxOptions{BeginQuery: begin})
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	// Also when fn panics: the connection would never come back. After COMMIT it does nothing.
	defer tx.Rollback(ctx) //nolint:errcheck // one that fails closes the connection, which rolls back too
	if err := fn(tx); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		if refusedCommit(err) {
			return fmt.Errorf("commit: %w", err)
		}
		return &commitLost{err}
	}
	return nil
}

// refusedCommit reports whether PostgreSQL answered COMMIT with a rollback. FATAL and PANIC are no such answer: they end the
// connection, as a crash or a pooler that lost its server does, and the commit may have been written before.
func refusedCommit(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pgErr.SeverityUnlocalized == "ERROR" || errors.Is(err, pgx.ErrTxCommitRollback)
}

// commitLost says that PostgreSQL did not answer a COMMIT.
type commitLost struct{ cause error }

func (e *commitLost) Error() string { return "no answer to COMMIT: " + e.cause.Error() }
func (e *commitLost) Unwrap() error { return e.cause }

// whenAsked repeats a few times what PostgreSQL has rolled back and asks to repeat.
// https://www.postgresql.org/docs/current/mvcc-serialization-failure-handling.html
func whenAsked(n int, err error) bool {
	const serializationFailure, deadlockDetected = "40001", "40P01"
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && n < maxTries && (pgErr.Code == serializationFailure || pgErr.Code == deadlockDetected)
}

// untilDone is for transactions that can be run any number of times. They are repeated until ctx ends while PostgreSQL is away,
// and a few times when it answers with an error: that may be there to stay.
func untilDone(n int, err error) bool {
	pgErr, answered := errors.AsType[*pgconn.PgError](err)
	return n < maxTries || !answered && !errors.Is(err, errAdopted) || answered && pgErr.SeverityUnlocalized != "ERROR"
}

// inParts does something for all, in one go if it can. Where PostgreSQL refuses what one of them brings along, or it makes
// us panic, it is done in halves, so that the others do not fail with that one: failed is told which it was. The error
// is the first refusal, if there was any.
func inParts[T any](all []T, do func(first int, part []T) error, failed func(i int, err error)) (refused error) {
	var part func(first int, some []T)
	part = func(first int, some []T) {
		err := recovered(func() error { return do(first, some) })
		switch {
		case err == nil:
		case len(some) > 1 && refusesContent(err):
			refused = cmp.Or(refused, err)
			half := len(some) / 2
			part(first, some[:half])
			part(first+half, some[half:])
		default:
			for i := range some {
				failed(first+i, err)
			}
		}
	}
	part(0, all)
	return refused
}

// refusesContent reports whether a transaction has failed for what is in it: PostgreSQL's classes "data exception",
// "integrity constraint violation" and "PL/pgSQL error", which is what the triggers of others raise,
// https://www.postgresql.org/docs/current/errcodes-appendix.html.
func refusesContent(err error) bool {
	if _, ok := errors.AsType[*panicked](err); ok || errors.Is(err, errAdopted) || rowLocked(err) {
		return true
	}
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (strings.HasPrefix(pgErr.Code, "22") || strings.HasPrefix(pgErr.Code, "23") || strings.HasPrefix(pgErr.Code, "P0"))
}
