package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"doorbuster/app"
	"doorbuster/app/devstack"
	"doorbuster/cluster"
	"doorbuster/migrations"
)

type devCommand struct {
	databaseFlags
	shopFlags
	clusterFlags
	seedFlags
	Data string `name:"data" env:"DATA" type:"path" help:"Keep the data in this directory. Without it, it is thrown away at the end."`
}

// Run brings up the servers that are not given, the schema and the catalogue, and then serves until it is told to stop.
func (c *devCommand) Run(env *environment) (err error) {
	ctx := env.signals.stop
	if err := c.check(ctx, env.log); err != nil {
		return unlessStopped(ctx, err)
	}
	defer removeRuntimeDir()
	say := func(format string, args ...any) { fmt.Fprintf(env.stdout, format+"\n", args...) }
	stop, databases, err := c.start(ctx, func(msg string) { say("  %s", msg) })
	if err != nil {
		return unlessStopped(ctx, err)
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := app.CheckDatabase(ctx, databases.DatabaseURL); err != nil {
		return unlessStopped(ctx, err)
	}
	if err := migrateUpTo(ctx, databases.DatabaseURL, func(sentence string) { say("  %s", sentence) }); err != nil {
		return unlessStopped(ctx, err)
	}
	seeded, err := app.Seed(ctx, databases.DatabaseURL, c.options())
	if err != nil {
		return unlessStopped(ctx, err)
	}
	say("  %s", describe(seeded))
	forget, err := c.writeServers(databases)
	if err != nil {
		return err
	}
	defer forget()
	c.PlainHTTP = true // there is no TLS in front of it
	c.RevealWorkers = true
	// Whoever tries it from this machine may play many customers, each with an address.
	c.TrustedProxies = cmp.Or(c.TrustedProxies, "127.0.0.0/8,::1")
	return c.runShop(env, databases, func(addr string) { say("%s", c.welcome(addr, databases)) })
}

// check finds what can't work before anything slow is begun.
func (c *devCommand) check(ctx context.Context, log *slog.Logger) error {
	if err := errors.Join(c.seedFlags.check(), c.shopFlags.check()); err != nil {
		return err
	}
	if err := c.clusterFlags.check(&c.shopFlags); err != nil {
		return err
	}
	if err := checkWritable(os.TempDir(), "TMPDIR"); err != nil {
		return err
	}
	if c.Data != "" {
		if err := checkWritable(c.Data, "DATA"); err != nil {
			return err
		}
	}
	if _, err := cluster.Dial(ctx, c.ControlSocket); err == nil {
		return fmt.Errorf("a shop is running already, on control socket %s: end it with \"doorbuster stop\", or set PID_FILE, CONTROL_SOCKET, ADDR and ADMIN_ADDR for another", c.ControlSocket)
	}
	listener, err := c.listen(ctx, log)
	if err != nil {
		return err
	}
	return listener.Close()
}

// start runs the servers that no URL was given for. The function that it returns stops them.
func (c *devCommand) start(ctx context.Context, progress func(string)) (stop func() error, databases databaseFlags, err error) {
	databases = c.databaseFlags
	options := devstack.Options{Dir: c.Data, Durable: true, Progress: progress}
	var closers []func() error
	stop = func() error {
		var err error
		for _, closer := range closers {
			err = errors.Join(err, closer())
		}
		return err
	}
	if databases.DatabaseURL == "" {
		postgres, err := devstack.StartPostgres(ctx, options)
		if err != nil {
			return nil, databases, err
		}
		closers, databases.DatabaseURL = append(closers, postgres.Close), postgres.URL()
	}
	if databases.RedisURL == "" {
		redis, err := devstack.StartRedis(ctx, options)
		if err != nil {
			return nil, databases, errors.Join(err, stop())
		}
		closers, databases.RedisURL = append(closers, redis.Close), redis.URL()
	}
	return stop, databases, nil
}

// serversFile is where a running "dev" says where its own servers are, for the audit: beside its control socket, which is in
// a folder of this user alone.
func (c *controlFlags) serversFile() (string, error) {
	path, err := c.socket()
	return strings.TrimSuffix(path, ".sock") + ".servers", err
}

// writeServers says where the servers are that were started here. What was given stays unsaid: there may be a password in it.
func (c *devCommand) writeServers(databases databaseFlags) (forget func(), err error) {
	if c.DatabaseURL != "" || c.RedisURL != "" {
		return func() {}, nil
	}
	path, err := c.serversFile()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make a folder for the word where the servers are: %w", err)
	}
	if err := os.WriteFile(path, []byte(databases.DatabaseURL+"\n"+databases.RedisURL+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("write down where the servers are: %w", err)
	}
	return func() { os.Remove(path) }, nil
}

// serversOfDev returns the servers of a running "dev", or none.
func (c *controlFlags) serversOfDev() (databaseFlags, error) {
	path, err := c.serversFile()
	if err != nil {
		return databaseFlags{}, err
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return databaseFlags{}, nil
	}
	if err != nil {
		return databaseFlags{}, fmt.Errorf("read where the servers are: %w", err)
	}
	postgres, redis, _ := strings.Cut(string(text), "\n")
	return databaseFlags{DatabaseURL: postgres, RedisURL: strings.TrimSpace(redis)}, nil
}

// unlessStopped returns the error of a step of the start. Whatever a step says after the operator has said stop, it says
// because of that.
func unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // see above
	}
	return err
}

