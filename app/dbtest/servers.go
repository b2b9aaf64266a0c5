package dbtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"doorbuster/app/devstack"
)

// Servers are a PostgreSQL and a Redis to test on. Each is started when it is first asked for.
type Servers struct {
	getenv   func(string) string
	choose   func(context.Context) (choice, error) // containers or private, decided once
	postgres server
	redis    server

	templateMu sync.Mutex
	template   string // "" until made
}

// A server is started at most once. A start that failed is not tried again: every test would wait for it anew.
type server struct {
	mu      sync.Mutex
	tried   bool
	running running
	err     error
}

// running is a server that answers.
type running struct {
	url   string
	what  string // "PostgreSQL 15.18"
	where string // "private servers (no Docker engine answered)"
	close func() error
}

// A choice is where servers come from when no variable names them.
type choice struct {
	containers bool
	route      route  // to containers
	why        string // "Docker 28.2.2", or why there are no containers
	insisted   bool   // by TEST_SERVERS: then there is no second choice
}

// New returns servers as the environment asks for them. It starts nothing.
func New(getenv func(string) string) *Servers {
	s := &Servers{getenv: getenv}
	var (
		once sync.Once
		made choice
		err  error
	)
	// The first to ask waits for the answer, by its context.
	s.choose = func(ctx context.Context) (choice, error) {
		once.Do(func() { made, err = chooseBy(ctx, getenv, probe) })
		return made, err
	}
	return s
}

func chooseBy(ctx context.Context, getenv func(string) string,
	probe func(context.Context, images) (found, error),
) (choice, error) {
	switch insist := getenv("TEST_SERVERS"); insist {
	case "private":
		return choice{why: "TEST_SERVERS=private", insisted: true}, nil
	case "", "containers":
		engine, err := probe(ctx, imagesFrom(getenv))
		switch {
		case err == nil:
			return choice{containers: true, route: engine.route, why: engine.version, insisted: insist != ""}, nil
		case insist != "":
			return choice{}, fmt.Errorf("TEST_SERVERS=containers: %w", err)
		default:
			return choice{why: err.Error()}, nil
		}
	default:
		return choice{}, fmt.Errorf("TEST_SERVERS=%s: it must be containers or private", insist)
	}
}

// DatabaseURL starts PostgreSQL if it does not run yet.
func (s *Servers) DatabaseURL(ctx context.Context) (string, error) {
	r, err := s.start(ctx, &s.postgres, "TEST_DATABASE_URL", describePostgres, postgresContainer, privatePostgres)
	return r.url, err
}

// RedisURL starts Redis if it does not run yet.
func (s *Servers) RedisURL(ctx context.Context) (string, error) {
	r, err := s.start(ctx, &s.redis, "TEST_REDIS_URL", describeRedis, redisContainer, privateRedis)
	return r.url, err
}

func (s *Servers) start(ctx context.Context, to *server, variable string,
	describe func(context.Context, string) (string, error),
	container func(context.Context, images, route) (running, error),
	private func(context.Context) (running, error),
) (running, error) {
	to.mu.Lock()
	defer to.mu.Unlock()
	if to.tried {
		return to.running, to.err
	}
	to.tried = true
	to.running, to.err = func() (running, error) {
		if url := s.getenv(variable); url != "" {
			what, err := describe(ctx, url)
			if err != nil {
				return running{}, fmt.Errorf("%s: %w", variable, err)
			}
			return running{url: url, what: what, where: variable, close: func() error { return nil }}, nil
		}
		c, err := s.choose(ctx)
		if err != nil {
			return running{}, err
		}
		if c.containers {
			r, err := container(ctx, imagesFrom(s.getenv), c.route)
			if err == nil {
				r.where = "containers (" + c.why + ")"
				return r, nil
			}
			if c.insisted {
				return running{}, err
			}
			c.why = firstLine(err)
		}
		r, err := private(ctx)
		r.where = "private servers (" + c.why + ")"
		return r, err
	}()
	return to.running, to.err
}

// String says what the tests run on: "PostgreSQL 15.18 and redis-server 7.0.15, private servers (no Docker …)".
func (s *Servers) String() string {
	p, r := s.postgres.get(), s.redis.get()
	if p.where == r.where {
		return fmt.Sprintf("%s and %s, %s", p.what, r.what, p.where)
	}
	return fmt.Sprintf("%s, %s; %s, %s", p.what, p.where, r.what, r.where)
}

func (v *server) get() running {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.running.url == "" {
		return running{what: "nothing", where: "not started"}
	}
	return v.running
}

// Close drops the template and closes what was started. Servers that variables name stay.
func (s *Servers) Close() error {
	var errs []error
	s.templateMu.Lock()
	if s.template != "" {
		ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
		errs = append(errs, s.dropDatabase(ctx, s.template))
		cancel()
		s.template = ""
	}
	s.templateMu.Unlock()
	for _, v := range []*server{&s.postgres, &s.redis} {
		v.mu.Lock()
		if v.running.close != nil {
			errs = append(errs, v.running.close())
		}
		v.running, v.err, v.tried = running{}, errors.New("the test servers are closed"), true
		v.mu.Unlock()
	}
	return errors.Join(errs...)
}

// privateConnections is many: all test binaries of a run may share one server, and each test has a pool.
const privateConnections = 300

func privatePostgres(ctx context.Context) (running, error) {
	p, err := devstack.StartPostgres(ctx, devstack.Options{MaxConnections: privateConnections})
	if err != nil {
		return running{}, err
	}
	return running{url: p.URL(), what: "PostgreSQL " + p.Version(), close: p.Close}, nil
}

func privateRedis(ctx context.Context) (running, error) {
	r, err := devstack.StartRedis(ctx, devstack.Options{})
	if err != nil {
		return running{}, err
	}
	return running{url: r.URL(), what: r.Kind(), close: r.Close}, nil
}

func describePostgres(ctx context.Context, url string) (string, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var version string
	if err := conn.QueryRow(ctx, "SHOW server_version").Scan(&version); err != nil {
		return "", err
	}
	version, _, _ = strings.Cut(version, " ")
	return "PostgreSQL " + version, nil
}

func describeRedis(ctx context.Context, url string) (string, error) {
	o, err := redis.ParseURL(url)
	if err != nil {
		return "", err
	}
	client := redis.NewClient(o)
	defer client.Close()
	info, err := client.InfoMap(ctx, "server").Result()
	if err != nil {
		// miniredis has no INFO server; that it answers is enough.
		return "Redis", client.Ping(ctx).Err()
	}
	return "Redis " + info["Server"]["redis_version"], nil
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
