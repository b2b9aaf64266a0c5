package audit_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"doorbuster/app/audit"
	"doorbuster/app/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// honest is a small shop whose books are right, in plain SQL: a mug of which ten came, one is sold, one is held by an order
// that is not paid yet, one was given back; and a lamp that each customer may have two of.
const honest = `
INSERT INTO category (slug, name) VALUES ('home', 'Home');
INSERT INTO product (category_id, slug, name, description) SELECT id, 'mug', 'Mug', 'A mug' FROM category;
INSERT INTO sku (product_id, code, name, position, currency, list_price_minor, max_per_customer)
SELECT p.id, s.code, s.code, s.position, 'USD', 1000, s.most FROM product p, (VALUES ('MUG', 1, NULL), ('LAMP', 2, 2)) AS s (code, position, most);
INSERT INTO stock_receipt (sku_id, quantity, note) SELECT id, 6, 'delivery' FROM sku;
INSERT INTO stock_receipt (sku_id, quantity, note) SELECT id, 4, 'delivery' FROM sku;
INSERT INTO stock (sku_id, available) SELECT id, CASE code WHEN 'MUG' THEN 8 ELSE 9 END FROM sku;
INSERT INTO discount (code, percent, currency, starts_at, ends_at, max_uses, uses) VALUES ('TENTH', 10, 'USD', now(), now() + interval '1 day', 5, 1);
INSERT INTO orders (id, owner_id, cart_id, idempotency_key, fingerprint, paying_until, email, status, cancel_reason, currency, subtotal_minor, discount_minor,
                    total_minor, discount_code, hold_expires_at, settled_at)
VALUES ('00000000-0000-7000-8000-000000000001', '10000000-0000-4000-8000-000000000001', gen_random_uuid(), 'key-1', '', now(), 'a@example.com',
        'confirmed', NULL, 'USD', 2000, 200, 1800, 'TENTH', now(), now()),
       ('00000000-0000-7000-8000-000000000002', '10000000-0000-4000-8000-000000000002', gen_random_uuid(), 'key-2', '', now(), 'b@example.com',
        'pending', NULL, 'USD', 1000, 0, 1000, NULL, now() + interval '1 minute', NULL),
       ('00000000-0000-7000-8000-000000000003', '10000000-0000-4000-8000-000000000003', gen_random_uuid(), 'key-3', '', now(), 'c@example.com',
        'cancelled', 'declined', 'USD', 1000, 0, 1000, 'TENTH', now(), now());
INSERT INTO order_line (order_id, sku_id, sku_code, name, quantity, unit_price_minor, limited)
SELECT o.id::uuid, k.id, k.code, k.name, 1, 1000, k.code = 'LAMP'
  FROM (VALUES ('00000000-0000-7000-8000-000000000001', 'MUG'), ('00000000-0000-7000-8000-000000000001', 'LAMP'),
               ('00000000-0000-7000-8000-000000000002', 'MUG'), ('00000000-0000-7000-8000-000000000003', 'MUG')) AS o (id, code) JOIN sku k USING (code);
INSERT INTO allowance (sku_id, customer, taken)
SELECT id, unnest(ARRAY['owner:10000000-0000-4000-8000-000000000001', 'email:a@example.com']), 1 FROM sku WHERE code = 'LAMP';
INSERT INTO payment (order_id, provider_reference, amount_minor, currency) VALUES ('00000000-0000-7000-8000-000000000001', 'ref-1', 1800, 'USD');`

var first, second, third = uuid.MustParse("00000000-0000-7000-8000-000000000001"), uuid.MustParse("00000000-0000-7000-8000-000000000002"),
	uuid.MustParse("00000000-0000-7000-8000-000000000003")

// provider is the books of a payment provider: minor units by order.
type provider map[uuid.UUID]int64

func (p provider) Captured(_ context.Context, orders []uuid.UUID) (map[uuid.UUID]int64, error) {
	captured := map[uuid.UUID]int64{}
	for _, order := range orders {
		if amount, ok := p[order]; ok {
			captured[order] = amount
		}
	}
	return captured, nil
}

