package admin_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"doorbuster/cluster/admin"
)

// An address that others can reach needs a token, and the token has to be one that a request can bear.
func TestNew(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		addr, token, refusal string
	}{
		{"127.0.0.1:3001", "", ""},
		{"127.8.9.10:3001", "", ""},
		{"[::1]:3001", "", ""},
		{"localhost:3001", "", ""},
		{"LocalHost:0", "", ""},
		{"[::ffff:127.0.0.1]:3001", "", ""},
		{":3001", "", "others can reach"},
		{"0.0.0.0:3001", "", "others can reach"},
		{"[::]:3001", "", "others can reach"},
		{"10.0.0.1:3001", "", "others can reach"},
		{"shop.example:3001", "", "others can reach"},
		{"localhost.evil.example:3001", "", "others can reach"},
		{"127.0.0.1.evil.example:3001", "", "others can reach"},
		{"1270.0.0.1:3001", "", "others can reach"},
		{":3001", "sesame", ""},
		{"0.0.0.0:3001", "sesame", ""},
		{"127.0.0.1:3001", "sesame", ""},
		{":3001", "open sesame", ""},
		{"", "", "is no address"},
		{"127.0.0.1", "", "is no address"},
		{"3001", "sesame", "is no address"},
		{":3001", " ", "no request could bear"}, // not as if it were none
		{"127.0.0.1:3001", "\n", "no request could bear"},
		{":3001", "sesame\n", "no request could bear"}, // as files of secrets end
		{":3001", "sesame\r\n", "no request could bear"},
		{":3001", "\tsesame", "no request could bear"},
		{":3001", "open\nsesame", "no request could bear"},
		{":3001", "open\rsesame", "no request could bear"},
	} {
		handler, err := admin.New(&puppets{}, admin.Config{Addr: c.addr, Token: c.token})
		switch {
		case c.refusal == "" && (err != nil || handler == nil):
			t.Errorf("%q with token %q: got error %v", c.addr, c.token, err)
		case c.refusal != "" && (err == nil || handler != nil || !strings.Contains(err.Error(), c.refusal)):
			t.Errorf("%q with token %q: got error %v, want %q", c.addr, c.token, err, c.refusal)
		case err != nil && c.token != "" && strings.Contains(err.Error(), "sesame"):
			t.Errorf("the error tells the token: %v", err)
		}
	}
}

// rooms are the places that the guard stands before, and the method that they are for.
var rooms = map[string]string{
	"/api/v1/status": "GET", "/api/v1/stop": "POST", "/api/v1/reload": "POST", "/metrics": "GET",
	"/debug/workers/100/pprof/heap": "GET", "/nothing/here": "GET",
}

// guarded serves a handler, and returns its URL and the master behind it.
func guarded(t *testing.T, cfg admin.Config) (url string, behind *puppets) {
	t.Helper()
	behind = &puppets{workers: []puppet{says(1, "a 1")}}
	server := httptest.NewServer(newHandler(t, behind, cfg))
	t.Cleanup(server.Close)
	return server.URL, behind
}

// reached is how often the master or a worker heard of a request.
func (p *puppets) reached() int32 { return p.commands.Load() + p.statuses.Load() + p.questions.Load() }

