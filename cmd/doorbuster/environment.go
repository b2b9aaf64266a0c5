package main

import (
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"doorbuster/cluster"
)

// withoutFlag returns arguments without a flag that takes a value. Everybody on a machine can read the arguments of a process.
func withoutFlag(args []string, flag string) []string {
	var kept []string
	for i := 0; i < len(args); i++ {
		switch {
		case args[i] == "--":
			return append(kept, args[i:]...)
		case args[i] == flag:
			i++ // its value
		case !strings.HasPrefix(args[i], flag+"="):
			kept = append(kept, args[i])
		}
	}
	return kept
}

// lookUpUser returns a user with its groups; nil for no name.
func lookUpUser(name string) (*cluster.User, error) {
	if name == "" {
		return nil, nil
	}
	fail := func(err error) (*cluster.User, error) { return nil, fmt.Errorf("WORKER_USER %s: %w", name, err) }
	account, err := user.Lookup(name)
	if err != nil {
		return fail(err)
	}
	ids, err := account.GroupIds()
	if err != nil {
		return fail(err)
	}
	var numbers []uint32
	for _, id := range slices.Concat([]string{account.Uid, account.Gid}, ids) {
		number, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return fail(err)
		}
		numbers = append(numbers, uint32(number))
	}
	return &cluster.User{UID: numbers[0], GID: numbers[1], Groups: numbers[2:]}, nil
}

// readEnvFile reads variables from a file, in the format of EnvironmentFile= (systemd.exec(5)).
func readEnvFile(path string) ([]string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("ENV_FILE: %w", err)
	}
	env, err := parseEnv(string(raw))
	if err != nil {
		return nil, fmt.Errorf("ENV_FILE %s, %w", path, err)
	}
	return env, nil
}

// parseEnv takes lines of NAME=value. Empty lines and those that begin with # or ; mean nothing. A value may be quoted by '
// or ", also over several lines. A backslash takes what follows literally, between ' excepted, and between " only where
// that is one of "\`$; at the end of a line it goes on with the next one. Space around an unquoted value is not part of it.
// There is no substitution.
func parseEnv(text string) ([]string, error) {
	var env []string
	p := envParser{rest: text, line: 1}
	for p.rest != "" {
		begin := p.line
		switch p.rest[0] {
		case '\n', ' ', '\t', '\r':
			p.next()
			continue
		case '#', ';':
			p.until("\n")
			continue
		}
		name, found := p.until("=\n")
		if name = strings.TrimSpace(name); found != '=' || !isVariable(name) {
			return nil, fmt.Errorf("line %d: it is not NAME=value", begin)
		}
		value, err := p.value()
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", begin, err)
		}
		env = append(env, name+"="+value)
	}
	return env, nil
}

func isVariable(name string) bool {
	for i, r := range name {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}

type envParser struct {
	rest string
	line int
}

// next takes one byte; 0 at the end.
func (p *envParser) next() byte {
	if p.rest == "" {
		return 0
	}
	c := p.rest[0]
	p.rest = p.rest[1:]
	if c == '\n' {
		p.line++
	}
	return c
}

// until takes what comes before one of the ends, and that; 0 at the end of the text.
func (p *envParser) until(ends string) (text string, end byte) {
	var taken strings.Builder
	for {
		c := p.next()
		if c == 0 || strings.IndexByte(ends, c) >= 0 {
			return taken.String(), c
		}
		taken.WriteByte(c)
	}
}

// value takes the rest of an assignment.
func (p *envParser) value() (string, error) {
	var value strings.Builder
	kept := 0 // how much of it no space is trimmed from
	for {
		switch c := p.next(); c {
		case 0, '\n':
			text := value.String()
			return text[:kept] + strings.TrimRight(text[kept:], " \t\r"), nil
		case '\'', '"':
			if err := p.quoted(&value, c); err != nil {
				return "", err
			}
			kept = value.Len()
		case '\\':
			if c := p.next(); c != '\n' && c != 0 {
				value.WriteByte(c)
			}
			kept = value.Len()
		case ' ', '\t':
			if value.Len() > 0 || kept > 0 {
				value.WriteByte(c)
			}
		default:
			value.WriteByte(c)
		}
	}
}

// quoted takes what comes up to the end of a quotation.
func (p *envParser) quoted(value *strings.Builder, quote byte) error {
	for {
		switch c := p.next(); {
		case c == 0:
			return fmt.Errorf("the quotation by %c has no end", quote)
		case c == quote:
			return nil
		case c == '\\' && quote == '"':
			switch escaped := p.next(); {
			case escaped == '\n' || escaped == 0:
			case strings.IndexByte("\"\\`$", escaped) >= 0:
				value.WriteByte(escaped)
			default:
				value.WriteByte(c)
				value.WriteByte(escaped)
			}
		default:
			value.WriteByte(c)
		}
	}
}
