package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"
)

// A class is a kind of work that has PostgreSQL connections of its own.
type class int

const (
	// catalogueClass is whoever reads the catalogue, with or without a session.
	catalogueClass class = iota
	// customerClass is carts, accounts, codes and the order history.
	customerClass
	// checkoutClass is the batches that place and settle orders.
	checkoutClass
	// backgroundClass is the sweeper's claims, leases that are given back, and carts
	// that are removed for their age.
	backgroundClass
	classes
)

func (c class) String() string {
	return [classes]string{"catalogue", "customers", "checkout", "background"}[c]
}

// pools are the PostgreSQL connections of a worker, divided by class, so that
// no class can take what another needs: whatever strangers read, a batch of
// orders finds a connection. The pools together are as large as one pool for
// all would be, and they only connect when they have work.
//
// One pool with a weighted semaphore per class would let a class borrow what
// the others leave. It would not gain much: what the others need has to stay
// free, and that is most of it.
//
// Small budgets are shared. Those who share wait for each other in the order of
// their arrival, as all did before.
type pools struct {
	of [classes]*pgxpool.Pool // neighbours may share one
}

// budget divides a number of connections, at least one, by class. A class with 0
// shares the connections of the class before it; the first with any is shared by
// those before it as well.
//
//	connections   catalogue  customers  checkout  background
//	10 (default)          2          5         2           1
//	 4                    1          1         1           1
//	 3                    1          1         1  (shared)
//	 2                    1          1  (shared)   (shared)
//	 1                    1  (shared)   (shared)   (shared)
//
// A checkout needs one connection: the batches of a worker take turns. The
// second is for the orders that wait for a row which somebody else holds, and
// for a COMMIT without an answer, which is looked up beside the batches. The
// catalogue's share is small, since every connection of it is a processor of
// PostgreSQL's that orders don't have.
func budget(connections int32) (sizes [classes]int32) {
	switch connections {
	case 1:
		sizes[catalogueClass] = 1
	case 2:
		sizes[catalogueClass], sizes[customerClass] = 1, 1
	case 3:
		sizes[catalogueClass], sizes[customerClass], sizes[checkoutClass] = 1, 1, 1
	default:
		sizes[backgroundClass] = 1
		sizes[catalogueClass] = max(1, connections/5)
		sizes[checkoutClass] = max(min(2, connections-3), connections/5)
		sizes[customerClass] = connections - 1 - sizes[catalogueClass] - sizes[checkoutClass]
	}
	return sizes
}

// openPools opens pools of the sizes of [budget], or one for all classes. It does
// not connect.
func openPools(ctx context.Context, config *pgxpool.Config, connections int32, together bool) (*pools, error) {
	sizes := budget(connections)
	if together {
		sizes = [classes]int32{catalogueClass: connections}
	}
	p := new(pools)
	for c, size := range sizes {
		if size == 0 {
			p.of[c] = p.of[c-1] // never the first
			continue
		}
		own := config.Copy()
		own.MaxConns = size
		if class(c) == catalogueClass && sizes[customerClass] != 0 { // all of it is reads
			own.ConnConfig.BuildContextWatcherHandler = cancelOnServer
		}
		pool, err := pgxpool.NewWithConfig(ctx, own)
		if err != nil {
			p.close()
			return nil, fmt.Errorf("open the connections of class %v: %w", class(c), err)
		}
		p.of[c] = pool
	}
	return p, nil
}

// Time limits of a statement that nobody waits for any more.
const (
	// cancelAfter is how long it may still take: most end by themselves sooner, and
	// a cancellation costs PostgreSQL a process.
	cancelAfter = 20 * time.Millisecond
	// cancelLimit is when its connection is given up for a new one.
	cancelLimit = time.Second
)

// cancelOnServer makes a context that ends stop the statement and keep the
// connection. By default pgx closes the connection, and who hangs up again and
// again would have us connect again and again.
func cancelOnServer(conn *pgconn.PgConn) ctxwatch.Handler {
	return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, CancelRequestDelay: cancelAfter, DeadlineDelay: cancelLimit}
}

// named yields each pool once, by the names of the classes that share it.
func (p *pools) named(yield func(name string, pool *pgxpool.Pool) bool) {
	for first, pool := range p.of {
		if slices.Index(p.of[:], pool) != first {
			continue
		}
		var names []string
		for c, other := range p.of {
			if other == pool {
				names = append(names, class(c).String())
			}
		}
		if !yield(strings.Join(names, "-"), pool) {
			return
		}
	}
}

// size is how many connections all classes may have together.
func (p *pools) size() (n int32) {
	for _, pool := range p.named {
		n += pool.Config().MaxConns
	}
	return n
}

// close closes the pools that are open, and waits for those who use one.
func (p *pools) close() {
	for c, pool := range p.of {
		if pool != nil && slices.Index(p.of[:], pool) == c {
			pool.Close()
		}
	}
}
