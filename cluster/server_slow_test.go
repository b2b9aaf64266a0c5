package cluster_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"doorbuster/cluster"
)

// slowClients are clients that could hold up a drain, each with the path that it asks for.
var slowClients = map[string]func(p *workplace, proto string){
	// It asks for more than all buffers on the way hold, and takes nothing.
	"GET /flood": func(p *workplace, proto string) {
		if proto == "h2" || proto == "h2c" {
			p.framerOver(proto).get("/flood")
			return
		}
		p.patronOver(proto).get("/flood")
	},
	// It sends a body byte by byte.
	"POST /upload": func(p *workplace, proto string) {
		body, send := io.Pipe()
		go func() {
			ticker := time.NewTicker(5 * time.Millisecond)
			defer ticker.Stop()
			for range ticker.C {
				if _, err := send.Write([]byte("x")); err != nil {
					return
				}
			}
		}()
		r, err := http.NewRequest(http.MethodPost, scheme(proto)+p.addr+"/upload", body)
		if err != nil {
			p.t.Fatal(err)
		}
		client := clientOver(p.t, proto, p.addr)
		go func() {
			if resp, err := client.Do(r); err == nil {
				resp.Body.Close()
			}
			body.Close()
		}()
	},
}

// A client that does not read its answer, or sends its request slowly, holds up a drain until the limit, or until the
// deadline that the service has set, and not longer. What was cut is named. Its neighbours are served meanwhile.
func TestSlowClientsAndDrains(t *testing.T) {
	t.Parallel()
	for _, proto := range []string{"plain", "http/1.1", "h2", "h2c"} {
		for name, begin := range slowClients {
			for _, deadline := range []bool{false, true} {
				suffix := " until the limit"
				if deadline {
					suffix = " until its deadline"
				}
				t.Run(proto+" "+name+suffix, func(t *testing.T) {
					t.Parallel()
					p := openWith(t, proto, func(p *workplace) {
						p.DrainTimeout = 5 * time.Second
						p.ResponseRate.Grace, p.DrainResponseRate.Grace = -1, -1
						if deadline {
							p.DrainTimeout, p.HTTP.ReadTimeout, p.HTTP.WriteTimeout = time.Hour, 2*time.Second, 2*time.Second
						}
						p.HTTP.Handler = flooding(p)
					})
					begin(p, proto)
					<-p.entered
					neighbours := []*http.Client{clientOver(t, proto, p.addr), clientOver(t, proto, p.addr)}
					well := func() {
						t.Helper()
						for _, n := range neighbours {
							resp, err := n.Get(scheme(proto) + p.addr + "/hello")
							if err != nil || resp.StatusCode != http.StatusOK {
								t.Errorf("a neighbour got %v, %v", resp, err)
								continue
							}
							io.Copy(io.Discard, resp.Body)
							resp.Body.Close()
						}
					}
					well()
					p.tellToStop()
					well()
					if deadline {
						p.mustEnd(nil)
						return
					}
					p.mustEnd(cluster.ErrCut)
					if p.log.with("draining", `"in_flight":1`, name) == nil || p.log.with("cutting", `"in_flight":1`, name) == nil {
						t.Errorf("the log does not name it: %s", p.log.with())
					}
					until(t, func() bool { return p.InFlight() == 0 })
				})
			}
		}
	}
}

// flooding has two paths beside what a workplace has: /flood answers as long as
// it is taken, /sip with a little.
func flooding(p *workplace) http.Handler {
	next := p.HTTP.Handler
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/flood":
			p.entered <- r.URL.Path
		case "/sip":
			io.WriteString(w, "a sip")
			p.entered <- r.URL.Path
			return
		default:
			next.ServeHTTP(w, r)
			return
		}
		for wave := make([]byte, 1<<20); ; {
			if _, err := w.Write(wave); err != nil {
				return
			}
		}
	})
}
