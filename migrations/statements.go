package migrations

import (
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A file is one migration, as far as its text says what it does.
type file struct {
	version int64
	name    string // 00009_agreements.sql
	// noTransaction says that each statement is a transaction of its own.
	noTransaction bool
	up, down      []string // statements, without comments and on one line each
	hasDown       bool
	// contractOf is the migration whose old form this one takes away, or 0.
	contractOf int64
}

// contractNote is the comment that says whose old form a migration takes away.
var contractNote = regexp.MustCompile(`^-- Contract of (\d{5}): \S`)

// readFiles reads all migrations of a folder, oldest first.
func readFiles(from fs.FS) ([]file, error) {
	names, err := fs.Glob(from, "*.sql")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	files := make([]file, len(names))
	for i, name := range names {
		text, err := fs.ReadFile(from, name)
		if err != nil {
			return nil, err
		}
		if files[i], err = parseFile(name, string(text)); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// parseFile takes a migration apart, by the annotations that goose knows:
// https://pressly.github.io/goose/documentation/annotations/.
func parseFile(name, text string) (file, error) {
	prefix, _, _ := strings.Cut(name, "_")
	version, err := strconv.ParseInt(prefix, 10, 64)
	if err != nil || version < 1 {
		return file{}, fmt.Errorf("%s does not begin with the number of a migration, such as 00042_noun.sql", name)
	}
	f := file{version: version, name: name}
	section := new([]string) // what stands before the first annotation is nobody's
	var statement strings.Builder
	end := func() {
		if s := strings.TrimSpace(statement.String()); s != "" {
			*section = append(*section, s)
		}
		statement.Reset()
	}
	for text != "" {
		n := token(text)
		part := text[:n]
		text = text[n:]
		switch {
		case strings.HasPrefix(part, "--"):
			statement.WriteByte(' ')
			switch part = strings.TrimSpace(part); part {
			case "-- +goose Up":
				end()
				section = &f.up
			case "-- +goose Down":
				end()
				section, f.hasDown = &f.down, true
			case "-- +goose NO TRANSACTION":
				f.noTransaction = true
			default:
				if note := contractNote.FindStringSubmatch(part); note != nil {
					f.contractOf, _ = strconv.ParseInt(note[1], 10, 64) // five digits
				}
			}
		case strings.HasPrefix(part, "/*"), strings.TrimSpace(part) == "":
			if s := statement.String(); s != "" && !strings.HasSuffix(s, " ") {
				statement.WriteByte(' ')
			}
		case part == ";":
			end()
		default:
			statement.WriteString(part)
		}
	}
	end()
	return f, nil
}

// token returns the length of the first token of a text: a comment, a quotation,
// white space, a word, or one byte of anything else.
// https://www.postgresql.org/docs/current/sql-syntax-lexical.html
func token(text string) int {
	until := func(from int, end string) int {
		if i := strings.Index(text[from:], end); i >= 0 {
			return from + i + len(end)
		}
		return len(text)
	}
	for _, quoted := range []struct{ begin, end string }{{"--", "\n"}, {"/*", "*/"}, {"'", "'"}, {`"`, `"`}} {
		if strings.HasPrefix(text, quoted.begin) {
			return until(len(quoted.begin), quoted.end)
		}
	}
	if tag := dollarTag.FindString(text); tag != "" {
		return until(len(tag), tag)
	}
	return len(plainToken.FindString(text))
}

var (
	dollarTag  = regexp.MustCompile(`^\$([a-zA-Z_][a-zA-Z_0-9]*)?\$`)
	plainToken = regexp.MustCompile(`^(\s+|[\pL\pN_.$]+|(?s:.))`)
)
