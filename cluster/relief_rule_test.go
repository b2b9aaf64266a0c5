//go:build unix

package cluster_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"doorbuster/cluster"
)

// Whatever the boards show, the clients do and how ever many they are, an
// episode begins only after many looks at which this worker had far more than a
// sibling, tells no more than were above the mean when it began, nor more than
// its share of the answers and the connections, and nobody while the worker has
// no more than the mean.
func TestReliefOfRandomBoards(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	episodes, everTold := 0, int64(0)
	for range 300 {
		var r cluster.Relief
		live := make([]int64, 1+random.IntN(8))
		most := int64(1) << random.IntN(12)
		var told, limit, answers, granted, leaving int64
		causes, calm := 0, cluster.ReliefRest // looks
		for range 2000 {
			if random.IntN(10) == 0 { // otherwise things stay as they are for a while
				live[random.IntN(len(live))] = random.Int64N(most)
			}
			if random.IntN(50) == 0 {
				live[0] += most * random.Int64N(3)
			}
			used := random.Int64N(granted + 1)
			told += used
			everTold += used
			leaving = random.Int64N(leaving + used + 1)
			now := used + random.Int64N(200)
			b := cluster.Burden(live...)
			if far(live) {
				causes++
			} else {
				causes = 0
			}
			under := r.Under()
			last := granted
			granted = r.Look(b, leaving, last-used, now)
			answers += now
			switch {
			case !under && r.Under():
				episodes++
				if causes < cluster.ReliefPatience || calm < cluster.ReliefRest-1 {
					t.Fatalf("an episode begins after %d looks with cause, and %d after the last: %v", causes, calm, live)
				}
				told, answers, limit = 0, 0, b.Excess()
			case r.Under():
			case under:
				calm = 0
			default:
				calm++
			}
			switch {
			case granted < 0, granted > 0 && !r.Under():
				t.Fatalf("%d were allowed without an episode", granted)
			case granted > max(0, b.Excess()-leaving):
				t.Fatalf("%d were allowed with %v and %d leaving", granted, live, leaving)
			case told+granted > limit && granted > 0:
				t.Fatalf("%d were told and %d allowed, and %d were above the mean at the beginning", told, granted, limit)
			case granted > live[0]/cluster.ReliefPart+1:
				t.Fatalf("%d of %d at one look", granted, live[0])
			case granted > 0 && cluster.ReliefAnswers*(told+granted) > answers:
				t.Fatalf("%d were told and %d allowed, of %d answers", told, granted, answers)
			}
		}
	}
	if episodes < 100 || everTold < 100 {
		t.Errorf("%d connections were told in %d episodes: the boards prove nothing", everTold, episodes)
	}
}

// far reports what calls for relief: see the constants.
func far(live []int64) bool {
	if len(live) == 1 {
		return false
	}
	var sum int64
	for _, n := range live {
		sum += n
	}
	n := int64(len(live))
	return live[0]*n >= sum+2*n && float64(live[0]) > 1.5*float64(slices.Min(live[1:]))
}

// Many workers that relieve themselves at the same time become even, by no more
// connections than it takes, with clients that come back at once; and stay calm
// after that. Whoever comes back meets the one that has the fewest, as by
// pacing.
func TestReliefBecomesEven(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 100 {
		before, added := 1+random.IntN(4), 1+random.IntN(4)
		live := make([]int64, before+added)
		each := 8 + random.Int64N(500)
		for i := range before {
			live[i] = each
		}
		start := slices.Clone(live)
		least, told := cluster.Burden(start...).Excess()*int64(before), int64(0)
		workers := make([]cluster.Relief, len(live))
		granted := make([]int64, len(live))
		const looks = 1000
		for range looks {
			for i := range workers {
				for range granted[i] { // all of them are used
					live[i]--
					live[slices.Index(live, slices.Min(live))]++
					told++
				}
				others := slices.Concat(live[i:i+1], live[:i], live[i+1:])
				granted[i] = workers[i].Look(cluster.Burden(others...), 0, 0, 1000)
			}
		}
		if far(slices.Concat([]int64{slices.Max(live)}, live)) || told > least {
			t.Errorf("%v became %v by %d connections, and %d are enough", start, live, told, least)
		}
	}
}

// What is known of siblings that do not accept, or were given up, is left out.
func TestBurden(t *testing.T) {
	t.Parallel()
	b := boardFor(t, 4)
	s := cluster.NewSiblings(b, 0)
	if got := s.Burden(); got.Excess() != 0 {
		t.Errorf("of one that does not accept: %+v", got)
	}
	b.Pretend(0, 100, 100, true)
	if got := s.Burden(); got.Excess() != 0 {
		t.Errorf("of one that is alone: %+v", got)
	}
	b.Pretend(1, 0, 0, true)
	b.Pretend(2, 50, 50, true)
	b.Pretend(3, 0, 0, false)
	if got := s.Burden(); got != cluster.Burden(100, 0, 50) {
		t.Errorf("beside two: %+v", got)
	}
	s.Wait()
	s.WaitedInVain(cluster.PacingPatience)
	if got := s.Burden(); got != cluster.Burden(100) {
		t.Errorf("beside two that take nothing: %+v", got)
	}
	b.Pretend(1, 1, 1, true)
	if got := s.Burden(); got != cluster.Burden(100, 1) {
		t.Errorf("beside one that does again: %+v", got)
	}
}
