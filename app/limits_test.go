package app_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"
	dto "github.com/prometheus/client_model/go"

	"doorbuster/app"
)

// limited opens a shop with limits of its own. Decisions wait for Redis for as long as it takes: these tests count.
func limited(t *testing.T, settings ...string) *shop {
	t.Helper()
	return open(t, func(c *app.Config) {
		c.Tunables, c.LimitTimeout = tunables(t, settings...), app.RequestTimeout
	})
}

// behind is a visitor with somebody else's address, and a program of its own.
func (v *visitor) behind(agent string) *visitor {
	other := v.shop.visitor()
	other.from, other.agent = v.from, agent
	return other
}

// tooMany checks a refusal: 429, when to come back, and the fields of draft-ietf-httpapi-ratelimit-headers.
func (r reply) tooMany(class string, quota, window int) {
	r.t.Helper()
	r.problem(http.StatusTooManyRequests, "too-many-requests")
	seconds, err := strconv.Atoi(r.header.Get("Retry-After"))
	if err != nil || seconds < 1 || seconds > window+2 {
		r.t.Errorf("%s: got Retry-After %q", r.what, r.header.Get("Retry-After"))
	}
	if got, want := r.header.Get("RateLimit-Policy"), fmt.Sprintf(`"%s";q=%d;w=%d`, class, quota, window); got != want {
		r.t.Errorf("%s: got RateLimit-Policy %s, want %s", r.what, got, want)
	}
	want := regexp.MustCompile(fmt.Sprintf(`^"%s";r=\d+;t=%d$`, class, seconds))
	if got := r.header.Get("RateLimit"); !want.MatchString(got) {
		r.t.Errorf("%s: got RateLimit %s, want %s", r.what, got, want)
	}
}

func (s *shop) limitedTotal() map[string]float64 {
	s.t.Helper()
	counts := map[string]float64{}
	for _, m := range s.scrape()["shop_limited_total"].GetMetric() {
		labels := labelsOf(m)
		counts[labels["class"]+"-"+labels["key"]] = m.GetCounter().GetValue()
	}
	return counts
}

// S2: a limit is one for all workers, whichever of them is asked.
func TestWorkersShareTheLimit(t *testing.T) {
	t.Parallel()
	settings := []string{"limit-requests-client=6/1h"}
	s := limited(t, settings...)
	other := open(t, func(c *app.Config) {
		c.DatabaseURL, c.Tunables, c.LimitTimeout = s.pool.Config().ConnString(), tunables(t, settings...), app.RequestTimeout
	})
	here, there := s.visitor(), other.visitor()
	there.from = here.from
	passed := 0
	for i := range 20 {
		v := here
		if i%2 == 1 {
			v = there
		}
		if r := v.do("GET", "/v1/cart", nil); r.status == http.StatusOK {
			passed++
		} else {
			r.tooMany("requests", 6, 3600)
		}
	}
	if passed != 6 {
		t.Errorf("got %d requests through on two workers, want 6", passed)
	}
	if got := s.limitedTotal()["requests-client"] + other.limitedTotal()["requests-client"]; got != 14 {
		t.Errorf("the metrics count %v refusals, want 14", got)
	}
	// Nobody else is concerned, and reads of the catalogue are not limited at all.
	s.visitor().do("GET", "/v1/cart", nil).want(http.StatusOK, nil)
	here.do("GET", "/v1/products/kettle", nil).want(http.StatusOK, nil)
	here.do("GET", "/v1/products", nil).want(http.StatusOK, nil)
}

