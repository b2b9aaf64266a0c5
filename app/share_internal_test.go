package app

import (
	"errors"
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
