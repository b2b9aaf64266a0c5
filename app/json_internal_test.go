package app

import (
	"encoding/json"
	"reflect"
	"testing"
)

// What plainJSON returns means the same to encoding/json, unless it refuses it, and
// a second pass changes nothing.
func FuzzPlainJSON(f *testing.F) {
	for _, s := range []string{
		`{"a": 1.0, "b": [1e0, {"c": -0.0, "d": "1.0"}], "e": 12e-1}`, `{"a": 1, "a": 2}`, `1e400`, `[[[`, `{"a"`, "1.0 2.0", `{"a": {"a": 1e2}}`, `"\ud800"`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		plain, err := plainJSON([]byte(s))
		if err != nil {
			return
		}
		var before, after any
		errBefore, errAfter := json.Unmarshal([]byte(s), &before), json.Unmarshal(plain, &after)
		if (errBefore == nil) != (errAfter == nil) || !reflect.DeepEqual(before, after) {
			t.Errorf("%q became %q: %v, %v and %v, %v", s, plain, before, errBefore, after, errAfter)
		}
		if again, err := plainJSON(plain); err != nil || string(again) != string(plain) {
			t.Errorf("%q became %q, and then %q, %v", s, plain, again, err)
		}
	})
}
