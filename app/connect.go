package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	pgxuuid "github.com/vgarvardt/pgx-google-uuid/v5"
)

// A SettingError says in one sentence which setting is wrong and why. It never contains a password.
type SettingError struct {
	Variable string // such as DATABASE_URL
	Problem  string
}

func (e *SettingError) Error() string { return e.Variable + " " + e.Problem }

// Time limits of PostgreSQL connections. The server enforces those of statements, locks and transactions, so that a worker
// that is stuck holds no lock for long: https://www.postgresql.org/docs/current/runtime-config-client.html.
//
// connectTimeout is no shorter than what any of our requests and transactions may take. Whoever waits for a connection
// has a time limit of its own, and the one that ends first is to be that: a worker that has just replaced another has no
// connections yet, and would fail in a moment of slowness that its predecessor would have sat out.
const (
	connectTimeout           = 5 * time.Second
	statementTimeout         = 5 * time.Second
	lockTimeout              = 3 * time.Second
	idleInTransactionTimeout = 10 * time.Second
	connLifetime             = time.Hour
	connLifetimeJitter       = 10 * time.Minute // or all workers of a mass start reconnect together
)

// redisTimeout bounds a dial, a write and a read each. A look-up takes a fraction of a millisecond; but on a machine with too
// much to do a second passes without anybody's fault, and also a deadline that we slept through has passed, with the answer
// there to be read. Those who ask have a time limit of their own, which is to be the one that ends first, as with
// connectTimeout: this one is for those who have none.
const redisTimeout = requestTimeout

// openPostgres connects once, checks the schema, and opens the connections of all
// classes: as many as cfg.MaxConns, or this worker's share where PostgreSQL has
// fewer.
func openPostgres(ctx context.Context, cfg Config) (*pools, error) {
	fail := func(format string, args ...any) error {
		return &SettingError{"DATABASE_URL", fmt.Sprintf(format, args...)}
	}
	config, err := postgresConfig(cfg.DatabaseURL)
	if err != nil {
		return nil, err
	}
	first := config.Copy()
	first.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(ctx, first)
	if err != nil {
		return nil, fail("is unusable: %s", redact(rootCause(err), cfg.DatabaseURL))
	}
	defer pool.Close() // before the others connect
	if err := checkSchema(ctx, pool, cfg.SchemaVersion); err != nil {
		if setting, ok := errors.AsType[*SettingError](err); ok {
			return nil, setting
		}
		return nil, fail("names a PostgreSQL that can't be used: %s (%s)%s",
			redact(rootCause(err), cfg.DatabaseURL), postgresAddress(config.ConnConfig), poolerAdvice(err))
	}
	share, err := connectionShare(ctx, pool, cfg)
	if err != nil {
		return nil, err
	}
	all, err := openPools(ctx, config, share, cfg.Checkout.Plain)
	if err != nil {
		return nil, fail("is unusable: %s", redact(rootCause(err), cfg.DatabaseURL))
	}
	return all, nil
}

// postgresConfig is how this worker connects, whatever the class.
func postgresConfig(databaseURL string) (*pgxpool.Config, error) {
	fail := func(format string, args ...any) error {
		return &SettingError{"DATABASE_URL", fmt.Sprintf(format, args...)}
	}
	if databaseURL == "" {
		return nil, fail("is empty: set it to a PostgreSQL URL such as postgres://user@localhost/doorbuster")
	}
	if ambiguous(databaseURL) {
		return nil, fail(ambiguousProblem)
	}
	config, err := pgxpool.ParseConfig(databaseURL)
	if err != nil {
		return nil, fail("is malformed: %s", redact(rootCause(err), databaseURL))
	}
	conn := config.ConnConfig
	conn.ConnectTimeout = connectTimeout
	if conn.RuntimeParams["application_name"] == "" {
		conn.RuntimeParams["application_name"] = "doorbuster"
	}
	milliseconds := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
	conn.RuntimeParams["statement_timeout"] = milliseconds(statementTimeout)
	conn.RuntimeParams["lock_timeout"] = milliseconds(lockTimeout)
	conn.RuntimeParams["idle_in_transaction_session_timeout"] = milliseconds(idleInTransactionTimeout)
	conn.RuntimeParams["timezone"] = "UTC"
	conn.RuntimeParams["jit"] = "off" // it takes 100 ms to compile a statement of one: no statement of ours is that long
	config.AfterConnect = func(_ context.Context, c *pgx.Conn) error {
		pgxuuid.Register(c.TypeMap()) // pgx sends a uuid.UUID as text otherwise (driver.Valuer): a seventh of a checkout's CPU time
		return nil
	}
	config.MaxConnLifetime = connLifetime
	config.MaxConnLifetimeJitter = connLifetimeJitter
	return config, nil
}

// poolerAdvice is what to do where a pooler refuses our settings, "" otherwise.
// PgBouncer can't lend connections by transaction here: LISTEN, prepared
// statements before its 1.21, and time limits belong to a session.
func poolerAdvice(err error) string {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || !strings.Contains(pgErr.Message, "unsupported startup parameter") {
		return ""
	}
	return "; behind PgBouncer use pool_mode = session and ignore_startup_parameters = statement_timeout, lock_timeout, " +
		"idle_in_transaction_session_timeout, timezone, jit, and ALTER ROLE ... SET them in PostgreSQL"
}

