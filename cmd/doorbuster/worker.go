package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"doorbuster/app"
	"doorbuster/app/checkout"
	"doorbuster/app/payment"
	"doorbuster/cluster"
	"doorbuster/migrations"
)

// databaseFlags name the servers of a shop.
type databaseFlags struct {
	DatabaseURL string `name:"database-url" env:"DATABASE_URL" help:"PostgreSQL, such as postgres://user@localhost/doorbuster."`
	RedisURL    string `name:"redis-url" env:"REDIS_URL" help:"Redis, such as redis://localhost:6379/0."`
}

// shopFlags say how a worker serves.
type shopFlags struct {
	Addr             string        `name:"addr" env:"ADDR" default:":3000" help:"Address to serve the shop on."`
	DatabaseMaxConns int32         `name:"database-max-conns" env:"DATABASE_MAX_CONNS" default:"10" help:"PostgreSQL connections per worker."`
	ShutdownDelay    time.Duration `name:"shutdown-delay" env:"SHUTDOWN_DELAY" default:"0s" help:"On SIGTERM: answer /readyz with 503, and keep serving for this long."`
	DrainTimeout     time.Duration `name:"drain-timeout" env:"DRAIN_TIMEOUT" default:"10s" help:"Finish what is in flight within this."`
	LameDuck         time.Duration `name:"lame-duck" env:"LAME_DUCK" default:"0s" help:"How long a worker that leaves keeps idle connections, to tell their clients with the next answer. 0: 5s, or half of the drain timeout if that is less."`
	HoldTTL          time.Duration `name:"hold-ttl" env:"HOLD_TTL" default:"2m" help:"How long an unpaid order keeps its units."`
	CartRetention    time.Duration `name:"cart-retention" env:"CART_RETENTION" default:"720h" help:"How long a guest's cart is kept that nobody changes. 0: for ever."`
	PlainHTTP        bool          `name:"plain-http" env:"PLAIN_HTTP" help:"Let the session cookie go over plain HTTP. For demonstrations."`
	RevealWorkers    bool          `name:"reveal-workers" env:"REVEAL_WORKERS" help:"Tell everybody which process answers (X-Worker), and in /health its release, memory and load. Always with dev."`
	TrustedProxies   string        `name:"trusted-proxies" env:"TRUSTED_PROXIES" placeholder:"LIST" help:"Proxies whose X-Forwarded-For is believed: addresses and prefixes such as 10.0.0.0/8, separated by commas; unix for those on a Unix socket; none. By default none with serve and worker, and this machine with dev."`
	Limits           string        `name:"limits" env:"LIMITS" placeholder:"LIST" help:"Limits other than the defaults, separated by commas: NAME=UNITS/WINDOW, such as login-email=10/15m, or NAME=off. \"doorbuster set limit-NAME=...\" changes one while the shop runs. The defaults: ${limits}."`
	PasswordShare    int           `name:"password-share" env:"PASSWORD_SHARE" default:"25" help:"Part of a worker's processors that hashing passwords may take, in percent."`
	PaymentTimeout   time.Duration `name:"payment-timeout" env:"PAYMENT_TIMEOUT" default:"3s" help:"How long the payment provider may take."`
	PaymentLatency   time.Duration `name:"payment-latency" env:"PAYMENT_LATENCY" default:"0s" help:"How long the simulated provider takes to answer."`
	PaymentOutage    bool          `name:"payment-outage" env:"PAYMENT_OUTAGE" help:"The simulated provider refuses every call."`
	CheckoutPlain    bool          `name:"checkout-plain" env:"CHECKOUT_PLAIN" help:"Place each order in a transaction of its own that locks its stock first, as most shops do. For comparison."`
	PaymentHang      bool          `name:"payment-hang" env:"PAYMENT_HANG" help:"The simulated provider answers no call."`
}

type workerCommand struct {
	databaseFlags
	shopFlags
}

