package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// Channels of migrations/00006_notify.sql.
const (
	catalogueChannel = "catalogue" // something in it has changed
	stockChannel     = "stock"     // "SKU UNITS": the availability of a SKU is another one
)

// Time limits of the connection that listens.
const (
	// listenPing is how often the connection is tried when it has nothing to say. One that has died in silence, behind a
	// switch that was turned off, says nothing either.
	listenPing = 250 * time.Millisecond
	// listenPingTimeout is when a connection that does not answer is given up for a new one.
	listenPingTimeout = 2 * time.Second
	// listenTrust is how long after a try that worked silence means that nothing has happened. With freshFor, which holds
	// where there is no trust, it stays below the second that S3 promises.
	listenTrust = 400 * time.Millisecond
	// listenPause is the time between two tries to connect.
	listenPause = time.Second
)

// news is what a worker has heard from PostgreSQL, about changes that others have made. Safe for concurrent use.
type news struct {
	catalogue atomic.Uint64 // grows with every change, and with every gap in which there may have been one
	stock     atomic.Uint64
	trusted   atomic.Pointer[time.Time] // until when nothing that is not heard has happened; nil: never

	once  sync.Once
	first chan struct{} // made by heard
}

// heard returns a channel that is closed when what happens is heard of for the
// first time.
func (n *news) heard() chan struct{} {
	n.once.Do(func() { n.first = make(chan struct{}) })
	return n.first
}

// current reports whether all that has happened until now is known.
func (n *news) current(now time.Time) bool {
	until := n.trusted.Load()
	return until != nil && now.Before(*until)
}

// listener keeps a connection on which PostgreSQL tells what has changed.
type listener struct {
	config *pgx.ConnConfig
	log    *slog.Logger
	news   *news
	stock  func(sku int64, units int)
}

// run listens until ctx ends, and connects again where the connection breaks.
func (l *listener) run(ctx context.Context) {
	away := false
	for ctx.Err() == nil {
		err := l.listen(ctx, func() {
			if away {
				l.log.InfoContext(ctx, "listening to PostgreSQL again")
			}
			away = false
		})
		if ctx.Err() != nil {
			return
		}
		if !away { // once for each outage
			l.log.WarnContext(ctx, "not listening to PostgreSQL; the catalogue is asked for more often", "error", err)
			away = true
		}
		pause := time.NewTimer(listenPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
}

// listen hears what PostgreSQL says, on one connection, until it breaks.
func (l *listener) listen(ctx context.Context, connected func()) error {
	connecting, cancel := context.WithTimeoutCause(ctx, connectTimeout, errors.New("no answer within "+connectTimeout.String()))
	defer cancel()
	conn, err := pgx.ConnectConfig(connecting, l.config)
	if err != nil {
		return errors.New(rootCause(err))
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(connecting, "LISTEN "+catalogueChannel+"; LISTEN "+stockChannel); err != nil {
		return err
	}
	// What happened before was not heard.
	l.news.stock.Add(1)
	l.news.catalogue.Add(1)
	connected()
	for {
		if err := l.ping(ctx, conn); err != nil {
			return err
		}
		if err := l.hear(ctx, conn); err != nil {
			return err
		}
	}
}

// ping finds out whether the connection is alive: then all that was said before has arrived.
func (l *listener) ping(ctx context.Context, conn *pgx.Conn) error {
	asked := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, listenPingTimeout, errors.New("no answer within "+listenPingTimeout.String()))
	defer cancel()
	if err := conn.Ping(ctx); err != nil {
		return err
	}
	until := asked.Add(listenTrust)
	if l.news.trusted.Swap(&until) == nil {
		close(l.news.heard())
	}
	return nil
}

// hear takes in what is said until the next ping is due.
func (l *listener) hear(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, listenPing)
	defer cancel()
	for {
		n, err := conn.WaitForNotification(ctx)
		switch {
		case err != nil && ctx.Err() != nil && !conn.IsClosed():
			return nil // it is time for the next one
		case err != nil:
			return err
		}
		switch n.Channel {
		case catalogueChannel:
			l.news.catalogue.Add(1)
		case stockChannel:
			var sku int64
			var units int
			if _, err := fmt.Sscan(strings.TrimSpace(n.Payload), &sku, &units); err != nil {
				l.log.WarnContext(ctx, "a notification that nobody understands", "channel", n.Channel, "payload", n.Payload)
				continue
			}
			l.news.stock.Add(1)
			l.stock(sku, units)
		}
	}
}
