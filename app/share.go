package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5/pgxpool"

	"doorbuster/migrations"
)

// room is what a PostgreSQL has of connections.
type room struct {
	most     int32 // max_connections, or the lower limit of the role or the database
	reserved int32 // for superusers and the like
	others   int32 // held by programs that are not this shop, at the moment
	siblings int32 // workers of this shop that are there
	taken    int32 // what the pools of those may have, and what they listen on
}

// connectionShare returns how many connections the pool of this worker may have, at most cfg.MaxConns: all workers together,
// and one that replaces another, must fit into what PostgreSQL lets in, each with the connection that it listens on. What
// others hold at the moment is left to them, but never makes it less than one: a worker is not refused for what may be over
// in a second.
//
// A pool keeps its size. So a worker that a scale adds gets what those that are there leave, which each says where it listens
// (announcement). It fails with a *[SettingError] when that is less than one, or when even one for each would be too many;
// a reload shares anew.
func connectionShare(ctx context.Context, pool *pgxpool.Pool, cfg Config) (int32, error) {
	if cfg.Workers < 1 {
		return cfg.MaxConns, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, connectTimeout, errors.New("no answer within "+connectTimeout.String()))
	defer cancel()
	r, err := roomOf(ctx, pool)
	if err != nil { // the schema was read: what keeps this from an answer is no fault of the setting
		cfg.Log.WarnContext(ctx, "PostgreSQL does not say how many connections it lets in", "error", err)
		return cfg.MaxConns, nil
	}
	share, err := r.share(cfg.Workers)
	if err != nil {
		return 0, err
	}
	if share >= cfg.MaxConns {
		return cfg.MaxConns, nil
	}
	cfg.Log.LogAttrs(ctx, slog.LevelWarn, "PostgreSQL lets in fewer connections than DATABASE_MAX_CONNS for each worker: sharing them",
		slog.Int("connections", int(share)), slog.Int("configured", int(cfg.MaxConns)), slog.Int("workers", cfg.Workers),
		slog.Int("max_connections", int(r.most)), slog.Int("reserved", int(r.reserved)), slog.Int("others", int(r.others)),
		slog.Int("siblings", int(r.siblings)), slog.Int("siblings_may_take", int(r.taken)))
	return share, nil
}

// share divides the room by a number of workers and one. Of those that are not there yet each gets the same, in whatever
// order they begin and see each other.
func (r room) share(workers int) (int32, error) {
	const each = 2 // one to work with, and one to listen on
	processes := int32(workers) + 1
	all := r.most - r.reserved
	if all < each*processes {
		return 0, &SettingError{"DATABASE_URL", fmt.Sprintf("names a PostgreSQL that lets %d connections in, %d of them reserved, and %d workers "+
			"and one that replaces another take %d: raise max_connections to %d, or set WORKERS to %d at most",
			r.most, r.reserved, workers, each*processes, each*processes+r.reserved, max(1, all/each-1))}
	}
	missing := max(0, int32(workers)-r.siblings) // 0: this one replaces another
	// More than there should be are leaving, and have not said so yet, or are of
	// another shop: neither keeps this one from its share.
	if r.siblings > int32(workers) {
		r.taken = r.taken * int32(workers) / r.siblings
	}
	if left := all - r.taken; missing > 0 && left < each*(missing+1) {
		return 0, &SettingError{"DATABASE_URL", fmt.Sprintf("names a PostgreSQL that lets %d connections in, %d of them reserved, of which the workers "+
			"that are there, %d, may take %d: what is left is too little for %d more and one that replaces another; scale to %d at most, or reload, "+
			"which shares anew, or raise max_connections to %d",
			r.most, r.reserved, r.siblings, r.taken, missing, max(r.siblings, r.siblings+left/each-1), r.taken+each*(missing+1)+r.reserved)}
	}
	even := (all-r.others)/processes - 1
	rest := (all-r.others-r.taken)/(missing+1) - 1
	return max(1, min(even, rest)), nil
}

// roomOf asks PostgreSQL. A limit of -1 is none:
// https://www.postgresql.org/docs/current/catalog-pg-database.html. What pg_stat_activity hides from this role counts as
// others'.
func roomOf(ctx context.Context, pool *pgxpool.Pool) (r room, err error) {
	const connectionRoom = `-- name: app.connection_room
WITH listener AS (
    SELECT coalesce(substring(application_name FROM 'pool of ([0-9]{1,5})$')::int, 0) AS pool FROM pg_stat_activity
     WHERE datname = current_database() AND starts_with(application_name, current_setting('application_name') || $1))
SELECT least(current_setting('max_connections')::int, nullif(r.rolconnlimit, -1), nullif(d.datconnlimit, -1)),
       current_setting('superuser_reserved_connections')::int + coalesce(current_setting('reserved_connections', true)::int, 0),
       greatest(0, (SELECT coalesce(sum(numbackends), 0) FROM pg_stat_database) - (
           SELECT count(*) FROM pg_stat_activity
            WHERE application_name = current_setting('application_name')
               OR starts_with(application_name, current_setting('application_name') || $1)))::int,
       (SELECT count(*) FROM listener)::int, (SELECT coalesce(sum(pool + 1), 0) FROM listener)::int
  FROM pg_roles r, pg_database d
 WHERE r.rolname = current_user AND d.datname = current_database()`
	err = pool.QueryRow(ctx, connectionRoom, migrations.ListenerSuffix).Scan(&r.most, &r.reserved, &r.others, &r.siblings, &r.taken)
	return r, err
}

// announcement is what the connection that listens has behind the application's
// name: the schema that this release is written for, for whoever changes it,
// and how many connections the worker may have besides, for the workers that
// begin later.
func announcement(schema int64, pool int32) string {
	return fmt.Sprintf("%s, pool of %d", migrations.Announcement(schema), pool)
}
