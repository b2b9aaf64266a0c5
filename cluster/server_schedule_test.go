package cluster_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// schedule is what one client does around the beginning of a drain, and what it may expect.
type schedule struct {
	*patron
	random  *rand.Rand
	release chan<- struct{} // lets this client's own request go on
	duck    time.Duration
	until   time.Time // whatever is sent before that has to be answered
	path    string
}

// Whatever state a connection is in when a drain begins, and whatever its client does then: a request that was sent before
// its lame duck was over is answered, unless it came behind an answer that was the last. None is refused, however late the
// server comes to read it: only the limit turns anybody away.
//
// The client's clock is on the server's side of each comparison: the lame duck begins after the client has noted the time,
// and a request has arrived when the client's Write returns.
func TestAnySchedule(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	const rounds, clients, duck = 4, 40, 300 * time.Millisecond
	for _, proto := range []string{"plain", "http/1.1"} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			var expected, late atomic.Int64
			for round := range uint64(rounds) {
				anySchedule(t, proto, seed+round, clients, duck, &expected, &late)
			}
			t.Logf("%d requests had to be answered; %d came later", expected.Load(), late.Load())
			if expected.Load() == 0 {
				t.Error("no request came in time")
			}
		})
	}
}

func anySchedule(t *testing.T, proto string, seed uint64, clients int, duck time.Duration, expected, late *atomic.Int64) {
	t.Helper()
	p := openWith(t, proto, func(p *workplace) {
		p.LameDuck = duck
		p.HTTP.Handler = ownRelease(p)
	})
	random := rand.New(rand.NewPCG(seed, 0))
	all := make([]*schedule, clients)
	var ready sync.WaitGroup
	for i := range all {
		release := make(chan struct{}, 1)
		ownReleases.Store(fmt.Sprintf("%s/%d", p.addr, i), release)
		all[i] = &schedule{patron: p.patronOver(proto), random: rand.New(rand.NewPCG(seed, uint64(i)+1)), release: release, duck: duck}
		ready.Add(1)
	}
	// First steps, one after the other.
	steps := make([]func(), clients)
	for i, s := range all {
		steps[i] = s.begin(p, i, random.IntN(8))
	}
	until(t, func() bool { return p.Connections() == clients })
	told := time.Now()
	p.stop(nil)
	var done sync.WaitGroup
	for i, s := range all {
		s.until = told.Add(duck)
		done.Go(func() { s.live(steps[i], expected, late) })
	}
	done.Wait()
	p.mustEnd(nil)
	if n := p.Connections(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

var ownReleases sync.Map // by address and client: chan struct{}

// ownRelease answers /hello at once, and /wait and /stream when the client lets its own request go on.
func ownRelease(p *workplace) http.Handler {
	wait := func(r *http.Request) {
		release, _ := ownReleases.Load(p.addr + "/" + r.URL.Query().Get("client"))
		<-release.(chan struct{})
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/hello", greet)
	mux.HandleFunc("/wait", func(w http.ResponseWriter, r *http.Request) {
		p.entered <- ""
		wait(r)
		greet(w, r)
	})
	mux.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "begun")
		w.(http.Flusher).Flush()
		p.entered <- ""
		wait(r)
		io.WriteString(w, " and ended")
	})
	mux.HandleFunc("/upload", func(w http.ResponseWriter, r *http.Request) {
		p.entered <- ""
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n)
	})
	return mux
}

