//go:build unix

package cluster_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"doorbuster/cluster"
)

// Clients that think between two requests, for less than the lame duck, lose none to rolling replacements, over any
// protocol, and none is refused. They repeat nothing, and no request can be repeated: each has a body.
func TestReplacementsUnderThinkingClients(t *testing.T) {
	t.Parallel()
	for _, proto := range []string{"plain", "http/1.1", "h2", "h2c"} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			const clients, replacements, duck = 50, 3, 1500 * time.Millisecond
			socket, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer socket.Close()
			open := func() *workplace {
				return openWorkplaceOn(t, speaking(listenerDup(t, socket), proto), func(p *workplace) {
					p.LameDuck, p.DrainTimeout, p.HTTP.Protocols = duck, time.Hour, protocolsOf(proto)
					p.HTTP.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						io.Copy(io.Discard, r.Body)
						greet(w, r)
					})
				})
			}
			current := open()
			enough := make(chan struct{})
			var thinking sync.WaitGroup
			var served atomic.Int64
			for range clients {
				thinking.Go(func() { think(t, thinker(t, proto, socket.Addr().String()), duck, &served, enough) })
			}
			for range replacements {
				before := served.Load()
				until(t, func() bool { return served.Load() >= before+clients })
				next := open()
				current.stop(cluster.DrainOrder(0))
				current.mustEnd(nil)
				current = next
			}
			close(enough)
			thinking.Wait()
			t.Logf("%d requests", served.Load())
		})
	}
}

// think sends requests, with pauses of up to two thirds of the lame duck.
func think(t *testing.T, ask func() error, duck time.Duration, served *atomic.Int64, enough <-chan struct{}) {
	for before := time.Now(); ; {
		begun := time.Now()
		err := ask()
		// The machine may be so busy that the pause became too long: that is nobody's fault.
		if err != nil && time.Since(before) < duck {
			t.Errorf("%v after the request before: %v", begun.Sub(before), err)
			return
		}
		before = begun
		served.Add(1)
		select {
		case <-enough:
			return
		case <-time.After(rand.N(duck * 2 / 3)):
		}
	}
}

// thinker returns a client as a function that sends one request.
func thinker(t *testing.T, proto, addr string) (ask func() error) {
	t.Helper()
	if proto == "plain" {
		return rawThinker(t, addr)
	}
	client := clientOver(t, proto, addr)
	return func() error {
		body := io.MultiReader(strings.NewReader("a kettle")) // of a type that net/http can't rewind
		resp, err := client.Post(scheme(proto)+addr+"/", "text/plain", body)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		return served(resp)
	}
}

func served(resp *http.Response) error {
	if resp.StatusCode != http.StatusOK {
		return errors.New("got " + resp.Status)
	}
	_, err := io.Copy(io.Discard, resp.Body)
	return err
}

// rawThinker does not look whether its connection was closed before it writes.
func rawThinker(t *testing.T, addr string) func() error {
	var conn net.Conn
	var buf *bufio.Reader
	t.Cleanup(func() {
		if conn != nil {
			conn.Close()
		}
	})
	return func() (err error) {
		if conn == nil {
			if conn, err = net.Dial("tcp", addr); err != nil {
				return err
			}
			buf = bufio.NewReader(conn)
		}
		fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 8\r\n\r\na kettle")
		resp, err := http.ReadResponse(buf, nil)
		if err == nil {
			err = served(resp)
		}
		if err != nil || resp.Close {
			conn.Close()
			conn = nil
		}
		return err
	}
}
