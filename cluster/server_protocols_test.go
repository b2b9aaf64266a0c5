package cluster_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// certified is a certificate for example.com, and who trusts it.
var certified = sync.OnceValues(func() (tls.Certificate, *x509.CertPool) {
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	defer server.Close()
	trusted := x509.NewCertPool()
	trusted.AddCert(server.Certificate())
	return server.TLS.Certificates[0], trusted
})

// byHand is at the end of a protocol when the caller puts TLS around the listener, and not into HTTP.TLSConfig.
const byHand = " by hand"

// speaking puts TLS on top of a listener if the protocol is "http/1.1" or "h2". "h2c" is HTTP/2 without.
func speaking(inner net.Listener, proto string) net.Listener {
	if proto == "h2c" || proto == "plain" {
		return inner
	}
	certificate, _ := certified()
	proto = strings.TrimSuffix(proto, byHand)
	return tls.NewListener(inner, &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{proto}})
}

func protocolsOf(proto string) *http.Protocols {
	var p http.Protocols
	switch strings.TrimSuffix(proto, byHand) {
	case "h2c":
		p.SetUnencryptedHTTP2(true)
	case "h2":
		p.SetHTTP2(true)
	default:
		p.SetHTTP1(true)
	}
	return &p
}

func clientTLS(proto string) *tls.Config {
	_, trusted := certified()
	return &tls.Config{RootCAs: trusted, ServerName: "example.com", NextProtos: []string{strings.TrimSuffix(proto, byHand)}}
}

// clientOver returns a client with connections of its own.
func clientOver(t testing.TB, proto, addr string) *http.Client {
	t.Helper()
	transport := &http.Transport{
		Protocols: protocolsOf(proto), TLSClientConfig: clientTLS(proto),
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// scheme is that of URLs for clientOver.
func scheme(proto string) string {
	if proto == "h2c" || proto == "plain" {
		return "http://"
	}
	return "https://"
}

// openOver opens a workplace that speaks one protocol, and two clients of it.
func openOver(t *testing.T, proto string, timeout time.Duration) (*workplace, []*http.Client) {
	t.Helper()
	p := openWith(t, proto, func(p *workplace) { p.DrainTimeout = timeout })
	return p, []*http.Client{clientOver(t, proto, p.addr), clientOver(t, proto, p.addr)}
}

// openWith opens a workplace that speaks one protocol.
func openWith(t *testing.T, proto string, change func(*workplace)) *workplace {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(proto, byHand) {
		listener = speaking(listener, proto)
	}
	return openWorkplaceOn(t, listener, func(p *workplace) {
		p.HTTP.Protocols = protocolsOf(proto)
		if proto == "http/1.1" || proto == "h2" {
			certificate, _ := certified()
			p.HTTP.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}}
		}
		if change != nil {
			change(p)
		}
	})
}

// patronOver is a patron whose bytes go over TLS if the protocol does.
func (p *workplace) patronOver(proto string) *patron {
	p.t.Helper()
	if proto == "h2c" || proto == "plain" {
		return p.patron()
	}
	c, err := tls.Dial("tcp", p.addr, clientTLS(proto))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close() })
	return &patron{c, p.t, bufio.NewReader(c)}
}
