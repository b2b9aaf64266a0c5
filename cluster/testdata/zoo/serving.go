//go:build unix

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"doorbuster/cluster"
)

// serversOf returns what the behaviour wants to be served by Worker.Serve, if
// anything.
func serversOf(w *cluster.Worker, handler http.Handler) (servers []*cluster.Server) {
	words := strings.Fields(behaviour)
	n := len(w.Listeners())
	switch {
	case slices.Contains(words, "short"):
		n--
	case !slices.Contains(words, "serving"):
		return nil
	}
	for i := range n {
		s := &cluster.Server{
			HTTP: &http.Server{Handler: handler}, DrainTimeout: limit(words, "draintimeout", time.Minute), StallTimeout: limit(words, "stall", 0),
		}
		if i == 1 {
			s.HTTP.TLSConfig = &tls.Config{GetCertificate: ownCertificate()}
		}
		servers = append(servers, s)
	}
	return servers
}

// limit is what the behaviour sets a time limit to.
func limit(words []string, name string, otherwise time.Duration) time.Duration {
	for _, word := range words {
		if value, ok := strings.CutPrefix(word, name+"="); ok {
			d, err := time.ParseDuration(value)
			if err != nil {
				panic(err)
			}
			return d
		}
	}
	return otherwise
}

// ownCertificate gives a certificate with the pid as its name, as a release may
// bring a new one.
func ownCertificate() func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: strconv.Itoa(os.Getpid())}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	own := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return own, nil }
}
