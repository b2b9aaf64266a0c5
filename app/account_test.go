package app_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"doorbuster/app"
)

const password = "correct horse battery"

func (v *visitor) register(email string) {
	v.shop.t.Helper()
	v.do("POST", "/v1/account", map[string]string{"email": email, "password": password, "name": "Ada"}).want(http.StatusCreated, nil)
}

func (v *visitor) logIn(email string) {
	v.shop.t.Helper()
	v.do("POST", "/v1/session", map[string]string{"email": email, "password": password}).want(http.StatusOK, nil)
}

func (v *visitor) cookie() *http.Cookie {
	v.shop.t.Helper()
	base, err := url.Parse(v.shop.url)
	if err != nil {
		v.shop.t.Fatal(err)
	}
	for _, c := range v.client.Jar.Cookies(base) {
		if c.Name == "session" {
			return c
		}
	}
	return nil
}

// E4: register, who am I, log out, log in.
func TestAccount(t *testing.T) {
	t.Parallel()
	s := open(t)
	v := s.visitor()
	v.do("GET", "/v1/session", nil).problem(http.StatusUnauthorized, "not-logged-in")
	v.register("Ada@Example.com")
	var who app.Session
	v.do("GET", "/v1/session", nil).want(http.StatusOK, &who)
	if who.Account.Email != "ada@example.com" || who.Account.Name != "Ada" {
		t.Errorf("got %+v", who.Account)
	}
	v.do("DELETE", "/v1/session", nil).want(http.StatusNoContent, nil)
	v.do("GET", "/v1/session", nil).problem(http.StatusUnauthorized, "not-logged-in")
	wrong := v.do("POST", "/v1/session", map[string]string{"email": "ada@example.com", "password": "wrong"}).problem(http.StatusUnauthorized, "wrong-credentials")
	unknown := v.do("POST", "/v1/session", map[string]string{"email": "eve@example.com", "password": "wrong"}).problem(http.StatusUnauthorized, "wrong-credentials")
	if wrong.Detail != unknown.Detail {
		t.Errorf("an unknown address is told apart: %q, %q", wrong.Detail, unknown.Detail)
	}
	v.logIn("ADA@example.com")
	v.do("GET", "/v1/session", nil).want(http.StatusOK, nil)
}

// Registration tells no more than a log-in who has an account: with another password
// the answers are the same, and with the right one it is a log-in.
func TestRegisteringAKnownAddress(t *testing.T) {
	t.Parallel()
	s := open(t)
	email := uuid.NewString() + "@example.com"
	home := s.visitor()
	home.register(email)
	var registered app.Session
	home.do("GET", "/v1/session", nil).want(http.StatusOK, &registered)
	before := s.books()

	wrong := map[string]string{"email": email, "password": "another horse battery"}
	stranger := s.visitor()
	asRegistration := stranger.do("POST", "/v1/account", wrong)
	asLogIn := stranger.do("POST", "/v1/session", wrong)
	told := func(r reply) app.Problem {
		p := r.problem(http.StatusUnauthorized, "wrong-credentials")
		p.RequestID = ""
		return p
	}
	if diff := cmp.Diff(told(asLogIn), told(asRegistration), cmpopts.IgnoreUnexported(app.Problem{})); diff != "" {
		t.Errorf("(-log-in +registration):\n%s", diff)
	}
	if got, want := asRegistration.header.Get("WWW-Authenticate"), asLogIn.header.Get("WWW-Authenticate"); got != want {
		t.Errorf("got WWW-Authenticate %q, want %q", got, want)
	}
	if c := stranger.cookie(); c != nil {
		t.Errorf("the stranger has the cookie %v", c)
	}
	if diff := cmp.Diff(before, s.books()); diff != "" {
		t.Errorf("the stranger has changed something: %s", diff)
	}

	away := s.visitor()
	away.add(kettle, 2)
	var again app.Session
	away.do("POST", "/v1/account", map[string]string{"email": email, "password": password, "name": "Eve"}).want(http.StatusOK, &again)
	if diff := cmp.Diff(registered, again); diff != "" {
		t.Errorf("(-registered +registered again):\n%s", diff)
	}
	if c := home.cart(); len(c.Items) != 1 || c.Items[0].Quantity != 2 {
		t.Errorf("the guest's cart was not merged: %+v", c.Items)
	}
	if n := one[int](s, "SELECT count(*) FROM account WHERE email = $1 AND name = 'Ada'", email); n != 1 {
		t.Errorf("there are %d accounts as they were registered, want 1", n)
	}
}

