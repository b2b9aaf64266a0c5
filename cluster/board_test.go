//go:build unix

package cluster_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"doorbuster/cluster"
)

// Two mappings of a board are the same memory, also after the file it was opened from is closed.
func TestBoardIsShared(t *testing.T) {
	t.Parallel()
	mine := boardFor(t, 3)
	raw, err := mine.File().SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var inherited int
	err = raw.Control(func(fd uintptr) {
		if flags, err := unix.FcntlInt(fd, unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("the board's descriptor goes to every child: flags %d, %v", flags, err)
		}
		inherited, _ = unix.Dup(int(fd))
	})
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(inherited), "board")
	theirs, err := cluster.OpenBoard(f)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	theirs.Pretend(2, 7, 9, true)
	if live, accepted, accepting := mine.Entry(2); live != 7 || accepted != 9 || !accepting {
		t.Errorf("got %d, %d, %v", live, accepted, accepting)
	}
	if live, accepted, accepting := mine.Entry(1); live != 0 || accepted != 0 || accepting {
		t.Errorf("the entry beside it has %d, %d, %v", live, accepted, accepting)
	}
	if err := theirs.Close(); err != nil {
		t.Error(err)
	}
	mine.Reset(2)
	if live, accepted, accepting := mine.Entry(2); live != 0 || accepted != 0 || accepting {
		t.Errorf("after a reset: %d, %d, %v", live, accepted, accepting)
	}
}

// Each listening socket has a section, in which a process has the same place. A
// process that was reaped leaves all of them.
func TestBoardSections(t *testing.T) {
	t.Parallel()
	const places, sections = 3, 2
	b, err := cluster.NewBoardOf(places, sections)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if b.Section(sections) != nil {
		t.Error("there is a section too many")
	}
	for place := range places {
		for i := range sections {
			b.Section(i).Pretend(place, int64(10*place+i), 1, true)
		}
	}
	b.Reset(1)
	for place := range places {
		for i := range sections {
			want, on := int64(10*place+i), true
			if place == 1 {
				want, on = 0, false
			}
			if live, _, accepting := b.Section(i).Entry(place); live != want || accepting != on {
				t.Errorf("section %d, place %d: %d, %v", i, place, live, accepting)
			}
		}
	}
}

// A board of a master that knows of one listening socket only has one section.
func TestBoardOfAnOlderMaster(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "board")
	if err := os.WriteFile(name, make([]byte, 11*128), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := cluster.OpenBoard(f)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	b.Section(0).Pretend(9, 1, 1, true)
	if live, _, _ := b.Entry(9); live != 1 || b.Section(1) != nil {
		t.Error("it has not one section of ten places")
	}
}

// A file of another size is no board.
func TestBoardOfAnotherSize(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 100} {
		name := filepath.Join(t.TempDir(), "board")
		if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cluster.OpenBoard(f); err == nil {
			t.Errorf("%d bytes were taken for a board", size)
		}
		f.Close()
	}
}

// Whoever is over the mean waits, in proportion and not for long, and only for siblings that accept.
func TestPacingWait(t *testing.T) {
	t.Parallel()
	type entry struct {
		live      int64
		accepting bool
	}
	for name, c := range map[string]struct {
		mine   int64
		others []entry
		want   time.Duration
	}{
		"alone":                   {100, nil, 0},
		"fewest":                  {1, []entry{{10, true}}, 0},
		"even":                    {10, []entry{{10, true}}, 0},
		"half above the mean":     {11, []entry{{10, true}}, 0},
		"one above the mean":      {4, []entry{{2, true}}, 100 * time.Microsecond},
		"five above the mean":     {15, []entry{{5, true}}, 500 * time.Microsecond},
		"far above the mean":      {150, []entry{{5, true}}, time.Millisecond},
		"three per cent of many":  {1030, []entry{{970, true}}, 0},
		"the other has left":      {100, []entry{{5, false}}, 0},
		"one of two has left":     {12, []entry{{8, true}, {0, false}}, 200 * time.Microsecond},
		"above one, below others": {10, []entry{{5, true}, {20, true}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := boardFor(t, 1+len(c.others))
			b.Pretend(0, c.mine, 0, true)
			for i, e := range c.others {
				b.Pretend(i+1, e.live, 0, e.accepting)
			}
			if got := cluster.NewSiblings(b, 0).Wait(); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// A sibling that takes nothing is waited for 20 ms in all, and again once it has taken something.
func TestPacingGivesUp(t *testing.T) {
	t.Parallel()
	b := boardFor(t, 3)
	b.Pretend(0, 100, 100, true)
	b.Pretend(1, 0, 0, true) // stopped
	b.Pretend(2, 100, 100, true)
	s := cluster.NewSiblings(b, 0)
	var waited time.Duration
	for range 100 {
		if d := s.Wait(); d > 0 {
			waited += d
			s.WaitedInVain(d)
		}
	}
	if waited != 20*time.Millisecond {
		t.Errorf("a stopped sibling was waited for %v", waited)
	}
	b.Pretend(1, 1, 1, true)
	if s.Wait() == 0 {
		t.Error("a sibling that went on is not waited for")
	}
	s.WaitedInVain(time.Hour)
	if d := s.Wait(); d != 0 {
		t.Errorf("got %v", d)
	}
}
