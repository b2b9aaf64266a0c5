package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Options say what the books are compared with.
type Options struct {
	// Acks are what customers were told; nil skips the checks that need it.
	Acks Acks
	// Provider tells what was charged; nil leaves that out.
	Provider Provider
	// Grace is how long an order may stay pending beyond its hold: sweepers take turns. Default 1 min.
	Grace time.Duration
}

// Provider is what an audit asks a payment provider; *payment.Simulator is one.
type Provider interface {
	// Captured returns the amounts, in minor units, of those of the orders for which a charge was captured.
	Captured(ctx context.Context, orders []uuid.UUID) (map[uuid.UUID]int64, error)
}

// Report is what an audit found.
type Report struct {
	At     time.Time `json:"at"` // by the database's clock
	Checks []Check   `json:"checks"`
}

// Check is one of the nine.
type Check struct {
	Name     string   `json:"name"`
	Rule     string   `json:"rule"`
	Skipped  string   `json:"skipped,omitempty"` // why it was not made
	Findings int      `json:"findings"`
	Examples []string `json:"examples,omitempty"` // of the findings, up to maxExamples
}

// maxExamples is how many findings of a check are told in full.
const maxExamples = 20

// Findings is the number of findings of all checks; 0 is what a shop wants.
func (r *Report) Findings() int {
	n := 0
	for _, c := range r.Checks {
		n += c.Findings
	}
	return n
}

// audit is one run, in one snapshot.
type audit struct {
	Options
	tx pgx.Tx
	// found takes in a line about something that is wrong. The books of a long night are long, and so may be what is wrong
	// with them: lines are counted, and not kept.
	found func(line string)
}

// checks are the nine, in the order of the report.
var checks = []struct {
	name, rule string
	needsAcks  bool
	look       func(*audit, context.Context) error
}{
	{"stock", "received = available + held + sold, nothing below zero", false, queries(stockQuery)},
	{"acknowledged", "every order that a customer was told of is there, once, with its total", true, (*audit).acknowledged},
	{"paid", "each confirmed order is paid once and in full, and nothing else is", false, (*audit).paid},
	{"once", "one order for each idempotency key and each cart", false, queries(keysQuery, cartsQuery)},
	{"settled", "no order waits beyond its hold, and each is the sum of its lines", false, (*audit).settled},
	{"unanswered", "a checkout whose answer was lost made one order or none", true, (*audit).unanswered},
	{"undersold", "nobody was told \"sold out\" while units were left at the end", true, (*audit).undersold},
	{"limits", "no customer has more than allowed, and what is counted is what is held", false, queries(limitsQuery, overLimitQuery, allowancesQuery, usesQuery)},
	{"durable", "PostgreSQL flushes its log before it says that an order is committed", false, queries(durableQuery)},
}

