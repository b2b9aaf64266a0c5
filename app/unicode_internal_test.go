package app

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// What passes is decoded as it was sent: no text in it becomes another.
func FuzzCheckUnicode(f *testing.F) {
	for _, text := range []string{
		`"\ud800"`, `"\udfff"`, `"\ud800x"`, `"\ud83d\ude00"`, `"\ude00\ud83d"`, `"\ud83d\ud83d\ude00"`, `"\\ud800"`, `"\\\ud800"`, `"\u00e4"`, `"ä"`, "\"\xff\"",
		"\"\xed\xa0\x80\"", `"\ufffd"`, `"�"`, `"\uD83D\uDE00"`, `{"a\udead": 1}`, `"\u12"`, `"\`, ``,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var decoded any
		if json.Unmarshal(data, &decoded) != nil {
			return
		}
		replaced := replacements(decoded)
		meant := strings.Count(string(data), "\ufffd") + strings.Count(strings.ToLower(string(data)), `\ufffd`)
		if err := checkUnicode(data); err == nil && replaced > meant {
			t.Errorf("%q passes, and is decoded as %q", data, decoded)
		} else if err != nil && replaced == 0 && utf8.Valid(data) && !strings.Contains(string(data), `":`) { // a key may come twice, and be lost
			t.Errorf("%q is refused: %v", data, err)
		}
	})
}

// replacements counts U+FFFD in the texts of a JSON value.
func replacements(v any) (n int) {
	switch v := v.(type) {
	case string:
		return strings.Count(v, "\ufffd")
	case []any:
		for _, e := range v {
			n += replacements(e)
		}
	case map[string]any:
		for k, e := range v {
			n += replacements(k) + replacements(e)
		}
	}
	return n
}