// told is an acknowledgement log that fits the honest books.
const told = `{"key": "key-1", "status": 0}
{"key": "key-1", "status": 201, "order": "00000000-0000-7000-8000-000000000001", "total_minor": 1800}
{"key": "key-1", "status": 200, "order": "00000000-0000-7000-8000-000000000001", "total_minor": 1800}
{"key": "key-2", "status": 503, "code": "busy"}
{"key": "key-3", "status": 402, "code": "payment-declined"}
{"key": "key-1", "status": 200, "order": "00000000-0000-7000-8000-000000000001", "total_minor": 1800, "order_status": "confirmed"}
{"key": "key-4", "status": 409, "code": "out-of-stock", "sku": "MUG", "quantity": 9}
{"key": "key-5", "status": 0}
{"key": "key-7", "status": 409, "code": "out-of-stock", "held": true, "sku": "MUG", "quantity": 1}
`

func open(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool := dbtest.Pool(t)
	if _, err := pool.Exec(t.Context(), honest); err != nil {
		t.Fatal(err)
	}
	return pool
}

func readAcks(t *testing.T, log string) audit.Acks {
	t.Helper()
	acks, err := audit.ReadAcks(strings.NewReader(log))
	if err != nil {
		t.Fatal(err)
	}
	return acks
}

// found runs an audit and returns the findings by the name of their check. The servers of tests need not be durable.
func found(t *testing.T, pool *pgxpool.Pool, o audit.Options) map[string][]string {
	t.Helper()
	report, err := audit.Run(t.Context(), pool, o)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for _, c := range report.Checks {
		if c.Skipped != "" {
			t.Errorf("%s was skipped: %s", c.Name, c.Skipped)
		}
		if c.Findings != len(c.Examples) {
			t.Errorf("%s: %d findings and %d examples", c.Name, c.Findings, len(c.Examples))
		}
		if c.Findings > 0 && c.Name != "durable" {
			all[c.Name] = c.Examples
		}
	}
	return all
}

// E3: books that are right pass.
func TestHonestBooks(t *testing.T) {
	t.Parallel()
	pool := open(t)
	if all := found(t, pool, audit.Options{Acks: readAcks(t, told), Provider: provider{first: 1800, second: 1000}}); len(all) > 0 {
		t.Errorf("found %v", all)
	}
	report, err := audit.Run(t.Context(), pool, audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var skipped []string
	for _, c := range report.Checks {
		if c.Skipped != "" {
			skipped = append(skipped, c.Name)
		}
	}
	if len(report.Checks) != 9 || fmt.Sprint(skipped) != "[acknowledged unanswered undersold]" {
		t.Errorf("without a log, of %d checks %v were skipped", len(report.Checks), skipped)
	}
}

// slowProvider takes longer than a transaction of the shop may be idle.
type slowProvider struct {
	provider
	pool  *pgxpool.Pool
	asked *[]int
}

func (p slowProvider) Captured(ctx context.Context, orders []uuid.UUID) (map[uuid.UUID]int64, error) {
	*p.asked = append(*p.asked, len(orders))
	if _, err := p.pool.Exec(ctx, "SELECT pg_sleep(0.3)"); err != nil { // PostgreSQL's clock is the one that counts here
		return nil, err
	}
	return p.provider.Captured(ctx, orders)
}

// E3: the books of a long night are asked about in few questions, and no time limit of the shop's cuts the audit short.
func TestLongBooks(t *testing.T) {
	t.Parallel()
	pool := open(t)
	if _, err := pool.Exec(t.Context(), `WITH placed AS (INSERT INTO orders (id, owner_id, cart_id, idempotency_key, fingerprint, paying_until, email, currency,
       subtotal_minor, discount_minor, total_minor, status, cancel_reason, hold_expires_at, settled_at)
SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'long-' || n, '', now(), 'n@example.com', 'USD', 1, 0, 1, 'cancelled', 'declined', now(), now()
  FROM generate_series(1, 1500) AS n RETURNING id)
INSERT INTO order_line SELECT p.id, k.id, k.code, 'Mug', 1, 1, false FROM placed p, sku k WHERE k.code = 'MUG'`); err != nil {
		t.Fatal(err)
	}
	cfg := pool.Config()
	cfg.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] = "100"
	hasty, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hasty.Close)
	var asked []int
	all := found(t, hasty, audit.Options{Acks: readAcks(t, told), Provider: slowProvider{provider{first: 1800, second: 1000}, pool, &asked}})
	if len(asked) != 2 || asked[0] != 1000 || asked[1] < 500 {
		t.Errorf("the provider was asked about %v orders", asked)
	}
	if len(all) > 0 {
		t.Errorf("found %v", all)
	}
}

