// Lift is a service that uses package cluster and nothing else of this
// repository: HTTP/1.1 and HTTP/2 in plain text on one address and over TLS on
// another, streams of events, and upgraded connections. It can be reloaded under
// traffic without a failure. The file is whole: copy it, and replace the handlers.
//
//	lift -certificate service.pem &    # one PEM file: the certificate, then its key
//	go build -o lift . && kill -USR2 $(cat lift.pid)
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"doorbuster/cluster"
)

var version = "development" // go build -ldflags "-X main.version=..."

const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	drainTimeout      = 20 * time.Second // below Config.KillTimeout, 30 s
	eventInterval     = 50 * time.Millisecond
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "lift:", err)
		os.Exit(1)
	}
}

// run is the master, or a worker when a master has started this process. Workers
// get the arguments of their master.
func run() error {
	plain := flag.String("plain", ":8080", "address of HTTP in plain text")
	secure := flag.String("tls", ":8443", "address of HTTP over TLS")
	certificate := flag.String("certificate", "service.pem", "PEM file with the certificate and its key")
	state := flag.String("state", ".", "folder of lift.pid and lift.sock")
	workers := flag.Int("workers", 0, "number of workers; 0: as many as the machine has room for")
	flag.Parse()

	worker, err := cluster.Join()
	if err == nil {
		return work(worker, &keyPair{file: *certificate})
	}
	if !errors.Is(err, cluster.ErrNoMaster) {
		return err
	}
	master, err := cluster.New(cluster.Config{
		Listen:        []string{*plain, *secure},
		Workers:       *workers,
		PIDFile:       filepath.Join(*state, "lift.pid"),
		ControlSocket: filepath.Join(*state, "lift.sock"), // for cluster.Dial
	})
	if err != nil {
		return err
	}
	return master.Run(context.Background()) // until SIGTERM
}

// work serves until the master says that it is enough: one server for each
// address of Config.Listen, in that order.
func work(worker *cluster.Worker, keys *keyPair) error {
	if _, err := keys.get(nil); err != nil {
		return fmt.Errorf("read the certificate: %w", err) // a reload fails by that, and the old workers stay
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "%s: worker %d\n", version, worker.Slot())
	})
	mux.HandleFunc("GET /events", events)
	mux.HandleFunc("GET /echo", echo)

	plain := newServer(mux)
	plain.HTTP.Protocols = new(http.Protocols)
	plain.HTTP.Protocols.SetHTTP1(true)
	plain.HTTP.Protocols.SetUnencryptedHTTP2(true)
	secure := newServer(mux)
	secure.HTTP.TLSConfig = &tls.Config{GetCertificate: keys.get} // which makes it HTTPS
	return worker.Serve(plain, secure)
}

func newServer(handler http.Handler) *cluster.Server {
	return &cluster.Server{
		HTTP:         &http.Server{Handler: handler, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout},
		DrainTimeout: drainTimeout,
	}
}

// events streams server-sent events. It would hold up a drain until its limit,
// and so ends the stream in order when the drain begins: browsers connect again
// by themselves, and meet another worker.
func events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	ticks := time.NewTicker(eventInterval)
	defer ticks.Stop()
	stream := http.NewResponseController(w)
	for n := 1; ; n++ {
		fmt.Fprintf(w, "data: %s: event %d\n\n", version, n)
		if err := stream.Flush(); err != nil {
			return // the client has gone
		}
		select {
		case <-ticks.C:
		case <-cluster.DrainBegan(r.Context()):
			return
		case <-r.Context().Done():
			return
		}
	}
}

// echo sends back line by line what it gets on a connection that was upgraded:
// what net/http knows nothing of any more, as with WebSockets. When the drain
// begins it says goodbye, and goes on until the client, who has heard that,
// closes the connection.
func echo(w http.ResponseWriter, r *http.Request) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "ask for this over HTTP/1.1", http.StatusHTTPVersionNotSupported)
		return
	}
	defer conn.Close()
	fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-cluster.DrainBegan(r.Context()):
			fmt.Fprint(conn, "goodbye\n") // one Write: it stays in one piece beside those below
		case <-ended:
		}
	}()
	for lines := bufio.NewScanner(buffered); lines.Scan(); {
		fmt.Fprintf(conn, "%s: %s\n", version, lines.Text())
	}
}

// keyPair is a certificate that can be replaced without a reload: rename a new
// file into place.
type keyPair struct {
	file string

	mu      sync.Mutex
	changed time.Time // when the file was that was read
	pair    *tls.Certificate
}

// get is called for each handshake.
func (k *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	info, err := os.Stat(k.file)
	if err == nil && (k.pair == nil || !info.ModTime().Equal(k.changed)) {
		var pair tls.Certificate
		if pair, err = tls.LoadX509KeyPair(k.file, k.file); err == nil {
			k.pair, k.changed = &pair, info.ModTime()
		}
	}
	if k.pair == nil {
		return nil, err
	}
	return k.pair, nil // the one before serves on where the new one can't be read
}
