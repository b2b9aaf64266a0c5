package main

import (
	"slices"
	"strings"
	"testing"
)

// The format is that of systemd.exec(5).
func TestParseEnv(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"":                              nil,
		"\n\n  \n":                      nil,
		"A=1":                           {"A=1"},
		"A=1\r\nB=2\r\n":                {"A=1", "B=2"},
		"# A=1\n; B=2\nC=3":             {"C=3"},
		"A=":                            {"A="},
		"A= one  two  \n":               {"A=one  two"},
		"A=x=y":                         {"A=x=y"},
		"A=a#b;c":                       {"A=a#b;c"},
		"A=' kept '":                    {"A= kept "},
		`A="say \"hi\" \$5 \n"`:         {`A=say "hi" $5 \n`},
		`A='\'`:                         {`A=\`},
		"A='two\nlines'\nB=1":           {"A=two\nlines", "B=1"},
		"A=one\\\ntwo":                  {"A=onetwo"},
		"A=\"one\\\ntwo\"":              {"A=onetwo"},
		`A=a\ \ ` + "\n":                {"A=a  "},
		`A=a"b c"'d e'f`:                {"A=ab cd ef"},
		"A=$HOME":                       {"A=$HOME"},
		"  A=1\n\tB_2=2":                {"A=1", "B_2=2"},
		"URL=postgres://u:p@h/db?a=b&c": {"URL=postgres://u:p@h/db?a=b&c"},
	} {
		if got, err := parseEnv(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"A=1\nB":       "line 2: it is not NAME=value",
		"=1":           "line 1: it is not NAME=value",
		"export A=1":   "line 1: it is not NAME=value",
		"\n1A=1":       "line 2: it is not NAME=value",
		"A=1\nB='\n\n": "line 2: the quotation by ' has no end",
	} {
		if got, err := parseEnv(text); err == nil || err.Error() != want {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
	}
}

// Whatever is in the file: names are names, there are no zero bytes, and a value
// that is quoted comes back.
func FuzzParseEnv(f *testing.F) {
	for _, seed := range []string{"A=1", "A='x'\nB=\"\\\"\"", "#\n;\nA=\\", "A=' "} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		env, err := parseEnv(text)
		for _, kv := range env {
			if name, _, ok := strings.Cut(kv, "="); err == nil && (!ok || !isVariable(name)) {
				t.Errorf("%q: %q", text, kv)
			}
		}
		if strings.ContainsAny(text, "'\x00") {
			return
		}
		if env, err := parseEnv("A='" + text + "'"); err != nil || len(env) != 1 || env[0] != "A="+text {
			t.Errorf("%q in quotes: %q, %v", text, env, err)
		}
	})
}

func TestWithoutFlag(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"serve --secret x --addr y":            "serve --addr y",
		"serve --secret=x --addr=y":            "serve --addr=y",
		"--secret x serve --secret=y --secret": "serve",
		"serve --secretive x":                  "serve --secretive x",
		"serve -- --secret x":                  "serve -- --secret x",
		"serve":                                "serve",
	} {
		if got := strings.Join(withoutFlag(strings.Fields(line), "--secret"), " "); got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}
