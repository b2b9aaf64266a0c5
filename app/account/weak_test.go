package account_test

import (
	"errors"
	"strings"
	"testing"

	"doorbuster/app/account"
)

// What everybody tries first is refused, and what people choose with care is
// not.
func TestCheckPassword(t *testing.T) {
	t.Parallel()
	const email = "ada.lovelace@analytical.example"
	for _, weak := range []string{
		"password", "Password", "PASSWORD1", "password123!", "P@ssw0rd", "p@ssw0rd2026", "welcome1!", "Letmein123", "changeme",
		"12345678", "123456789", "1234567890", "0123456789", "87654321", "9876543210", "98765432109", "abcdefgh", "hgfedcba", "ABCDEFGHIJ",
		"qwertyuiop", "1q2w3e4r", "iloveyou", "iloveyou2", "dragon123", "doorbuster", "Doorbuster2026", "blackfriday!",
		"aaaaaaaa", "        ", "\t\t\t\t\t\t\t\t", " \u00a0\u2003\t \u3000  ", "12121212", "abcabcabc", "ababababab", "zzzzzzzzzzzzzzzzzzzz", strings.Repeat("🔑", 8),
		email, "Ada.Lovelace@Analytical.Example", "ada.lovelace", "ada.lovelace1815", "analytical", "Analytical!1", "analytical.example",
	} {
		if err := account.CheckPassword(weak, email); !errors.Is(err, account.ErrWeakPassword) {
			t.Errorf("%q: got %v, want ErrWeakPassword", weak, err)
		}
	}
	for _, short := range []string{"", "hunter2", "1234567", "e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301", "éééé"} {
		if err := account.CheckPassword(short, email); !errors.Is(err, account.ErrShortPassword) {
			t.Errorf("%q: got %v, want ErrShortPassword", short, err)
		}
	}
	for _, good := range []string{
		"correct horse battery", "correct horse", "long enough", "pässwörd 🔑", " spaces in it ", "k8#mQz!p", "дом у моря", "password of my own", "not12345678", "0x7fffffff",
	} {
		if err := account.CheckPassword(good, email); err != nil {
			t.Errorf("%q: got %v, want it taken", good, err)
		}
	}
	if err := account.CheckPassword("12@$%&!?", "@"); err != nil { // nothing is left of it, and nothing is known of the owner
		t.Errorf("got %v", err)
	}
}