// An account that was stored under an old form of its address is its owner's: it is
// found, its browser is known, and nobody gets a second one. An address that new
// accounts can't have is still an old one's.
func TestOldAddresses(t *testing.T) {
	t.Parallel()
	s := limited(t, "limit-login-email=2/1h", "limit-login-browser=9/1h")
	id := uuid.NewString()
	for old, email := range map[string]string{
		id + "@b\u00fccher.example":        id + "@B\u00fccher.example",
		"re\u0301ne" + id + "@example.com": "RE\u0301NE" + id + "@example.com",
		id + "@localhost":                  id + "@LOCALHOST",
	} {
		first := s.visitor()
		template := uuid.NewString() + "@example.com"
		first.register(template)
		if _, err := s.pool.Exec(t.Context(), "UPDATE account SET email = $1 WHERE email = $2", old, template); err != nil {
			t.Fatal(err)
		}
		v := s.visitor()
		v.logIn(email)
		var who app.Session
		v.do("GET", "/v1/session", nil).want(http.StatusOK, &who)
		if who.Account.Email != old {
			t.Errorf("%+q: got the account of %+q, want %+q", email, who.Account.Email, old)
		}
		s.visitor().tryPassword(email, "wrong").problem(http.StatusUnauthorized, "wrong-credentials")
		if !strings.HasSuffix(old, "localhost") {
			again := map[string]string{"email": email, "password": "another horse battery"}
			s.visitor().do("POST", "/v1/account", again).problem(http.StatusUnauthorized, "wrong-credentials")
		} else {
			s.visitor().tryPassword(email, "wrong").problem(http.StatusUnauthorized, "wrong-credentials")
		}
		s.visitor().tryPassword(email, password).tooMany("login", 2, 3600)
		v.logIn(email) // the browser is known
	}
	if n := one[int](s, "SELECT count(*) FROM account"); n != 3 {
		t.Errorf("there are %d accounts, want 3", n)
	}
}

// S1: a login on one worker is valid on another, and outlives both.
func TestSessionsAreShared(t *testing.T) {
	t.Parallel()
	s := open(t)
	v := s.visitor()
	v.register("ada@example.com")
	v.add(kettle, 3)
	same := func(c *app.Config) { c.DatabaseURL = s.pool.Config().ConnString() }
	elsewhere := open(t, same).visitor()
	var who app.Session
	cookie := "session=" + v.cookie().Value
	elsewhere.do("GET", "/v1/session", nil, "Cookie", cookie).want(http.StatusOK, &who)
	if who.Account.Email != "ada@example.com" {
		t.Errorf("got %+v", who.Account)
	}
	var c app.Cart
	elsewhere.do("GET", "/v1/cart", nil, "Cookie", cookie).want(http.StatusOK, &c)
	if len(c.Items) != 1 || c.Items[0].Quantity != 3 {
		t.Errorf("got %+v", c.Items)
	}
}

