package cluster_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"

	"doorbuster/cluster"
)

// BenchmarkServe is what a Server costs beside a bare http.Server: keep-alive clients over loopback, a handler that does
// next to nothing. Run it with -count 10 or more: the difference is smaller than the noise of one run.
func BenchmarkServe(b *testing.B) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "a product") })
	b.Run("bare", func(b *testing.B) {
		listener := benchListener(b)
		server := &http.Server{Handler: handler}
		go server.Serve(listener)
		b.Cleanup(func() { server.Close() })
		benchClients(b, listener.Addr().String())
	})
	b.Run("server", func(b *testing.B) {
		listener := benchListener(b)
		hurry, now := context.WithCancel(context.Background())
		server := &cluster.Server{HTTP: &http.Server{Handler: handler}, Log: quietLog}
		done := make(chan error)
		go func() { done <- server.Serve(hurry, hurry, listener) }()
		b.Cleanup(func() { now(); <-done })
		benchClients(b, listener.Addr().String())
	})
}

func benchListener(b *testing.B) net.Listener {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	return listener
}

func benchClients(b *testing.B, addr string) {
	b.Helper()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			b.Error(err)
			return
		}
		defer conn.Close()
		request := []byte("GET /v1/products/kettle HTTP/1.1\r\nHost: shop\r\nAccept: */*\r\nUser-Agent: bench\r\n\r\n")
		buf := bufio.NewReader(conn)
		for pb.Next() {
			if _, err := conn.Write(request); err != nil {
				b.Error(err)
				return
			}
			for {
				peeked, err := buf.Peek(1)
				if err != nil {
					b.Error(err)
					return
				}
				if peeked[0] == 'a' {
					if _, err := buf.Discard(len("a product")); err != nil {
						b.Error(err)
						return
					}
					break
				}
				if _, err := buf.ReadSlice('\n'); err != nil {
					b.Error(err)
					return
				}
			}
		}
	})
}
