package supervisor_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	. "doorbuster/cluster/internal/supervisor"
)

type randomly struct{ *rand.Rand }

func (r randomly) pick(n int) int { return r.IntN(n) }

// byBytes takes each choice from a byte, for the fuzzer.
type byBytes struct{ rest []byte }

func (b *byBytes) pick(n int) int {
	if len(b.rest) == 0 {
		return 0
	}
	v := int(b.rest[0])
	b.rest = b.rest[1:]
	return v % n
}

// replay lives through the same events again, and wants the same actions: of a second master; of one that is asked more
// often than it needs; and of one that is written down and read again now and then.
func (w *world) replay() error {
	rng := rand.New(rand.NewPCG(uint64(len(w.record)), 0))
	ticking := func(s *State, m moment) error {
		for range rng.IntN(3) {
			end := min(m.now, s.Next())
			if s.Ended || end <= s.Now+1 {
				return nil
			}
			now := s.Now + 1 + time.Duration(rng.Int64N(int64(end-s.Now-1)))
			if did := s.Step(now, Tick{}); len(did) > 0 {
				return fmt.Errorf("at %v, before %v: %s", now, end, words(did[0]))
			}
		}
		return nil
	}
	for _, copies := range []bool{false, true} {
		s := New(w.s.Config, 1, 0)
		for i, m := range w.record {
			if copies && rng.IntN(60) == 0 {
				data, err := json.Marshal(s)
				if err != nil {
					return err
				}
				s = &State{}
				if err := json.Unmarshal(data, s); err != nil {
					return err
				}
			}
			if !copies {
				if err := ticking(s, m); err != nil {
					return err
				}
			}
			if did := s.Step(m.now, m.event); !slices.Equal(did, m.actions) {
				return fmt.Errorf("replayed step %d, at %v, does %v, not %v", i, m.now, did, m.actions)
			}
		}
	}
	return nil
}

var worlds = flag.Int("worlds", 2000, "how many random worlds to live through")

func TestRandomWorlds(t *testing.T) {
	const shards = 4
	for shard := range shards {
		t.Run(fmt.Sprint(shard), func(t *testing.T) {
			t.Parallel()
			steps := 0
			for seed := shard; seed < *worlds; seed += shards {
				w := newWorld(randomly{rand.New(rand.NewPCG(uint64(seed), 0))})
				if err := w.live(); err != nil {
					t.Fatalf("seed %d: %v\n%s", seed, err, w.story())
				}
				steps += len(w.record)
			}
			t.Logf("%d worlds, %d steps", *worlds/shards, steps)
		})
	}
}

func FuzzSupervisor(f *testing.F) {
	f.Add([]byte{})
	rng := rand.New(rand.NewPCG(1, 0))
	for size := 16; size <= 1024; size *= 4 {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(rng.IntN(256))
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4096 {
			return
		}
		w := newWorld(&byBytes{data})
		if err := w.live(); err != nil {
			t.Fatalf("%v\n%s", err, w.story())
		}
	})
}