// S1: the token changes at login, so that one that was planted before is worth nothing; a token that we never gave is
// not taken over; Redis does not hold the token itself.
func TestSessionTokens(t *testing.T) {
	t.Parallel()
	s := open(t)
	v := s.visitor()
	v.add(kettle, 1)
	guest := v.cookie().Value
	v.register("ada@example.com")
	member := v.cookie().Value
	if guest == member {
		t.Error("the token is the same after login")
	}
	other := s.visitor()
	other.do("GET", "/v1/session", nil, "Cookie", "session="+guest).problem(http.StatusUnauthorized, "not-logged-in")
	forged := other.do("POST", "/v1/cart/items", map[string]any{"sku": kettle, "quantity": 1}, "Cookie", "session=forged").want(http.StatusOK, nil)
	if set := forged.header.Get("Set-Cookie"); strings.Contains(set, "session=forged") || set == "" {
		t.Errorf("a forged token was answered with Set-Cookie %q", set)
	}
	for _, attribute := range []string{"HttpOnly", "SameSite=Lax", "Path=/"} {
		if !strings.Contains(forged.header.Get("Set-Cookie"), attribute) {
			t.Errorf("got Set-Cookie %q, want %s in it", forged.header.Get("Set-Cookie"), attribute)
		}
	}
	keys := redisKeys(t, member)
	if len(keys) != 0 {
		t.Errorf("Redis has keys with the token in them: %q", keys)
	}
	v.do("DELETE", "/v1/session", nil).want(http.StatusNoContent, nil)
	other.do("GET", "/v1/session", nil, "Cookie", "session="+member).problem(http.StatusUnauthorized, "not-logged-in")
}

// S1: an expired session is none: nobody is logged in, and nothing of the customer is shown.
func TestExpiredSession(t *testing.T) {
	t.Parallel()
	s := open(t)
	v := s.visitor()
	v.register("ada@example.com")
	v.add(kettle, 1)
	expireSession(t, v.cookie().Value)
	v.do("GET", "/v1/session", nil).problem(http.StatusUnauthorized, "not-logged-in")
	if c := v.cart(); len(c.Items) != 0 {
		t.Errorf("got %+v", c.Items)
	}
	v.buy("expired", "tok_ok", "").problem(http.StatusConflict, "cart-empty")
}

// S1: over TLS the cookie carries the __Host- prefix, which takes Secure, no Domain and the path /.
func TestSecureCookie(t *testing.T) {
	t.Parallel()
	s := open(t, func(c *app.Config) { c.PlainHTTP = false })
	r := s.visitor().do("POST", "/v1/cart/items", map[string]any{"sku": kettle, "quantity": 1}).want(http.StatusOK, nil)
	set := r.header.Get("Set-Cookie")
	if !strings.HasPrefix(set, "__Host-session=") || !strings.Contains(set, "Secure") || !strings.Contains(set, "Path=/;") || strings.Contains(set, "Domain") {
		t.Errorf("got Set-Cookie %q", set)
	}
}

// E2, E4: at login the guest's cart is added to the account's: quantities of the same SKU add up. Orders that the guest
// placed are in the account's history afterwards.
func TestLoginMerges(t *testing.T) {
	t.Parallel()
	s := open(t)
	home := s.visitor()
	home.register("ada@example.com")
	home.add(kettle, 1)
	home.add(lastTen, 2)

	away := s.visitor()
	away.add(shirtM, 1)
	away.buy("as-a-guest", "tok_ok", "").want(http.StatusCreated, nil)
	away.add(kettle, 4)
	away.add(shirtM, 1)
	away.logIn("ada@example.com")
	got := map[string]int{}
	for _, item := range away.cart().Items {
		got[item.SKU] = item.Quantity
	}
	if len(got) != 3 || got[kettle] != 5 || got[lastTen] != 2 || got[shirtM] != 1 {
		t.Errorf("got %v, want 5 kettles, 2 of the last ten, 1 shirt", got)
	}
	if c := home.cart(); len(c.Items) != 3 {
		t.Errorf("the other browser sees %+v", c.Items)
	}
	var history app.OrderList
	home.do("GET", "/v1/orders", nil).want(http.StatusOK, &history)
	if len(history.Items) != 1 {
		t.Errorf("got %d orders in the account's history, want the guest's", len(history.Items))
	}
	away.logIn("ada@example.com") // again: nothing is merged twice
	if c := away.cart(); len(c.Items) != 3 || c.Items[0].Quantity+c.Items[1].Quantity+c.Items[2].Quantity != 8 {
		t.Errorf("after a second login: got %+v", c.Items)
	}
}
