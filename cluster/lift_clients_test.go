//go:build unix

package cluster_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// liftThink is the longest pause of a client between two requests. It is far
// below the lame duck: whoever is silent for longer can't be told to go.
const liftThink = 100 * time.Millisecond

// liftClients are the clients of a lifted service. All honour what they are
// told, and none does anything twice: one error is one too many.
type liftClients struct {
	*lifted
	enough  chan struct{}
	leaving sync.Once
	running sync.WaitGroup
	all     []*liftClient
}

// liftClient is one of them.
type liftClient struct {
	name   string
	url    string // of "/"
	random *rand.Rand
	enough <-chan struct{}
	seen   atomic.Value // the version that has answered last
	done   atomic.Int64 // answers, events and echoes
}

// admit lets the clients in, who leave before the service ends.
func (l *lifted) admit() *liftClients {
	c := &liftClients{lifted: l, enough: make(chan struct{})}
	seed := rand.Uint64()
	l.Logf("the seed of the clients' pauses is %d", seed)
	l.Cleanup(c.dismiss)
	join := func(name, url string, run func(*liftClient) error) {
		client := &liftClient{name: name, url: url, random: rand.New(rand.NewPCG(seed, uint64(len(c.all)))), enough: c.enough}
		client.seen.Store("")
		c.all = append(c.all, client)
		c.running.Go(func() {
			if err := run(client); err != nil {
				l.Errorf("%s, after %d answers, the last of %s: %v", name, client.done.Load(), client.seen.Load(), err)
			}
		})
	}
	for name, dial := range map[string]func(context.Context) (net.Conn, error){"HTTP/1.1": l.dialPlain, "HTTP/1.1 over TLS": l.dialTLS} {
		for range 3 {
			join(name, "http://lift/", func(c *liftClient) error { return c.ask(&strict{dial: dial}) })
		}
		join(name+", a connection each", "http://lift/", func(c *liftClient) error { return c.ask(&strict{dial: dial, once: true}) })
		join(name+", events", "http://lift/", func(c *liftClient) error { return c.listen(&strict{dial: dial}) })
		join(name+", upgraded", "http://lift/", func(c *liftClient) error { return c.talk(dial) })
	}
	for url, transport := range map[string]*http.Transport{"http://" + l.plain + "/": l.http2(), "https://" + l.secure + "/": l.http2()} {
		name := "HTTP/2, " + url
		for range 3 { // at once on one connection
			join(name, url, func(c *liftClient) error { return c.ask(transport) })
		}
		join(name+", events", url, func(c *liftClient) error { return c.listen(transport) })
	}
	return c
}

// meet waits until every client was answered by a version. Who keeps its
// connection can only be when it was told to leave the one it had, and did.
func (c *liftClients) meet(version string) {
	c.Helper()
	for _, client := range c.all {
		eventually(c.T, client.name+" to meet "+version, func() bool { return client.seen.Load() == version || c.Failed() })
	}
	if c.Failed() {
		c.FailNow()
	}
}

// dismiss has the clients leave, and says what each has had.
func (c *liftClients) dismiss() {
	c.leaving.Do(func() {
		close(c.enough)
		c.running.Wait()
		for _, client := range c.all {
			c.Logf("%-50s %6d answers", client.name, client.done.Load())
		}
	})
}

// pause waits a while, and reports whether it was enough.
func (c *liftClient) pause() (enough bool) {
	timer := time.NewTimer(time.Duration(c.random.Int64N(int64(liftThink))))
	defer timer.Stop()
	select {
	case <-timer.C:
		return isClosed(c.enough)
	case <-c.enough:
		return true
	}
}

// heard notes what a worker says: "version-07: whatever".
func (c *liftClient) heard(line string) (rest string, err error) {
	version, rest, found := strings.Cut(line, ": ")
	if !found || !strings.HasPrefix(version, "version-") {
		return "", fmt.Errorf("got %q, which is no answer of a worker", line)
	}
	c.seen.Store(version)
	c.done.Add(1)
	return rest, nil
}

// ask asks time and again. The request has a body and is a POST, which no
// transport repeats of its own accord.
func (c *liftClient) ask(by http.RoundTripper) error {
	defer hangUp(by)
	for !c.pause() {
		resp, err := c.request(by, http.MethodPost, "", "who is there?")
		if err != nil {
			return err
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s, %q, %w", resp.Status, body, err)
		}
		if _, err := c.heard(string(body)); err != nil {
			return err
		}
	}
	return nil
}

