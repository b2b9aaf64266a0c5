//go:build unix

package cluster_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"doorbuster/cluster"
)

// story is a reload that is told line by line.
type story struct {
	lines *bufio.Reader
	body  io.Closer
}

// follow begins a reload. It returns when the first line has come.
func (z *zoo) follow() *story {
	z.Helper()
	resp, err := z.post("POST", "/api/v1/reload", "", "Accept", "application/x-ndjson")
	if err != nil {
		z.Fatal(err)
	}
	z.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/x-ndjson" {
		z.Errorf("got %s, Content-Type %q", resp.Status, resp.Header.Get("Content-Type"))
	}
	return &story{bufio.NewReader(resp.Body), resp.Body}
}

// next returns the next event, or the outcome.
func (s *story) next(t *testing.T) (e cluster.Event, outcome *commanded) {
	t.Helper()
	line, err := s.lines.ReadBytes('\n')
	var fields map[string]json.RawMessage
	if err == nil {
		err = json.Unmarshal(line, &fields)
	}
	if err == nil {
		if _, ok := fields["ok"]; ok {
			outcome = new(commanded)
			err = json.Unmarshal(line, outcome)
		} else {
			err = json.Unmarshal(line, &e)
		}
	}
	if err != nil {
		t.Fatalf("line %q: %v", line, err)
	}
	return e, outcome
}

// rest returns what is left of the events, and the outcome, after which nothing may come.
func (s *story) rest(t *testing.T) (events []cluster.Event, outcome commanded) {
	t.Helper()
	for {
		e, o := s.next(t)
		if o == nil {
			events = append(events, e)
			continue
		}
		if line, err := s.lines.ReadString('\n'); !errors.Is(err, io.EOF) {
			t.Errorf("after the outcome comes %q, %v", line, err)
		}
		return events, *o
	}
}

// M8: a reload tells what happens when it happens, in order, and its outcome last.
func TestControlReloadLineByLine(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good", nil)
	old := z.pids()
	z.deploy("joined:gate")
	lines := z.follow()
	first, outcome := lines.next(t)
	if outcome != nil || first.Kind != "rollout" || first.Done != 0 || first.Total != 2 ||
		first.Release == "" || time.Since(first.Time) > time.Hour {
		t.Errorf("it begins with %+v, %+v", first, outcome)
	}
	z.gate.wait("joined", 1) // so the line came while the reload could not be done
	z.gate.open()
	events, end := lines.rest(t)
	if !end.OK || end.Reason != "" {
		t.Errorf("it ends with %+v", end)
	}
	var kinds []string
	var left []int
	ready, replaced := 0, 0 // the pid of the newest, and how many gave way
	for _, e := range events {
		switch e.Kind {
		case "left":
			left = append(left, e.PID)
			if len(left) > replaced {
				t.Errorf("pid %d left before it was replaced", e.PID)
			}
			continue
		case "lag", "away": // of a busy machine
			continue
		case "replaced":
			if e.PID != ready || e.Slot != replaced+1 {
				t.Errorf("slot %d is taken over by %d; the one that is ready is %d", e.Slot, e.PID, ready)
			}
			replaced++
		case "ready":
			ready = e.PID
			if e.Done != replaced+1 || e.Total != 2 || e.Release != first.Release {
				t.Errorf("after %d were replaced: %+v", replaced, e)
			}
		}
		kinds = append(kinds, string(e.Kind))
	}
	if want := []string{"ready", "baking", "replaced", "ready", "replaced"}; !slices.Equal(kinds, want) {
		t.Errorf("got the events %q and want %q", kinds, want)
	}
	slices.Sort(left)
	slices.Sort(old)
	if !slices.Equal(left, old) {
		t.Errorf("%v left; the old ones were %v", left, old)
	}

	// The last event and the outcome come together, and neither may push the other out.
	for i := range 20 {
		events, end := z.follow().rest(t)
		if !end.OK || len(events) == 0 || events[len(events)-1].Kind != "left" {
			t.Fatalf("reload %d: %+v, then %+v", i, events, end)
		}
	}
	z.stop()
}

// wantEnded checks the answer to a command that something else has ended. Clients go by the code.
func wantEnded(t *testing.T, c commanded, status int, code string, because error) {
	t.Helper()
	if c.status != status || c.OK || c.Code != code || c.Reason != because.Error() {
		t.Errorf("got %+v; want status %d, code %q and %q", c, status, code, because)
	}
}

// M8, M9: a reload whose place is taken by a newer one is told so, and that is no verdict about its release.
func TestControlReloadSuperseded(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good", nil)
	z.deploy("joined:gate")
	plain := z.later("POST", "/api/v1/reload")
	z.gate.wait("joined", 1)
	z.deploy("joined:gate again")
	lines := z.follow()
	wantEnded(t, <-plain, http.StatusConflict, "superseded", cluster.ErrSuperseded)
	z.gate.wait("joined", 2)
	z.deploy("good newest")
	if c := z.mustCommand("POST", "/api/v1/reload", ""); c.status != http.StatusOK || !c.OK {
		t.Errorf("the last one: %d %s", c.status, c.body)
	}
	_, between := lines.rest(t)
	wantEnded(t, between, 0, "superseded", cluster.ErrSuperseded) // its status was sent long ago
	z.gate.open()
	z.settle(2)
	z.stop()
}

// Of two reloads each one is told what belongs to itself: not the release of the other, nor who leaves for the other.
func TestControlReloadsTellTheirOwn(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "drain:gate", nil)
	old := z.pids()
	z.deploy("good next")
	first := z.follow()
	leaving := z.gate.wait("drain", 1)[0].pid // for the first one
	z.deploy("good newest")
	second := z.follow()
	begin, _ := second.next(t)
	mine, end := first.rest(t)
	if end.Code != "superseded" {
		t.Errorf("the first one ends with %+v", end)
	}
	if begin.Kind != "rollout" || len(mine) == 0 || mine[0].Release == begin.Release {
		t.Errorf("they begin with %+v and %+v", mine, begin)
	}
	for _, e := range mine {
		if e.Release == begin.Release {
			t.Errorf("the first one is told %+v", e)
		}
	}
	again := z.follow() // of the same file: the same reload
	z.gate.open()
	for _, story := range []*story{second, again} {
		others, end := story.rest(t)
		if !end.OK {
			t.Errorf("it ends with %+v", end)
		}
		left := map[int]bool{}
		for _, e := range others {
			if e.Kind == "left" {
				left[e.PID] = true
			}
			if e.PID == leaving {
				t.Errorf("the second one is told %+v", e)
			}
		}
		if stays := old[0] + old[1] - leaving; !left[stays] {
			t.Errorf("the second one is not told that %d has left: %+v", stays, others)
		}
	}
	z.stop()
}
