package migrations

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pressly/goose/v3"
)

// Announcement is what a worker calls the connection that tells of it, behind the
// application's name: the version of the schema that its release is written for.
// Whoever changes the schema reads it.
//
// A worker that does not check the schema (0) tells no version.
func Announcement(schema int64) string {
	if schema == 0 {
		return ListenerSuffix
	}
	return fmt.Sprintf("%s, schema %d", ListenerSuffix, schema)
}

// ListenerSuffix is how an [Announcement] begins.
const ListenerSuffix = " listener"

var announced = regexp.MustCompile(`, schema (\d{1,10})\b`)

// A worker of the shop, as PostgreSQL knows it.
type worker struct {
	pid    int   // of its server process
	schema int64 // that its release is written for; 0: not known
}

// leavePatience is how long connections are waited for that are about to end.
const leavePatience = 2 * time.Second

// workers returns the workers that are connected. Connections of the shop without a
// worker that tells of itself count as one: it may be about to leave.
func (m *Migrator) workers(ctx context.Context) ([]worker, error) {
	for begin := time.Now(); ; {
		found, others, err := m.connected(ctx)
		switch {
		case err != nil:
			return nil, fmt.Errorf("look for workers: %w", err)
		case len(found) > 0 || len(others) == 0:
			return found, nil
		case time.Since(begin) > leavePatience:
			return others[:1], nil
		}
		if err := pause(ctx, watchPause); err != nil {
			return nil, err
		}
	}
}

// connected returns the workers that tell of themselves, and the other connections.
func (m *Migrator) connected(ctx context.Context) (found, others []worker, err error) {
	const query = `SELECT pid, application_name FROM pg_stat_activity
 WHERE datname = current_database() AND (application_name = $1 OR starts_with(application_name, $1 || $2)) ORDER BY pid`
	rows, err := m.db.QueryContext(ctx, query, m.application, ListenerSuffix)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var w worker
		var name string
		if err := rows.Scan(&w.pid, &name); err != nil {
			return nil, nil, err
		}
		if name == m.application {
			others = append(others, w)
			continue
		}
		if n := announced.FindStringSubmatch(name); n != nil {
			w.schema, _ = strconv.ParseInt(n[1], 10, 64) // ten digits
		}
		found = append(found, w)
	}
	return found, others, rows.Err()
}

// mayContract refuses a migration that takes away an old form while workers are
// connected whose release does not know the new one.
func (m *Migrator) mayContract(ctx context.Context, f *file) error {
	if f.contractOf == 0 || m.options.WhileServing {
		return nil
	}
	workers, err := m.workers(ctx)
	if err != nil {
		return err
	}
	var old []worker
	for _, w := range workers {
		if w.schema < f.contractOf {
			old = append(old, w)
		}
	}
	if len(old) > 0 {
		return fmt.Errorf("%s takes away what %s may still use: reload them to a release that knows schema %d first, or insist with --while-serving",
			f.name, describe(old), f.contractOf)
	}
	return nil
}

func describe(workers []worker) string {
	pids := make([]string, len(workers))
	for i, w := range workers {
		pids[i] = strconv.Itoa(w.pid)
	}
	noun := "workers"
	if len(workers) == 1 {
		noun = "worker"
	}
	return fmt.Sprintf("%d connected %s (in pg_stat_activity pid %s)", len(workers), noun, strings.Join(pids, ", "))
}

// A Loss is rows that a migration takes along when it is taken back.
type Loss struct {
	What string // "table refund_due", or "column orders.discount_counted"
	Rows int64
	More bool // there are more than that
}

func (l Loss) String() string {
	if l.More {
		return fmt.Sprintf("%s of more than %d rows", l.What, l.Rows)
	}
	return fmt.Sprintf("%s of %d rows", l.What, l.Rows)
}

// mostCounted bounds how far rows are counted.
const mostCounted = 1_000_000

// Down takes back the newest applied migration and returns its version, or 0 when
// none was applied. It says what it is going to do. It refuses where rows would be
// lost, and where workers are connected whose release needs the migration, unless
// [Options] allow it; each by its own.
func (m *Migrator) Down(ctx context.Context) (int64, error) {
	version, err := m.Version(ctx)
	if err == nil && version > 0 {
		err = m.down(ctx, version)
	}
	if err != nil {
		return 0, fmt.Errorf("migrate down: %w", err)
	}
	return version, nil
}

func (m *Migrator) down(ctx context.Context, version int64) error {
	var newest *file
	for i := range m.files {
		if m.files[i].version == version {
			newest = &m.files[i]
		}
	}
	if newest == nil {
		return fmt.Errorf("the schema is at version %d, and this release knows none above %d: use the release that has applied it",
			version, m.files[len(m.files)-1].version)
	}
	losses, err := m.losses(ctx, newest)
	if err != nil {
		return err
	}
	m.say("%s is to be taken back%s", newest.name, listed(", with ", losses))
	if err := m.mayTakeBack(ctx, newest, losses); err != nil {
		return err
	}
	err = m.patiently(ctx, newest, false)
	if errors.Is(err, goose.ErrNotApplied) {
		return fmt.Errorf("another migrate has taken %s back meanwhile", newest.name)
	}
	return err
}