// Each kind of subject has its own limit: the session that asks too often is refused alone, an account wherever it is.
func TestSubjectsAreLimitedApart(t *testing.T) {
	t.Parallel()
	s := limited(t, "limit-requests-session=20/1h", "limit-requests-account=20/1h")
	guest := s.visitor()
	guest.add(kettle, 1)
	refusedAfter := func(v *visitor) (n int) {
		for ; n < 100; n++ {
			if r := v.do("GET", "/v1/cart", nil); r.status != http.StatusOK {
				r.tooMany("requests", 20, 3600)
				return n
			}
		}
		return n
	}
	if n := refusedAfter(guest); n != 20 {
		t.Errorf("a guest is refused after %d requests, want 20: the first add was a stranger's", n)
	}
	guest.do("POST", "/v1/checkout", map[string]any{"email": "a@example.com", "payment_token": "tok_ok"}, "Idempotency-Key", "k").tooMany("requests", 20, 3600)
	neighbour := guest.behind("")
	neighbour.add(kettle, 1)
	neighbour.buy("neighbour", "tok_ok", "").want(http.StatusCreated, nil)

	member := s.visitor()
	member.register("member@example.com")
	n := refusedAfter(member)
	elsewhere := s.visitor()
	elsewhere.logIn("member@example.com")
	elsewhere.do("GET", "/v1/cart", nil).tooMany("requests", 20, 3600)
	if n != 20 {
		t.Errorf("an account is refused after %d requests, want 20", n)
	}
}

// Quiet customers behind the same address as an attacker are served: those with a cart, those with an account, and new
// ones too as long as the attacker uses another program than they do.
func TestAttackerBehindTheSameAddress(t *testing.T) {
	t.Parallel()
	s := limited(t, "limit-guests-client=10/1h", "limit-guests-address=20/1h", "limit-requests-client=100/1h", "limit-requests-address=300/1h")
	attacker := s.visitor()
	attacker.agent = "attacker/1.0"
	withCart := attacker.behind("browser/1.0")
	withCart.add(kettle, 1)
	member := attacker.behind("browser/1.0")
	member.register(uuid.NewString() + "@example.com")

	carts := one[int](s, "SELECT count(*) FROM cart")
	refused := 0
	for range 200 { // each without a cookie
		bot := attacker.behind(attacker.agent)
		if r := bot.do("POST", "/v1/cart/items", map[string]any{"sku": kettle, "quantity": 1}); r.status != http.StatusOK {
			r.problem(http.StatusTooManyRequests, "too-many-requests")
			refused++
		}
	}
	if made := one[int](s, "SELECT count(*) FROM cart") - carts; made != 10 || refused != 190 {
		t.Errorf("200 requests without a cookie made %d carts, want 10; %d were refused", made, refused)
	}
	withCart.buy(uuid.NewString(), "tok_ok", "").want(http.StatusCreated, nil)
	member.add(kettle, 1)
	member.buy(uuid.NewString(), "tok_ok", "").want(http.StatusCreated, nil)
	stranger := attacker.behind("browser/2.0")
	stranger.add(kettle, 1)
	stranger.buy(uuid.NewString(), "tok_ok", "").want(http.StatusCreated, nil)

	// All that the address has is used up by an attacker who changes his program with each request. Members don't notice.
	for i := range 60 {
		attacker.behind(fmt.Sprint("attacker/", i)).do("POST", "/v1/cart/items", map[string]any{"sku": kettle, "quantity": 1})
	}
	attacker.behind("browser/3.0").do("POST", "/v1/cart/items", map[string]any{"sku": kettle, "quantity": 1}).tooMany("guests", 20, 3600)
	if made := one[int](s, "SELECT count(*) FROM cart WHERE true") - carts; made > 22 {
		t.Errorf("the address has %d carts, want 20 and the member's", made)
	}
	withCart.add(kettle, 1)
	member.add(kettle, 1)
	member.buy(uuid.NewString(), "tok_ok", "").want(http.StatusCreated, nil)
}

func (v *visitor) tryPassword(email, password string) reply {
	v.shop.t.Helper()
	return v.do("POST", "/v1/session", map[string]string{"email": email, "password": password})
}

