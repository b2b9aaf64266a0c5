package cluster

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"
)

// board is memory that the processes of a cluster share: each has an entry that it writes, and all may read. It
// survives any of them.
type board struct {
	memory  []byte
	used    *atomic.Int64 // entries from there on were never accepting, and need not be looked at
	entries []boardEntry
	shared  *os.File // nil for a board that was opened
}

// boardEntry is what one process tells the others. Its methods are those of the atomics.
type boardEntry struct {
	live      atomic.Int64 // open connections
	accepted  atomic.Int64 // connections ever accepted
	accepting atomic.Bool
	_         [boardLine - 20]byte
}

// boardLine keeps entries out of each other's cache lines, of which processors fetch two of 64 bytes at once or which
// are of 128.
const boardLine = 128

var _ [0]struct{} = [unsafe.Sizeof(boardEntry{}) - boardLine]struct{}{}

// newBoard makes a board in memory that children can be given, by its file.
func newBoard(entries int) (*board, error) {
	f, err := boardFile()
	if err != nil {
		return nil, fmt.Errorf("make shared memory: %w", err)
	}
	if err := f.Truncate(int64(1+entries) * boardLine); err != nil {
		f.Close()
		return nil, fmt.Errorf("size shared memory: %w", err)
	}
	b, err := openBoard(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	b.shared = f
	return b, nil
}

// openBoard maps the board in a file, which may be closed afterwards.
func openBoard(f *os.File) (*board, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("look at shared memory: %w", err)
	}
	lines := int(info.Size() / boardLine)
	if lines < 1 || info.Size()%boardLine != 0 {
		return nil, fmt.Errorf("shared memory has %d bytes: that is no board of this version", info.Size())
	}
	memory, err := mapShared(f, lines*boardLine)
	if err != nil {
		return nil, fmt.Errorf("map shared memory: %w", err)
	}
	// A mapping begins at a page, and entries fit any bytes: they are all atomic numbers. The first line is the board's own.
	all := unsafe.Slice((*boardEntry)(unsafe.Pointer(unsafe.SliceData(memory))), lines) //nolint:gosec // so many were mapped
	return &board{memory: memory, used: &all[0].live, entries: all[1:]}, nil
}

// file is the memory as children inherit it. It is closed on exec, and belongs to the board.
func (b *board) file() *os.File { return b.shared }

// entry is the place of process i, counted from 0.
func (b *board) entry(i int) *boardEntry { return &b.entries[i] }

// join says that process i accepts from now on.
func (b *board) join(i int) {
	for used := b.used.Load(); used <= int64(i) && !b.used.CompareAndSwap(used, int64(i)+1); used = b.used.Load() {
	}
	b.entry(i).accepting.Store(true)
}

// reset empties an entry whose process was reaped: its connections are gone.
func (b *board) reset(i int) {
	e := b.entry(i)
	e.accepting.Store(false)
	e.live.Store(0)
	e.accepted.Store(0)
}

// Close unmaps the board; nobody may use its entries any more.
func (b *board) Close() error {
	err := unmapShared(b.memory)
	b.memory, b.used, b.entries = nil, nil, nil
	if b.shared != nil {
		b.shared.Close() // nothing is written through it
	}
	if err != nil {
		return fmt.Errorf("unmap shared memory: %w", err)
	}
	return nil
}

// entry is the server's own place on the board, or nil without one.
func (s *Server) entry() *boardEntry {
	if s.board == nil {
		return nil
	}
	return s.board.entry(s.place)
}
