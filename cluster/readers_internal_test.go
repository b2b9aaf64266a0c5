package cluster

import (
	"math/rand/v2"
	"net/http"
	"testing"
	"time"
)

// client takes an answer, in virtual time.
type fakeRecipient struct {
	blocked bool
	got     int64
	wasCut  bool
}

func (f *fakeRecipient) holdsUp() bool { return f.blocked }
func (f *fakeRecipient) taken() int64  { return f.got }
func (f *fakeRecipient) cut()          { f.wasCut = true }

// watchFor returns a watch and a function that lets time pass by looks at one client.
func watchFor(s *Server) (look func(r recipient, after time.Duration)) {
	w := s.newReaderWatch()
	now := w.last
	return func(r recipient, after time.Duration) {
		now = now.Add(after)
		w.look(now, []recipient{r})
	}
}

// A client that takes its answer at the least rate or faster is never cut, whatever
// the size of the pieces in which it does, while serving and in a drain. One that
// takes nothing is cut after the grace, one that is slower at some time, and one
// that does not wait for its client never.
func TestSlowReadersAreJudged(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for round := range 2000 {
		s := &Server{HTTP: new(http.Server)}
		rate := defaultResponseRate
		if round%2 == 1 {
			rate = defaultDrainResponseRate
			s.phase.Store(phaseClosing)
		}
		speed := float64(rate.BytesPerSecond) * (1 + 3*random.Float64())
		if round%7 == 0 {
			speed = float64(rate.BytesPerSecond)
		}
		most := int64(rate.Grace.Seconds() * float64(rate.BytesPerSecond))
		piece := 1 + random.Int64N(most-int64(2*readerInterval.Seconds()*float64(rate.BytesPerSecond)))
		client, look, owed := &fakeRecipient{blocked: true}, watchFor(s), 0.0
		for range 4000 {
			step := readerInterval + time.Duration(random.Int64N(int64(readerInterval)))
			owed += speed * step.Seconds()
			for owed >= float64(piece) {
				client.got += piece
				owed -= float64(piece)
			}
			look(client, step)
		}
		if client.wasCut {
			t.Fatalf("round %d: a client that takes %.0f bytes/s in pieces of %d was cut at a least rate of %d bytes/s", round, speed, piece, rate.BytesPerSecond)
		}
		client.blocked = false
		for range 1000 {
			look(client, readerInterval)
		}
		if client.wasCut {
			t.Fatalf("round %d: a client was cut that nobody waited for", round)
		}
		client.blocked = true
		looks := 0
		for ; !client.wasCut && looks < 1000; looks++ {
			look(client, readerInterval)
		}
		if most := int(rate.Grace/readerInterval) + 1; looks > most {
			t.Fatalf("round %d: a client that takes nothing was cut after %d looks, want %d at most", round, looks, most)
		}
		slow := &fakeRecipient{blocked: true}
		look = watchFor(s)
		for n := 0; !slow.wasCut && n < 4000; n++ {
			slow.got += int64(float64(rate.BytesPerSecond) * readerInterval.Seconds() * .9)
			look(slow, readerInterval)
		}
		if !slow.wasCut {
			t.Fatalf("round %d: a client was not cut that takes nine tenths of the least rate", round)
		}
	}
}

// Time for which this process was stopped is not held against clients.
func TestSlowReadersOfAStoppedProcess(t *testing.T) {
	t.Parallel()
	look, client := watchFor(&Server{HTTP: new(http.Server)}), &fakeRecipient{blocked: true}
	look(client, readerInterval)
	look(client, time.Hour)
	if client.wasCut {
		t.Error("a client was cut because the process was stopped")
	}
}

// A client that has taken nothing for longer than the grace of a drain when it
// begins does not delay it.
func TestSlowReadersDoNotDelayADrain(t *testing.T) {
	t.Parallel()
	s := &Server{HTTP: new(http.Server)}
	look, client := watchFor(s), &fakeRecipient{blocked: true}
	for range 20 { // 5 s
		look(client, readerInterval)
	}
	if client.wasCut {
		t.Fatal("cut before its grace was over")
	}
	s.phase.Store(phaseClosing)
	if look(client, readerInterval); !client.wasCut {
		t.Error("it still delays the drain")
	}
}

// A client that takes its answer at the rate of the server, in pieces that the
// rate allows, is not cut by the beginning of a drain, whenever that is: it has
// the grace of the drain, as everybody.
func TestSlowReadersBeginADrain(t *testing.T) {
	t.Parallel()
	rate := defaultResponseRate
	const piece = 64 << 10
	every := int(rate.worth(piece) / readerInterval) // looks
	for begins := range 3 * every {
		s := &Server{HTTP: new(http.Server)}
		look, client := watchFor(s), &fakeRecipient{blocked: true}
		for n := range 2*every + begins {
			if n%every == every-1 {
				client.got += piece
			}
			look(client, readerInterval)
		}
		s.phase.Store(phaseClosing)
		look(client, readerInterval)
		if client.wasCut {
			t.Fatalf("cut by a drain that begins %d looks after a piece", begins%every)
		}
	}
}
