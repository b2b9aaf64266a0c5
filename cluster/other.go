//go:build !unix

package cluster

import (
	"context"
	"log/slog"
	"net/http"
	"os"
)

// Master needs a Unix system.
type Master struct{}

// New returns [ErrUnsupported].
func New(Config) (*Master, error) { return nil, ErrUnsupported }

// Run returns [ErrUnsupported].
func (*Master) Run(context.Context) error { return ErrUnsupported }

// Close returns [ErrUnsupported].
func (*Master) Close() error { return ErrUnsupported }

// Addrs returns nothing.
func (*Master) Addrs() []string { return nil }

// Status returns [ErrUnsupported].
func (*Master) Status(context.Context) (Status, error) { return Status{}, ErrUnsupported }

// Reload returns [ErrUnsupported].
func (*Master) Reload(context.Context, chan<- Event) error { return ErrUnsupported }

// ReloadBack returns [ErrUnsupported].
func (*Master) ReloadBack(context.Context, chan<- Event) error { return ErrUnsupported }

// Check returns [ErrUnsupported].
func (*Master) Check(context.Context) (string, error) { return "", ErrUnsupported }

// Scale returns [ErrUnsupported].
func (*Master) Scale(context.Context, int) error { return ErrUnsupported }

// Restart returns [ErrUnsupported].
func (*Master) Restart(context.Context, int) error { return ErrUnsupported }

// Drain returns [ErrUnsupported].
func (*Master) Drain(context.Context, int) error { return ErrUnsupported }

// Reset returns [ErrUnsupported].
func (*Master) Reset(context.Context) error { return ErrUnsupported }

// Kill returns [ErrUnsupported].
func (*Master) Kill(context.Context, int) error { return ErrUnsupported }

// Stop returns [ErrUnsupported].
func (*Master) Stop(context.Context) error { return ErrUnsupported }

// StopNow returns [ErrUnsupported].
func (*Master) StopNow(context.Context) error { return ErrUnsupported }

// Set returns [ErrUnsupported].
func (*Master) Set(context.Context, string, string) (int, error) { return 0, ErrUnsupported }

// Unset returns [ErrUnsupported].
func (*Master) Unset(context.Context, string) (int, error) { return 0, ErrUnsupported }

// Get returns [ErrUnsupported].
func (*Master) Get(context.Context, int, string) (*http.Response, error) { return nil, ErrUnsupported }

// Handler refuses everything.
func (*Master) Handler() http.Handler { return http.NotFoundHandler() }

// RelayScaleSignals does nothing: there are no such signals.
func RelayScaleSignals(chan<- os.Signal, *slog.Logger) (stop func()) { return func() {} }

// Join returns [ErrNoMaster]: there are no masters on this system.
func Join() (*Worker, error) { return nil, ErrNoMaster }

// Ready returns [ErrUnsupported].
func (*Worker) Ready() error { return ErrUnsupported }

// Broadcast returns [ErrUnsupported].
func (*Worker) Broadcast([]byte) error { return ErrUnsupported }

type link struct{}