// Run serves until it is told to stop.
func (c *workerCommand) Run(env *environment) error {
	if err := c.tune(env); err != nil {
		return err
	}
	listener, err := c.listen(env.signals.stop, env.log)
	if err != nil {
		return err
	}
	return c.serve(env, c.databaseFlags, seat{
		release: releaseName(), workers: 1, stop: env.signals.stop, close: listener.Close,
		serve: func(s *cluster.Server, _ *app.App) error {
			s.Log.Info("serving", "addr", listener.Addr().String())
			return s.Serve(env.signals.stop, env.signals.hurry, listener)
		},
	})
}

// stallTimeout is when a worker counts as hung whose requests get nowhere. It is twice
// what a checkout may take while PostgreSQL, the crowd and the payment provider use up
// every limit they have (about 45 s): waiting for them is no reason to replace a worker.
const stallTimeout = 2 * time.Minute

// seat is where a worker sits: alone, or in a slot of a master.
type seat struct {
	slot     int
	release  string
	workers  int // that share the databases, this one included
	stop     context.Context
	siblings app.Siblings
	serve    func(*cluster.Server, *app.App) error
	close    func() error // what was opened for a worker that never served
}

// check refuses settings that would make a shop that does not work (M7).
func (c *shopFlags) check() error {
	if c.DatabaseMaxConns < 2 {
		return &app.SettingError{Variable: "DATABASE_MAX_CONNS", Problem: fmt.Sprintf("is %d: a worker needs 2 connections at least", c.DatabaseMaxConns)}
	}
	return errors.Join(
		atLeast("SHUTDOWN_DELAY", c.ShutdownDelay, 0), atLeast("DRAIN_TIMEOUT", c.DrainTimeout, time.Millisecond),
		c.checkLameDuck(),
		atLeast("PAYMENT_TIMEOUT", c.PaymentTimeout, time.Millisecond), atLeast("PAYMENT_LATENCY", c.PaymentLatency, 0),
		// A hold that ends before its payment can would only be swept and sold to somebody else meanwhile.
		atLeast("HOLD_TTL", c.HoldTTL, 2*c.PaymentTimeout),
		c.checkRetention(),
	)
}

// checkRetention refuses to remove a cart that its guest may come back to.
func (c *shopFlags) checkRetention() error {
	if c.CartRetention != 0 && c.CartRetention < app.MinCartRetention {
		return &app.SettingError{Variable: "CART_RETENTION", Problem: fmt.Sprintf("is %v: a guest may come back for %v, so it has to be that at least, or 0 to keep carts for ever", c.CartRetention, app.MinCartRetention)}
	}
	return nil
}

// tune puts the limits of the command line into the settings that may change later.
func (c *shopFlags) tune(env *environment) error {
	if err := env.tunables.SetLimits(c.Limits); err != nil {
		return &app.SettingError{Variable: "LIMITS", Problem: "is wrong: " + err.Error()}
	}
	if err := env.tunables.Set("password-share", strconv.Itoa(c.PasswordShare)); err != nil {
		return &app.SettingError{Variable: "PASSWORD_SHARE", Problem: "is wrong: " + err.Error()}
	}
	return nil
}

// checkLameDuck refuses a lame duck that the drain limit would always cut short.
func (c *shopFlags) checkLameDuck() error {
	if c.LameDuck > 0 && c.LameDuck >= c.DrainTimeout {
		return &app.SettingError{Variable: "LAME_DUCK", Problem: fmt.Sprintf("is %v: it has to be less than DRAIN_TIMEOUT, which is %v", c.LameDuck, c.DrainTimeout)}
	}
	return atLeast("LAME_DUCK", c.LameDuck, 0)
}

func atLeast(variable string, value, least time.Duration) error {
	if value < least {
		return &app.SettingError{Variable: variable, Problem: fmt.Sprintf("is %v: it has to be %v at least", value, least)}
	}
	return nil
}

