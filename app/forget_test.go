package app_test

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"doorbuster/app"
	"doorbuster/app/dbtest"
)

// forget forgets an address of this shop.
func (s *shop) forget(email string, dryRun bool) (*app.Forgotten, error) {
	return app.Forget(context.Background(), s.pool.Config().ConnString(), dbtest.Redis(s.t), email, dryRun)
}

// everything is all that PostgreSQL and Redis hold, as text. Other tests write into
// the same Redis.
func (s *shop) everything() string {
	s.t.Helper()
	var all bytes.Buffer
	for _, table := range texts(s, `SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')`) {
		for _, row := range texts(s, "SELECT t::text FROM "+table+" AS t") {
			all.WriteString(table + " " + row + "\n")
		}
	}
	options, err := redis.ParseURL(dbtest.Redis(s.t))
	if err != nil {
		s.t.Fatal(err)
	}
	client := redis.NewClient(options)
	defer client.Close()
	ctx := context.Background()
	keys := client.Scan(ctx, 0, "*", 1000).Iterator()
	for keys.Next(ctx) {
		all.WriteString("redis " + keys.Val() + " ")
		if value, err := client.Get(ctx, keys.Val()).Result(); err == nil {
			all.WriteString(value)
		} else if values, err := client.HGetAll(ctx, keys.Val()).Result(); err == nil {
			for k, v := range values {
				all.WriteString(k + "=" + v + " ")
			}
		}
		all.WriteString("\n")
	}
	if err := keys.Err(); err != nil {
		s.t.Fatal(err)
	}
	return all.String()
}

