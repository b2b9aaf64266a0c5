package app

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// isText reports whether all strings of a valid JSON document are Unicode:
// UTF-8, and escaped surrogates in pairs (RFC 8259, section 8). encoding/json
// puts U+FFFD for what is not, and passwords that differ would be one.
func isText(document []byte) bool {
	if !utf8.Valid(document) {
		return false
	}
	for rest := document; ; {
		i := bytes.IndexByte(rest, '\\')
		if i < 0 {
			return true
		}
		rest = rest[i:]
		unit, ok := escapedUnit(rest)
		switch {
		case !ok:
			rest = rest[2:] // another escape, which may be that of a backslash
		case !utf16.IsSurrogate(unit):
			rest = rest[6:]
		default:
			second, ok := escapedUnit(rest[6:])
			if !ok || utf16.DecodeRune(unit, second) == utf8.RuneError {
				return false
			}
			rest = rest[12:]
		}
	}
}

// escapedUnit reads a UTF-16 code unit that is written \uXXXX.
func escapedUnit(text []byte) (unit rune, ok bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	return rune(n), err == nil
}
