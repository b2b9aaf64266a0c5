package app

import (
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// Who asks is the peer, unless a trusted proxy says who asked it: and then what that one says, and nothing that
// anybody before it has written.
func TestClientAddress(t *testing.T) {
	t.Parallel()
	const proxies = "10.0.0.0/8, 192.0.2.7,2001:db8:aaaa::/48"
	for _, c := range []struct {
		name, trusted, peer string
		forwarded           []string
		want                string
	}{
		{"nobody trusted", "", "198.51.100.1:1234", []string{"203.0.113.9"}, "198.51.100.1"},
		{"none", "none", "127.0.0.1:1234", []string{"203.0.113.9"}, "127.0.0.1"},
		{"another's header", proxies, "198.51.100.1:1234", []string{"203.0.113.9"}, "198.51.100.1"},
		{"one proxy", proxies, "10.1.2.3:1234", []string{"203.0.113.9"}, "203.0.113.9"},
		{"a proxy by address", proxies, "192.0.2.7:1", []string{"203.0.113.9"}, "203.0.113.9"},
		{"its neighbour", proxies, "192.0.2.8:1", []string{"203.0.113.9"}, "192.0.2.8"},
		{"no header", proxies, "10.1.2.3:1234", nil, "10.1.2.3"},
		{"empty header", proxies, "10.1.2.3:1234", []string{"", " , "}, "10.1.2.3"},
		{"spoofed to the left", proxies, "10.1.2.3:1234", []string{"1.1.1.1, 203.0.113.9"}, "203.0.113.9"},
		{"spoofed as a trusted one", proxies, "10.1.2.3:1234", []string{"10.9.9.9, 203.0.113.9"}, "203.0.113.9"},
		{"spoofed in a line of its own", proxies, "10.1.2.3:1234", []string{"1.1.1.1", "203.0.113.9"}, "203.0.113.9"},
		{"two proxies", proxies, "10.1.2.3:1234", []string{"203.0.113.9, 10.4.4.4"}, "203.0.113.9"},
		{"two proxies, two lines", proxies, "10.1.2.3:1234", []string{"1.1.1.1, 203.0.113.9", "10.4.4.4"}, "203.0.113.9"},
		{"proxies alone", proxies, "10.1.2.3:1234", []string{"10.4.4.4, 10.5.5.5"}, "10.4.4.4"},
		{"rubbish from a client", proxies, "10.1.2.3:1234", []string{"unknown, 203.0.113.9"}, "203.0.113.9"},
		{"rubbish from a proxy", proxies, "10.1.2.3:1234", []string{"203.0.113.9, unknown"}, "10.1.2.3"},
		{"rubbish behind a second proxy", proxies, "10.1.2.3:1234", []string{"203.0.113.9, _hidden, 10.4.4.4"}, "10.4.4.4"},
		{"with a port", proxies, "10.1.2.3:1234", []string{"203.0.113.9:4711"}, "203.0.113.9"},
		{"IPv6 with a port", proxies, "10.1.2.3:1234", []string{"[2001:db8::9]:4711"}, "2001:db8::9"},
		{"IPv6", proxies, "[2001:db8:aaaa::1]:1234", []string{"2001:db8::9"}, "2001:db8::9"},
		{"IPv4 in IPv6, peer", proxies, "[::ffff:10.1.2.3]:1234", []string{"203.0.113.9"}, "203.0.113.9"},
		{"IPv4 in IPv6, client", proxies, "10.1.2.3:1234", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		{"zone", proxies, "10.1.2.3:1234", []string{"fe80::1%eth0"}, "fe80::1"},
		{"socket", proxies, "@", []string{"203.0.113.9"}, ""},
		{"trusted socket", "unix", "@", []string{"203.0.113.9"}, "203.0.113.9"},
		{"trusted socket, alone", "unix", "", nil, ""},
		{"trusted socket and proxy", "unix,10.0.0.0/8", "@", []string{"203.0.113.9, 10.4.4.4"}, "203.0.113.9"},
		{"very many proxies", proxies, "10.1.2.3:1234", []string{"203.0.113.9" + strings.Repeat(",10.4.4.4", 1000)}, "10.4.4.4"},
	} {
		p, err := parseTrustedProxies(c.trusted)
		if err != nil {
			t.Fatal(err)
		}
		got := p.client(&http.Request{RemoteAddr: c.peer, Header: http.Header{headerForwardedFor: c.forwarded}})
		if want, _ := netip.ParseAddr(c.want); got != want {
			t.Errorf("%s: got %v, want %v", c.name, got, want)
		}
	}
	for _, text := range []string{"everybody", "10.0.0.0/33", "10.0.0.1;10.0.0.2", "10.0.0.0/8 10.0.0.1", "fe80::1%eth0", "::ffff:10.0.0.0/104", "*"} {
		if _, err := parseTrustedProxies(text); err == nil || !strings.Contains(err.Error(), "TRUSTED_PROXIES has ") {
			t.Errorf("%q: got %v, want to be refused", text, err)
		}
	}
}

// FuzzForwardedFor: whatever a client writes, its proxy adds the client's own address at the right, and that is what counts.
func FuzzForwardedFor(f *testing.F) {
	for _, seed := range []string{"", "1.1.1.1", "10.0.0.1", "10.0.0.1,", ",,,", "unknown", "[::1]:5", "\"", "10.0.0.1, 203.0.113.1, x"} {
		f.Add(seed)
	}
	p, err := parseTrustedProxies("10.0.0.0/8")
	if err != nil {
		f.Fatal(err)
	}
	client := netip.MustParseAddr("203.0.113.9")
	f.Fuzz(func(t *testing.T, written string) {
		for _, forwarded := range [][]string{{written + ", " + client.String()}, {written, client.String()}, {written, client.String() + ", 10.7.7.7"}} {
			got := p.client(&http.Request{RemoteAddr: "10.1.2.3:1234", Header: http.Header{headerForwardedFor: forwarded}})
			if got != client {
				t.Errorf("%q: got %v, want %v", forwarded, got, client)
			}
		}
		direct := p.client(&http.Request{RemoteAddr: "203.0.113.9:1234", Header: http.Header{headerForwardedFor: {written}}})
		if direct != client {
			t.Errorf("%q without a proxy: got %v, want %v", written, direct, client)
		}
	})
}

// One customer is one subject: IPv4 by address, IPv6 by /64; and programs are told apart behind an address.
func TestSubjects(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"203.0.113.9", "203.0.113.9", true},
		{"203.0.113.9", "203.0.113.10", false},
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true},
		{"2001:db8:1:2::1", "2001:db8:1:3::1", false},
		{"::ffff:203.0.113.9", "203.0.113.9", true},
	} {
		a, b := addressSubject(parseAddress(c.a)), addressSubject(parseAddress(c.b))
		if (a == b) != c.same {
			t.Errorf("%s and %s: got %s and %s, want the same: %v", c.a, c.b, a, b, c.same)
		}
	}
	if a := addressSubject(netip.Addr{}); a != "unix" {
		t.Errorf("a socket: got %q", a)
	}
	curl, again := clientSubject("a", "curl"), clientSubject("a", "curl")
	if curl == clientSubject("a", "k6") || curl != again || clientSubject("a", "") == clientSubject("b", "") {
		t.Error("programs are not told apart")
	}
	if s := emailSubject("ada@example.com"); strings.Contains(s, "ada") || s == emailSubject("bob@example.com") {
		t.Errorf("got %q for an e-mail address", s)
	}
}

// The header of a proxy that nobody has named is told, once, or nobody would know why all its customers are one.
func TestIgnoredHeaderIsTold(t *testing.T) {
	t.Parallel()
	p, err := parseTrustedProxies("10.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	log, lines := countingLog()
	ask := func(peer string, forwarded ...string) {
		r := &http.Request{RemoteAddr: peer, Header: http.Header{}}
		if forwarded != nil {
			r.Header[headerForwardedFor] = forwarded
		}
		p.warn(r, log)
	}
	ask("10.1.2.3:1", "203.0.113.9")
	ask("192.168.0.1:1")
	if *lines != 0 {
		t.Errorf("%d lines about what is in order", *lines)
	}
	for range 100 {
		ask("192.168.0.1:1", "203.0.113.9")
	}
	if *lines != 1 {
		t.Errorf("%d lines about a header that is not believed, want 1", *lines)
	}
}

// countingLog returns a log, and how many lines were written to it.
func countingLog() (log *slog.Logger, lines *int) {
	lines = new(int)
	return slog.New(slog.NewTextHandler(lineCounter{lines}, nil)), lines
}

type lineCounter struct{ lines *int }

func (c lineCounter) Write(b []byte) (int, error) { *c.lines++; return len(b), nil }
