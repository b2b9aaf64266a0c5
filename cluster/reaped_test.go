//go:build unix

package cluster

import (
	"log/slog"
	"testing"
	"time"

	"doorbuster/cluster/internal/supervisor"
)

const hangInTests = time.Minute

// A worker that was reaped leaves no connections on the board: whoever gets its
// place next would wait for the others before each accept, for ever.
func TestReapedWorkerLeavesTheBoard(t *testing.T) {
	t.Parallel()
	b, err := newBoard(3, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	const pid = 1 << 30 // no process
	c := &child{id: 5, pid: pid, place: 1}
	l := &loop{
		Master:   &Master{board: b, cfg: Config{Log: slog.New(slog.DiscardHandler)}},
		children: map[supervisor.ID]*child{c.id: c},
		places:   []supervisor.ID{3, c.id, 0},
	}
	for place := range 2 {
		b.join(place)
		b.entry(place).live.Store(100)
		b.entry(place).accepted.Store(1000)
	}
	l.reaped(pid, 0)
	if e := b.entry(1); e.live.Load() != 0 || e.accepted.Load() != 0 || e.accepting.Load() {
		t.Errorf("its place holds %d connections, %d were accepted, it accepts: %v", e.live.Load(), e.accepted.Load(), e.accepting.Load())
	}
	if e := b.entry(0); e.live.Load() != 100 || !e.accepting.Load() {
		t.Error("the place beside it was emptied")
	}
	if l.places[1] != 0 || l.places[0] != 3 {
		t.Errorf("the places are %v", l.places)
	}
}
