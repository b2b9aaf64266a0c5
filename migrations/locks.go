package migrations

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3/lock"
)

// Time limits of a migration of a shop that is open.
const (
	// DefaultPatience is how long a migration is tried that can't have its locks.
	DefaultPatience = time.Minute
	// lockTimeout is how long a statement waits for a lock. Whoever needs the table
	// meanwhile waits behind it.
	lockTimeout = time.Second
	// firstPause and longestPause bound the time between two tries, in which nothing
	// is locked: it is no shorter than a try, so that those who waited get through.
	firstPause   = time.Second
	longestPause = 8 * time.Second
	// turnPatience is how long another migrate is waited for, which may be making a
	// large index.
	turnPatience = 5 * time.Minute
	turnPause    = 200 * time.Millisecond
	// watchPause is the time between two looks at who is in the way.
	watchPause = 200 * time.Millisecond
)

// A Holder is somebody who holds a lock that a migration needs.
type Holder struct {
	PID         int    // of its server process; 0: a prepared transaction
	Application string // as it calls itself
	User        string
	Since       time.Time     // when its transaction began
	For         time.Duration // since then, by the database's clock
	Query       string        // the beginning of its last statement
}

func (h Holder) String() string {
	if h.PID == 0 {
		return "a prepared transaction"
	}
	var who []string
	for _, part := range []string{h.Application, h.User} {
		if part != "" {
			who = append(who, part)
		}
	}
	text := fmt.Sprintf("pid %d", h.PID)
	if len(who) > 0 {
		text += " (" + strings.Join(who, ", user ") + ")"
	}
	if !h.Since.IsZero() {
		text += fmt.Sprintf(" since %s, for %v", h.Since.UTC().Format("15:04:05"), h.For.Round(time.Second))
	}
	if h.Query != "" {
		text += fmt.Sprintf(", with %q", h.Query)
	}
	return text
}

// remedy says how to end what holds a lock.
func remedy(holders []Holder) string {
	if len(holders) == 0 {
		return "see pg_locks for who holds it"
	}
	if holders[0].PID == 0 {
		return "commit it or roll it back: pg_prepared_xacts has its name"
	}
	return fmt.Sprintf("end it with SELECT pg_terminate_backend(%d)", holders[0].PID)
}

// wait is what a migration waits for, and whom.
type wait struct {
	what    string // "orders"
	holders []Holder
}

func (w wait) String() string {
	what, who := w.what, "somebody whom PostgreSQL does not name"
	if what == "" {
		what = "a lock"
	}
	if len(w.holders) > 0 {
		names := make([]string, len(w.holders))
		for i, h := range w.holders {
			names[i] = h.String()
		}
		who = strings.Join(names, "; ")
	}
	return what + ", held by " + who
}

// A turn is the right to change the schema: an advisory lock of the session that
// makes the changes. It ends with that session, so nobody can lose it and go on.
// The key is goose's own: releases that know nothing of this file keep to it too.
//
// It watches who is in the way of that session, on another connection.
type turn struct {
	m       *Migrator
	patient bool // what is done in this turn keeps nobody waiting while it waits

	mu       sync.Mutex
	seen     wait // the last time that somebody was in the way
	watching sync.WaitGroup
	stop     context.CancelFunc
}

var _ lock.SessionLocker = (*turn)(nil)

// SessionLock implements [lock.SessionLocker].
func (t *turn) SessionLock(ctx context.Context, conn *sql.Conn) error {
	timeout := lockTimeout
	if t.patient {
		timeout = t.m.patience
	}
	var pid int
	err := conn.QueryRowContext(ctx, `SELECT pg_backend_pid() FROM set_config('lock_timeout', $1, false) AS l, set_config('statement_timeout', '0', false) AS s`,
		fmt.Sprintf("%dms", timeout.Milliseconds())).Scan(&pid)
	if err != nil {
		return fmt.Errorf("set the time limits of a migration: %w", err)
	}
	if err := t.await(ctx, conn); err != nil {
		return err
	}
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	t.stop = stop
	t.watching.Go(func() { t.watch(watching, pid) })
	return nil
}