// E3: each check finds what it is for, and says what is wrong.
func TestCorruptBooks(t *testing.T) {
	t.Parallel()
	mug := "(SELECT id FROM sku WHERE code = 'MUG')"
	for name, c := range map[string]struct {
		check    string // that finds it
		sql      string // the corruption
		log      string // instead of what customers were told; "": the honest one
		provider provider
		says     string
	}{
		"oversold":                  {check: "stock", sql: "UPDATE stock SET available = 9 WHERE sku_id = " + mug, says: "SKU MUG: received 10, available 9, held 1, sold 1"},
		"a unit is lost":            {check: "stock", sql: "UPDATE stock SET available = 7 WHERE sku_id = " + mug, says: "available 7"},
		"below zero":                {check: "stock", sql: "ALTER TABLE stock DROP CONSTRAINT stock_available_check; UPDATE stock SET available = -1 WHERE sku_id = " + mug + "; UPDATE stock_receipt SET quantity = quantity - 9 WHERE quantity = 4 AND sku_id = " + mug, says: "available -1"},
		"no receipt":                {check: "stock", sql: "DELETE FROM stock_receipt WHERE sku_id = " + mug, says: "received 0"},
		"no shelf":                  {check: "stock", sql: "DELETE FROM stock WHERE sku_id = " + mug, says: "available 0"},
		"an order is lost":          {check: "acknowledged", log: `{"key": "key-9", "status": 201, "order": "00000000-0000-7000-8000-000000000009", "total_minor": 1}`, says: "is not in the books"},
		"another total":             {check: "acknowledged", log: `{"key": "key-1", "status": 201, "order": "00000000-0000-7000-8000-000000000001", "total_minor": 1700}`, says: "has a total of 1800, and the customer was told 1700"},
		"another key":               {check: "acknowledged", log: `{"key": "key-9", "status": 201, "order": "00000000-0000-7000-8000-000000000001", "total_minor": 1800}`, says: "has the key key-1"},
		"told of two":               {check: "acknowledged", log: `{"key": "key-1", "status": 201, "order": "00000000-0000-7000-8000-000000000001", "total_minor": 1800}` + "\n" + `{"key": "key-1", "status": 200, "order": "00000000-0000-7000-8000-000000000002", "total_minor": 1000}`, sql: "UPDATE orders SET idempotency_key = NULL WHERE idempotency_key = 'key-2'", says: "told of order"},
		"told of two, both pending": {check: "acknowledged", log: `{"key": "key-1", "status": 201, "order": "00000000-0000-7000-8000-000000000001", "total_minor": 1800, "order_status": "pending"}` + "\n" + `{"key": "key-1", "status": 200, "order": "00000000-0000-7000-8000-000000000003", "total_minor": 1000, "order_status": "pending"}`, sql: "UPDATE orders SET idempotency_key = NULL WHERE idempotency_key = 'key-3'", says: "told of order"},
		"told and cancelled":        {check: "acknowledged", log: `{"key": "key-3", "status": 201, "order": "00000000-0000-7000-8000-000000000003", "total_minor": 1000, "order_status": "confirmed"}`, says: "is cancelled, and the customer was told that it stands"},
		"cancelled, without status": {check: "acknowledged", log: `{"key": "key-3", "status": 201, "order": "00000000-0000-7000-8000-000000000003", "total_minor": 1000}`, says: "told that it stands"},
		"two orders for one key":    {check: "acknowledged", sql: "UPDATE orders SET idempotency_key = 'key-1' WHERE idempotency_key = 'key-3'", says: "key key-1: 2 orders"},
		"not paid":                  {check: "paid", sql: "DELETE FROM payment", says: "confirmed, total 1800 USD, paid"},
		"paid too little":           {check: "paid", sql: "UPDATE payment SET amount_minor = 1799", says: "paid 1799"},
		"in another currency":       {check: "paid", sql: "UPDATE payment SET currency = 'EUR'", says: "paid 1800 EUR"},
		"paid twice":                {check: "paid", sql: "ALTER TABLE payment DROP CONSTRAINT payment_pkey; INSERT INTO payment SELECT order_id, 'ref-2', 0, currency FROM payment", says: "paid 1800"},
		"paid and not sold":         {check: "paid", sql: "INSERT INTO payment (order_id, provider_reference, amount_minor, currency) SELECT id, 'ref-3', total_minor, currency FROM orders WHERE status = 'cancelled'", says: "cancelled, total 1000"},
		"paid for nothing":          {check: "paid", sql: "ALTER TABLE payment DROP CONSTRAINT payment_order_id_fkey; INSERT INTO payment (order_id, provider_reference, amount_minor, currency) VALUES (gen_random_uuid(), 'ref-4', 1, 'USD')", says: "paid 1 USD"},
		"charged and cancelled":     {check: "paid", provider: provider{first: 1800, third: 1000}, says: "is cancelled with a total of 1000, and the provider has captured 1000"},
		"never charged":             {check: "paid", provider: provider{}, says: "is confirmed with a total of 1800, and the provider has captured 0"},
		"charged too much":          {check: "paid", provider: provider{first: 3600}, says: "captured 3600"},
		"a key twice":               {check: "once", sql: "ALTER TABLE orders DROP CONSTRAINT orders_owner_id_idempotency_key_key; UPDATE orders SET idempotency_key = 'key-7', owner_id = '10000000-0000-4000-8000-000000000002' WHERE status <> 'confirmed'", says: "key key-7: 2 orders"},
		"a cart twice":              {check: "once", sql: "ALTER TABLE orders DROP CONSTRAINT orders_cart_id_key; UPDATE orders SET cart_id = '20000000-0000-4000-8000-000000000001' WHERE status <> 'confirmed'", says: "2 orders"},
		"left pending":              {check: "settled", sql: "UPDATE orders SET hold_expires_at = now() - interval '61 seconds' WHERE status = 'pending'", says: "pending, and its hold ended"},
		"no lines":                  {check: "settled", sql: "DELETE FROM order_line WHERE order_id = '00000000-0000-7000-8000-000000000003'", says: "subtotal 1000, lines ;"},
		"another sum":               {check: "settled", sql: "UPDATE order_line SET unit_price_minor = 999 WHERE order_id = '00000000-0000-7000-8000-000000000003'", says: "lines 999"},
		"unanswered, two orders":    {check: "unanswered", sql: "UPDATE orders SET idempotency_key = 'key-5' WHERE idempotency_key IN ('key-2', 'key-3')", says: "key key-5: 2 orders"},
		"refused, two orders":       {check: "unanswered", sql: "UPDATE orders SET idempotency_key = 'key-2' WHERE idempotency_key IN ('key-2', 'key-3')", says: "key key-2: 2 orders"},
		"undersold":                 {check: "undersold", log: `{"key": "key-4", "status": 409, "code": "out-of-stock", "sku": "MUG"}`, says: "SKU MUG: 8 units are left, and 1 customers were told that it is sold out"},
		"over the limit":            {check: "limits", sql: "UPDATE sku SET max_per_customer = 2 WHERE code = 'MUG'; UPDATE order_line SET quantity = 3, unit_price_minor = 1000 WHERE limited; UPDATE allowance SET taken = 3", says: "email:a@example.com: 3, and 2 were allowed"},
		"sold over the limit":       {check: "limits", sql: "UPDATE orders SET over_limit = 'MUG' WHERE id = (SELECT order_id FROM order_line WHERE limited LIMIT 1)", says: "confirmed, though its address had enough of MUG"},
		"allowance not counted":     {check: "limits", sql: "DELETE FROM allowance WHERE customer LIKE 'email:%'", says: "email:a@example.com:  are counted, 1 are held"},
		"allowance not returned":    {check: "limits", sql: "INSERT INTO allowance SELECT id, 'email:c@example.com', 1 FROM sku WHERE code = 'LAMP'", says: "1 are counted,  are held"},
		"use not counted":           {check: "limits", sql: "UPDATE discount SET uses = 0", says: "code TENTH: 0 uses are counted, 1 orders have it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := open(t)
			if _, err := pool.Exec(t.Context(), c.sql); err != nil {
				t.Fatal(err)
			}
			log := told
			if c.log != "" {
				log = c.log + "\n"
			}
			books := provider{first: 1800}
			if c.provider != nil {
				books = c.provider
			}
			all := found(t, pool, audit.Options{Acks: readAcks(t, log), Provider: books})
			if got := strings.Join(all[c.check], "\n"); !strings.Contains(got, c.says) {
				t.Errorf("%q is not in what it found: %v", c.says, all)
			}
		})
	}
}

