package app

import (
	"strings"
	"testing"
	"unicode"
)

// Addresses of one mailbox are the same, and others stay apart.
func TestNormalEmail(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"ada@example.com":                      "ada@example.com",
		"Ada.Lovelace+Tag@Example.COM":         "ada.lovelace+tag@example.com",
		"a@b\u00fccher.example":                "a@xn--bcher-kva.example",
		"a@xn--bcher-kva.example":              "a@xn--bcher-kva.example",
		"ren\u00e9@example.com":                "ren\u00e9@example.com",
		"rene\u0301@example.com":               "ren\u00e9@example.com",
		"o'neil@example.museum":                "o'neil@example.museum",
		strings.Repeat("a", 64) + "@b.example": strings.Repeat("a", 64) + "@b.example",
	} {
		if got, err := normalEmail(address); got != want || err != nil {
			t.Errorf("%q: got %q, %v, want %q", address, got, err, want)
		}
	}
	for _, address := range []string{
		"", "a", "a@", "@b.example", "a@localhost", "a@127.0.0.1", "a@[127.0.0.1]", "a@-b.example", "a@b-.example", "a@127.1", "a@b.1",
		"a@example.", "Ada <a@b.example>", "a b@c.example",
		"\u0130@b.example", "\u212aim@b.example", "\u202ea@b.example", "a\u200b@b.example", "a\u00ad@b.example", "a@b\u202e.example",
		strings.Repeat("a", 65) + "@b.example", "a@" + strings.Repeat("b", 64) + ".example", "a\x00@b.example",
	} {
		if got, err := normalEmail(address); err == nil {
			t.Errorf("%q: got %q, want it refused", address, got)
		}
	}
}

// No character of Unicode makes an address that of ASCII alone, which would be
// somebody else's.
func TestNormalEmailNeverTurnsIntoAnother(t *testing.T) {
	t.Parallel()
	for r := rune(unicode.MaxASCII + 1); r <= unicode.MaxRune; r++ {
		got, err := normalEmail(string(r) + "x@b.example")
		if err == nil && strings.IndexFunc(got, func(r rune) bool { return r > unicode.MaxASCII }) < 0 {
			t.Errorf("%U: %q", r, got)
		}
	}
}

// What a log-in looks for is the address as new accounts have it and as earlier
// releases stored it, and never somebody else's.
func TestLogInEmail(t *testing.T) {
	t.Parallel()
	for address, want := range map[string][2]string{
		"Ada@Example.com":                      {"ada@example.com", "ada@example.com"},
		"ada@B\u00fccher.example":              {"ada@xn--bcher-kva.example", "ada@b\u00fccher.example"},
		"Re\u0301ne@example.com":               {"r\u00e9ne@example.com", "re\u0301ne@example.com"},
		"a@LOCALHOST":                          {"a@localhost", "a@localhost"},
		"a@127.0.0.1":                          {"a@127.0.0.1", "a@127.0.0.1"},
		strings.Repeat("A", 65) + "@b.example": {strings.Repeat("a", 65) + "@b.example", strings.Repeat("a", 65) + "@b.example"},
	} {
		if normal, old, err := logInEmail(address); normal != want[0] || old != want[1] || err != nil {
			t.Errorf("%q: got %q, %q, %v, want %q", address, normal, old, err, want)
		}
	}
	for _, address := range []string{"", "a", "Ada <a@b.example>", "\u0130@b.example", "\u212aim@localhost", "a\x00@b.example"} {
		if normal, old, err := logInEmail(address); err == nil {
			t.Errorf("%q: got %q, %q, want it refused", address, normal, old)
		}
	}
}
