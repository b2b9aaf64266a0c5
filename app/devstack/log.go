package devstack

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// tailLines is how much of a server's log an error carries: the reason is among the last lines.
const tailLines = 8

// A startError says why a server did not start, with what it wrote to its log.
type startError struct {
	name  string
	cause error
	log   string
}

func (e *startError) Error() string {
	msg := fmt.Sprintf("start %s: %v", e.name, e.cause)
	if e.log == "" {
		return msg
	}
	return msg + "; the end of its log:\n" + indent(e.log)
}

func (e *startError) Unwrap() error { return e.cause }

// tail returns the last lines of the file from offset on.
func tail(name string, offset int64) string {
	file, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer file.Close()
	raw, _ := io.ReadAll(io.NewSectionReader(file, offset, 1<<20))
	return lastLines(string(raw))
}

func lastLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}

func indent(text string) string {
	return "  | " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  | ")
}
