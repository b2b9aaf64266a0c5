package cluster_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"doorbuster/cluster"
)

// certificate makes one for 127.0.0.1 that signs itself.
func certificate(tb testing.TB, name string) *tls.Certificate {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// overTLS makes a workplace serve TLS.
func overTLS(tb testing.TB) func(*workplace) {
	cert := certificate(tb, "shop")
	return func(p *workplace) { p.HTTP.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*cert}} }
}

// patronTLS is a patron over TLS.
func (p *workplace) patronTLS(protocols ...string) *patron {
	p.t.Helper()
	c, err := tls.Dial("tcp", p.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: protocols})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close() })
	return &patron{c, p.t, bufio.NewReader(c)}
}

func (v *patron) protocol() string { return v.Conn.(*tls.Conn).ConnectionState().NegotiatedProtocol }

// Servers can share a TLSConfig, as those of several addresses do: the race
// detector sees whoever writes to it.
func TestServersShareATLSConfig(t *testing.T) {
	t.Parallel()
	cert := certificate(t, "shop")
	shared := &tls.Config{Certificates: []tls.Certificate{*cert}}
	var places []*workplace
	for range 4 {
		places = append(places, openWorkplace(t, func(p *workplace) { p.HTTP.TLSConfig = shared }))
	}
	for _, p := range places {
		if got := p.patronTLS("h2").protocol(); got != "h2" {
			t.Errorf("got %q", got)
		}
	}
	if shared.NextProtos != nil {
		t.Errorf("the protocols of the one became those of all: %v", shared.NextProtos)
	}
}

// With HTTP.TLSConfig a Server serves TLS. The protocols are those of
// HTTP.Protocols, and never is a request in plain text answered.
func TestServeTLS(t *testing.T) {
	t.Parallel()
	p := openWorkplace(t, overTLS(t))
	if got := p.patronTLS("h2", "http/1.1").protocol(); got != "h2" {
		t.Errorf("a client that can HTTP/2 speaks %q", got)
	}
	v := p.patronTLS()
	v.get("/hello")
	v.answer(http.StatusOK, "hello", false)

	plain := p.patron()
	plain.get("/hello")
	resp, err := http.ReadResponse(plain.buf, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), "HTTP request to an HTTPS server") {
		t.Errorf("plain text was answered with %d %q", resp.StatusCode, body)
	}

	only := openWorkplace(t, func(p *workplace) {
		overTLS(t)(p)
		p.HTTP.Protocols = new(http.Protocols)
		p.HTTP.Protocols.SetHTTP1(true)
	})
	if got := only.patronTLS("h2", "http/1.1").protocol(); got != "http/1.1" {
		t.Errorf("HTTP/2 is off, and the protocol is %q", got)
	}
}

// Connections, requests and what is in flight count over TLS as without, on the
// board, too.
func TestCountsOverTLS(t *testing.T) {
	t.Parallel()
	b := boardFor(t, 1)
	p := openWorkplace(t, func(p *workplace) {
		overTLS(t)(p)
		p.Join(b, 0)
	})
	want := func(connections, inFlight int, requests int64) {
		t.Helper()
		until(t, func() bool {
			live, _, _ := b.Entry(0)
			return p.Connections() == connections && int(live) == connections && p.InFlight() == inFlight && p.Requests() == requests
		})
	}
	p.patron() // has not said anything
	want(1, 0, 0)
	v := p.patronTLS()
	v.get("/wait")
	<-p.entered
	want(2, 1, 1)
	p.release <- struct{}{}
	v.answer(http.StatusOK, "hello", false)
	want(2, 0, 1)
	v.get("/hijack")
	taken := <-p.taken
	<-p.entered
	want(2, 1, 2) // the handler has returned
	taken.Close()
	want(1, 0, 2)
}

// W2, W3: a drain waits for a hijacked connection over TLS, and cuts it at the
// limit.
func TestDrainHijackedOverTLS(t *testing.T) {
	t.Parallel()
	begin := func(limit time.Duration) (*workplace, *patron) {
		p := openWorkplace(t, func(p *workplace) {
			overTLS(t)(p)
			p.DrainTimeout = limit
		})
		v := p.patronTLS()
		v.get("/hijack")
		<-p.entered
		return p, v
	}
	p, _ := begin(time.Hour)
	p.tellToStop()
	(<-p.taken).Close()
	p.mustEnd(nil)

	p, v := begin(50 * time.Millisecond)
	p.stop(nil)
	p.mustEnd(cluster.ErrCut)
	if p.log.with("cutting", "GET /hijack", `"hijacked":1`) == nil {
		t.Errorf("no log line says what was cut: %s", p.log.with())
	}
	v.read("hijacked")
	v.gone()
}

func (v *patron) read(want string) {
	v.t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(v.buf, got); err != nil || string(got) != want {
		v.t.Errorf("got %q, %v", got, err)
	}
}

// A TLSConfig by which no handshake can succeed is refused before anything is
// served.
func TestTLSWithoutCertificate(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &cluster.Server{HTTP: &http.Server{TLSConfig: &tls.Config{MinVersion: tls.VersionTLS13}}, Log: quietLog}
	err = s.Serve(t.Context(), t.Context(), listener)
	if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "GetCertificate") {
		t.Errorf("got %v", err)
	}
	if _, err := listener.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is open: %v", err)
	}
}

// A certificate that GetCertificate gives is in use from the next handshake on.
func TestCertificateIsReplaced(t *testing.T) {
	t.Parallel()
	var current atomic.Pointer[tls.Certificate]
	current.Store(certificate(t, "old"))
	p := openWorkplace(t, func(p *workplace) {
		p.HTTP.TLSConfig = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return current.Load(), nil }}
	})
	shown := func(v *patron) string {
		return v.Conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	before := p.patronTLS()
	if got := shown(before); got != "old" {
		t.Errorf("got %q", got)
	}
	current.Store(certificate(t, "new"))
	if got := shown(p.patronTLS()); got != "new" {
		t.Errorf("got %q", got)
	}
	before.get("/hello")
	before.answer(http.StatusOK, "hello", false)
}

// A certificate can be replaced while a worker serves. Here that is done by hand;
// a service may look at its file now and then, or do it at a setting.
func ExampleServer_certificates() {
	load := func(string) (*tls.Certificate, error) { return certificate(new(testing.B), "shop"), nil } // tls.LoadX509KeyPair
	var current atomic.Pointer[tls.Certificate]
	replace := func() error {
		c, err := load("shop.pem")
		if err != nil {
			return fmt.Errorf("load the certificate: %w", err) // the one before stays
		}
		current.Store(c)
		return nil
	}
	if err := replace(); err != nil {
		fmt.Println(err)
		return
	}
	server := &cluster.Server{
		HTTP: &http.Server{
			Handler: http.HandlerFunc(greet),
			TLSConfig: &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				return current.Load(), nil
			}},
		},
		Log: quietLog,
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	stop, leave := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(stop, context.Background(), listener) }() // worker.Serve(server) under a master

	first, err := dialedCertificate(listener.Addr().String())
	if err != nil {
		fmt.Println(err)
	}
	if err := replace(); err != nil {
		fmt.Println(err)
	}
	second, err := dialedCertificate(listener.Addr().String())
	if err != nil {
		fmt.Println(err)
	}
	fmt.Println("another certificate:", !first.Equal(second))
	leave()
	fmt.Println("drained:", <-done == nil)
	// Output:
	// another certificate: true
	// drained: true
}

func dialedCertificate(addr string) (*x509.Certificate, error) {
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true}) // of the example only
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0], nil
}