// Somebody tries passwords. Honest customers behind the same address log in all the same, and so does the one whose password
// it is, in the browser that he has used before: there is no way to lock him out.
func TestGuessedPasswords(t *testing.T) {
	t.Parallel()
	s := limited(t, "limit-login-email=3/1h", "limit-login-client=5/1h", "limit-login-address=50/1h", "limit-login-browser=3/1h")
	mail := func() string { return uuid.NewString() + "@example.com" }
	victim, honest := mail(), mail()
	home := s.visitor()
	home.register(victim)
	home.do("DELETE", "/v1/session", nil).want(http.StatusNoContent, nil)
	home.do("GET", "/v1/session", nil).problem(http.StatusUnauthorized, "not-logged-in")
	s.visitor().register(honest)

	attacker := s.visitor()
	attacker.agent = "attacker"
	for range 3 {
		attacker.tryPassword(victim, "wrong").problem(http.StatusUnauthorized, "wrong-credentials")
	}
	attacker.tryPassword(victim, "wrong").tooMany("login", 3, 3600)
	s.visitor().tryPassword(victim, "wrong").tooMany("login", 3, 3600) // from anywhere
	s.visitor().tryPassword(victim, password).tooMany("login", 3, 3600)
	attacker.tryPassword(mail(), "wrong").problem(http.StatusUnauthorized, "wrong-credentials") // there is no such account
	attacker.tryPassword(mail(), "wrong").problem(http.StatusUnauthorized, "wrong-credentials")
	attacker.tryPassword(mail(), "wrong").tooMany("login", 5, 3600)

	home.logIn(victim)
	neighbour := attacker.behind("browser")
	for range 8 { // who knows his password gives back what he took
		neighbour.tryPassword(honest, password).want(http.StatusOK, nil)
		neighbour = attacker.behind("browser")
	}

	// A known browser has a limit too, and is known to its customer only.
	home.do("DELETE", "/v1/session", nil).want(http.StatusNoContent, nil)
	for range 3 {
		home.tryPassword(victim, "wrong").problem(http.StatusUnauthorized, "wrong-credentials")
	}
	home.tryPassword(victim, password).tooMany("login", 3, 3600)
	own := s.visitor()
	own.register(mail())
	own.tryPassword(victim, "wrong").tooMany("login", 3, 3600)
}

// The answer to a log-in says how many attempts are left.
func TestRateLimitFields(t *testing.T) {
	t.Parallel()
	s := limited(t, "limit-login-client=5/1m", "limit-register-client=4/1m")
	v := s.visitor()
	for left := 4; left >= 0; left-- {
		r := v.tryPassword(uuid.NewString()+"@example.com", "wrong").want(http.StatusUnauthorized, nil)
		if got, want := r.header.Get("RateLimit"), fmt.Sprintf(`"login";r=%d`, left); got != want {
			t.Errorf("got RateLimit %s, want %s", got, want)
		}
		if got, want := r.header.Get("RateLimit-Policy"), `"login";q=5;w=60`; got != want {
			t.Errorf("got RateLimit-Policy %s, want %s", got, want)
		}
	}
	body := map[string]string{"email": uuid.NewString() + "@example.com", "password": password}
	v.do("POST", "/v1/account", body).tooMany("login", 5, 60) // it is a guess as well
	r := s.visitor().do("POST", "/v1/account", body).want(http.StatusCreated, nil)
	if got := r.header.Get("RateLimit"); got != `"register";r=3` {
		t.Errorf("got RateLimit %s, want 3 left", got)
	}
}

// Accounts are made slowly by one client.
func TestRegistrationsAreLimited(t *testing.T) {
	t.Parallel()
	s := limited(t, "limit-register-client=3/1h", "limit-register-address=5/1h")
	first := s.visitor()
	made := 0
	for i := range 8 {
		v := first.behind(fmt.Sprint("program/", i/4))
		body := map[string]string{"email": uuid.NewString() + "@example.com", "password": password}
		if r := v.do("POST", "/v1/account", body); r.status == http.StatusCreated {
			made++
		} else {
			r.problem(http.StatusTooManyRequests, "too-many-requests")
		}
	}
	if counts := s.limitedTotal(); made != 5 || counts["register-client"] != 1 || counts["register-address"] != 2 {
		t.Errorf("%d accounts were made, want 5; refused: %v", made, counts)
	}
}

