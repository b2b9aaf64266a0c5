package cluster

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"
)

// What workers write is relayed in virtual time: nothing is given up because a busy machine was slow.

// sink keeps each write as it came. It is read after the background has ended.
type sink struct{ writes [][]byte }

func (s *sink) Write(p []byte) (int, error) {
	s.writes = append(s.writes, p) // not a copy: what was handed over belongs to the writer
	return len(p), nil
}

// relayed returns what comes out when each source has a relay of its own, all at once.
func relayed(t *testing.T, sources ...io.Reader) [][]byte {
	t.Helper()
	s := new(sink)
	b := newBackground(func(n int64) { t.Errorf("%d lines were lost", n) })
	out := &output{b, s}
	var relays sync.WaitGroup
	for _, r := range sources {
		relays.Go(func() { out.relay(r, new(tail).add) })
	}
	relays.Wait()
	b.close(time.Hour)
	return s.writes
}

// model says what a relay makes of a text: each line with its end, in pieces of maxLine where it is longer.
func model(text []byte) []byte {
	var out []byte
	for line := range bytes.Lines(text) {
		line = bytes.TrimSuffix(line, []byte{'\n'})
		for len(line) > maxLine {
			out = append(append(out, line[:maxLine]...), '\n')
			line = line[maxLine:]
		}
		out = append(append(out, line...), '\n')
	}
	return out
}

// chopped returns a text in reads of random sizes up to most bytes, as pipes do. Now and then it does what else an io.Reader
// may do: it returns nothing, or its end together with the last bytes.
type chopped struct {
	text []byte
	rand *rand.Rand
	most int // bytes of a read
	end  error
}

func (c *chopped) Read(p []byte) (int, error) {
	if len(p) == 0 {
		panic("a read into nothing would never end")
	}
	if c.rand.IntN(20) == 0 {
		return 0, nil
	}
	n := copy(p[:min(len(p), 1+c.rand.IntN(c.most))], c.text)
	c.text = c.text[n:]
	if len(c.text) == 0 && (n == 0 || c.rand.IntN(2) == 0) {
		return n, c.end
	}
	return n, nil
}

// randomText has lines of all lengths that may matter, of the bytes of an alphabet, which may be any.
func randomText(r *rand.Rand, alphabet string) []byte {
	var text []byte
	for range r.IntN(12) {
		length := r.IntN(100)
		if r.IntN(3) == 0 {
			length = max(0, r.IntN(4)*maxLine+r.IntN(5)-2)
		}
		// A stretch of a period that is prime: no two pieces are the same, and each is quickly made.
		stretch := make([]byte, 1021)
		for i := range stretch {
			stretch[i] = alphabet[r.IntN(len(alphabet))]
		}
		text = append(text, bytes.Repeat(stretch, length/len(stretch)+1)[:length]...)
		text = append(text, '\n')
	}
	if len(text) > 0 && r.IntN(3) == 0 {
		text = bytes.TrimSuffix(text, []byte{'\n'})
	}
	return text
}

// anyByte is an alphabet of all but the end of a line.
var anyByte = func() string {
	var b []byte
	for c := range 256 {
		if c != '\n' {
			b = append(b, byte(c))
		}
	}
	return string(b)
}()

func wantRelayed(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	around := func(b []byte) []byte { return b[max(0, at-20):min(len(b), at+20)] }
	t.Errorf("%s: got %d bytes, want %d; from byte %d on they differ: %q, want %q", what, len(got), len(want), at, around(got), around(want))
}

// Config.Output: the edges of a line that has to be passed on in pieces, and of the end of the output.
func TestRelayLines(t *testing.T) {
	piece := strings.Repeat("x", maxLine)
	for _, c := range []struct{ name, in, out string }{
		{"nothing", "", ""},
		{"a line", "one\n", "one\n"},
		{"empty lines", "\n\none\n\n", "\n\none\n\n"},
		{"a last line without its end", "one\ntwo", "one\ntwo\n"},
		{"one less than a piece", piece[1:] + "\n", piece[1:] + "\n"},
		{"a piece", piece + "\n", piece + "\n"},
		{"a piece without its end", piece, piece + "\n"},
		{"a piece and an empty line", piece + "\n\n", piece + "\n\n"},
		{"a piece and a line", piece + "\none\n", piece + "\none\n"},
		{"one more than a piece", piece + "y\n", piece + "\ny\n"},
		{"two pieces", piece + piece + "\n", piece + "\n" + piece + "\n"},
		{"two pieces and an empty line", piece + piece + "\n\n", piece + "\n" + piece + "\n\n"},
		{"a long line after a short one", "one\n" + piece + "y\ntwo\n", "one\n" + piece + "\ny\ntwo\n"},
	} {
		for _, most := range []int{100, maxLine, 4 * maxLine} {
			t.Run(fmt.Sprintf("%s in reads of up to %d", c.name, most), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					got := relayed(t, &chopped{[]byte(c.in), rand.New(rand.NewPCG(1, 2)), most, io.EOF})
					wantRelayed(t, c.name, bytes.Join(got, nil), []byte(c.out))
				})
			})
		}
	}
}

// Config.Output: whatever is written in whatever parts comes out once, in order, line by line; and each write is of whole
// lines, so that those of the log and of other workers have no place in between.
func TestRelayLosesNothing(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			text := randomText(r, anyByte)
			end := []error{io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe}[r.IntN(3)]
			got := relayed(t, &chopped{text, r, 1000 + r.IntN(2*maxLine), end})
			wantRelayed(t, fmt.Sprint("seed ", seed), bytes.Join(got, nil), model(text))
			for _, p := range got {
				if !bytes.HasSuffix(p, []byte{'\n'}) || len(p) > maxLine+1 {
					t.Errorf("seed %d: a write of %d bytes ends with %q", seed, len(p), p[max(0, len(p)-10):])
				}
			}
		})
		if t.Failed() {
			return
		}
	}
}