// listen checks the settings and takes the address, before anything slower: a taken port is the cheapest thing to find out.
// Nobody is answered before the worker is ready.
func (c *shopFlags) listen(ctx context.Context, log *slog.Logger) (net.Listener, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if strings.HasPrefix(c.Addr, "unix:") {
		return nil, &app.SettingError{Variable: "ADDR", Problem: fmt.Sprintf("is %s: a Unix socket takes a master (doorbuster serve); this command listens on TCP only, such as ADDR=:3100", c.Addr)}
	}
	return listen(ctx, log, "ADDR", c.Addr)
}

// takenPatience is how long an address that is taken is waited for: an outgoing connection may have been given the port.
const takenPatience = time.Second

// listen takes an address, and says in a sentence why that can't be had.
func listen(ctx context.Context, log *slog.Logger, variable, addr string) (net.Listener, error) {
	deadline := time.Now().Add(takenPatience)
	for told := false; ; {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
		if errors.Is(err, syscall.EADDRINUSE) && time.Now().Before(deadline) {
			if !told {
				told = true
				log.WarnContext(ctx, "address is taken: trying again for a moment", "variable", variable, "addr", addr, "for", takenPatience.String())
			}
			again := time.NewTimer(10 * time.Millisecond) // nothing tells when it is free
			select {
			case <-again.C:
				continue
			case <-ctx.Done():
				again.Stop()
			}
		}
		if err != nil {
			return nil, listenError(variable, addr, err)
		}
		return listener, nil
	}
}

// serve runs one worker until it was told to stop and has drained.
func (c *shopFlags) serve(env *environment, databases databaseFlags, seat seat) (err error) {
	log := env.log.With("slot", seat.slot, "release", seat.release)
	if err := c.check(); err != nil {
		return err
	}
	tuneMemory(log)
	server := &cluster.Server{
		ShutdownDelay: c.ShutdownDelay, DrainTimeout: c.DrainTimeout, LameDuck: c.LameDuck, StallTimeout: stallTimeout, Log: log,
	}
	shop, err := app.New(seat.stop, app.Config{
		DatabaseURL: databases.DatabaseURL, RedisURL: databases.RedisURL, SchemaVersion: migrations.Latest, MaxConns: c.DatabaseMaxConns,
		Workers: seat.workers,
		Slot:    seat.slot, Release: seat.release, Host: server, Siblings: seat.siblings, PlainHTTP: c.PlainHTTP, RevealWorkers: c.RevealWorkers,
		TrustedProxies: c.TrustedProxies, Tunables: env.tunables, CartRetention: c.CartRetention,
		Payment:  payment.SimulatorConfig{Latency: c.PaymentLatency, Outage: c.PaymentOutage, Hang: c.PaymentHang},
		Checkout: checkout.Config{PaymentTimeout: c.PaymentTimeout, HoldTTL: c.HoldTTL, Plain: c.CheckoutPlain},
		Log:      log,
	})
	if err != nil {
		err = unlessStopped(seat.stop, err)
		if seat.close != nil {
			err = errors.Join(err, seat.close())
		}
		return err
	}
	server.HTTP = shop.HTTPServer()
	shop.Warm(seat.stop) //nolint:errcheck // whoever reads a page tells if there is trouble
	err = seat.serve(server, shop)
	if !errors.Is(err, cluster.ErrCut) {
		shop.Close() // it waits for requests that still hold a connection, and those that were cut may
	}
	return err
}

// listenError says in a sentence why an address can't be had.
func listenError(variable, addr string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%[1]s %[2]s is taken by another program, or by a connection that goes out from this port: stop it, or choose another address, such as %[1]s=:3100", variable, addr)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%s %s needs more rights than this user has: choose a port above 1023", variable, addr)
	}
	return fmt.Errorf("%s %s can't be listened on: %w", variable, addr, err)
}