// Codes that don't exist are counted; the right one may be put in and taken out as often as one likes.
func TestGuessedDiscountCodes(t *testing.T) {
	t.Parallel()
	s := limited(t, "limit-discount-session=4/1h", "limit-discount-client=6/1h")
	v := s.visitor()
	v.add(kettle, 3)
	set := func(v *visitor, code string) reply {
		return v.do("PUT", "/v1/cart/discount", map[string]string{"code": code})
	}
	for range 10 {
		set(v, tenOff).want(http.StatusOK, nil)
	}
	for i := range 4 {
		set(v, fmt.Sprint("GUESS", i)).problem(http.StatusUnprocessableEntity, "invalid-request")
	}
	set(v, "GUESS5").tooMany("discount", 4, 3600)
	set(v, tenOff).tooMany("discount", 4, 3600)
	next := v.behind("") // another cart of the same client
	next.add(kettle, 3)
	set(next, "GUESS6").problem(http.StatusUnprocessableEntity, "invalid-request")
	set(next, "GUESS7").problem(http.StatusUnprocessableEntity, "invalid-request")
	set(next, "GUESS8").tooMany("discount", 6, 3600)
	// The cart as such goes on.
	v.buy(uuid.NewString(), "tok_ok", "").want(http.StatusCreated, nil)
}

// A try of a code that we fail to judge is no guess: it is given back.
func TestCodesThatNobodyJudged(t *testing.T) {
	t.Parallel()
	s := limited(t, "limit-discount-session=2/1h", "limit-discount-client=9/1h")
	v := s.visitor()
	try := func(code string) reply {
		return v.do("PUT", "/v1/cart/discount", map[string]string{"code": code})
	}
	try(tenOff).problem(http.StatusConflict, "cart-empty")
	v.add(kettle, 3)
	rename := func(from, to string) {
		if _, err := s.pool.Exec(t.Context(), "ALTER TABLE "+from+" RENAME TO "+to); err != nil {
			t.Fatal(err)
		}
	}
	rename("discount", "mislaid")
	for range 4 {
		try(tenOff).problem(http.StatusInternalServerError, "internal")
	}
	rename("mislaid", "discount")
	for i := range 2 {
		try(fmt.Sprint("GUESS", i)).problem(http.StatusUnprocessableEntity, "invalid-request")
	}
	try("GUESS2").tooMany("discount", 2, 3600)
}

// An address whose limit is reached is told to somebody who could pay, a few
// times.
func TestTriedAddressesAreBounded(t *testing.T) {
	t.Parallel()
	s := limited(t, "limit-declined-session=2/1h", "limit-declined-client=9/1h")
	buyer, v := s.visitor(), s.visitor()
	buyer.add(doorbust, 1)
	buyer.buy("bought", "tok_ok", "ada@example.com").want(http.StatusCreated, nil)
	v.add(doorbust, 1)
	for range 2 {
		v.buy(uuid.NewString(), "tok_ok", "ada@example.com").problem(http.StatusConflict, "customer-limit")
	}
	v.buy(uuid.NewString(), "tok_ok", "ada@example.com").tooMany("declined", 2, 3600)
}

// Declined payments are bounded: who tries cards, or holds the last units for nothing, is stopped, and others get them. A
// repeat of the same attempt counts once.
func TestDeclinedPaymentsAreBounded(t *testing.T) {
	t.Parallel()
	s := limited(t, "limit-declined-session=3/1h", "limit-declined-account=3/1h", "limit-declined-client=5/1h")
	v := s.visitor()
	v.add(lastTen, 10)
	for i := range 3 {
		key := uuid.NewString()
		v.buy(key, "tok_declined", "").problem(http.StatusPaymentRequired, "payment-declined")
		if i < 2 { // the last one can't be repeated any more
			v.buy(key, "tok_declined", "").problem(http.StatusPaymentRequired, "payment-declined")
		}
	}
	v.buy(uuid.NewString(), "tok_declined", "").tooMany("declined", 3, 3600)
	v.buy(uuid.NewString(), "tok_ok", "").tooMany("declined", 3, 3600)
	next := v.behind("") // another cart of the same client
	next.add(kettle, 1)
	for range 2 {
		next.buy(uuid.NewString(), "tok_declined", "").problem(http.StatusPaymentRequired, "payment-declined")
	}
	next.buy(uuid.NewString(), "tok_declined", "").tooMany("declined", 5, 3600)
	if n := s.units(lastTen); n != 10 {
		t.Errorf("%d of 10 units are on the shelf", n)
	}
	buyer := v.behind("browser")
	buyer.add(lastTen, 10)
	buyer.buy(uuid.NewString(), "tok_ok", "").want(http.StatusCreated, nil)
}

