package app

import (
	"log/slog"
	"time"

	"doorbuster/app/checkout"
	"doorbuster/app/payment"
)

// Config is all that a worker is told. Nothing below package main reads our settings from the environment.
type Config struct {
	// DatabaseURL is where PostgreSQL is, as a URL or in keyword form. Required.
	DatabaseURL string
	// RedisURL is where Redis is: redis://, rediss:// or unix://. Required.
	RedisURL string
	// SchemaVersion is the migration that this binary needs; an older database is refused at start. 0: not checked.
	SchemaVersion int64
	// MaxConns bounds the PostgreSQL connections of this worker. They are divided
	// among the catalogue, customers, the checkout and background work, so that
	// none can take what another needs; below 4, some share. Each worker has one
	// connection besides, which listens. Default 10.
	MaxConns int32
	// Workers is the number of workers that share PostgreSQL with this one, itself included. Where max_connections is too
	// low for MaxConns in each of them, and in one more that replaces another, MaxConns is lowered, to what the workers that
	// are there leave. 0: not known, and MaxConns stands.
	Workers int

	// Slot is the worker's place under its master, from 1; 0 without one.
	Slot int
	// Release names the executable, for logs and /health.
	Release string

	// TrustedProxies are the proxies whose X-Forwarded-For is believed: addresses and prefixes, separated by commas, and
	// "unix" for all that come through a Unix socket. Default: none.
	TrustedProxies string
	// Tunables are the settings that may change while the worker serves. Default: [NewTunables].
	Tunables *Tunables
	// LimitTimeout is how long a decision about a limit waits for Redis. Default 25 ms.
	LimitTimeout time.Duration

	// RevealWorkers has every answer name the process that gave it (X-Worker),
	// and /health tell its release, memory and load. That helps to look at a
	// cluster, and to attack it. Default: everybody is told up or draining, and
	// no more.
	RevealWorkers bool
	// PlainHTTP lets the session cookie go over plain HTTP. For demonstrations and tests.
	PlainHTTP bool

	// Siblings are the other workers of the same master. Default: none.
	Siblings Siblings
	// Host is the server that the App runs in. Default: one that is always ready and knows no numbers.
	Host Host
	// SweepInterval is the pause between two looks for orders that nobody settled. Default 5 s.
	SweepInterval time.Duration
	// CartRetention is how long a guest's cart is kept that nobody changes, at least
	// [MinCartRetention]. 0: for ever.
	CartRetention time.Duration

	// CheckoutPlaces is the number of checkouts that this worker does at once, those that wait for the payment provider
	// included. More wait for their turn, in the order of their arrival. Default 1,024.
	CheckoutPlaces int64
	// Payment makes the simulated payment provider good or bad.
	Payment payment.SimulatorConfig
	// Checkout holds the time limits of a checkout.
	Checkout checkout.Config

	// Log receives everything. Required.
	Log *slog.Logger
}
