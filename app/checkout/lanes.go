package checkout

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"doorbuster/app/cart"
	"doorbuster/app/inventory"
	"doorbuster/app/pricing"
)

// A row that somebody holds for long, such as a psql that was left open, must
// not delay those who do not need it. Batches are in one transaction, so:
//
//   - A batch waits for a lock no longer than lockWait. Siblings that work on the
//     same rows are done by then.
//   - Where that was too short, the batch is run again around what is held: one
//     look finds the rows that can't be had now, and their orders are put off.
//   - What was put off goes on in a lane of its own, with batches, turn and
//     connection apart, and waits there, up to [Config].LockPatience.
//   - Rows that were found held are remembered for suspicion, and their orders
//     are put off before they cost the others lockWait again.
//
// Its worst case: one lockWait in each suspicion for a worker's batches, for as
// long as a row is held. Meanwhile such a batch holds the rows that come before
// it in the order of locks. A suspicion that is wrong, of a row that is merely
// busy, costs its orders a batch of their own, for a second: only the main lane
// has suspicions.
//
// lockWait stands in beginBriefly.
const (
	suspicion = time.Second
	// putOffPause is between two tries of an order that was put off, at the longest.
	putOffPause = 50 * time.Millisecond
)

// A lane is where a batch goes.
type lane int

const (
	mainLane    lane = iota // does not touch rows that are suspect
	patientLane             // for orders that were put off
)

var (
	// errPutOff says that a row that an order needs is held by somebody else. Nothing was done.
	errPutOff = errors.New("a row that the order needs is locked")
	// errRowHeld is why such an order is given up.
	errRowHeld = errors.New("a row that the order needs was locked for too long")
)

// How transactions begin. The server ends one whose worker is stuck, and frees
// its locks: https://www.postgresql.org/docs/current/runtime-config-client.html.
// The locks of whole tables, as of a migration, are waited for as long as the
// connection says, in the second run of a batch.
const (
	beginBriefly = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '2s'; SET LOCAL lock_timeout = '250ms'"
	beginAround  = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '2s'"
)

// around runs a transaction of a batch: first waiting for locks, briefly, and
// where that was too short around what is held. The patient lane only goes
// around: a batch that holds a row while it waits for another would keep that
// from everybody else, again and again.
func (s *Service) around(ctx context.Context, l lane, again repeat, fn func(tx pgx.Tx, around bool) error) error {
	if s.cfg.Plain {
		return s.transact(ctx, s.pool, "BEGIN", again, func(tx pgx.Tx) error { return fn(tx, false) })
	}
	around := l == patientLane
	run := func(begin string, around bool) error {
		return s.transact(ctx, s.pool, begin, again.butForLocks, func(tx pgx.Tx) error { return fn(tx, around) })
	}
	err := run(beginBriefly, around)
	if !lockTimedOut(err) || around && rowLocked(err) {
		return err
	}
	s.log.DebugContext(ctx, "a batch goes around locked rows", "error", err)
	if rowLocked(err) {
		return run(beginBriefly, true)
	}
	return run(beginAround, true) // a whole table, as by a migration
}

// butForLocks repeats what again does, except for a lock that can't be had.
func (again repeat) butForLocks(n int, err error) bool { return !lockTimedOut(err) && again(n, err) }

const lockNotAvailable = "55P03"

func lockTimedOut(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pgErr.Code == lockNotAvailable
}

// rowLocked reports whether a lock that timed out was that of a row: PostgreSQL
// says which. A batch that meets such a row in a table where nobody looks for
// held ones, such as an allowance, is halved until the order that needs it is
// alone, and that is put off.
func rowLocked(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pgErr.Code == lockNotAvailable && pgErr.Where != ""
}

// whyFailed is what becomes of an order whose batch, of itself alone, failed.
func whyFailed(err error) error {
	if rowLocked(err) {
		return fmt.Errorf("%w: %w", errPutOff, err)
	}
	return err
}

// patiently asks the main lane, and where the order is put off the patient one
// until it has been done or the patience is over. The contexts are those of
// [batcher.ask].
func patiently[Q, A any](ctx, until context.Context, patience time.Duration, main, patient *batcher[Q, A], asked Q) (A, error) {
	answer, err := main.ask(ctx, until, asked)
	if !errors.Is(err, errPutOff) {
		return answer, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errRowHeld)
	defer cancel()
	for {
		answer, err = patient.ask(ctx, until, asked)
		if !errors.Is(err, errPutOff) {
			return answer, err
		}
		pause := time.NewTimer(rand.N(putOffPause))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return answer, fmt.Errorf("%w: %w", ErrBusy, context.Cause(ctx))
		}
	}
}