// M15: a page may have had its name resolved to the loopback address (DNS rebinding). Its requests bear that name.
func TestGuardOfHosts(t *testing.T) {
	t.Parallel()
	url, behind := guarded(t, admin.Config{Addr: "127.0.0.1:0"})
	for host, taken := range map[string]bool{
		"": true, "127.0.0.1": true, "127.0.0.1:3001": true, "localhost": true, "LOCALHOST:3001": true, "[::1]": true, "[::1]:3001": true,
		"evil.example": false, "evil.example:3001": false, "localhost.evil.example": false, "127.0.0.1.evil.example": false,
		"evil.example:127.0.0.1": false, "192.0.2.1": false, "0.0.0.0:3001": false, "[::]:3001": false, "localhost@evil.example": false,
		"notlocalhost": false,
	} {
		for path, method := range rooms {
			before := behind.reached()
			got := send(t, request{method: method, url: url + path, host: host})
			switch {
			case taken && got.code == http.StatusForbidden:
				t.Errorf("%s for host %q: got %d: %s", path, host, got.code, got.body)
			case taken:
			case got.code == http.StatusBadRequest && behind.reached() == before: // net/http knows that this is no host
			case got.code != http.StatusForbidden || behind.reached() != before || !got.closed:
				t.Errorf("%s for host %q: got %d: %s, connection closed: %t", path, host, got.code, got.body, got.closed)
			default:
				got.refusal(t)
			}
		}
		for _, probe := range []string{"/livez", "/readyz"} { // asked for by whatever name the orchestrator has
			if got := send(t, request{url: url + probe, host: host}); got.code != http.StatusOK && got.code != http.StatusBadRequest {
				t.Errorf("%s for host %q: got %d: %s", probe, host, got.code, got.body)
			}
		}
	}
}

// M15, W6: a browser that was led here by another site gives no commands, and makes no profiles.
func TestGuardOfOrigins(t *testing.T) {
	t.Parallel()
	const debug = "/debug/workers/100/pprof/profile"
	for _, token := range []string{"", "sesame"} {
		url, behind := guarded(t, admin.Config{Addr: "127.0.0.1:0", Token: token})
		bearer := ""
		if token != "" {
			bearer = "Bearer " + token
		}
		for _, c := range []struct {
			origin, site string
			taken        bool
		}{
			{"", "", true}, // no browser
			{url, "same-origin", true},
			{url, "", true},
			{"", "none", true}, // typed in
			{"https://evil.example", "cross-site", false},
			{"https://evil.example", "", false},
			{"null", "", false},
			{"", "cross-site", false},
			{"", "same-site", false}, // another port of this host is another program
			{"http://127.0.0.1:1", "", false},
		} {
			for path, method := range map[string]string{"/api/v1/stop": "POST", "/api/v1/scale": "POST", "/api/v1/settings": "POST", debug: "GET"} {
				before := behind.commands.Load() + behind.questions.Load()
				header := []string{"Origin", c.origin, "Sec-Fetch-Site", c.site, "Authorization", bearer}
				got := send(t, request{method: method, url: url + path, header: header})
				after := behind.commands.Load() + behind.questions.Load()
				switch {
				case c.taken && (got.code != http.StatusOK || after != before+1):
					t.Errorf("%s from %q, %q: got %d: %s", path, c.origin, c.site, got.code, got.body)
				case !c.taken && (got.code != http.StatusForbidden || after != before || !got.closed):
					t.Errorf("%s from %q, %q: got %d: %s", path, c.origin, c.site, got.code, got.body)
				case !c.taken:
					got.refusal(t)
				}
			}
		}
	}
}