// listen listens to events, and connects again when the stream has ended in
// order.
func (c *liftClient) listen(by http.RoundTripper) error {
	defer hangUp(by)
	for !isClosed(c.enough) {
		if err := c.listenOnce(by); err != nil {
			return err
		}
	}
	return nil
}

func (c *liftClient) listenOnce(by http.RoundTripper) error {
	resp, err := c.request(by, http.MethodGet, "events", "")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		event, found := strings.CutPrefix(lines.Text(), "data: ")
		if !found {
			continue
		}
		if _, err := c.heard(event); err != nil {
			return err
		}
		if isClosed(c.enough) {
			hangUp(by)
			return nil
		}
	}
	return lines.Err()
}

// talk has its lines echoed over an upgraded connection, and opens another one
// after the goodbye: when it has had the answer that was due.
func (c *liftClient) talk(dial func(context.Context) (net.Conn, error)) error {
	for !isClosed(c.enough) {
		if err := c.talkOnce(dial); err != nil {
			return err
		}
	}
	return nil
}

func (c *liftClient) talkOnce(dial func(context.Context) (net.Conn, error)) error {
	conn, err := dial(context.Background())
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(hang))
	if _, err := io.WriteString(conn, "GET /echo HTTP/1.1\r\nHost: lift\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"); err != nil {
		return err
	}
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return errors.New(resp.Status)
	}
	for n, goodbye := 0, false; !goodbye && !c.pause(); n++ {
		conn.SetDeadline(time.Now().Add(hang))
		said := fmt.Sprintf("line %d", n)
		if _, err := fmt.Fprintln(conn, said); err != nil {
			return err
		}
		line, err := in.ReadString('\n')
		if line == "goodbye\n" {
			goodbye = true
			line, err = in.ReadString('\n')
		}
		if err != nil {
			return fmt.Errorf("%q: %w", line, err)
		}
		if back, err := c.heard(strings.TrimSpace(line)); err != nil || back != said {
			return fmt.Errorf("said %q and got %q, %w", said, line, err)
		}
	}
	return nil
}

// request asks once, and gives up after a time that no answer takes.
func (c *liftClient) request(by http.RoundTripper, method, path, body string) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, strings.NewReader(body))
	if err != nil {
		cancel()
		return nil, err
	}
	resp, err := by.RoundTrip(req)
	if err != nil {
		cancel()
		return nil, err
	}
	resp.Body = &endingBody{resp.Body, cancel}
	return resp, nil
}

// endingBody ends the context of its request, too.
type endingBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b *endingBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

// hangUp closes the connection that requests were sent on.
func hangUp(by http.RoundTripper) {
	switch by := by.(type) {
	case *strict:
		by.hangUp()
	case *http.Transport:
		by.CloseIdleConnections()
	}
}

// strict is a transport of HTTP/1.1 for one goroutine. It keeps its connection
// until an answer says that it has to go, and sends nothing twice.
// [http.Transport] would: a GET that fails on a kept connection.
type strict struct {
	dial func(context.Context) (net.Conn, error)
	once bool // a connection for each request

	conn net.Conn
	in   *bufio.Reader
	told bool // to go
}

func (s *strict) RoundTrip(req *http.Request) (*http.Response, error) {
	if s.told || s.once {
		s.hangUp()
	}
	if s.conn == nil {
		conn, err := s.dial(req.Context())
		if err != nil {
			return nil, err
		}
		s.conn, s.in, s.told = conn, bufio.NewReader(conn), false
	}
	s.conn.SetDeadline(time.Now().Add(hang))
	if err := req.Write(s.conn); err != nil {
		return nil, fmt.Errorf("send the request: %w", err)
	}
	resp, err := http.ReadResponse(s.in, req)
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	s.told = resp.Close
	return resp, nil
}

func (s *strict) hangUp() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}

// http2 returns a transport that speaks nothing but HTTP/2: in plain text from
// the first byte, or over TLS.
func (l *lifted) http2() *http.Transport {
	t := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: &tls.Config{RootCAs: l.trusted}}
	t.Protocols.SetHTTP2(true)
	t.Protocols.SetUnencryptedHTTP2(true)
	return t
}