// E3: an order that was told as pending and cancelled later is no broken promise, nor is the next one under its key.
func TestPendingPromisesNothing(t *testing.T) {
	t.Parallel()
	pool := open(t)
	if _, err := pool.Exec(t.Context(), "UPDATE orders SET idempotency_key = NULL WHERE idempotency_key = 'key-3'"); err != nil {
		t.Fatal(err)
	}
	log := `{"key": "key-1", "status": 201, "order": "00000000-0000-7000-8000-000000000003", "total_minor": 1000, "order_status": "pending"}
{"key": "key-1", "status": 201, "order": "00000000-0000-7000-8000-000000000001", "total_minor": 1800, "order_status": "confirmed"}
`
	if all := found(t, pool, audit.Options{Acks: readAcks(t, log), Provider: provider{first: 1800}}); len(all["acknowledged"]) > 0 {
		t.Errorf("found %v", all)
	}
}

// E3: orders are judged by what was agreed when they were placed. An owner who lowers a limit, or limits a code, makes no
// finding of them.
func TestAgreedThen(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"a lower limit": `UPDATE order_line SET quantity = 2, unit_price_minor = 500, agreed_limit = 2 WHERE limited; UPDATE allowance SET taken = 2;
			UPDATE stock SET available = available - 1 FROM sku k WHERE k.id = sku_id AND k.code = 'LAMP'; UPDATE sku SET max_per_customer = 1 WHERE code = 'LAMP'`,
		"no limit any more":      "UPDATE order_line SET agreed_limit = 1 WHERE limited; UPDATE sku SET max_per_customer = NULL",
		"a code that is limited": "UPDATE discount SET uses = 0; UPDATE orders SET discount_counted = false WHERE discount_code IS NOT NULL",
		"a code without limit":   "UPDATE discount SET max_uses = NULL; UPDATE orders SET discount_counted = true WHERE discount_code IS NOT NULL",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := open(t)
			if _, err := pool.Exec(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
			if all := found(t, pool, audit.Options{Acks: audit.Acks{}}); len(all) > 0 {
				t.Errorf("found %v", all)
			}
		})
	}
}

