package cluster_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"doorbuster/cluster"
)

// ear notes who was told that the drain begins, and whether connections were accepted at that time.
type ear struct{ heard chan string }

func (e ear) of(p *workplace, who string) func() {
	return func() {
		c, err := net.Dial("tcp", p.addr)
		if err == nil {
			c.Close()
			who += " too early"
		}
		e.heard <- who
	}
}

// want checks that everybody was told once.
func (e ear) want(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for range want {
		got = append(got, <-e.heard)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
	select {
	case who := <-e.heard:
		t.Errorf("%s was told as well", who)
	default:
	}
}

// Whoever asked for it is told that the drain begins, once: when nothing more is accepted, before anything is closed.
func TestOnDrain(t *testing.T) {
	t.Parallel()
	e := ear{make(chan string, 10)}
	p := openWorkplace(t, func(p *workplace) {
		p.LameDuck = time.Hour / 2
		p.OnDrain(e.of(p, "before Serve"))
		p.HTTP.RegisterOnShutdown(e.of(p, "RegisterOnShutdown"))
		next := p.HTTP.Handler
		p.HTTP.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/register" {
				r.Context().Value(http.ServerContextKey).(*http.Server).RegisterOnShutdown(e.of(p, "in a handler"))
			}
			next.ServeHTTP(w, r)
		})
	})
	v := p.regular()
	v.get("/register")
	v.answer(http.StatusNotFound, "", false)
	p.OnDrain(e.of(p, "while serving"))
	if stop := p.OnDrain(e.of(p, "taken back")); !stop() {
		t.Error("it was too late to take it back")
	}
	p.stop(nil)
	<-p.DrainBegan()
	e.want(t, "before Serve", "RegisterOnShutdown", "in a handler", "while serving")
	p.OnDrain(e.of(p, "late"))
	e.want(t, "late")
	v.get("/hello") // nothing was closed
	v.answer(http.StatusOK, "hello", true)
	p.mustEnd(nil)
	e.want(t)
}

// During ShutdownDelay nobody is told: connections that end then would come back to the same worker. Somebody in a hurry
// ends the delay, and is no reason not to tell.
func TestOnDrainAfterTheDelay(t *testing.T) {
	t.Parallel()
	e := ear{make(chan string, 10)}
	p := openWorkplace(t, func(p *workplace) {
		p.ShutdownDelay = time.Hour
		p.OnDrain(e.of(p, "OnDrain"))
		p.HTTP.RegisterOnShutdown(e.of(p, "RegisterOnShutdown"))
	})
	p.stop(nil)
	until(t, p.Unready)
	p.regular().Close()
	select {
	case <-p.DrainBegan():
		t.Error("the drain has begun during the delay")
	default:
	}
	e.want(t)
	until(t, p.Quiet) // the client may have an answer that the server is not done with
	p.hurry()
	p.mustEnd(nil)
	e.want(t, "OnDrain", "RegisterOnShutdown")
}

// A stream that ends when the drain begins ends politely, over any protocol; one that does not is cut at the limit.
func TestStreamsAndDrains(t *testing.T) {
	t.Parallel()
	for _, proto := range []string{"plain", "http/1.1", "h2", "h2c"} {
		for name, deaf := range map[string]bool{"listens": false, "does not": true} {
			t.Run(proto+" "+name, func(t *testing.T) {
				t.Parallel()
				p := openWith(t, proto, func(p *workplace) {
					p.DrainTimeout = time.Hour
					if deaf {
						p.DrainTimeout = 100 * time.Millisecond
					}
					p.HTTP.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						io.WriteString(w, "event")
						w.(http.Flusher).Flush()
						began := cluster.DrainBegan(r.Context())
						if deaf {
							began = p.release
						}
						p.entered <- ""
						<-began
						io.WriteString(w, ", goodbye")
					})
				})
				client := clientOver(t, proto, p.addr)
				resp, err := client.Get(scheme(proto) + p.addr + "/events")
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				<-p.entered
				p.stop(nil)
				if deaf {
					p.mustEnd(cluster.ErrCut)
					close(p.release)
				}
				body, err := io.ReadAll(resp.Body)
				if deaf != (err != nil) || !deaf && string(body) != "event, goodbye" {
					t.Errorf("got %q, %v", body, err)
				}
				if !deaf {
					client.CloseIdleConnections()
					p.mustEnd(nil)
				} else if p.log.with("cutting", "GET /events") == nil {
					t.Errorf("the log does not name the stream: %s", p.log.with())
				}
			})
		}
	}
}

// A hijacked connection that is closed when the drain begins does not hold it up.
func TestHijackedGoesOnDrain(t *testing.T) {
	t.Parallel()
	p := openWorkplace(t, nil)
	v := p.patron()
	v.get("/hijack")
	<-p.entered
	conn := <-p.taken
	p.OnDrain(func() {
		io.WriteString(conn, ", goodbye")
		conn.Close()
	})
	p.stop(nil)
	if said, err := io.ReadAll(v.buf); string(said) != "hijacked, goodbye" || err != nil {
		t.Errorf("got %q, %v", said, err)
	}
	p.mustEnd(nil)
}

