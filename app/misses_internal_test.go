package app

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Whoever comes and goes, in whichever lane: no more have a place than there
// are, one is kept from new answers and one from searches, no place is lost, and
// nobody waits while there is a place for them.
func TestMissGateKeepsItsPlaces(t *testing.T) {
	t.Parallel()
	for _, places := range []int{1, 2, 3, 5} {
		t.Run(fmt.Sprint(places), func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			synctest.Test(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 0))
				gate := newMissGate(places, missPatience)
				check := func() {
					gate.mu.Lock()
					defer gate.mu.Unlock()
					all, held := 0, gate.held
					for l := range held {
						all += held[l]
						if gate.lines[l].Len() > 0 && gate.free(lane(l)) {
							t.Errorf("lane %d waits, and %v of %d places are taken", l, held, places)
						}
					}
					most := max(1, places-1)
					if all > places || held[newPage]+held[newSearch] > most || held[refreshSearch]+held[newSearch] > most || slices.Min(held[:]) < 0 {
						t.Errorf("%v of %d places are taken", held, places)
					}
				}
				var wg sync.WaitGroup
				for range 2000 {
					l := lane(random.IntN(int(lanes)))
					stay := time.Duration(random.IntN(30)) * time.Millisecond
					ctx, hangUp := context.WithTimeout(t.Context(), time.Duration(1+random.IntN(200))*time.Millisecond)
					wg.Go(func() {
						defer hangUp()
						leave, err := gate.enter(ctx, l)
						if err != nil {
							return
						}
						time.Sleep(stay)
						leave(true, false)
					})
					time.Sleep(time.Duration(random.IntN(5)) * time.Millisecond)
					synctest.Wait()
					check()
				}
				wg.Wait()
				time.Sleep(maxRest)
				synctest.Wait()
				if gate.held != [lanes]int{} || gate.waiting.Load() != 0 {
					t.Errorf("at the end %v are taken, %d wait", gate.held, gate.waiting.Load())
				}
			})
		})
	}
}

// A flood in one lane is one turn long for the others, and what is known to many
// does not wait for it at all where there are two places.
func TestMissGateTakesTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gate := newMissGate(2, time.Hour)
		const search = 10 * time.Millisecond
		ask := func(l lane, done func(waited time.Duration)) {
			began := time.Now()
			leave, err := gate.enter(t.Context(), l)
			if err != nil {
				t.Error(err)
				return
			}
			done(time.Since(began))
			time.Sleep(search)
			leave(true, false)
		}
		for range 100 {
			go ask(newSearch, func(time.Duration) {})
		}
		synctest.Wait()
		waits := map[lane]time.Duration{}
		for _, l := range []lane{refreshPage, newPage} {
			ask(l, func(waited time.Duration) { waits[l] = waited })
		}
		if waits[refreshPage] != 0 || waits[newPage] > search+min(restFactor*search, maxRest) {
			t.Errorf("among a hundred searches a known page waits for %v, a new one for %v", waits[refreshPage], waits[newPage])
		}
		time.Sleep(time.Minute)
	})
}

// Who waits longer than the patience is told so, and when to come back; and that a
// database does not answer when nobody got an answer meanwhile.
func TestMissGatePatience(t *testing.T) {
	t.Parallel()
	for code, answered := range map[string]bool{"busy": true, "unavailable": false} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				gate := newMissGate(1, missPatience)
				leave, err := gate.enter(t.Context(), newSearch)
				if err != nil {
					t.Fatal(err)
				}
				go func() {
					time.Sleep(missPatience / 2)
					leave(answered, false)
				}()
				go func() { // it comes before the other, and stays for long
					leave, err := gate.enter(t.Context(), newSearch)
					if err != nil {
						t.Error(err)
						return
					}
					time.Sleep(10 * missPatience)
					leave(true, false)
				}()
				synctest.Wait()
				began := time.Now()
				_, err = gate.enter(t.Context(), newSearch)
				p := problemFor(err)
				if p.Code != code || p.Status != 503 || p.retryAfter <= 0 || time.Since(began) != missPatience {
					t.Errorf("after %v: %v, which is %+v", time.Since(began), err, p)
				}
				if gate.turnedAway.Load() != 1 {
					t.Errorf("%d were turned away", gate.turnedAway.Load())
				}
				time.Sleep(10 * missPatience)
				if _, err := gate.enter(t.Context(), newSearch); err != nil {
					t.Errorf("the place that became free: %v", err)
				}
			})
		})
	}
}

// Strangers get a quarter of the time of a place, however short their questions;
// what is known to many does not rest.
func TestMissGateRests(t *testing.T) {
	t.Parallel()
	for l, want := range map[lane]int{newPage: 4, newSearch: 4, refreshPage: 1, refreshSearch: 1} {
		t.Run(fmt.Sprint(l), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				gate, began := newMissGate(1, time.Hour), time.Now()
				const questions = 100
				for range questions {
					leave, err := gate.enter(t.Context(), l)
					if err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Millisecond)
					leave(true, false)
				}
				leave, err := gate.enter(t.Context(), l) // when the last has rested
				if err != nil {
					t.Fatal(err)
				}
				leave(true, false)
				if took := int(time.Since(began).Milliseconds()); took != questions*want {
					t.Errorf("%d questions of a millisecond took %d ms, want %d each", questions, took, want)
				}
			})
		})
	}
}
