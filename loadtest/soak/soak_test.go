//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"doorbuster/app/audit"
)

// A pipes is a listener whose connections stay within the process, so that all time can be virtual.
type pipes struct {
	conns chan net.Conn
	ended chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.ended:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.ended) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

const (
	fakeWorker = 4711
	anOrder    = `{"id": "0199aa00-0000-7000-8000-000000000001", "status": "confirmed", "total": {"amount_minor": 1999}}`
)

// sells is a shop in order.
func sells(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/v1/cart/items":
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "1"})
	case "/v1/checkout":
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, anOrder)
	default:
		fmt.Fprint(w, strings.Repeat("x", map[bool]int{true: 500, false: 20_000}[r.URL.Path == smallPage]))
	}
}

// refuses answers with a problem.
func refuses(w http.ResponseWriter, status int, code, retryAfter string) {
	if retryAfter != "" {
		w.Header().Set("Retry-After", retryAfter)
	}
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"code": %q, "detail": "so it is"}`, code)
}

// scene is a fake shop for a while, with what is known of that time.
type scene struct {
	serve    func(w http.ResponseWriter, r *http.Request, since time.Duration)
	idle     time.Duration // after which the shop closes a connection
	evidence func(began time.Time) evidence
	want     string // part of a breach; none if empty
	excused  string // part of an excuse
}

// at runs do instead of serving, at one moment of a scene and for the first request after that.
func at(moment time.Duration, do http.HandlerFunc) func(http.ResponseWriter, *http.Request, time.Duration) {
	var once sync.Once
	return func(w http.ResponseWriter, r *http.Request, since time.Duration) {
		if since >= moment {
			met := false
			once.Do(func() { met = true })
			if met {
				do(w, r)
				return
			}
		}
		sells(w, r)
	}
}

func abort(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func during(from, to time.Duration) func(time.Time) span {
	return func(began time.Time) span { return span{began.Add(from), began.Add(to)} }
}

// A broken bound is found, and what the shop can't help is not one. All of it in virtual time, with all clients.
func TestScenes(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]scene{
		"in order": {},
		"dark for four seconds": {
			serve: func(w http.ResponseWriter, r *http.Request, since time.Duration) {
				if end := 9 * time.Second; since >= 5*time.Second && since < end {
					think(r.Context(), end-since)
				}
				sells(w, r)
			},
			want: "nobody got an answer for",
		},
		"dark for two seconds": {
			serve: func(w http.ResponseWriter, r *http.Request, since time.Duration) {
				if end := 7 * time.Second; since >= 5*time.Second && since < end {
					think(r.Context(), end-since)
				}
				sells(w, r)
			},
		},
		"dark, and so was the machine": {
			serve: func(w http.ResponseWriter, r *http.Request, since time.Duration) {
				if end := 9 * time.Second; since >= 5*time.Second && since < end {
					think(r.Context(), end-since)
				}
				sells(w, r)
			},
			evidence: func(began time.Time) evidence {
				return evidence{pauses: []span{during(6*time.Second, 8*time.Second)(began)}}
			},
		},
		"dark until the end": {
			serve: func(w http.ResponseWriter, r *http.Request, since time.Duration) {
				if since >= 16*time.Second {
					think(r.Context(), time.Minute)
				}
				sells(w, r)
			},
			want: "nobody got an answer for",
		},
		"closes instead of an answer": {
			serve: at(5*time.Second, abort),
			want:  "EOF",
		},
		"closes, of a killed worker": {
			serve: at(5*time.Second, abort),
			evidence: func(began time.Time) evidence {
				return evidence{deaths: map[int]time.Time{fakeWorker: began.Add(5 * time.Second)}}
			},
			excused: "killed",
		},
		"closes, long after a worker was killed": {
			serve: at(15*time.Second, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-Worker", "4712"); abort(w, r) }),
			evidence: func(began time.Time) evidence {
				return evidence{deaths: map[int]time.Time{4712: began.Add(5 * time.Second)}}
			},
			want: "EOF",
		},
		"closes idle connections": {
			idle: lameDuck / 4,
			want: "on kept connections: ",
		},
		"closes idle connections after the lame duck": {
			idle: lameDuck,
		},
		"drains without a notice": {
			serve: at(5*time.Second, func(w http.ResponseWriter, _ *http.Request) { refuses(w, 503, "draining", "1") }),
			want:  "drains",
		},
		"busy for no reason": {
			serve: at(5*time.Second, func(w http.ResponseWriter, _ *http.Request) { refuses(w, 503, "busy", "1") }),
			want:  "503 busy",
		},
		"busy after a stop": {
			serve: at(5*time.Second, func(w http.ResponseWriter, _ *http.Request) { refuses(w, 503, "busy", "1") }),
			evidence: func(began time.Time) evidence {
				return evidence{stops: []stop{{during(4*time.Second, 5*time.Second)(began), fakeWorker}}}
			},
			excused: "stopped",
		},
		"busy after the stop of another": {
			serve: at(5*time.Second, func(w http.ResponseWriter, _ *http.Request) { refuses(w, 503, "busy", "1") }),
			evidence: func(began time.Time) evidence {
				return evidence{stops: []stop{{during(4*time.Second, 5*time.Second)(began), fakeWorker + 1}}}
			},
			want: "503 busy",
		},
		"busy for how long": {
			serve: at(5*time.Second, func(w http.ResponseWriter, _ *http.Request) { refuses(w, 503, "unavailable", "") }),
			want:  "Retry-After",
		},
		"at its wits' end": {
			serve: at(5*time.Second, func(w http.ResponseWriter, _ *http.Request) { refuses(w, 500, "internal", "1") }),
			want:  "500 internal",
		},
		"answered by the answerer": {
			serve: at(5*time.Second, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Del("X-Worker")
				refuses(w, 503, "unavailable", "1")
			}),
			evidence: func(began time.Time) evidence {
				return evidence{dark: []span{during(4*time.Second, 6*time.Second)(began)}}
			},
			excused: "by the answerer",
		},
		"answered by the answerer in the light": {
			serve: at(15*time.Second, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Del("X-Worker")
				refuses(w, 503, "unavailable", "1")
			}),
			evidence: func(began time.Time) evidence {
				return evidence{dark: []span{during(4*time.Second, 6*time.Second)(began)}}
			},
			want: "by the answerer",
		},
		"slow to fresh connections": {
			serve: func(w http.ResponseWriter, r *http.Request, since time.Duration) {
				if since > 5*time.Second && r.URL.Path == smallPage && since < 5*time.Second+pulse*3/2 {
					think(r.Context(), 4*time.Second)
				}
				sells(w, r)
			},
			want: "an answer on a fresh connection took",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { s.play(t) })
		})
	}
}

// leave ends a server with all that it has begun.
func leave(srv *http.Server) {
	srv.Close()
	synctest.Wait()
}

func (s scene) play(t *testing.T) {
	l := &pipes{conns: make(chan net.Conn), ended: make(chan struct{})}
	began := time.Now()
	serve := s.serve
	if serve == nil {
		serve = func(w http.ResponseWriter, r *http.Request, _ time.Duration) { sells(w, r) }
	}
	srv := &http.Server{IdleTimeout: s.idle, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // or the server does not see that a client has gone
		w.Header().Set("X-Worker", fmt.Sprint(fakeWorker))
		serve(w, r, time.Since(began))
	})}
	go srv.Serve(l)
	defer leave(srv)
	enough, over := context.WithTimeout(t.Context(), 20*time.Second)
	defer over()
	w := newWitness()
	context.AfterFunc(enough, w.close)
	var acks bytes.Buffer
	(&crowd{dial: l.dial, narrow: l.dial, witness: w, skus: []string{"A", "B"}, seed: 1, acks: &acks}).run(t.Context(), enough)

	var e evidence
	if s.evidence != nil {
		e = s.evidence(began)
	}
	e.began = began
	v := e.judge(w)
	switch {
	case s.want == "" && len(v.breaches) > 0:
		t.Errorf("got %d breaches, such as %q, want none", len(v.breaches), v.breaches[0])
	case s.want != "" && !slices.ContainsFunc(v.breaches, func(b breach) bool { return strings.Contains(b.how, s.want) }):
		t.Errorf("got %d breaches, such as %q, want one with %q", len(v.breaches), v.breaches[:min(len(v.breaches), 1)], s.want)
	}
	if s.excused != "" && !strings.Contains(strings.Join(sum(v.excused), "\n"), s.excused) {
		t.Errorf("got excuses %v, want one with %q", v.excused, s.excused)
	}
	for _, kind := range []string{"kept connections", "fresh connections", "long reads", "orders"} {
		if w.kinds[kind] < 5 {
			t.Errorf("%d answers of %s", w.kinds[kind], kind)
		}
	}
	told, err := audit.ReadAcks(&acks)
	if err != nil || len(told) == 0 {
		t.Errorf("the audit reads %d keys, %v", len(told), err)
	}
}

// A checkout that got no answer, or was told to come again, is repeated with the same key until its outcome is known.
func TestCheckoutIsRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &pipes{conns: make(chan net.Conn), ended: make(chan struct{})}
		var mu sync.Mutex
		var keys []string
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			keys = append(keys, r.Header.Get("Idempotency-Key"))
			n := len(keys)
			mu.Unlock()
			switch n {
			case 1:
				panic(http.ErrAbortHandler)
			case 2:
				refuses(w, 503, "busy", "2")
			case 3:
				refuses(w, 409, "request-in-flight", "1")
			default:
				sells(w, r)
			}
		})}
		go srv.Serve(l)
		defer leave(srv)
		var acks bytes.Buffer
		c := &crowd{dial: l.dial, witness: newWitness(), acks: &acks}
		me := &caller{dial: l.dial, witness: c.witness}
		defer me.hangUp()
		began := time.Now()
		c.checkOut(t.Context(), me, "a-key", "A", "session=1")
		mu.Lock()
		defer mu.Unlock()
		if want := []string{"a-key", "a-key", "a-key", "a-key"}; !slices.Equal(keys, want) {
			t.Errorf("got keys %q, want %q", keys, want)
		}
		if took, want := time.Since(began), 4*time.Second; took != want {
			t.Errorf("it took %v, want %v", took, want)
		}
		told, err := audit.ReadAcks(&acks)
		if err != nil || len(told["a-key"]) != 4 || told["a-key"][3].TotalMinor != 1999 {
			t.Errorf("got %+v, %v", told, err)
		}
	})
}

// A caller that was kept from coming back in time does not use its connection any more; one that is a bit late is excused.
func TestLateCallers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &pipes{conns: make(chan net.Conn), ended: make(chan struct{})}
		var connections atomic.Int64
		srv := &http.Server{
			Handler: http.HandlerFunc(sells),
			ConnState: func(_ net.Conn, s http.ConnState) {
				if s == http.StateNew {
					connections.Add(1)
				}
			},
		}
		go srv.Serve(l)
		defer leave(srv)
		me := caller{dial: l.dial, witness: newWitness()}
		defer me.hangUp()
		for _, pause := range []time.Duration{0, lameDuck / 2, lameDuck, lameDuck / 2} {
			think(t.Context(), pause)
			if _, ok := me.ask(t.Context(), request{method: http.MethodGet, path: smallPage}); !ok {
				t.Fatal(me.witness.losses)
			}
		}
		if n := connections.Load(); n != 2 {
			t.Errorf("%d connections, want 2", n)
		}
	})
	e := evidence{}
	for idle, want := range map[time.Duration]bool{lameDuck: true, lameDuck - 1: false} {
		if got := e.excuse(loss{worker: fakeWorker, idle: idle, err: errors.New("EOF")}) != ""; got != want {
			t.Errorf("idle for %v: excused is %v, want %v", idle, got, want)
		}
	}
	if e.excuse(loss{refused: true, idle: lameDuck}) != "" {
		t.Error("a refused connection is excused")
	}
}

// TestAcknowledgements writes down every answer that tells of an order in a form
// that the audit takes.
func TestAcknowledgements(t *testing.T) {
	for _, status := range []int{http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusConflict, http.StatusServiceUnavailable} {
		log := new(bytes.Buffer)
		body := []byte(anOrder)
		if status >= 400 {
			body = []byte(`{"status": 409}`)
		}
		(&crowd{acks: log}).acknowledge("key", "SKU", reply{status: status, body: body})
		acks, err := audit.ReadAcks(log)
		if err != nil || len(acks["key"]) != 1 {
			t.Fatalf("%d: got %v, %v, want one acknowledgement", status, acks, err)
		}
		if got := acks["key"][0].TotalMinor; (got == 1999) != (status < 400) {
			t.Errorf("%d: got a total of %d", status, got)
		}
	}
}