// postgresAddress says where we tried, as people write it.
func postgresAddress(c *pgx.ConnConfig) string {
	if strings.HasPrefix(c.Host, "/") {
		return fmt.Sprintf("socket %s/.s.PGSQL.%d, database %s", c.Host, c.Port, c.Database)
	}
	return fmt.Sprintf("%s, database %s", net.JoinHostPort(c.Host, fmt.Sprint(c.Port)), c.Database)
}

// checkSchema connects, once, and compares the schema with what this binary's SQL is written for.
func checkSchema(ctx context.Context, pool *pgxpool.Pool, want int64) error {
	ctx, cancel := context.WithTimeoutCause(ctx, connectTimeout, errors.New("no answer within "+connectTimeout.String()))
	defer cancel()
	if want == 0 {
		return pool.Ping(ctx)
	}
	const schemaVersion = `-- name: app.schema_version
SELECT coalesce(max(version_id) FILTER (WHERE is_applied), 0) FROM goose_db_version`
	var have int64
	err := pool.QueryRow(ctx, schemaVersion).Scan(&have)
	const undefinedTable = "42P01"
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.Code == undefinedTable {
		err = nil
	}
	if err != nil {
		return err
	}
	if have < want {
		return &SettingError{"DATABASE_URL", fmt.Sprintf("names a database whose schema is at version %d, and this release needs %d: "+
			"run doorbuster migrate up first", have, want)}
	}
	return nil
}

func openRedis(ctx context.Context, cfg Config) (*redis.Client, error) {
	fail := func(format string, args ...any) error {
		return &SettingError{"REDIS_URL", fmt.Sprintf(format, args...)}
	}
	if cfg.RedisURL == "" {
		return nil, fail("is empty: set it to a Redis URL such as redis://localhost:6379/0")
	}
	if ambiguous(cfg.RedisURL) {
		return nil, fail(ambiguousProblem)
	}
	options, err := redis.ParseURL(cfg.RedisURL)
	if err != nil {
		return nil, fail("is malformed: %s", redact(rootCause(err), cfg.RedisURL))
	}
	options.DialTimeout, options.ReadTimeout, options.WriteTimeout = redisTimeout, redisTimeout, redisTimeout
	options.ContextTimeoutEnabled = true // or a context's deadline does not end a read
	options.MaxRetries = 1
	options.DialerRetries = 1 // at start: an answer within the time limit; later: the next request dials again
	client := redis.NewClient(options)
	ctx, cancel := context.WithTimeoutCause(ctx, connectTimeout, errors.New("no answer within "+connectTimeout.String()))
	defer cancel()
	if err := client.Ping(ctx).Err(); err != nil {
		client.Close()
		return nil, fail("names a Redis that can't be used: %s (%s)", redact(rootCause(err), cfg.RedisURL), options.Addr)
	}
	return client, nil
}

// rootCause returns the one error that says what happened, without the layers that repeat the address or the URL.
func rootCause(err error) string {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pgErr.Message
	}
	if parse, ok := errors.AsType[*url.Error](err); ok {
		return parse.Err.Error()
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return "host " + dns.Name + " is not known"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err.Error()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer within " + connectTimeout.String()
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return strings.Join(strings.Fields(err.Error()), " ")
		}
		err = inner
	}
}

// ambiguousProblem says nothing of the setting: whatever a parser makes of it, the password may be in any part.
const ambiguousProblem = "is malformed: a user or password with one of @ : / ? # in it has to be percent-encoded"

// ambiguous reports whether a URL's user and password contain what ends them for a parser: a host or a database that is
// really the rest of a password would be repeated in errors.
func ambiguous(setting string) bool {
	_, rest, ok := strings.Cut(setting, "://")
	at := strings.LastIndex(rest, "@")
	if !ok || at < 0 {
		return false
	}
	_, password, _ := strings.Cut(rest[:at], ":")
	return strings.ContainsAny(rest[:at], "@/?#") || strings.Contains(password, ":")
}

// redact removes the password of a URL or keyword string from a text, however it is written there.
func redact(text, setting string) string {
	for _, secret := range secretsOf(setting) {
		text = strings.ReplaceAll(text, secret, "xxxxx")
	}
	return text
}

func secretsOf(setting string) []string {
	var secrets []string
	add := func(s string) {
		if s != "" {
			secrets = append(secrets, s)
		}
	}
	add(setting) // a parser may quote all of it
	if u, err := url.Parse(setting); err == nil && u.User != nil {
		password, _ := u.User.Password()
		add(password)
	}
	// What url.Parse does not take: between the first colon after the scheme and the last @, and password=.
	if _, rest, ok := strings.Cut(setting, "://"); ok {
		if at := strings.LastIndex(rest, "@"); at >= 0 {
			_, password, _ := strings.Cut(rest[:at], ":")
			add(password)
		}
	}
	if _, rest, ok := strings.Cut(setting, "password="); ok {
		password, _, _ := strings.Cut(rest, " ")
		password, _, _ = strings.Cut(password, "&")
		add(strings.Trim(password, "'"))
	}
	return secrets
}

// CheckDatabase fails with a *[SettingError] when there is no PostgreSQL that answers at a URL. Commands that do more than
// a worker's start ask it first, for the same clear sentence.
func CheckDatabase(ctx context.Context, databaseURL string) error {
	all, err := openPostgres(ctx, Config{DatabaseURL: databaseURL, MaxConns: 1})
	if err != nil {
		return err
	}
	all.close()
	return nil
}
