package app

import (
	"fmt"
	"hash/fnv"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// trustedProxies are those whose X-Forwarded-For is believed. None is by default:
// everybody can send that header.
type trustedProxies struct {
	prefixes []netip.Prefix
	unix     bool // whoever comes through a Unix socket
	ignored  atomic.Int64
}

// parseTrustedProxies reads addresses and prefixes, separated by commas. "unix"
// stands for all that come through a Unix socket, and "none" for nobody.
func parseTrustedProxies(text string) (*trustedProxies, error) {
	p := new(trustedProxies)
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		switch part {
		case "", "none":
			continue
		case "unix":
			p.unix = true
			continue
		}
		prefix, err := netip.ParsePrefix(part)
		if addr, addrErr := netip.ParseAddr(part); addrErr == nil && addr.Zone() == "" {
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil || prefix.Addr().Is4In6() {
			return nil, &SettingError{"TRUSTED_PROXIES", fmt.Sprintf("has %q in it, which is no address and no prefix: write such as 10.0.0.0/8,2001:db8::1, or unix, or none", part)}
		}
		p.prefixes = append(p.prefixes, prefix.Masked())
	}
	return p, nil
}

func (p *trustedProxies) trusts(a netip.Addr) bool {
	if !a.IsValid() {
		return p.unix
	}
	return slices.ContainsFunc(p.prefixes, func(prefix netip.Prefix) bool { return prefix.Contains(a) })
}

const (
	headerForwardedFor = "X-Forwarded-For"
	// mostHops bounds how many trusted proxies one behind the other are looked at.
	mostHops = 16
)

// client returns the address of who sent a request. That is the peer of the
// connection, unless it is a trusted proxy: then X-Forwarded-For is read from right
// to left, as each proxy has added its peer at the right, up to the first address
// that is not trusted. What a client wrote there itself is further to the left, and
// never reached.
//
// Where the header ends, or has something in it that is no address, the last trusted
// proxy stands for all that is behind it. The zero Addr is a Unix socket's peer.
//
// It is not chi's ClientIPFromXFF, which knows no address in those cases, nor where a
// proxy adds the port, nor for Unix sockets; a limit needs one in any case.
func (p *trustedProxies) client(r *http.Request) netip.Addr {
	hop := parseAddress(r.RemoteAddr)
	if !p.trusts(hop) {
		return hop
	}
	hops := 0
	for _, line := range slices.Backward(r.Header[headerForwardedFor]) {
		for rest := line; rest != ""; hops++ {
			i := strings.LastIndexByte(rest, ',')
			entry := strings.TrimSpace(rest[i+1:])
			rest = rest[:max(i, 0)]
			if entry == "" {
				continue
			}
			next := parseAddress(entry)
			if !next.IsValid() || hops >= mostHops {
				return hop
			}
			if hop = next; !p.trusts(hop) {
				return hop
			}
		}
	}
	return hop
}

// unnamed reports whether a request seems to come through a proxy of ours that is
// not trusted: one that forwards, and has an address that no customer has.
func (p *trustedProxies) unnamed(r *http.Request) bool {
	if len(r.Header[headerForwardedFor]) == 0 {
		return false
	}
	peer := parseAddress(r.RemoteAddr)
	return !p.trusts(peer) && (!peer.IsValid() || peer.IsPrivate() || peer.IsLoopback())
}

// parseAddress reads an address with or without a port. An IPv4 address within IPv6
// is the IPv4 address, and a zone is no part of it: or there would be several names
// for one client.
func parseAddress(text string) netip.Addr {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		withPort, err := netip.ParseAddrPort(text)
		if err != nil {
			return netip.Addr{}
		}
		addr = withPort.Addr()
	}
	return addr.Unmap().WithZone("")
}

// ipv6Subnet is what one customer has of IPv6 at least (RFC 6177).
const ipv6Subnet = 64

// addressSubject is whose limit an address is under: IPv6 by /64.
func addressSubject(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return "unix"
	case a.Is6():
		return netip.PrefixFrom(a, ipv6Subnet).Masked().String()
	}
	return a.String()
}

// clientSubject is an address with the program that somebody says to use there. It
// tells people behind one address apart, as far as they don't hide it.
func clientSubject(address, userAgent string) string {
	h := fnv.New64a()
	h.Write([]byte(userAgent)) // never fails
	return address + "+" + strconv.FormatUint(h.Sum64(), 36)
}

// ignoredInterval bounds how often the log says that a header is not believed.
const ignoredInterval = time.Minute

// warn says that customers of a proxy can't be told apart, where one seems to stand
// in front of the shop that nobody has named.
func (p *trustedProxies) warn(r *http.Request, log *slog.Logger) {
	if len(r.Header[headerForwardedFor]) == 0 {
		return
	}
	peer := parseAddress(r.RemoteAddr)
	if p.trusts(peer) {
		return
	}
	now, last := time.Now().Unix(), p.ignored.Load()
	if now-last < int64(ignoredInterval.Seconds()) || !p.ignored.CompareAndSwap(last, now) {
		return
	}
	log.WarnContext(r.Context(), "X-Forwarded-For is not believed: if a proxy of yours has sent it, name that in TRUSTED_PROXIES, or its customers are not limited by their addresses",
		"peer", addressSubject(peer))
}