func migrateUpTo(ctx context.Context, databaseURL string, say func(string)) error {
	m, err := migrations.Open(databaseURL, migrations.Options{Say: say})
	if err != nil {
		return err
	}
	defer m.Close()
	_, err = m.Up(ctx)
	return err
}

// welcome says where everything is and what to try.
func (c *devCommand) welcome(addr string, databases databaseFlags) string {
	shop := "http://" + addr
	if host, port, err := net.SplitHostPort(addr); err == nil && (host == "127.0.0.1" || net.ParseIP(host).IsUnspecified()) {
		shop = "http://localhost:" + port
	}
	return fmt.Sprintf(`
The shop is open:  %[1]s        (documentation: %[1]s/docs)

Buy a television, in another terminal:
  curl -s %[1]s/v1/products/aurora-55-oled-tv
  curl -s -c jar -b jar %[1]s/v1/cart/items -H 'Content-Type: application/json' \
       -d '{"sku": "AURORA-55-OLED", "quantity": 1}'
  curl -s -c jar -b jar %[1]s/v1/checkout -H 'Content-Type: application/json' -H 'Idempotency-Key: my-first-order' \
       -d '{"email": "you@example.com", "payment_token": "tok_ok"}'
  curl -s -b jar %[1]s/v1/orders
%[2]s%[3]s
Ctrl-C stops everything%[4]s.
`, shop, c.commands(), c.books(databases), c.afterwards())
}

// commands says how to look at the workers, and how to replace them.
func (c *devCommand) commands() string {
	if runtime.GOOS == "windows" {
		return ""
	}
	self, socket := os.Args[0], ""
	if dir, err := runtimeDir(); err != nil || c.ControlSocket != filepath.Join(dir, controlSocketName) {
		socket = " --control-socket " + c.ControlSocket
	}
	return fmt.Sprintf(`
Look at its workers, replace them in the middle of a sale, and kill one:
  %[1]s status%[2]s
  %[1]s reload%[2]s
  kill -9 PID        (of a worker; the status shows them)
`, self, socket)
}

// books says how to look into the private database. A URL that was given is not repeated: there may be a password in it.
func (c *devCommand) books(databases databaseFlags) string {
	if c.DatabaseURL != "" {
		return ""
	}
	audit := ""
	if c.RedisURL == "" {
		audit = fmt.Sprintf("\n  %s audit", os.Args[0])
	}
	return fmt.Sprintf("\nLook into the books, and check them:\n  psql '%s'%s\n", databases.DatabaseURL, audit)
}

func (c *devCommand) afterwards() string {
	switch {
	case c.DatabaseURL != "" || c.RedisURL != "":
		return " that was started here; what was given stays"
	case c.Data != "":
		return "; the data stays in " + c.Data
	}
	return " and leaves nothing behind"
}
