//go:build unix

package main_test

import (
	"strings"
	"testing"

	"doorbuster/app/dbtest"
)

// A retention that is shorter than a session would take the cart of somebody who comes
// back.
func TestRetentionIsNoShorterThanASession(t *testing.T) {
	t.Parallel()
	const want = "CART_RETENTION is 24h0m0s: a guest may come back for 168h0m0s, so it has to be that at least, or 0 to keep carts for ever"
	if code, _, stderr := do(t, []string{"CART_RETENTION=24h"}, "worker", "--addr", "127.0.0.1:0"); code != 1 || !strings.Contains(stderr, want) {
		t.Errorf("got exit code %d: %s", code, stderr)
	}
}

// The command says what it does, and does what it says.
func TestForgetCommand(t *testing.T) {
	t.Parallel()
	database := dbtest.Database(t)
	env := []string{"DATABASE_URL=" + database, "REDIS_URL=" + dbtest.Redis(t)}
	ask(t, database, `WITH made AS (INSERT INTO account VALUES ('0190aaaa-0000-7000-8000-000000000001', 'ada.lovelace@forget.example', 'Ada', 'x')) SELECT ''`)
	for _, step := range []struct{ args, want string }{
		{"--dry-run Ada.Lovelace@Forget.Example", "would forget the account, and 0 lines in its cart\nwould forget 0 sessions\nwould forget the address of 0 orders and 0 allowances, which stay for the books as forgotten-"},
		{"Ada.Lovelace@Forget.Example", "forgot the account, and 0 lines in its cart\nforgot 0 sessions\nforgot the address of 0 orders"},
		{"Ada.Lovelace@Forget.Example", "nothing is known of Ada.Lovelace@Forget.Example"},
	} {
		code, stdout, stderr := do(t, env, append([]string{"forget"}, strings.Fields(step.args)...)...)
		if code != 0 || !strings.HasPrefix(stdout, step.want) {
			t.Errorf("forget %s: got exit code %d, output %q, errors %q, want %q", step.args, code, stdout, stderr, step.want)
		}
	}
	if code, _, stderr := do(t, env, "forget", "ada"); code != 1 || !strings.Contains(stderr, `"ada" is no e-mail address`) {
		t.Errorf("got exit code %d: %s", code, stderr)
	}
}
