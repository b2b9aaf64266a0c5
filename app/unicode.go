package app

import (
	"errors"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

var (
	errNotUTF8   = errors.New("is not UTF-8")
	errSurrogate = errors.New(`has half of a character: one of \ud800 to \udfff without the other`)
)

// checkUnicode refuses JSON whose texts encoding/json would change: it puts U+FFFD
// where bytes are not UTF-8, or where an escape names half a surrogate pair
// (RFC 8259, section 8.2). Two passwords or addresses would be one then.
func checkUnicode(data []byte) error {
	if !utf8.Valid(data) {
		return errNotUTF8
	}
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' {
			continue
		}
		first, ok := escapedUnit(data[i:])
		if !ok {
			i++ // another escape, such as \\
			continue
		}
		i += len(`\u0000`) - 1
		if !utf16.IsSurrogate(first) {
			continue
		}
		second, _ := escapedUnit(data[i+1:])
		if utf16.DecodeRune(first, second) == utf8.RuneError {
			return errSurrogate
		}
		i += len(`\u0000`)
	}
	return nil
}

// escapedUnit reads the UTF-16 code unit that an escape at the beginning stands for.
func escapedUnit(data []byte) (rune, bool) {
	if len(data) < len(`\u0000`) || data[0] != '\\' || data[1] != 'u' {
		return 0, false
	}
	unit, err := strconv.ParseUint(string(data[2:6]), 16, 16)
	return rune(unit), err == nil
}