// begin brings a client into some state before the drain, and returns how it goes on.
func (s *schedule) begin(p *workplace, i, state int) (next func()) {
	s.path = fmt.Sprintf("/hello?client=%d", i)
	letGo := func(body string) func() {
		return func() {
			s.pause()
			s.idleFrom(time.Now())
			s.release <- struct{}{}
			s.mustAnswer(body)
		}
	}
	switch state {
	case 0: // accepted, and silent
		return nil
	case 1: // kept
		s.get(s.path)
		s.mustAnswer("hello")
		return nil
	case 2: // half a head, first on the connection
		s.send("GET " + s.path + " HTTP/1.1\r\nHo")
		return s.rest("st: shop\r\n\r\n")
	case 3: // half a head, on a kept one
		s.get(s.path)
		s.mustAnswer("hello")
		s.send("GET " + s.path + " HTTP/1.1\r\nHo")
		return s.rest("st: shop\r\n\r\n")
	case 4: // at work
		s.get(fmt.Sprintf("/wait?client=%d", i))
		<-p.entered
		return letGo("hello")
	case 5: // a stream
		s.get(fmt.Sprintf("/stream?client=%d", i))
		<-p.entered
		return letGo("begun and ended")
	case 6: // a stream, and requests behind it
		s.get(fmt.Sprintf("/stream?client=%d", i))
		<-p.entered
		s.get(s.path)
		s.get(s.path)
		return func() {
			letGo("begun and ended")()
			s.mustAnswer("hello") // and the third comes behind the last answer
		}
	default: // a body that takes its time
		s.send("POST /upload HTTP/1.1\r\nHost: shop\r\nContent-Length: 10\r\n\r\nslow")
		<-p.entered
		return func() {
			for _, b := range " bytes" {
				s.pause()
				s.send(string(b))
			}
			s.mustAnswer("10")
		}
	}
}

// rest is the end of a head. It has to come while the lame duck lasts.
func (s *schedule) rest(end string) func() {
	return func() {
		s.pause()
		if s.sent(end) {
			s.mustAnswer("hello")
		}
	}
}

// idleFrom says that the connection becomes idle later than that.
func (s *schedule) idleFrom(now time.Time) {
	if until := now.Add(s.duck); until.After(s.until) {
		s.until = until
	}
}

func (s *schedule) pause() { <-time.After(time.Duration(s.random.Int64N(int64(s.duck)))) }

// sent sends a part of a request and reports whether it has to be answered.
func (s *schedule) sent(part string) bool {
	_, err := io.WriteString(s, part)
	return time.Now().Before(s.until) && s.must(err == nil, "it can't be sent: %v", err)
}

func (s *schedule) must(ok bool, format string, args ...any) bool {
	if !ok {
		s.t.Errorf("%s: "+format, append([]any{s.path}, args...)...)
	}
	return ok
}

// over says that the connection was closed, or that the client was told to go.
type over struct{}

// mustAnswer reads an answer, and gives up the connection if it is the last.
func (s *schedule) mustAnswer(body string) {
	resp, err := http.ReadResponse(s.buf, nil)
	if !s.must(err == nil, "not answered: %v", err) {
		panic(over{})
	}
	got, err := io.ReadAll(resp.Body)
	served := err == nil && resp.StatusCode == http.StatusOK && string(got) == body
	s.must(served, "got %d %q, %v, want 200 %q", resp.StatusCode, got, err, body)
	if resp.Close {
		panic(over{})
	}
}

// live goes on with what had begun before the drain, and then sends requests until somebody ends the connection.
func (s *schedule) live(next func(), expected, late *atomic.Int64) {
	defer s.Close()
	defer func() {
		if cause := recover(); cause != nil && cause != (over{}) {
			panic(cause)
		}
	}()
	if next != nil {
		next()
	}
	for {
		s.pause()
		if s.random.IntN(3) == 0 { // a head in two parts
			io.WriteString(s, "GET "+s.path)
			s.pause()
		} else {
			io.WriteString(s, "GET "+s.path)
		}
		if s.sent(" HTTP/1.1\r\nHost: shop\r\n\r\n") {
			expected.Add(1)
			s.mustAnswer("hello")
			continue
		}
		late.Add(1)
		resp, err := http.ReadResponse(s.buf, nil)
		if err != nil || resp.Close {
			return
		}
		io.Copy(io.Discard, resp.Body)
	}
}
