package app

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// All workers, and one that replaces another, fit into what PostgreSQL lets in,
// whatever the numbers; others at the moment never keep a worker from starting.
func TestShareFits(t *testing.T) {
	t.Parallel()
	for workers := 1; workers <= 40; workers++ {
		for most := int32(1); most <= 130; most++ {
			for _, reserved := range []int32{0, 3, 10} {
				for _, others := range []int32{0, 1, 20, 1000} {
					r := room{most: most, reserved: reserved, others: others}
					share, err := r.share(workers)
					free := most - reserved
					taken := (int32(workers) + 1) * (share + 1)
					setting := new(SettingError)
					switch {
					case err != nil && (!errors.As(err, &setting) || free >= 2*(int32(workers)+1)):
						t.Fatalf("%+v, %d workers: %v", r, workers, err)
					case err == nil && (share < 1 || taken > free):
						t.Fatalf("%+v, %d workers: %d each", r, workers, share)
					case err == nil && share > 1 && taken > free-others:
						t.Fatalf("%+v, %d workers: %d each leave others without", r, workers, share)
					}
				}
			}
		}
	}
}

// What can't work says what to set, and that works.
func TestShareSaysWhatToSet(t *testing.T) {
	t.Parallel()
	_, err := room{most: 20, reserved: 3}.share(12)
	if err == nil || !strings.Contains(err.Error(), "raise max_connections to 29, or set WORKERS to 7 at most") {
		t.Fatalf("got %v", err)
	}
	for _, good := range []struct {
		room
		workers int
	}{{room{most: 29, reserved: 3}, 12}, {room{most: 20, reserved: 3}, 7}} {
		if share, err := good.share(good.workers); err != nil || share != 1 {
			t.Errorf("%+v: %d, %v", good, share, err)
		}
	}
}

// However workers start, are added, crash and are replaced, in whatever order
// those that begin at the same time see each other: what their pools may take
// fits, and there is always enough left for one that replaces another. Whoever
// is refused is told how many would work.
func TestShareFollowsTheWorkers(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	refused, added := 0, 0
	for range 2000 {
		r := room{most: 10 + random.Int32N(200), reserved: 3}
		free := r.most - r.reserved
		pools := []int32{} // of the workers that are there
		see := func(pools []int32) room {
			r := r
			for _, pool := range pools {
				r.siblings++
				r.taken += pool + 1
			}
			return r
		}
		// begin starts the workers that are missing, as one scale or start does.
		begin := func(workers int) error {
			before := len(pools)
			for len(pools) < workers {
				seen := before + random.IntN(len(pools)-before+1)
				share, err := see(pools[:seen]).share(workers)
				if err != nil {
					pools = pools[:before]
					return err
				}
				pools = append(pools, min(share, 10))
			}
			return nil
		}
		if err := begin(1 + random.IntN(12)); err != nil {
			continue
		}
		for range 10 {
			switch n := len(pools); random.IntN(3) {
			case 0:
				workers := n + 1 + random.IntN(6)
				err := begin(workers)
				if setting, ok := errors.AsType[*SettingError](err); ok {
					refused++
					var most int
					if _, after, found := strings.Cut(setting.Problem, "scale to "); found {
						if _, err := fmt.Sscan(after, &most); err != nil || most >= workers || begin(most) != nil {
							t.Fatalf("%+v, %v: %v", r, pools, setting)
						}
					}
				} else {
					added++
				}
			case 1: // a crash
				i := random.IntN(n)
				pools = slices.Delete(pools, i, i+1)
				if err := begin(n); err != nil {
					t.Fatalf("%+v, %v: a crash restart is refused: %v", r, pools, err)
				}
			case 2: // a reload
				for range n {
					share, err := see(pools).share(n)
					if err != nil {
						t.Fatalf("%+v, %v: a replacement is refused: %v", r, pools, err)
					}
					if taken := see(pools).taken + min(share, 10) + 1; taken > free {
						t.Fatalf("%+v, %v and a replacement with %d take %d", r, pools, share, taken)
					}
					pools = append(pools[1:], min(share, 10))
				}
			}
			if taken := see(pools).taken; taken+2 > free {
				t.Fatalf("%+v: %v take %d", r, pools, taken)
			}
		}
	}
	if refused < 100 || added < 100 {
		t.Errorf("%d were refused and %d were not: this proves nothing", refused, added)
	}
}

// One that is leaving and has not said so yet takes nothing from the one that
// replaces another.
func TestShareBesideLeaving(t *testing.T) {
	t.Parallel()
	for leaving := range int32(4) {
		r := room{most: 30, reserved: 3, siblings: 2 + leaving, taken: (2 + leaving) * 9}
		if share, err := r.share(2); share != 8 || err != nil {
			t.Errorf("%d are leaving: %d, %v", leaving, share, err)
		}
	}
}
