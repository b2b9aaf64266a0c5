//go:build unix

package main_test

import (
	"net/http"
	"strings"
	"testing"

	"doorbuster/app/dbtest"
)

// S2: a limit is one for all workers, and is changed while they serve: for those that are there, and those that come later.
func TestSetLimit(t *testing.T) {
	t.Parallel()
	s := openShop(t, "WORKERS=2")
	for _, c := range []struct{ setting, says string }{
		{"limit-requests-client=many", `"many" is no quota: write units/window, such as 30/1m`},
		{"limit-nothing=1/1s", "limit-login-email"},
		{"password-share=0", "1 to 100 percent"},
	} {
		if code, stdout, stderr := s.do("set", c.setting); code != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, c.says) {
			t.Errorf("set %s: got exit code %d, output %q, errors %q", c.setting, code, stdout, stderr)
		}
	}
	const quota = "limit-requests-client=5/1h"
	if code, stdout, stderr := s.do("set", quota); code != 0 || stdout != "limit-requests-client is 5/1h on the master and 2 workers" {
		t.Fatalf("set: got exit code %d, output %q, errors %q", code, stdout, stderr)
	}
	// ask is one request of somebody without a cookie, over a connection of its own.
	ask := func(from string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url("/v1/cart"), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Forwarded-For", from)
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	passed := func(from string) (n int) {
		t.Helper()
		for range 40 {
			if ask(from) == http.StatusOK {
				n++
			}
		}
		return n
	}
	// Redis may be slow on a machine with too much to do; then each worker counts its share, rounded up.
	if n := passed(newAddress()); n < 5 || n > 5+3+3 {
		t.Errorf("got %d requests through on two workers, want 5", n)
	}
	s.reload()
	if n := passed(newAddress()); n < 5 || n > 5+3+3 {
		t.Errorf("after a reload: got %d requests through, want 5", n)
	}
	if code, _, stderr := s.do("set", "limit-requests-client=off"); code != 0 {
		t.Fatalf("set: %s", stderr)
	}
	if n := passed(newAddress()); n != 40 {
		t.Errorf("without the limit: got %d requests through, want all 40", n)
	}
	s.close()
}

// M7: limits that can't be are told in one sentence.
func TestBadLimits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ setting, says string }{
		{"LIMITS=login-email=often", "LIMITS is wrong: "},
		{"LIMITS=kettles=1/1s", `LIMITS is wrong: there is no limit "kettles"`},
		{"PASSWORD_SHARE=200", "PASSWORD_SHARE is wrong: "},
		{"TRUSTED_PROXIES=everybody", `TRUSTED_PROXIES has "everybody" in it`},
	} {
		env := []string{c.setting, "DATABASE_URL=" + dbtest.Database(t), "REDIS_URL=" + dbtest.Redis(t), "ADDR=127.0.0.1:0"}
		code, _, stderr := do(t, env, "worker")
		if code != 1 || !strings.Contains(stderr, c.says) {
			t.Errorf("%s: got exit code %d: %s", c.setting, code, stderr)
		}
	}
}