// rows are what orders lock. They are found held, or remembered as that.
type rows struct {
	carts  map[uuid.UUID]bool // by owner
	orders map[uuid.UUID]bool
	skus   map[int64]bool
	codes  map[string]bool
}

// holds reports whether one of the rows is needed for what an order takes or gives back.
func (r *rows) holds(lines []OrderLine, code string) bool {
	if r.codes[code] {
		return true
	}
	for _, l := range lines {
		if r.skus[l.SKU] {
			return true
		}
	}
	return false
}

// heldGoodsTx returns which of the stock rows and limited codes that orders
// need can't be had now. It takes the locks of all others.
func heldGoodsTx(ctx context.Context, tx pgx.Tx, orders []*Order) (rows, error) {
	var skus []int64
	var codes []string
	for _, o := range orders {
		for _, l := range o.Lines {
			skus = append(skus, l.SKU)
		}
		if o.DiscountCode != "" {
			codes = append(codes, o.DiscountCode)
		}
	}
	batch := new(pgx.Batch)
	held := rows{codes: pricing.QueueHeld(batch, codes), skus: inventory.QueueHeld(batch, skus)}
	return held, tx.SendBatch(ctx, batch).Close()
}

// heldCartsTx returns whose carts can't be had now. It takes the locks of all others.
func heldCartsTx(ctx context.Context, tx pgx.Tx, owners []uuid.UUID) (rows, error) {
	batch := new(pgx.Batch)
	held := rows{carts: cart.QueueHeld(batch, owners)}
	return held, tx.SendBatch(ctx, batch).Close()
}

const heldOrders = `-- name: checkout.held_orders
WITH free AS MATERIALIZED (SELECT id FROM orders WHERE id = ANY ($1) FOR UPDATE SKIP LOCKED)
SELECT id FROM orders WHERE id = ANY ($1) AND id NOT IN (SELECT id FROM free)`

// heldOrdersTx returns which orders can't be had now. It takes the locks of all others.
func heldOrdersTx(ctx context.Context, tx pgx.Tx, ids []uuid.UUID) (rows, error) {
	held := rows{orders: map[uuid.UUID]bool{}}
	found, err := tx.Query(ctx, heldOrders, ids)
	if err != nil {
		return held, fmt.Errorf("look for locked orders: %w", err)
	}
	var id uuid.UUID
	if _, err := pgx.ForEachRow(found, []any{&id}, func() error { held.orders[id] = true; return nil }); err != nil {
		return held, fmt.Errorf("look for locked orders: %w", err)
	}
	return held, nil
}

// suspects are rows that were found held, each until its suspicion ends. It is
// safe for concurrent use.
type suspects struct {
	lasts time.Duration
	mu    sync.Mutex
	until map[any]time.Time // by owner, order, SKU or code
}

// cartOf and orderOf keep carts and orders apart: both are named by a UUID.
type (
	cartOf  uuid.UUID
	orderOf uuid.UUID
)

// found takes in what a batch has found.
func (s *suspects) found(r rows) {
	if len(r.carts)+len(r.orders)+len(r.skus)+len(r.codes) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for key, until := range s.until {
		if !now.Before(until) {
			delete(s.until, key)
		}
	}
	if s.until == nil {
		s.until = map[any]time.Time{}
	}
	until := now.Add(s.lasts)
	for owner := range r.carts {
		s.until[cartOf(owner)] = until
	}
	for id := range r.orders {
		s.until[orderOf(id)] = until
	}
	for sku := range r.skus {
		s.until[sku] = until
	}
	for code := range r.codes {
		s.until[code] = until
	}
}

// any reports whether one of the rows is suspect now.
func (s *suspects) any(keys ...any) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.until) == 0 {
		return false
	}
	now := time.Now()
	for _, key := range keys {
		if now.Before(s.until[key]) {
			return true
		}
	}
	return false
}

// goods reports whether a row is suspect that is needed for what an order takes or gives back.
func (s *suspects) goods(lines []OrderLine, code string) bool {
	for _, l := range lines {
		if s.any(l.SKU) {
			return true
		}
	}
	return s.any(code)
}