// What can't be a customer's makes nothing: no session, no cart, and no key in Redis but its limit's.
func TestVisitorsLeaveNothing(t *testing.T) {
	t.Parallel()
	s := limited(t)
	v := s.visitor()
	v.do("GET", "/v1/cart", nil).want(http.StatusOK, nil)
	v.do("GET", "/v1/orders", nil).want(http.StatusOK, nil)
	v.do("GET", "/v1/session", nil).want(http.StatusUnauthorized, nil)
	v.do("DELETE", "/v1/cart/items/"+kettle, nil).want(http.StatusOK, nil)
	v.do("DELETE", "/v1/cart/discount", nil).want(http.StatusOK, nil)
	v.do("PUT", "/v1/cart/discount", map[string]string{"code": tenOff}).problem(http.StatusConflict, "cart-empty")
	v.do("POST", "/v1/cart/items", map[string]any{"sku": "NO-SUCH-SKU", "quantity": 1}).problem(http.StatusUnprocessableEntity, "invalid-request")
	v.do("PUT", "/v1/cart/items/NO-SUCH-SKU", map[string]any{"quantity": 1}).problem(http.StatusNotFound, "not-found")
	v.buy(uuid.NewString(), "tok_ok", "").problem(http.StatusConflict, "cart-empty")
	v.tryPassword(uuid.NewString()+"@example.com", "wrong").problem(http.StatusUnauthorized, "wrong-credentials")
	v.do("DELETE", "/v1/session", nil).want(http.StatusNoContent, nil)
	if c := v.cookie(); c != nil {
		t.Errorf("got the cookie %v", c)
	}
	if n := one[int](s, "SELECT count(*) FROM cart"); n != 0 {
		t.Errorf("there are %d carts", n)
	}
}

// Redis frozen: limits are counted here, the metrics say so, and it is no reason to refuse anybody; what takes no
// session is answered. Redis back: they are counted there again.
func TestLimitsWithoutRedis(t *testing.T) {
	t.Parallel()
	f := openFragile(t, "limit-login-client=20/1h")
	if strings.HasPrefix(f.redis.Kind(), "miniredis") {
		t.Skip("no Redis server on this machine, and miniredis can't be frozen")
	}
	local := func() float64 { return f.metric("shop_limits_local", dto.MetricType_GAUGE) }
	f.visitor().do("GET", "/v1/cart", nil).want(http.StatusOK, nil)
	f.must(func(f *fragile) error { return f.redis.Pause() })
	for range 20 {
		f.visitor().do("GET", "/v1/cart", nil).want(http.StatusOK, nil) // nobody in particular
	}
	f.visitor().tryPassword(uuid.NewString()+"@example.com", "wrong").problem(http.StatusUnauthorized, "wrong-credentials")
	if local() != 1 {
		t.Error("the metrics don't say that limits are counted by this worker alone")
	}
	attacker := f.visitor()
	passed := 0
	for range 30 {
		if r := attacker.tryPassword(uuid.NewString()+"@example.com", "wrong"); r.status != http.StatusTooManyRequests {
			passed++
		}
	}
	if passed != 20 {
		t.Errorf("%d attempts to log in were let through, want 20", passed)
	}
	f.must(func(f *fragile) error { return f.redis.Resume() })
	for local() != 0 { //nolint:revive // until it is back; the test's time limit bounds it
	}
	f.visitor().do("GET", "/v1/cart", nil).want(http.StatusOK, nil)
}

// Behind a proxy that nobody has named, strangers can't be told apart, and so
// none is refused for another: neither counted, nor because a session is
// refused at the moment.
func TestStrangersBehindAnUnnamedProxy(t *testing.T) {
	t.Parallel()
	s := open(t, func(c *app.Config) {
		c.TrustedProxies, c.LimitTimeout = "none", app.RequestTimeout
		c.Tunables = tunables(t, "limit-requests-session=8/1h", "limit-requests-client=1/1h", "limit-requests-address=1/1h")
	})
	greedy := s.visitor()
	item := map[string]any{"sku": kettle, "quantity": 1}
	var last reply
	for range 9 {
		last = greedy.do("POST", "/v1/cart/items", item)
	}
	last.problem(http.StatusTooManyRequests, "too-many-requests")
	for range 3 {
		s.visitor().do("GET", "/v1/cart", nil).want(http.StatusOK, nil)
	}
}