// An address with a token is for those who bear it, apart from probes, which nobody gives one.
func TestGuardOfTokens(t *testing.T) {
	t.Parallel()
	url, behind := guarded(t, admin.Config{Addr: "0.0.0.0:0", Token: "open sesame"})
	for authorization, taken := range map[string]bool{
		"Bearer open sesame": true, "bearer open sesame": true, "BEARER open sesame": true,
		"": false, "open sesame": false, "Bearer": false, "Bearer open": false, "Bearer open sesam": false, "Bearer open sesamee": false,
		"Bearer Open Sesame": false, "Basic open sesame": false, "Token open sesame": false, "Bearer Bearer open sesame": false,
		"Bearer: open sesame": false, "Basic b3BlbiBzZXNhbWU6": false,
	} {
		header := []string{"Authorization", authorization}
		for path, method := range rooms {
			before := behind.reached()
			// A body that is not read must not keep the connection, and with it a descriptor of the master.
			got := send(t, request{method: method, url: url + path, host: "shop.example", body: strings.Repeat("x", 1<<10), header: header})
			switch {
			case taken && got.code != http.StatusOK && path != "/nothing/here":
				t.Errorf("%s with %q: got %d: %s", path, authorization, got.code, got.body)
			case taken:
			case got.code != http.StatusUnauthorized || got.header.Get("WWW-Authenticate") != "Bearer",
				behind.reached() != before, !got.closed:
				t.Errorf("%s with %q: got %d: %s, %v, connection closed: %t", path, authorization, got.code, got.body, got.header, got.closed)
			default:
				if reason := got.refusal(t); strings.Contains(reason, "sesame") {
					t.Errorf("the answer tells the token: %s", reason)
				}
			}
		}
		for _, probe := range []string{"/livez", "/readyz"} {
			if got := send(t, request{url: url + probe, host: "shop.example", header: header}); got.code != http.StatusOK || !got.closed {
				t.Errorf("%s with %q: got %d: %s, connection closed: %t", probe, authorization, got.code, got.body, got.closed)
			}
		}
	}
	if got := send(t, request{method: "POST", url: url + "/livez"}); got.code != http.StatusUnauthorized { // only the question is free
		t.Errorf("POST /livez: got %d: %s", got.code, got.body)
	}
}

// Without a token no Authorization is asked for, and a wrong one does no harm.
func TestGuardWithoutToken(t *testing.T) {
	t.Parallel()
	url, _ := guarded(t, admin.Config{Addr: "127.0.0.1:0"})
	for _, authorization := range []string{"", "Bearer something", "Basic eA=="} {
		if got := send(t, request{url: url + "/metrics", header: []string{"Authorization", authorization}}); got.code != http.StatusOK {
			t.Errorf("with %q: got %d: %s", authorization, got.code, got.body)
		}
	}
}

// A page of another site can't take the few places of those who follow the log.
func TestGuardOfTheLog(t *testing.T) {
	t.Parallel()
	url, behind := guarded(t, admin.Config{Addr: "127.0.0.1:0"})
	for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example"}} {
		before := behind.reached()
		if got := send(t, request{url: url + "/api/v1/logs?follow=true", header: header}); got.code != http.StatusForbidden || behind.reached() != before {
			t.Errorf("%v: got %d: %s", header, got.code, got.body)
		}
	}
	if got := send(t, request{url: url + "/api/v1/logs"}); got.code != http.StatusOK || got.body != "done: GET /api/v1/logs\n" {
		t.Errorf("its own: got %d: %s", got.code, got.body)
	}
}

// Commands are the master's to answer; paths and methods that there are not are refused.
func TestRoutes(t *testing.T) {
	t.Parallel()
	url, behind := guarded(t, admin.Config{Addr: "127.0.0.1:0"})
	for _, c := range []struct {
		method, path string
		code         int
		body         string
	}{
		{"GET", "/api/v1/status", 200, "done: GET /api/v1/status\n"},
		{"POST", "/api/v1/reload?x=1", 200, "done: POST /api/v1/reload\n"},
		{"POST", "/api/v1/whatever", 200, "done: POST /api/v1/whatever\n"}, // it knows its commands
		{"GET", "/api/v2/status", 404, ""},
		{"GET", "/", 404, ""},
		{"POST", "/metrics", 405, ""},
		{"POST", "/debug/workers/100/pprof/profile", 405, ""}, // all that workers show there is read
		{"GET", "/debug/pprof/", 404, ""},                     // of the master itself there is none
	} {
		got := send(t, request{method: c.method, url: url + c.path})
		if got.code != c.code || c.body != "" && got.body != c.body {
			t.Errorf("%s %s: got %d: %s", c.method, c.path, got.code, got.body)
		}
	}
	if n := behind.questions.Load(); n != 0 {
		t.Errorf("workers were asked %d times", n)
	}
}
