package app_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"

	"doorbuster/app"
)

// Limits are changed while the shop is open, from the next request on.
func TestLimitsChange(t *testing.T) {
	t.Parallel()
	settings := tunables(t, "limit-requests-client=2/1h")
	s := open(t, func(c *app.Config) { c.Tunables, c.LimitTimeout = settings, app.RequestTimeout })
	v := s.visitor()
	for range 2 {
		v.do("GET", "/v1/cart", nil).want(http.StatusOK, nil)
	}
	v.do("GET", "/v1/cart", nil).tooMany("requests", 2, 3600)
	for _, c := range []struct {
		quota string
		want  int
	}{{"off", http.StatusOK}, {"2/1h", http.StatusTooManyRequests}, {"1000/1h", http.StatusOK}} {
		if err := settings.Set("limit-requests-client", c.quota); err != nil {
			t.Fatal(err)
		}
		if r := v.do("GET", "/v1/cart", nil); r.status != c.want {
			t.Errorf("with %s: got %d, want %d", c.quota, r.status, c.want)
		}
	}
}

// What is set is what was meant, or refused in a sentence; the defaults are
// complete, and can be written down.
func TestTunables(t *testing.T) {
	t.Parallel()
	tunables := app.NewTunables()
	if err := tunables.SetLimits(app.DefaultLimits()); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	if n := len(app.TunableKeys()); n != 21 {
		t.Errorf("got %d settings, want 20 limits and a share", n)
	}
	for _, good := range []string{"", " login-email = off", "login-email=1/1s,, register-client=off"} {
		if err := tunables.SetLimits(strings.ReplaceAll(good, " = ", "=")); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"login-email", "login-email=", "email=1/1s", "login-email=1/1s;register-client=off", "=", "login=1/1s"} {
		if err := tunables.SetLimits(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	for key, value := range maps.All(map[string]string{"password-share": "x", "colour": "red", "limit-": "1/1s", "limit": "1/1s", "login-email": "1/1s"}) {
		if err := tunables.Set(key, value); err == nil {
			t.Errorf("%s=%s is taken", key, value)
		}
	}
}
