package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"doorbuster/app"
	"doorbuster/app/checkout"
	"doorbuster/app/payment"
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
	HoldTTL          time.Duration `name:"hold-ttl" env:"HOLD_TTL" default:"2m" help:"How long an unpaid order keeps its units."`
	PlainHTTP        bool          `name:"plain-http" env:"PLAIN_HTTP" help:"Let the session cookie go over plain HTTP. For demonstrations."`
	PaymentTimeout   time.Duration `name:"payment-timeout" env:"PAYMENT_TIMEOUT" default:"3s" help:"How long the payment provider may take."`
	PaymentLatency   time.Duration `name:"payment-latency" env:"PAYMENT_LATENCY" default:"0s" help:"How long the simulated provider takes to answer."`
	PaymentOutage    bool          `name:"payment-outage" env:"PAYMENT_OUTAGE" help:"The simulated provider refuses every call."`
	PaymentHang      bool          `name:"payment-hang" env:"PAYMENT_HANG" help:"The simulated provider answers no call."`
}

type workerCommand struct {
	databaseFlags
	shopFlags
}

// Run serves until it is told to stop.
func (c *workerCommand) Run(env *environment) error {
	listener, err := c.listen(env)
	if err != nil {
		return err
	}
	return c.serve(env, listener, c.databaseFlags, func() {})
}

// check refuses settings that would make a shop that does not work (M7).
func (c *shopFlags) check() error {
	if c.DatabaseMaxConns < 2 {
		return &app.SettingError{Variable: "DATABASE_MAX_CONNS", Problem: fmt.Sprintf("is %d: a worker needs 2 connections at least", c.DatabaseMaxConns)}
	}
	return errors.Join(
		atLeast("SHUTDOWN_DELAY", c.ShutdownDelay, 0), atLeast("DRAIN_TIMEOUT", c.DrainTimeout, time.Millisecond),
		atLeast("PAYMENT_TIMEOUT", c.PaymentTimeout, time.Millisecond), atLeast("PAYMENT_LATENCY", c.PaymentLatency, 0),
		// A hold that ends before its payment can would only be swept and sold to somebody else meanwhile.
		atLeast("HOLD_TTL", c.HoldTTL, 2*c.PaymentTimeout),
	)
}

func atLeast(variable string, value, least time.Duration) error {
	if value < least {
		return &app.SettingError{Variable: variable, Problem: fmt.Sprintf("is %v: it has to be %v at least", value, least)}
	}
	return nil
}

// listen checks the settings and takes the address, before anything slower: a taken port is the cheapest thing to find out.
// Nobody is answered before the worker is ready.
func (c *shopFlags) listen(env *environment) (net.Listener, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(env.signals.stop, "tcp", c.Addr)
	if err != nil {
		return nil, listenError(c.Addr, err)
	}
	return listener, nil
}

// serve runs one worker on a listener, which it closes, and calls ready when it serves.
func (c *shopFlags) serve(env *environment, listener net.Listener, databases databaseFlags, ready func()) error {
	release := app.ReleaseName()
	log := env.log.With("slot", 0, "release", release)
	tuneMemory(log)
	worker, err := app.New(env.signals.stop, app.Config{
		DatabaseURL: databases.DatabaseURL, RedisURL: databases.RedisURL, SchemaVersion: migrations.Latest, MaxConns: c.DatabaseMaxConns,
		Release: release, PlainHTTP: c.PlainHTTP, ShutdownDelay: c.ShutdownDelay, DrainTimeout: c.DrainTimeout,
		Payment:  payment.SimulatorConfig{Latency: c.PaymentLatency, Outage: c.PaymentOutage, Hang: c.PaymentHang},
		Checkout: checkout.Config{PaymentTimeout: c.PaymentTimeout, HoldTTL: c.HoldTTL},
		Log:      log,
	})
	if err != nil {
		return errors.Join(unlessStopped(env.signals.stop, err), listener.Close())
	}
	log.Info("serving", "addr", listener.Addr().String())
	ready()
	err = worker.Serve(env.signals.stop, listener, env.signals.hurry)
	if !errors.Is(err, app.ErrCut) {
		worker.Close() // it waits for requests that still hold a connection, and those that were cut may
	}
	return err
}

// listenError says in a sentence why an address can't be had.
func listenError(addr string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("ADDR %s is taken by another program: stop it, or choose another address, such as ADDR=:3100", addr)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("ADDR %s needs more rights than this user has: choose a port above 1023", addr)
	}
	return fmt.Errorf("ADDR %s can't be listened on: %w", addr, err)
}
