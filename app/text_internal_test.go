package app

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

var notText = []string{
	"\"\xff\"", "\"a\xc3\"", "\"\xed\xa0\x80\"", `"\ud800"`, `"\uDFFF"`, `"\ud800\ud800"`, `"\udc00\ud800"`, `"\ud83d\n"`, `"\ud83dA"`, `"\\\ud800"`, `{"\ud800": 1}`, `["a", "\udc00"]`,
}

func TestIsText(t *testing.T) {
	t.Parallel()
	for _, document := range []string{`""`, `{}`, `"\ud83d\uDE00"`, `"\\ud800"`, `"\\\\ud800"`, `"\u0041\"\\"`, `"\ufffd"`, `"�"`, `"\ud83d\ude00\ud83d\ude00"`, `{"a\\": "\/\b"}`} {
		if !isText([]byte(document)) {
			t.Errorf("%s is refused", document)
		}
	}
	for _, document := range notText {
		if isText([]byte(document)) {
			t.Errorf("%q is taken", document)
		}
	}
}

// FuzzIsText: what is taken is what encoding/json decodes without putting
// U+FFFD for anything, which it does for exactly what is no Unicode.
func FuzzIsText(f *testing.F) {
	for _, document := range notText {
		f.Add(document)
	}
	f.Add(`{"a": "\ud83d\ude00\\ud800", "�": "\ufffd"}`)
	f.Fuzz(func(t *testing.T, document string) {
		var text string
		if json.Unmarshal([]byte(document), &text) != nil {
			return
		}
		said := strings.Count(document, "\ufffd") + strings.Count(strings.ToLower(document), `\ufffd`)
		if said > 0 && utf8.ValidString(document) {
			return // it can't be told apart from what was put in
		}
		if got, want := isText([]byte(document)), !strings.Contains(text, "\ufffd"); got != want {
			t.Errorf("%q, decoded to %q: got %v, want %v", document, text, got, want)
		}
	})
}