// mayTakeBack refuses what can't be undone.
func (m *Migrator) mayTakeBack(ctx context.Context, f *file, losses []Loss) error {
	if !m.options.WhileServing {
		workers, err := m.workers(ctx)
		if err != nil {
			return err
		}
		var needing []worker
		for _, w := range workers {
			if w.schema == 0 || w.schema >= f.version {
				needing = append(needing, w)
			}
		}
		if len(needing) > 0 {
			return fmt.Errorf("%s is needed by %s: stop them, or reload to a release before it, or insist with --while-serving", f.name, describe(needing))
		}
	}
	var full []Loss
	for _, l := range losses {
		if l.Rows > 0 {
			full = append(full, l)
		}
	}
	if len(full) > 0 && !m.options.LoseRows {
		return fmt.Errorf("to take %s back would lose%s: save them first (pg_dump), and insist with --lose-rows", f.name, listed(" ", full))
	}
	return nil
}

func listed(before string, losses []Loss) string {
	if len(losses) == 0 {
		return ""
	}
	parts := make([]string, len(losses))
	for i, l := range losses {
		parts[i] = l.String()
	}
	return before + strings.Join(parts, ", ")
}

var (
	dropsTables  = regexp.MustCompile(`(?i)^DROP TABLE (?:IF EXISTS )?(.+?)(?: CASCADE| RESTRICT)?$`)
	altersTable  = regexp.MustCompile(`(?i)^ALTER TABLE (?:IF EXISTS )?(?:ONLY )?([\w."]+) (.*)$`)
	dropsColumn  = regexp.MustCompile(`(?i)DROP (?:COLUMN )?(?:IF EXISTS )?([\w"]+)`)
	dropsOther   = regexp.MustCompile(`(?i)^(CONSTRAINT|DEFAULT|NOT|IDENTITY|EXPRESSION)$`)
	emptiesTable = regexp.MustCompile(`(?i)^(?:TRUNCATE(?: TABLE)?|DELETE FROM) (?:ONLY )?([\w.", ]+?)(?: WHERE .*| CASCADE| RESTRICT)?$`)
)

// losses finds the tables and columns that a migration drops when it is taken back,
// with the rows that are in them.
func (m *Migrator) losses(ctx context.Context, f *file) ([]Loss, error) {
	var losses []Loss
	for _, lost := range lostBy(f.down) {
		var there *string
		if err := m.db.QueryRowContext(ctx, `SELECT to_regclass($1)::text`, lost.table).Scan(&there); err != nil {
			return nil, fmt.Errorf("look for table %s: %w", lost.table, err)
		}
		if there == nil {
			continue
		}
		l := Loss{What: "table " + lost.table}
		filter := ""
		if lost.column != "" {
			l.What = "column " + lost.table + "." + lost.column
			filter = " WHERE " + pgx.Identifier{lost.column}.Sanitize() + " IS NOT NULL"
		}
		query := fmt.Sprintf(`SELECT count(*) FROM (SELECT FROM %s%s LIMIT %d) AS rows`, *there, filter, mostCounted+1) //nolint:gosec // PostgreSQL has quoted the table, and pgx the column
		if err := m.db.QueryRowContext(ctx, query).Scan(&l.Rows); err != nil {
			return nil, fmt.Errorf("count the rows of %s: %w", l.What, err)
		}
		if l.Rows > mostCounted {
			l.Rows, l.More = mostCounted, true
		}
		losses = append(losses, l)
	}
	return losses, nil
}

// lost is a table, or a column of one.
type lost struct{ table, column string }

func lostBy(statements []string) (all []lost) {
	for _, s := range statements {
		if tables := dropsTables.FindStringSubmatch(s); tables != nil {
			all = append(all, tablesOf(tables[1])...)
		}
		if tables := emptiesTable.FindStringSubmatch(s); tables != nil {
			all = append(all, tablesOf(tables[1])...)
		}
		if alter := altersTable.FindStringSubmatch(s); alter != nil {
			for _, column := range dropsColumn.FindAllStringSubmatch(alter[2], -1) {
				if !dropsOther.MatchString(column[1]) {
					all = append(all, lost{alter[1], strings.Trim(column[1], `"`)})
				}
			}
		}
	}
	return all
}

func tablesOf(list string) (all []lost) {
	for name := range strings.SplitSeq(list, ",") {
		all = append(all, lost{table: strings.TrimSpace(name)})
	}
	return all
}