// In a server of another kind nobody is told of a drain, and nothing breaks.
func TestDrainBeganElsewhere(t *testing.T) {
	t.Parallel()
	if cluster.DrainBegan(t.Context()) != nil {
		t.Error("got a channel without a Server")
	}
}

// Hurry ends the contexts of all that is at work, whatever it is doing.
func TestHurryCancels(t *testing.T) {
	t.Parallel()
	type ended struct {
		what  string
		cause error
	}
	for _, proto := range []string{"plain", "http/1.1", "h2", "h2c"} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			over := make(chan ended, 10)
			p := openWith(t, proto, func(p *workplace) {
				p.HTTP.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					switch r.URL.Path {
					case "/stream":
						io.WriteString(w, "begun")
						w.(http.Flusher).Flush()
					case "/hijack":
						if _, _, err := w.(http.Hijacker).Hijack(); err != nil {
							t.Error(err)
						}
					}
					p.entered <- ""
					<-r.Context().Done()
					over <- ended{r.Method + " " + r.URL.Path, context.Cause(r.Context())}
				})
			})
			client := clientOver(t, proto, p.addr)
			want := []string{"POST /unread", "GET /stream", "GET /wait"}
			if proto == "plain" || proto == "http/1.1" {
				want = append(want, "GET /hijack")
			}
			for _, request := range want {
				method, path, _ := strings.Cut(request, " ")
				var body io.Reader
				if method == "POST" {
					read, write := io.Pipe()
					t.Cleanup(func() { write.Close() })
					body = read
				}
				r, err := http.NewRequest(method, scheme(proto)+p.addr+path, body)
				if err != nil {
					t.Fatal(err)
				}
				go func() {
					if resp, err := client.Do(r); err == nil {
						io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
					}
				}()
				<-p.entered
			}
			p.tellToStop()
			p.hurry()
			p.mustEnd(cluster.ErrCut)
			for range want {
				e := <-over
				if i := slices.Index(want, e.what); i < 0 {
					t.Errorf("%s ended twice", e.what)
				} else {
					want = slices.Delete(want, i, i+1)
				}
				t.Logf("%s: %v", e.what, e.cause)
			}
			until(t, func() bool { return proto == "http/1.1" || p.InFlight() <= 1 }) // a hijacked one is its handler's to close
		})
	}
}

// Serve serves with all that the caller's server says, and leaves that server as it was.
func TestServesWithACopy(t *testing.T) {
	t.Parallel()
	original := &http.Server{ReadTimeout: time.Minute, IdleTimeout: time.Hour, MaxHeaderBytes: 10, Addr: "x", DisableGeneralOptionsHandler: true}
	p := openWorkplace(t, func(p *workplace) { p.HTTP = original })
	p.patron().get("/") // there is no handler: it is http.DefaultServeMux
	until(t, func() bool { return p.Requests() > 0 })
	from, to := reflect.ValueOf(original).Elem(), reflect.ValueOf(p.Serving()).Elem()
	for i := range from.NumField() {
		field := from.Type().Field(i)
		switch field.Name {
		case "Handler", "ConnState", "ConnContext", "BaseContext", "TLSConfig", "TLSNextProto": // Serve's own, and net/http's
			if !from.Field(i).IsZero() {
				t.Errorf("the caller's %s was changed", field.Name)
			}
		default:
			if field.IsExported() && !reflect.DeepEqual(from.Field(i).Interface(), to.Field(i).Interface()) {
				t.Errorf("%s: %v became %v", field.Name, from.Field(i), to.Field(i))
			}
		}
	}
}

// An endless stream ends when the drain begins, so that it neither holds up the drain nor is cut by it. Its client comes
// back to another worker.
func ExampleDrainBegan() {
	events := make(chan string, 1)
	handler := func(w http.ResponseWriter, r *http.Request) {
		for {
			select {
			case event := <-events:
				fmt.Fprintf(w, "data: %s\n\n", event)
				w.(http.Flusher).Flush()
			case <-cluster.DrainBegan(r.Context()):
				io.WriteString(w, "event: goodbye\n\n")
				return
			case <-r.Context().Done():
				return
			}
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	stop, leave := context.WithCancel(context.Background())
	server := &cluster.Server{HTTP: &http.Server{Handler: http.HandlerFunc(handler)}, Log: quietLog}
	served := make(chan error)
	go func() { served <- server.Serve(stop, context.Background(), listener) }()

	events <- "the sale begins"
	resp, err := http.Get("http://" + listener.Addr().String())
	if err != nil {
		panic(err)
	}
	leave()
	io.Copy(os.Stdout, resp.Body)
	http.DefaultClient.CloseIdleConnections()
	fmt.Println(<-served)
	// Output:
	// data: the sale begins
	//
	// event: goodbye
	//
	// <nil>
}