// E3: money that was captured by mistake is a finding until it has gone back.
func TestRefundsDue(t *testing.T) {
	t.Parallel()
	pool := open(t)
	books := provider{first: 1800, third: 900}
	if _, err := pool.Exec(t.Context(), "INSERT INTO refund_due (order_id, provider_reference, amount_minor, currency, reason) VALUES ($1, 'ref-3', 900, 'USD', 'wrong_amount')", third); err != nil {
		t.Fatal(err)
	}
	all := found(t, pool, audit.Options{Acks: audit.Acks{}, Provider: books})
	if got := fmt.Sprint(all["paid"]); len(all["paid"]) != 1 || !strings.Contains(got, "900 USD (ref-3) have to be refunded") {
		t.Errorf("found %v", all)
	}
	if _, err := pool.Exec(t.Context(), "UPDATE refund_due SET refunded_at = now()"); err != nil {
		t.Fatal(err)
	}
	if all := found(t, pool, audit.Options{Acks: audit.Acks{}, Provider: books}); len(all) > 0 {
		t.Errorf("when it was refunded: found %v", all)
	}
	books[third] = 1000 // more than was noted
	if all := found(t, pool, audit.Options{Acks: audit.Acks{}, Provider: books}); len(all["paid"]) != 1 {
		t.Errorf("found %v", all)
	}
}

