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
	lines *background
	w     io.Writer
}

// relay copies whole lines until the end of the file, and shows them to keep first. A line longer than maxLine is passed on in pieces, and each of them
// is made a line: what another process writes next must not end up in the middle of one.
func (o *output) relay(r io.Reader, keep func(lines []byte)) {
	buf := make([]byte, 0, maxLine+1) // with the end that the last line lacks, or a piece
	cut := false                      // the line that is being read has lost its beginning
	for {
		n, err := r.Read(buf[len(buf):maxLine])
		buf = buf[:len(buf)+n]
		if cut && n > 0 {
			cut = false
			if buf[0] == '\n' { // it ended with the piece
				buf = buf[:copy(buf, buf[1:])]
			}
		}
		fresh := max(0, len(buf)-n) // what stood before it has no end of a line
		whole := fresh + bytes.LastIndexByte(buf[fresh:], '\n') + 1
		if whole == fresh {
			whole = 0
		}
		cut = cut || whole == 0 && len(buf) == maxLine
		if len(buf) > whole && (err != nil || cut) {
			buf = append(buf, '\n')
			whole = len(buf)
		}
		if whole > 0 {
			keep(buf[:whole]) // first: a verdict does not wait for whoever reads the log
			o.write(buf[:whole])
			buf = buf[:copy(buf, buf[whole:])]
		}
		if err != nil {
			return
		}
	}
}

func (o *output) write(p []byte) {
	p = bytes.Clone(p)
	if !o.lines.offer(func() { o.w.Write(p) }) { //nolint:errcheck // nobody is left to tell when standard error is gone
		o.lines.lost.Add(int64(bytes.Count(p, []byte{'\n'})))
	}
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
