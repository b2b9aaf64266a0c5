package cluster

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"sync"
)

// The end of what a worker wrote is kept for the verdict about it.
const (
	tailLines = 20
	tailWidth = 500 // bytes of a line
	maxLine   = 32 << 10
)

// output is where the lines of all workers go. They pass through the master so that a verdict can show the last ones,
// the words of a dying runtime included, and so that lines of several processes don't mix.
type output struct {
	mu sync.Mutex
	w  io.Writer
}

// relay copies whole lines until the end of the file. A line longer than maxLine is passed on in pieces.
func (o *output) relay(r io.Reader, t *tail) {
	buf := make([]byte, 0, maxLine)
	for {
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		whole := bytes.LastIndexByte(buf, '\n') + 1
		if err != nil && len(buf) > whole {
			buf = append(buf, '\n')
			whole = len(buf)
		}
		if whole == 0 && len(buf) == cap(buf) {
			whole = len(buf)
		}
		if whole > 0 {
			o.write(buf[:whole])
			t.add(buf[:whole])
			buf = buf[:copy(buf, buf[whole:])]
		}
		if err != nil {
			return
		}
	}
}

func (o *output) write(p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.w.Write(p) //nolint:errcheck // nobody is left to tell when standard error is gone
}

// tail keeps the last lines that were added. It may be used from several goroutines.
type tail struct {
	mu   sync.Mutex
	kept []string
}

func (t *tail) add(lines []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := strings.Split(strings.TrimRight(string(lines), "\n"), "\n")
	for _, line := range all[max(0, len(all)-tailLines):] {
		t.kept = append(t.kept, strings.ToValidUTF8(line[:min(len(line), tailWidth)], "?"))
	}
	t.kept = slices.Clone(t.kept[max(0, len(t.kept)-tailLines):])
}

func (t *tail) lines() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.kept)
}