// Findings are counted, and not all of them are kept.
func TestManyFindings(t *testing.T) {
	t.Parallel()
	pool := open(t)
	const many = 2_500 // more than the provider is asked about at once
	if _, err := pool.Exec(t.Context(), `INSERT INTO orders (id, owner_id, cart_id, fingerprint, paying_until, email, status, cancel_reason, currency, subtotal_minor,
		discount_minor, total_minor, hold_expires_at, settled_at)
		SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), '', now(), 'x@example.com', 'confirmed', NULL, 'USD', 100, 0, 100, now(), now()
		  FROM generate_series(1, $1)`, many); err != nil {
		t.Fatal(err)
	}
	report, err := audit.Run(t.Context(), pool, audit.Options{Provider: provider{first: 1800}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range report.Checks {
		want := map[string]int{"paid": 2 * many, "settled": many}[c.Name] // not in the shop's payments nor in the provider's; no lines
		if c.Name != "durable" && (c.Findings != want || len(c.Examples) != min(want, 20)) {
			t.Errorf("%s: got %d findings and %d examples, want %d", c.Name, c.Findings, len(c.Examples), want)
		}
	}
}

// E3: a PostgreSQL that may forget what it has committed is no place for orders.
func TestDurable(t *testing.T) {
	t.Parallel()
	for setting, wrong := range map[string]bool{"off": true, "on": false} {
		pool := open(t)
		// Of the three settings this is the one that a session can change.
		if _, err := pool.Exec(t.Context(), "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = "+setting+"', current_database()); END $$"); err != nil {
			t.Fatal(err)
		}
		pool.Reset()
		report, err := audit.Run(t.Context(), pool, audit.Options{})
		if err != nil {
			t.Fatal(err)
		}
		durable := report.Checks[8]
		if got := strings.Contains(strings.Join(durable.Examples, "\n"), "synchronous_commit is off"); durable.Name != "durable" || got != wrong {
			t.Errorf("with synchronous_commit %s: %+v", setting, durable)
		}
		if wrong && report.Findings() == 0 {
			t.Error("the report has no findings")
		}
	}
}

// A log that was cut short by a crash is read as far as it goes; one that is no log is refused with the place.
func TestReadAcks(t *testing.T) {
	t.Parallel()
	acks := readAcks(t, told+`{"key": "key-6", "sta`)
	if len(acks) != 6 || len(acks["key-1"]) != 4 || acks["key-6"] != nil {
		t.Errorf("read %v", acks)
	}
	for log, want := range map[string]string{
		"\n":                                  "line 1",
		`{"key": "k", "status": 0}` + "\nx\n": "line 2",
		`{"status": 0}` + "\n":                "has no key",
		`{"key": "k", "status": 201}` + "\n":  "has status 201 and no order",
		strings.Repeat("x", 1<<17):            "line 1",
	} {
		if _, err := audit.ReadAcks(strings.NewReader(log)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q in it", log, err, want)
		}
	}
}
