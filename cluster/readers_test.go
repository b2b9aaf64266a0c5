//go:build linux

package cluster_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"doorbuster/cluster"
)

// For hours nobody would be cut by it.
var (
	never = cluster.DataRate{Grace: -1}
	brief = cluster.DataRate{Grace: 500 * time.Millisecond, BytesPerSecond: 128 << 10}
)

// A client that does not take its answer is cut when the grace is over, also where
// nothing but the end of the answer is left to send. The drain that follows has
// nothing to wait for, or cuts it by its own grace.
func TestClientsThatDoNotRead(t *testing.T) {
	t.Parallel()
	rates := map[string][2]cluster.DataRate{"while serving": {brief, never}, "in a drain": {never, brief}}
	for _, proto := range []string{"plain", "http/1.1", "h2", "h2c"} {
		for when, rate := range rates {
			for _, path := range []string{"/flood", "/sip"} {
				if path == "/sip" && !strings.HasPrefix(proto, "h2") {
					continue
				}
				t.Run(proto+" "+path+" "+when, func(t *testing.T) {
					t.Parallel()
					p := openWith(t, proto, func(p *workplace) {
						p.ResponseRate, p.DrainResponseRate = rate[0], rate[1]
						p.HTTP.Handler = flooding(p)
					})
					if strings.HasPrefix(proto, "h2") {
						f := p.framerOver(proto)
						if path == "/sip" {
							f.write(frameSettings, 0, 0, "\x00\x04\x00\x00\x00\x00") // SETTINGS_INITIAL_WINDOW_SIZE: nothing at all
						}
						f.get(path)
					} else {
						p.patronOver(proto).get(path)
					}
					<-p.entered
					if when == "while serving" {
						until(t, func() bool { return p.InFlight() == 0 })
					}
					p.tellToStop()
					p.mustEnd(nil)
					if lines := p.log.with("cutting"); lines != nil {
						t.Errorf("requests were cut at the limit: %s", lines)
					}
				})
			}
		}
	}
}

// A client that reads is not cut, whatever the size of its reads, though most of
// the time its answer waits for it: it takes four times the least rate, through
// buffers as small as the kernel has.
func TestSlowDownloadsThatDoWell(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	for _, proto := range []string{"plain", "http/1.1"} {
		for _, piece := range []int{100, 3000, 64 << 10} {
			t.Run(proto, func(t *testing.T) {
				t.Parallel()
				p := openWith(t, proto, func(p *workplace) {
					p.ResponseRate = cluster.DataRate{Grace: time.Second, BytesPerSecond: 64 << 10}
					p.HTTP.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, size)) })
				})
				client := clientOver(t, proto, p.addr)
				client.Transport.(*http.Transport).DialContext = smallDialer(p.addr)
				resp, err := client.Get(scheme(proto) + p.addr + "/")
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				if n, err := slowly(resp.Body, piece, 256<<10); n != size || err != nil {
					t.Errorf("got %d bytes, %v, want %d", n, err, size)
				}
				if n := p.SlowReaders(); n != 0 {
					t.Errorf("%d answers were cut", n)
				}
			})
		}
	}
}

// smallDialer makes connections that take in little at a time.
func smallDialer(addr string) func(context.Context, string, string) (net.Conn, error) {
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096) })
	}}
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return d.DialContext(ctx, network, addr)
	}
}

// slowly reads to the end, in pieces, a number of bytes in a second.
func slowly(r io.Reader, piece, bytesPerSecond int) (n int, err error) {
	pause := time.Duration(float64(piece) / float64(bytesPerSecond) * float64(time.Second))
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	buf := make([]byte, piece)
	for {
		m, err := io.ReadFull(r, buf)
		n += m
		if err != nil {
			if err == io.EOF || err == io.ErrUnexpectedEOF && n%piece != 0 {
				err = nil
			}
			return n, err
		}
		<-ticker.C
	}
}