// texts returns the texts of a query.
func texts(s *shop, query string) []string {
	s.t.Helper()
	rows, err := s.pool.Query(context.Background(), query)
	if err != nil {
		s.t.Fatal(err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		s.t.Fatal(err)
	}
	return found
}

// mentions are the places in which an address stands, in any case.
func mentions(everything, address string) (lines []string) {
	for line := range strings.Lines(everything) {
		if strings.Contains(strings.ToLower(line), strings.ToLower(address)) {
			lines = append(lines, line)
		}
	}
	return lines
}

// D13: what is forgotten stands nowhere any more: not in a table, not in Redis. The
// books are clean as before, and nobody else has lost anything.
func TestForget(t *testing.T) {
	t.Parallel()
	s := open(t)
	mark := strings.ToLower(uuid.NewString()[:8])
	ada, bob := "ada."+mark+"@bücher.example", "bob."+mark+"@example.com"
	const stored = "@xn--bcher-kva.example"
	customer := s.visitor()
	customer.add(shirtM, 2)
	customer.buy("as-a-guest-"+mark, "tok_ok", strings.ToUpper("ada."+mark)+"@BÜCHER.example").want(http.StatusCreated, nil)
	customer.do("POST", "/v1/account", map[string]any{"email": ada, "password": "correct horse battery", "name": "Ada " + mark}).want(http.StatusCreated, nil)
	customer.add(doorbust, 1)
	customer.buy("as-a-customer-"+mark, "tok_ok", ada).want(http.StatusCreated, nil)
	customer.add(shirtM, 1)
	customer.buy("declined-"+mark, "tok_declined", ada).problem(http.StatusPaymentRequired, "payment-declined")
	customer.buy("for-a-friend-"+mark, "tok_ok", bob).want(http.StatusCreated, nil)
	customer.add(kettle, 3)
	elsewhere := s.visitor() // another browser, logged out since
	elsewhere.do("POST", "/v1/session", map[string]any{"email": ada, "password": "correct horse battery"}).want(http.StatusOK, nil)
	elsewhere.do("DELETE", "/v1/session", nil)
	friend := s.visitor()
	friend.do("POST", "/v1/account", map[string]any{"email": bob, "password": "correct horse battery", "name": "Bob"}).want(http.StatusCreated, nil)
	friend.add(kettle, 1)
	s.exec(`UPDATE orders SET email = $1 WHERE idempotency_key = $2`, ada, "as-a-guest-"+mark) // as a release before has stored it
	// Another release took another spelling for another customer.
	s.exec(`INSERT INTO account (id, email, name, password_hash) SELECT gen_random_uuid(), $1, name, password_hash FROM account WHERE email = $2`, ada, "ada."+mark+stored)
	fingerprints := texts(s, `SELECT encode(fingerprint, 'hex') FROM orders WHERE email LIKE 'ada.`+mark+`@%'`)

	before := s.everything()
	if len(mentions(before, "ada."+mark)) == 0 {
		t.Fatal("there is nothing to forget")
	}
	planned, err := s.forget(" ADA."+strings.ToUpper(mark)+"@Bücher.Example", true)
	if err != nil {
		t.Fatal(err)
	}
	if after := s.everything(); len(mentions(after, "ada."+mark)) != len(mentions(before, "ada."+mark)) {
		t.Error("a dry run has changed something")
	}
	done, err := s.forget("ada."+mark+stored, false)
	if err != nil {
		t.Fatal(err)
	}
	planned.Pseudonym = done.Pseudonym
	if diff := cmp.Diff(planned, done); diff != "" {
		t.Errorf("what was done differs from what was said (-said +done):\n%s", diff)
	}
	want := &app.Forgotten{Pseudonym: done.Pseudonym, Account: true, CartLines: 1, Sessions: 2}
	want.Orders, want.Others, want.Allowances = 3, 1, 1
	if diff := cmp.Diff(want, done); diff != "" {
		t.Errorf("forgotten (-want +got):\n%s", diff)
	}
	after := s.everything()
	for _, text := range append(fingerprints, "ada."+mark, "Ada "+mark, "as-a-customer-"+mark) {
		if left := mentions(after, text); left != nil {
			t.Errorf("%q stands in:\n%s", text, strings.Join(left, ""))
		}
	}
	if n := len(mentions(after, done.Pseudonym)); n != 4 {
		t.Errorf("the pseudonym stands in %d rows, want 3 orders and an allowance", n)
	}

	// The books, and the others.
	report, err := app.Audit(t.Context(), s.pool.Config().ConnString(), dbtest.Redis(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range report.Checks {
		if c.Findings > 0 && c.Name != "durable" { // the tests' servers flush nothing
			t.Errorf("audit: %s: %v", c.Name, c.Examples)
		}
	}
	customer.do("GET", "/v1/session", nil).problem(http.StatusUnauthorized, "not-logged-in")
	if c := customer.cart(); len(c.Items) != 0 {
		t.Errorf("the forgotten customer's cart: %+v", c)
	}
	friend.do("GET", "/v1/session", nil).want(http.StatusOK, nil)
	if c := friend.cart(); len(c.Items) != 1 {
		t.Errorf("a friend's cart: %+v", c)
	}
	customer.do("POST", "/v1/account", map[string]any{"email": ada, "password": "correct horse battery"}).want(http.StatusCreated, nil) // somebody new
	var orders app.OrderList
	customer.do("GET", "/v1/orders", nil).want(http.StatusOK, &orders)
	if len(orders.Items) != 0 {
		t.Errorf("a new customer sees the orders of before: %+v", orders.Items)
	}
	if again, err := s.forget(bob, true); err != nil || again.Orders != 1 {
		t.Errorf("a friend: %+v, %v, want one order", again, err)
	}
}

// An order that is not settled needs its address.
func TestForgetWaits(t *testing.T) {
	t.Parallel()
	s := open(t)
	email := "pending." + strings.ToLower(uuid.NewString()[:8]) + "@example.com"
	v := s.visitor()
	v.add(kettle, 1)
	v.buy("pending-order", "tok_ok", email).want(http.StatusCreated, nil)
	s.exec("DELETE FROM payment")
	s.exec("UPDATE orders SET status = 'pending', settled_at = NULL")
	if _, err := s.forget(email, false); err == nil || !strings.Contains(err.Error(), "is pending") {
		t.Errorf("got %v", err)
	}
	if n := one[int](s, "SELECT count(*) FROM orders WHERE email = $1", email); n != 1 {
		t.Errorf("%d orders have the address, want 1", n)
	}
	if f, err := s.forget("nobody@example.com", false); err != nil || !f.Nothing() {
		t.Errorf("nobody: %+v, %v", f, err)
	}
	for _, bad := range []string{"", "ada", "@example.com", "ada@"} {
		if _, err := s.forget(bad, false); err == nil || !strings.Contains(err.Error(), "is no e-mail address") {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}
