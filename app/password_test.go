package app_test

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

func (v *visitor) changePassword(current, next string) reply {
	v.shop.t.Helper()
	return v.do("PUT", "/v1/account/password", map[string]string{"current_password": current, "new_password": next})
}

// Who knows the password changes it, and is logged in nowhere else then; who
// does not has guessed, and nothing has changed.
func TestChangePassword(t *testing.T) {
	t.Parallel()
	const next = "another horse battery"
	s := limited(t, "limit-login-browser=2/1h")
	email := uuid.NewString() + "@example.com"
	home, away, stranger := s.visitor(), s.visitor(), s.visitor()
	home.register(email)
	home.add(kettle, 2)
	away.logIn(email)
	stranger.changePassword(password, next).problem(http.StatusUnauthorized, "not-logged-in")

	before := s.books()
	if p := home.changePassword(password, "password1").problem(http.StatusUnprocessableEntity, "invalid-request"); p.Errors[0].Field != "new_password" {
		t.Errorf("a weak one: got %+v", p.Errors)
	}
	if p := home.changePassword(password, email).problem(http.StatusUnprocessableEntity, "invalid-request"); p.Errors[0].Field != "new_password" {
		t.Errorf("the address: got %+v", p.Errors)
	}
	for range 2 {
		away.changePassword("wrong", next).problem(http.StatusUnauthorized, "wrong-credentials")
	}
	away.changePassword(password, next).tooMany("login", 2, 3600)
	if diff := cmp.Diff(before, s.books()); diff != "" {
		t.Errorf("something has changed: %s", diff)
	}

	old := home.cookie().Value
	home.changePassword(password, next).want(http.StatusNoContent, nil)
	home.do("GET", "/v1/session", nil).want(http.StatusOK, nil)
	if c := home.cart(); len(c.Items) != 1 || c.Items[0].Quantity != 2 {
		t.Errorf("the cart has changed: %+v", c.Items)
	}
	for name, token := range map[string]string{"the token before": old, "the other browser": away.cookie().Value} {
		r := s.visitor().do("GET", "/v1/session", nil, "Cookie", "session="+token)
		if r.status != http.StatusUnauthorized {
			t.Errorf("%s: got %d, want to be logged out", name, r.status)
		}
	}
	s.visitor().tryPassword(email, password).problem(http.StatusUnauthorized, "wrong-credentials")
	s.visitor().tryPassword(email, next).want(http.StatusOK, nil)
	home.changePassword(next, password).want(http.StatusNoContent, nil) // the browser is as known as before
}

// All browsers of an account are logged out at once, and nobody else's.
func TestLogOutEverywhere(t *testing.T) {
	t.Parallel()
	s := open(t)
	email := uuid.NewString() + "@example.com"
	s.visitor().do("DELETE", "/v1/sessions", nil).problem(http.StatusUnauthorized, "not-logged-in")
	browsers := []*visitor{s.visitor(), s.visitor(), s.visitor()}
	browsers[0].register(email)
	browsers[1].logIn(email)
	browsers[2].logIn(email)
	browsers[2].logIn(email) // under a new token
	guest, other := s.visitor(), s.visitor()
	guest.add(kettle, 1)
	other.register(uuid.NewString() + "@example.com")
	browsers[1].do("DELETE", "/v1/session", nil).want(http.StatusNoContent, nil)
	browsers[2].do("GET", "/v1/session", nil).want(http.StatusOK, nil)

	browsers[0].do("DELETE", "/v1/sessions", nil).want(http.StatusNoContent, nil)
	for i, v := range browsers {
		if r := v.do("GET", "/v1/session", nil); r.status != http.StatusUnauthorized {
			t.Errorf("browser %d: got %d, want to be logged out", i, r.status)
		}
	}
	if c := guest.cart(); len(c.Items) != 1 {
		t.Errorf("the guest's cart is gone: %+v", c.Items)
	}
	other.do("GET", "/v1/session", nil).want(http.StatusOK, nil)
	browsers[0].logIn(email)
	browsers[0].do("GET", "/v1/session", nil).want(http.StatusOK, nil)
}
