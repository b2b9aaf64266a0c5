package app_test

import (
	"net/http"
	"testing"

	"github.com/google/uuid"
)

// To register an address that has an account is to guess its password, and costs as
// much, whichever way is taken. Who makes an account, or is logged in, has guessed
// nothing.
func TestRegistrationIsNoCheaperThanAGuess(t *testing.T) {
	t.Parallel()
	s := limited(t, "limit-login-email=4/1h", "limit-login-client=6/1h", "limit-register-client=4/1h")
	mail := func() string { return uuid.NewString() + "@example.com" }
	try := func(v *visitor, email, password string) reply {
		return v.do("POST", "/v1/account", map[string]string{"email": email, "password": password})
	}
	victim := mail()
	s.visitor().register(victim)
	prober := s.visitor()
	for range 2 {
		try(prober, victim, "wrong horse battery").problem(http.StatusUnauthorized, "wrong-credentials")
		prober.tryPassword(victim, "wrong").problem(http.StatusUnauthorized, "wrong-credentials")
	}
	try(prober, victim, "wrong horse battery").tooMany("login", 4, 3600)
	prober.tryPassword(victim, "wrong").tooMany("login", 4, 3600)
	try(s.visitor(), victim, password).tooMany("login", 4, 3600) // from anywhere

	// Two of six guesses and two of four accounts are left. Neither what is given
	// back nor what is refused takes any.
	customer := mail()
	try(prober, customer, password).want(http.StatusCreated, nil)
	for range 2 {
		try(prober.behind(""), customer, password).want(http.StatusOK, nil)
	}
	try(prober.behind(""), mail(), password).want(http.StatusCreated, nil)
	try(prober, mail(), password).tooMany("register", 4, 3600)
	prober.tryPassword(mail(), "wrong").problem(http.StatusUnauthorized, "wrong-credentials")
	prober.tryPassword(mail(), "wrong").problem(http.StatusUnauthorized, "wrong-credentials")
	prober.tryPassword(mail(), "wrong").tooMany("login", 6, 3600)
}

// What fails through our own fault costs nobody anything: neither a registration, nor
// a log-in, nor a new guest.
func TestOurFaultsCostNothing(t *testing.T) {
	t.Parallel()
	f := openFragile(t, "limit-register-client=2/1h", "limit-login-client=2/1h", "limit-guests-client=2/1h")
	v := f.visitor()
	account := map[string]string{"email": uuid.NewString() + "@example.com", "password": password}
	item := map[string]any{"sku": kettle, "quantity": 1}
	f.must(func(f *fragile) error { return f.postgres.Stop() })
	for range 4 {
		v.do("POST", "/v1/account", account).problem(http.StatusServiceUnavailable, "unavailable")
		v.do("POST", "/v1/session", account).problem(http.StatusServiceUnavailable, "unavailable")
		v.do("POST", "/v1/cart/items", item).problem(http.StatusServiceUnavailable, "unavailable")
	}
	if c := v.cookie(); c != nil {
		t.Errorf("got the cookie %v", c)
	}
	f.must(func(f *fragile) error { return f.postgres.Start(t.Context()) })
	v.behind("").eventually(http.StatusOK, "POST", "/v1/cart/items", item)
	v.behind("").do("POST", "/v1/cart/items", item).want(http.StatusOK, nil)
	v.behind("").do("POST", "/v1/cart/items", item).tooMany("guests", 2, 3600)
	v.do("POST", "/v1/account", account).want(http.StatusCreated, nil)
	account["email"] = uuid.NewString() + "@example.com"
	v.do("POST", "/v1/account", account).want(http.StatusCreated, nil)
	v.do("POST", "/v1/session", account).want(http.StatusOK, nil)
}
