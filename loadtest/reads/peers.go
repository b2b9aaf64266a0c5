package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// answer is the one response every target has to give.
type answer struct {
	body        []byte
	contentType string
}

// client reads as wrk does: no compression, no redirects, no proxy.
var client = &http.Client{
	Transport:     &http.Transport{DisableCompression: true, DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       10 * time.Second,
}

// fetch reads url once; anything but 200 with a body is an error.
func fetch(ctx context.Context, url string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return answer{}, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return answer{}, fmt.Errorf("GET %s: %w", url, err)
	case resp.StatusCode != http.StatusOK:
		return answer{}, fmt.Errorf("GET %s: %s, want 200: %.500s", url, resp.Status, body)
	case len(body) == 0:
		return answer{}, fmt.Errorf("GET %s: the body is empty", url)
	}
	return answer{body: body, contentType: resp.Header.Get("Content-Type")}, nil
}

// requireLoopback refuses to aim a load generator at anything but this machine. Of all names only localhost is trusted;
// any other would be looked up once here and again by wrk, with no promise that both get the same answer.
func requireLoopback(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return err
	}
	if u.Scheme != "http" {
		return fmt.Errorf("-url %s: only http:// is compared, for the peers speak it too", raw)
	}
	if u.Hostname() == "localhost" {
		return nil
	}
	if addr, err := netip.ParseAddr(u.Hostname()); err != nil || !addr.IsLoopback() {
		return fmt.Errorf("-url %s: load goes only to this machine, and %q is no loopback address", raw, u.Hostname())
	}
	return nil
}

// A peer is a server this program started and has to take down again.
type peer struct {
	name   string
	url    string
	cmd    *exec.Cmd
	log    bytes.Buffer // what the process printed; complete once exited is closed
	exited chan struct{}
}

// startPeer starts cmd and waits until url gives the wanted answer. A peer that does not is stopped again.
func startPeer(ctx context.Context, name, url string, cmd *exec.Cmd, want answer) (*peer, error) {
	p := &peer{name: name, url: url, cmd: cmd, exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.log, &p.log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		defer close(p.exited)
		_ = cmd.Wait() // how it ended shows in its log, and in the requests it failed
	}()
	if err := p.ready(ctx, want); err != nil {
		p.stop()
		return nil, fmt.Errorf("start %s: %w\n%s", name, err, p.log.String())
	}
	return p, nil
}

// ready asks until the peer answers: nginx has no other way to say that it is up.
func (p *peer) ready(ctx context.Context, want answer) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 10*time.Second, errors.New("not ready after 10s"))
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		got, err := fetch(ctx, p.url)
		var refused *net.OpError
		switch {
		case err == nil && got.contentType == want.contentType && bytes.Equal(got.body, want.body):
			return nil
		case err == nil:
			return fmt.Errorf("it answers %d bytes of %q, want %d of %q",
				len(got.body), got.contentType, len(want.body), want.contentType)
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case !errors.As(err, &refused):
			return err // it listens and says something else than 200
		}
		select {
		case <-p.exited:
			return errors.New("it exited")
		case <-ctx.Done():
		case <-again.C:
		}
	}
}

// stop ends the peer and returns when it is gone. It may be called after the peer ended by itself, as it does on Ctrl-C,
// which a terminal sends to the whole process group.
func (p *peer) stop() {
	const patience = 5 * time.Second
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		_ = p.cmd.Process.Kill()
	}
	select {
	case <-p.exited:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// freeAddress finds a port nobody listens on. Another process could take it before the peer does; then the peer says so.
func freeAddress(ctx context.Context) (string, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

const payloadName = "payload" // the file with the body, and the path nginx serves it under

// startBare starts this program once more, as the bare server.
func startBare(ctx context.Context, dir string, want answer) (*peer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, payloadName)
	if err := os.WriteFile(file, want.body, 0o600); err != nil {
		return nil, err
	}
	addr, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	// Not bound to ctx: stop ends it, gently, and is called on every path.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), self, serveBareFlag, addr, file, want.contentType)
	if _, err := cmd.StdinPipe(); err != nil { // held open while we live
		return nil, err
	}
	return startPeer(ctx, "bare", "http://"+addr+"/", cmd, want)
}

// serveBareFlag as the first argument turns this program into the bare server.
const serveBareFlag = "-serve-bare"

// serveBare answers every request with one Content-Type and the bytes of one file, until it is told to stop or its parent
// dies, which is the end of standard input.
func serveBare(ctx context.Context, args []string, stdin io.Reader) error {
	if len(args) != 3 {
		return fmt.Errorf("%s wants an address, a file and a content type", serveBareFlag)
	}
	addr, file, contentType := args[0], args[1], args[2]
	body, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	ended := make(chan error, 2)
	go func() {
		_, err := io.Copy(io.Discard, stdin)
		ended <- err
	}()
	go func() {
		//nolint:gosec // G114: the default settings are the point of this peer
		ended <- http.ListenAndServe(addr, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			_, _ = w.Write(body) //nolint:gosec // G705: the bytes are the shop's own, for wrk to count
		}))
	}()
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		return err
	}
}

// startNginx starts an nginx of our own: private configuration, port, pid file and temporary directories.
func startNginx(ctx context.Context, dir string, want answer, connections int) (*peer, error) {
	addr, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	conf, err := nginxConf(dir, addr, want, connections)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		return nil, err
	}
	// Not bound to ctx: a killed master would leave its workers behind. stop asks it, and is called on every path.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "nginx", "-p", dir, "-c", file, "-e", "stderr")
	return startPeer(ctx, "nginx", "http://"+addr+"/"+payloadName, cmd, want)
}

// Up to one of nginx's output buffers, header and body leave in a single write; sendfile always takes two, and on an answer
// of 1 KB that costs nginx a third of its speed. From here on sendfile wins by what it does not copy.
const sendfileFrom = 32 << 10

// nginxConf is nginx set up to do its best at this one job.
func nginxConf(dir, addr string, want answer, connections int) (string, error) {
	owner, err := nginxUser()
	if err != nil {
		return "", err
	}
	sendfile := "off"
	if len(want.body) > sendfileFrom {
		sendfile = "on"
	}
	return strings.NewReplacer(
		"DIR", nginxString(dir), "ADDR", addr, "TYPE", nginxString(want.contentType), "USER", owner, "SENDFILE", sendfile,
		"CONNECTIONS", strconv.Itoa(max(1024, 2*connections)),
	).Replace(`USER
daemon off;
worker_processes auto;
pid nginx.pid;
error_log stderr;
events { worker_connections CONNECTIONS; }
http {
	client_body_temp_path tmp-body;
	proxy_temp_path tmp-proxy;
	fastcgi_temp_path tmp-fastcgi;
	uwsgi_temp_path tmp-uwsgi;
	scgi_temp_path tmp-scgi;
	access_log off;
	sendfile SENDFILE;
	keepalive_requests 1000000000;
	open_file_cache max=16 inactive=1h;
	open_file_cache_valid 1h;
	types {}
	default_type TYPE;
	server {
		listen ADDR;
		root DIR;
	}
}
`), nil
}

// nginxUser keeps nginx's workers on the account that owns the payload. Started by root they would change to an account
// that cannot read a private temporary directory; started by anyone else they stay, and nginx warns about the setting.
func nginxUser() (string, error) {
	if os.Geteuid() != 0 {
		return "", nil
	}
	u, err := user.Current()
	if err != nil {
		return "", err
	}
	g, err := user.LookupGroupId(u.Gid)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("user %s %s;", u.Username, g.Name), nil
}

// nginxString quotes a value for nginx's configuration.
func nginxString(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
