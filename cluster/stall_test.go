package cluster_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// stalling asks a server at moments of its own making.
type stalling struct {
	*workplace
	now   time.Time
	letGo func() // all requests
}

const stallAfter = 30 * time.Second

// after says what the server says so much later.
func (s *stalling) after(d time.Duration) string {
	s.now = s.now.Add(d)
	return s.Stalled(s.now, stallAfter)
}

// dial opens a connection and sends the beginning of a request on it.
func (s *stalling) dial(request string) net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, request); err != nil {
		s.t.Fatal(err)
	}
	return c
}

func ask(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n" }

// M11: a server is stalled when requests are at work that write nothing and none is finished, and then only.
func TestStalled(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(t *testing.T, s *stalling){
		"nothing to do": func(t *testing.T, s *stalling) {
			for range 5 {
				if got := s.after(stallAfter); got != "" {
					t.Errorf("got %q", got)
				}
			}
		},
		"all hang": func(t *testing.T, s *stalling) {
			for range 3 {
				s.dial(ask("/wait"))
				<-s.entered
			}
			s.after(0)
			if got := s.after(stallAfter - 1); got != "" {
				t.Errorf("too early: %q", got)
			}
			if got := s.after(1); got != "no request was finished for 30s, and 3 that were at work all the while have written nothing, such as GET /wait" {
				t.Errorf("got %q", got)
			}
			s.letGo()
			until(t, func() bool { return s.InFlight() == 0 })
			if got := s.after(0); got != "" {
				t.Errorf("afterwards: %q", got)
			}
		},
		"one hangs, others are finished": func(t *testing.T, s *stalling) {
			s.dial(ask("/wait"))
			<-s.entered
			for range 5 {
				requests := s.Requests()
				resp, err := http.Get("http://" + s.addr + "/hello")
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				until(t, func() bool { return s.Requests() == requests+1 && s.InFlight() == 1 })
				if got := s.after(stallAfter); got != "" {
					t.Errorf("got %q", got)
				}
			}
			s.after(0)
			if got := s.after(stallAfter); got == "" {
				t.Error("it is not stalled when the others have stopped")
			}
		},
		"those that hang take turns": func(t *testing.T, s *stalling) {
			for range 3 { // each is finished before the time is up, though nobody looks at that moment
				s.dial(ask("/wait"))
				<-s.entered
				if got := s.after(stallAfter - 1); got != "" {
					t.Errorf("got %q", got)
				}
				s.release <- struct{}{}
				until(t, func() bool { return s.InFlight() == 0 })
			}
		},
		"an answer has begun": func(t *testing.T, s *stalling) {
			c := s.dial(ask("/stream"))
			<-s.entered
			if _, err := c.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			s.mayWait()
		},
		"the body is on its way": func(_ *testing.T, s *stalling) {
			s.dial("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
			<-s.entered
			until(s.t, s.Awaiting) // the handler reads
			s.mayWait()
		},
		"hijacked": func(_ *testing.T, s *stalling) {
			s.dial(ask("/hijack"))
			<-s.entered
			s.mayWait()
		},
		"idle": func(t *testing.T, s *stalling) {
			c := s.dial(ask("/hello"))
			if _, err := c.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			until(t, func() bool { return s.InFlight() == 0 })
			s.mayWait()
		},
		"switched off": func(_ *testing.T, s *stalling) {
			s.StallTimeout = -1
			s.dial(ask("/wait"))
			<-s.entered
			s.mayWait()
		},
		"a limit of its own": func(t *testing.T, s *stalling) {
			s.StallTimeout = time.Hour
			s.dial(ask("/wait"))
			<-s.entered
			s.after(0)
			if got := s.after(time.Hour - 1); got != "" {
				t.Errorf("too early: %q", got)
			}
			if got := s.after(1); got == "" {
				t.Error("it is not stalled")
			}
		},
		"it leaves": func(t *testing.T, s *stalling) {
			s.dial(ask("/wait"))
			<-s.entered
			s.stop(nil)
			until(t, s.Unready)
			s.mayWait()
		},
		"a second request on a connection that wrote": func(t *testing.T, s *stalling) {
			c := s.dial(ask("/hello"))
			if _, err := c.Read(make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(c, ask("/wait")); err != nil {
				t.Fatal(err)
			}
			<-s.entered
			s.after(0)
			s.after(0)
			if got := s.after(stallAfter); !strings.Contains(got, "and 1 that were at work") {
				t.Errorf("got %q", got)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := openWorkplace(t, nil)
			s := &stalling{p, time.Now(), sync.OnceFunc(func() { close(p.release) })}
			defer s.letGo()
			test(t, s)
		})
	}
}

// mayWait checks that however long this goes on, it is no stall.
func (s *stalling) mayWait() {
	s.t.Helper()
	for i := range 5 {
		if got := s.after(stallAfter); got != "" {
			s.t.Errorf("look %d: %q", i, got)
		}
	}
}