// await returns when no other migrate is at work.
func (t *turn) await(ctx context.Context, conn *sql.Conn) error {
	begin := time.Now()
	for told := false; ; told = true {
		var ours bool
		if err := conn.QueryRowContext(ctx, `SELECT pg_try_advisory_lock($1)`, lock.DefaultLockID).Scan(&ours); err != nil {
			return fmt.Errorf("take the turn to migrate: %w", err)
		}
		if ours {
			return nil
		}
		if told && time.Since(begin) < turnPatience {
			if err := pause(ctx, turnPause); err != nil {
				return err
			}
			continue
		}
		w := wait{what: "the turn to migrate"}
		w.holders, _ = holdersOf(ctx, conn, otherMigrates, lock.DefaultLockID) // it is told without a name otherwise
		if told {
			return fmt.Errorf("another migrate is at work for more than %v: %v: run doorbuster migrate again when it is done", turnPatience, w)
		}
		t.m.say("waiting for another migrate, which does the same work: %v", w)
	}
}

// SessionUnlock implements [lock.SessionLocker].
func (t *turn) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	t.stop()
	t.watching.Wait()
	var ours bool
	if err := conn.QueryRowContext(ctx, `SELECT pg_advisory_unlock($1)`, lock.DefaultLockID).Scan(&ours); err != nil {
		// The session is at an end, or has to be: the lock ends with it.
		return ignoreBadConn(conn.Raw(func(any) error { return driver.ErrBadConn }))
	}
	if !ours {
		return errors.New("the turn to migrate was lost to somebody who has given it up for us: look for pg_advisory_unlock_all in the migration")
	}
	return nil
}

func ignoreBadConn(err error) error {
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) {
		return nil
	}
	return err
}

// watch notes who is in the way of a session. A statement that may wait for long says
// so while it does.
func (t *turn) watch(ctx context.Context, pid int) {
	told := ""
	for pause(ctx, watchPause) == nil {
		now, err := waitOf(ctx, t.m.db, pid)
		if err != nil || now.what == "" {
			continue // it is told without a name
		}
		t.mu.Lock()
		t.seen = now
		t.mu.Unlock()
		if pids := fmt.Sprint(now.pids()); t.patient && pids != told {
			told = pids
			t.m.say("waiting for %v; customers don't wait for this: let it end, or %s", now, remedy(now.holders))
		}
	}
}

func (w wait) pids() []int {
	pids := make([]int, len(w.holders))
	for i, h := range w.holders {
		pids[i] = h.PID
	}
	return pids
}

func (t *turn) lastSeen() wait {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seen
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// waitOf returns what a session waits for, or nothing.
func waitOf(ctx context.Context, db querier, pid int) (w wait, err error) {
	const what = `SELECT CASE WHEN relation IS NOT NULL THEN relation::regclass::text ELSE 'the end of transactions' END
  FROM pg_locks WHERE pid = $1 AND NOT granted LIMIT 1`
	if err := db.QueryRowContext(ctx, what, pid).Scan(&w.what); err != nil {
		return wait{}, err
	}
	w.holders, err = holdersOf(ctx, db, blockers, pid)
	return w, err
}

// Who holds a lock, by functions of PostgreSQL's:
// https://www.postgresql.org/docs/current/functions-info.html
const (
	blockers      = `SELECT DISTINCT unnest(pg_blocking_pids($1))`
	otherMigrates = `SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND (classid::bigint << 32 | objid::bigint) = $1 AND objsubid = 1`
)

// holdersOf looks up the sessions whose pids a query has.
func holdersOf(ctx context.Context, db querier, pids string, arg any) ([]Holder, error) {
	rows, err := db.QueryContext(ctx, `SELECT p.pid, coalesce(application_name, ''), coalesce(usename, ''), coalesce(xact_start, query_start),
       coalesce(extract(epoch FROM clock_timestamp() - coalesce(xact_start, query_start)), 0)::float8,
       coalesce(left(regexp_replace(query, '\s+', ' ', 'g'), 60), '')
  FROM (`+pids+`) AS p (pid) LEFT JOIN pg_stat_activity a ON a.pid = p.pid AND p.pid > 0 ORDER BY 4 NULLS LAST`, arg)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var holders []Holder
	for rows.Next() {
		var h Holder
		var since sql.NullTime
		var seconds float64
		if err := rows.Scan(&h.PID, &h.Application, &h.User, &since, &seconds, &h.Query); err != nil {
			return nil, err
		}
		h.Since, h.For = since.Time, time.Duration(seconds*float64(time.Second))
		holders = append(holders, h)
	}
	return holders, rows.Err()
}

// inTheWay reports whether a migration has failed for want of a lock, so that it may
// succeed later. https://www.postgresql.org/docs/current/errcodes-appendix.html
func inTheWay(err error) bool {
	const lockNotAvailable, deadlockDetected = "55P03", "40P01"
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pgErr.Code == lockNotAvailable || pgErr.Code == deadlockDetected)
}

// pause returns after a time, or with an error when ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