// Config.Output: lines of workers that write at once are never mixed, and those of each stay in their order.
func TestRelayOfSeveral(t *testing.T) {
	alphabets := []string{"abcdefgh", "ijklmnop", "qrstuvwx", "01234567"}
	for seed := range uint64(50) {
		synctest.Test(t, func(t *testing.T) {
			var sources []io.Reader
			want := make([][]byte, len(alphabets))
			empty := 0 // those are nobody's
			for i, alphabet := range alphabets {
				r := rand.New(rand.NewPCG(seed, uint64(i)))
				text := randomText(r, alphabet)
				sources = append(sources, &chopped{text, r, 1000 + r.IntN(2*maxLine), io.EOF})
				for line := range bytes.Lines(model(text)) {
					if len(line) == 1 {
						empty++
						continue
					}
					want[i] = append(want[i], line...)
				}
			}
			got := make([][]byte, len(alphabets))
			for line := range bytes.Lines(bytes.Join(relayed(t, sources...), nil)) {
				if len(line) == 1 {
					empty--
					continue
				}
				i := slices.IndexFunc(alphabets, func(a string) bool { return strings.IndexByte(a, line[0]) >= 0 })
				if strings.Trim(string(line[:len(line)-1]), alphabets[i]) != "" {
					t.Errorf("seed %d: a line is of several: %.80q", seed, line)
				}
				got[i] = append(got[i], line...)
			}
			for i := range alphabets {
				wantRelayed(t, fmt.Sprintf("seed %d, worker %d", seed, i), got[i], want[i])
			}
			if empty != 0 {
				t.Errorf("seed %d: %d empty lines are missing", seed, empty)
			}
		})
		if t.Failed() {
			return
		}
	}
}

// M9: the verdict about a worker gets the last lines that it wrote, as they were relayed.
func TestRelayFillsTheTail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackground(func(n int64) { t.Errorf("%d lines were lost", n) })
		out, said := &output{b, io.Discard}, new(tail)
		var text strings.Builder
		for i := range 50 {
			fmt.Fprintf(&text, "line %d\n", i)
		}
		text.WriteString("panic: boom")
		out.relay(&chopped{[]byte(text.String()), rand.New(rand.NewPCG(1, 2)), 50, io.EOF}, said.add)
		b.close(time.Hour)
		got := said.lines()
		if len(got) != tailLines || got[0] != "line 31" || got[tailLines-2] != "line 49" || got[tailLines-1] != "panic: boom" {
			t.Errorf("got %d lines: %q", len(got), got)
		}
	})
}

// M9: what a verdict shows is short, and can be shown anywhere: the last 20 lines, 500 bytes of each, in valid UTF-8.
func TestTail(t *testing.T) {
	t.Parallel()
	numbered := func(from, to int) []string {
		var lines []string
		for i := from; i <= to; i++ {
			lines = append(lines, fmt.Sprint("line ", i))
		}
		return lines
	}
	text := func(lines []string) string { return strings.Join(lines, "\n") + "\n" }
	wide := strings.Repeat("w", 500)
	for _, c := range []struct {
		name string
		add  []string
		want []string
	}{
		{"nothing", nil, nil},
		{"one", []string{"one\n"}, []string{"one"}},
		{"an empty line between", []string{"one\n\ntwo\n"}, []string{"one", "", "two"}},
		{"20 at once", []string{text(numbered(1, 20))}, numbered(1, 20)},
		{"21 at once", []string{text(numbered(1, 21))}, numbered(2, 21)},
		{"500 at once", []string{text(numbered(1, 500))}, numbered(481, 500)},
		{"one more after 20", []string{text(numbered(1, 20)), "line 21\n"}, numbered(2, 21)},
		{"15 after 15", []string{text(numbered(1, 15)), text(numbered(16, 30))}, numbered(11, 30)},
		{"500 bytes", []string{wide + "\n"}, []string{wide}},
		{"501 bytes", []string{wide + "x\n"}, []string{wide}},
		{"invalid bytes", []string{"a\xffb\xc3\n"}, []string{"a?b?"}},
		{"a character across the cut", []string{wide[1:] + "€\n"}, []string{wide[1:] + "?"}},
		{"a character up to the cut", []string{wide[3:] + "€!\n"}, []string{wide[3:] + "€"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			said := new(tail)
			for _, lines := range c.add {
				said.add([]byte(lines))
			}
			if got := said.lines(); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// The master reads the tail of a worker that is still writing, and what it has read stays as it was.
func TestTailIsRead(t *testing.T) {
	t.Parallel()
	said := new(tail)
	said.add([]byte("first\n"))
	before := said.lines()
	var writing sync.WaitGroup
	for _, word := range []string{"one\n", "two \xff\n"} {
		writing.Go(func() {
			for range 200 {
				said.add([]byte(word))
			}
		})
	}
	for range 200 {
		lines := said.lines()
		if len(lines) > tailLines || !utf8.ValidString(strings.Join(lines, "")) {
			t.Errorf("got %d lines: %q", len(lines), lines)
		}
		lines[0] = "changed"
	}
	writing.Wait()
	if slices.Contains(said.lines(), "changed") {
		t.Error("who reads can change what was said")
	}
	if !slices.Equal(before, []string{"first"}) {
		t.Errorf("what was read became %q", before)
	}
}