// Run makes all checks in one snapshot. An error means that the books could not be read, not that they are wrong.
func Run(ctx context.Context, pool *pgxpool.Pool, o Options) (*Report, error) {
	if o.Grace == 0 {
		o.Grace = time.Minute
	}
	report := &Report{}
	err := pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		a := &audit{Options: o, tx: tx}
		// The books of a long night are long, and the provider is asked about all of them while the snapshot is open.
		if _, err := tx.Exec(ctx, "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, "SELECT now()").Scan(&report.At); err != nil {
			return err
		}
		for _, c := range checks {
			check := Check{Name: c.name, Rule: c.rule}
			if c.needsAcks && o.Acks == nil {
				check.Skipped = "it takes an acknowledgement log"
			} else {
				a.found = func(line string) {
					if check.Findings++; check.Findings <= maxExamples {
						check.Examples = append(check.Examples, line)
					}
				}
				if err := c.look(a, ctx); err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
			}
			report.Checks = append(report.Checks, check)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	return report, nil
}

// queries is a check that is made in SQL: each row of each query is a finding, in words.
func queries(all ...string) func(*audit, context.Context) error {
	return func(a *audit, ctx context.Context) error {
		for _, sql := range all {
			if err := a.lines(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	}
}

func (a *audit) lines(ctx context.Context, sql string, args ...any) error {
	rows, err := a.tx.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	var line string
	_, err = pgx.ForEachRow(rows, []any{&line}, func() error { a.found(line); return nil })
	return err
}

// askedAtOnce is how many orders the provider is asked about in one go.
const askedAtOnce = 1000

// charged is an order that the provider is asked about.
type charged struct {
	ID         uuid.UUID
	Status     string
	TotalMinor int64
	DueMinor   int64 // what is noted to go back, or has gone back
}

// paid compares the shop's payments with its orders, and its orders with what the provider has captured. Of a pending order
// the shop may not know yet.
func (a *audit) paid(ctx context.Context) error {
	for _, sql := range []string{paidQuery, refundsQuery} {
		if err := a.lines(ctx, sql); err != nil {
			return err
		}
	}
	if a.Provider == nil {
		return nil
	}
	rows, err := a.tx.Query(ctx, `-- name: audit.orders
SELECT o.id, o.status, o.total_minor, coalesce((SELECT sum(r.amount_minor) FROM refund_due r WHERE r.order_id = o.id), 0)::bigint
  FROM orders o WHERE o.status <> 'pending'`)
	if err != nil {
		return err
	}
	var o charged
	some := make([]charged, 0, askedAtOnce)
	_, err = pgx.ForEachRow(rows, []any{&o.ID, &o.Status, &o.TotalMinor, &o.DueMinor}, func() error {
		if some = append(some, o); len(some) < askedAtOnce {
			return nil
		}
		asked := some
		some = some[:0]
		return a.ask(ctx, asked)
	})
	if err != nil {
		return err
	}
	return a.ask(ctx, some)
}

// ask compares orders with what the provider has captured for them.
func (a *audit) ask(ctx context.Context, some []charged) error {
	if len(some) == 0 {
		return nil
	}
	ids := make([]uuid.UUID, len(some))
	for i, o := range some {
		ids[i] = o.ID
	}
	amounts, err := a.Provider.Captured(ctx, ids)
	if err != nil {
		return err
	}
	for _, o := range some {
		expected := o.DueMinor
		if o.Status == "confirmed" { // what is free is not charged
			expected += o.TotalMinor
		}
		if amount := amounts[o.ID]; amount != expected {
			a.found(fmt.Sprintf("order %s is %s with a total of %d, and the provider has captured %d", o.ID, o.Status, o.TotalMinor, amount))
		}
	}
	return nil
}

func (a *audit) settled(ctx context.Context) error {
	if err := a.lines(ctx, lateQuery, a.Grace); err != nil {
		return err
	}
	return a.lines(ctx, sumsQuery)
}

// known are the orders under the keys of a log.
type known struct {
	Key        string
	ID         uuid.UUID
	TotalMinor int64
	Status     string
}

// orders returns what stands in the books under keys, or was named by its id.
func (a *audit) orders(ctx context.Context, keys []string, ids []uuid.UUID) (byKey map[string][]known, byID map[uuid.UUID]known, err error) {
	rows, err := a.tx.Query(ctx, `-- name: audit.acknowledged
SELECT coalesce(idempotency_key, ''), id, total_minor, status FROM orders WHERE id = ANY ($1)
UNION
SELECT idempotency_key, id, total_minor, status FROM orders WHERE idempotency_key = ANY ($2)`, ids, keys)
	if err != nil {
		return nil, nil, err
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[known])
	byKey, byID = map[string][]known{}, map[uuid.UUID]known{}
	for _, o := range found {
		byKey[o.Key] = append(byKey[o.Key], o)
		byID[o.ID] = o
	}
	return byKey, byID, err
}

// acknowledged looks at every order that a customer was told of. A customer may be told of several under one key, if each but
// the last was pending then and was cancelled later.
func (a *audit) acknowledged(ctx context.Context) error {
	told := map[string][]Ack{}
	var ids []uuid.UUID
	var keys []string
	for key, tries := range a.Acks {
		for _, t := range tries {
			if t.acknowledged() {
				told[key] = append(told[key], t)
				ids, keys = append(ids, t.Order), append(keys, key)
			}
		}
	}
	byKey, byID, err := a.orders(ctx, keys, ids)
	if err != nil {
		return err
	}
	for key, tellings := range told {
		if problem := misled(key, tellings, byKey[key], byID); problem != "" {
			a.found(fmt.Sprintf("key %s: %s", key, problem))
		}
	}
	return nil
}

// misled says what is wrong with what the customer of a key was told; "" if nothing is.
func misled(key string, tellings []Ack, underKey []known, byID map[uuid.UUID]known) string {
	for i, t := range tellings {
		o, ok := byID[t.Order]
		switch {
		case !ok:
			return fmt.Sprintf("order %s is not in the books", t.Order)
		case o.TotalMinor != t.TotalMinor:
			return fmt.Sprintf("order %s has a total of %d, and the customer was told %d", t.Order, o.TotalMinor, t.TotalMinor)
		case o.Key != "" && o.Key != key:
			return fmt.Sprintf("order %s has the key %s", t.Order, o.Key)
		case t.promised() && o.Status == "cancelled":
			return fmt.Sprintf("order %s is cancelled, and the customer was told that it stands", t.Order)
		}
		if i > 0 && tellings[i-1].Order != t.Order && (tellings[i-1].promised() || byID[tellings[i-1].Order].Status != "cancelled") {
			return fmt.Sprintf("told of order %s, and of order %s, though the former was not cancelled after it was told as pending", tellings[i-1].Order, t.Order)
		}
	}
	if len(underKey) > 1 {
		return fmt.Sprintf("%d orders", len(underKey))
	}
	return ""
}

// unanswered looks at checkouts whose last answer was lost, or was no answer about an order.
func (a *audit) unanswered(ctx context.Context) error {
	var keys []string
	for key, tries := range a.Acks {
		if last := tries[len(tries)-1]; last.Status == 0 || last.Status >= 500 {
			keys = append(keys, key)
		}
	}
	byKey, _, err := a.orders(ctx, keys, nil)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if n := len(byKey[key]); n > 1 {
			a.found(fmt.Sprintf("key %s: %d orders", key, n))
		}
	}
	return nil
}

// undersold looks at customers who went away with "sold out" as the last thing that they were told.
func (a *audit) undersold(ctx context.Context) error {
	refused := map[string]int{} // customers by SKU
	least := map[string]int{}   // units that one of them wanted
	for _, tries := range a.Acks {
		last := tries[len(tries)-1]
		if !last.soldOut() || last.SKU == "" {
			continue
		}
		quantity := max(1, last.Quantity)
		if n, ok := least[last.SKU]; !ok || quantity < n {
			least[last.SKU] = quantity
		}
		refused[last.SKU]++
	}
	var codes []string
	for code := range refused {
		codes = append(codes, code)
	}
	rows, err := a.tx.Query(ctx, `-- name: audit.left
SELECT k.code, s.available FROM stock s JOIN sku k ON k.id = s.sku_id WHERE k.code = ANY ($1)`, codes)
	if err != nil {
		return err
	}
	var code string
	var left int
	_, err = pgx.ForEachRow(rows, []any{&code, &left}, func() error {
		if left >= least[code] {
			a.found(fmt.Sprintf("SKU %s: %d units are left, and %d customers were told that it is sold out", code, left, refused[code]))
		}
		return nil
	})
	return err
}
