package cluster

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"
)

// board is memory that the processes of a cluster share: each has an entry that it writes, and all may read. It
// survives any of them.
//
// It has a section for each listening socket. A process has the same place in
// all of them.
type board struct {
	memory  []byte
	used    *atomic.Int64 // entries from there on were never accepting, and need not be looked at
	places  int           // of a section
	entries []boardEntry  // of all sections, one after the other
	shared  *os.File      // nil for a board that was opened

	watchers int // how many processes are on watch at a time
}

// boardEntry is what one process tells the others. Its methods are those of the atomics.
type boardEntry struct {
	live      atomic.Int64 // open connections
	accepted  atomic.Int64 // connections ever accepted
	accepting atomic.Bool
	// onWatch says that it waits for connections. A sibling that sets it also
	// rings the bell; only the process itself clears it.
	onWatch atomic.Bool
	bell    atomic.Uint32 // where to ring; 0: nowhere, it is always on watch
	_       [boardLine - 28]byte
}

// boardLine keeps entries out of each other's cache lines, of which processors fetch two of 64 bytes at once or which
// are of 128.
const boardLine = 128

var _ [0]struct{} = [unsafe.Sizeof(boardEntry{}) - boardLine]struct{}{}

// newBoard makes a board in memory that children can be given, by its file.
func newBoard(places, sections int) (*board, error) {
	f, err := boardFile()
	if err != nil {
		return nil, fmt.Errorf("make shared memory: %w", err)
	}
	if err := f.Truncate(int64(1+places*sections) * boardLine); err != nil {
		f.Close()
		return nil, fmt.Errorf("size shared memory: %w", err)
	}
	b, err := openBoard(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	b.shared, b.places = f, places
	b.header().accepted.Store(int64(places))
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
	b := &board{memory: memory, used: &all[0].live, places: lines - 1, entries: all[1:], watchers: watchers}
	if places := int(b.header().accepted.Load()); places > 0 && places <= b.places { // 0: of a master with one section
		b.places = places
	}
	return b, nil
}

// header is the first line as an entry. Its live is used, its accepted places.
func (b *board) header() *boardEntry {
	return (*boardEntry)(unsafe.Pointer(unsafe.SliceData(b.memory))) //nolint:gosec // it has a line at least
}

// section is the part of the board for one listening socket. It is nil when the
// board has none for it, which was made by a master that knows of one only.
func (b *board) section(i int) *board {
	first := i * b.places
	if first+b.places > len(b.entries) {
		return nil
	}
	return &board{used: b.used, places: b.places, entries: b.entries[first : first+b.places], watchers: b.watchers}
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

// reset empties the entries of a process that was reaped: its connections are
// gone.
func (b *board) reset(place int) {
	for i := place; i < len(b.entries); i += b.places {
		e := b.entry(i)
		e.accepting.Store(false)
		e.onWatch.Store(false)
		e.bell.Store(0)
		e.live.Store(0)
		e.accepted.Store(0)
	}
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

// opened notes a connection that was accepted. A nil entry takes no notes.
func (e *boardEntry) opened() {
	if e != nil {
		e.accepted.Add(1)
		e.live.Add(1)
	}
}

// closed notes the end of a connection.
func (e *boardEntry) closed() {
	if e != nil {
		e.live.Add(-1)
	}
}

// entry is the server's own place on the board, or nil without one.
func (s *Server) entry() *boardEntry {
	if s.board == nil {
		return nil
	}
	return s.board.entry(s.place)
}
