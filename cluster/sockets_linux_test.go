package cluster_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// answers asks a worker by a network and an address.
func answers(t *testing.T, network, address string) {
	t.Helper()
	client := http.Client{Timeout: hang, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, strings.TrimPrefix(address, "unix:"))
	}}}
	resp, err := client.Get("http://zoo/")
	if err != nil {
		t.Errorf("%s: %v", address, err)
		return
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(body), "behaviour") {
		t.Errorf("%s: %s, %v", address, body, err)
	}
}

// nonblocking looks at the listening sockets of the master and its workers.
func (z *zoo) nonblocking(listeners int) {
	z.Helper()
	pids := z.pids()
	var found map[int]string
	z.askWorker(pids[0], "found", &found)
	for fd := 7; fd < 7+listeners; fd++ {
		for _, pid := range append(pids, z.status().Master.PID) {
			modes := modesOf(z.T, pid, found[fd])
			if len(modes) == 0 {
				z.Errorf("process %d does not have listener %d", pid, fd-7)
			}
			for _, flags := range modes {
				if flags&unix.O_NONBLOCK == 0 {
					z.Errorf("listener %d of process %d is in blocking mode", fd-7, pid)
				}
			}
		}
	}
}

func (z *zoo) addresses() (list []string) {
	z.Helper()
	for _, a := range z.logged("master started", 1).fields["listening"].([]any) {
		list = append(list, a.(string))
	}
	return list
}

// Workers serve on listeners that the application has opened, TCP and Unix,
// behind the addresses of Config.Listen, and across a reload.
func TestConfigListeners(t *testing.T) {
	t.Parallel()
	z := newZoo(t, "good", nil)
	path := filepath.Join(z.dir, "shop")
	z.cmd.Env = append(z.cmd.Env, "ZOO_LISTEN=tcp 127.0.0.1:0 unix "+path)
	z.begin()
	z.dial()
	z.settle(2)
	addresses := z.addresses()
	if len(addresses) != 3 || addresses[2] != "unix:"+path {
		t.Fatalf("it listens on %q", addresses)
	}
	if _, err := z.reload("good next"); err != nil {
		t.Fatal(err)
	}
	answers(t, "tcp", addresses[0])
	answers(t, "tcp", addresses[1])
	answers(t, "unix", path)
	z.nonblocking(3)
	z.stop()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the file of the Unix socket is not the master's to remove: %v", err)
	}
}

// Sockets that the service manager passes on are served as sd_listen_fds(3) has
// it, and are no business of the workers' otherwise.
func TestPassedSockets(t *testing.T) {
	t.Parallel()
	begin := func(t *testing.T, listen []string, env string) (z *zoo, tcp, unix string) {
		t.Helper()
		z = newZoo(t, "good", config{"Listen": listen})
		web, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { web.Close() })
		unix = filepath.Join(z.dir, "shop")
		side, err := net.Listen("unix", unix)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { side.Close() })
		for _, l := range []interface{ File() (*os.File, error) }{web.(*net.TCPListener), side.(*net.UnixListener)} {
			f, err := l.File() // in blocking mode, as systemd's are
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			z.cmd.ExtraFiles = append(z.cmd.ExtraFiles, f)
		}
		z.cmd.Args = []string{"sh", "-c", `export LISTEN_PID=$$ ` + env + `; exec "$0"`, z.cmd.Path}
		z.cmd.Path = "/bin/sh"
		z.begin()
		return z, web.Addr().String(), unix
	}
	for name, c := range map[string]struct {
		listen []string
		env    string
		served []string
	}{
		"all":        {[]string{"systemd"}, "LISTEN_FDS=2", []string{"tcp", "unix"}},
		"by default": {nil, "LISTEN_FDS=2 LISTEN_FDNAMES=web:side", []string{"tcp", "unix"}},
		"by name":    {[]string{"systemd:side"}, "LISTEN_FDS=2 LISTEN_FDNAMES=web:side", []string{"unix"}},
		"by names":   {[]string{"systemd:side", "systemd:web"}, "LISTEN_FDS=2 LISTEN_FDNAMES=web:side", []string{"unix", "tcp"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			z, tcp, unix := begin(t, c.listen, c.env)
			z.dial()
			z.settle(2)
			address := map[string]string{"tcp": tcp, "unix": "unix:" + unix}
			got := z.addresses()
			for i, network := range c.served {
				if len(got) != len(c.served) || got[i] != address[network] {
					t.Fatalf("it listens on %q", got)
				}
				answers(t, network, got[i])
			}
			z.nonblocking(len(c.served))
			var environment []string
			z.askWorker(z.pids()[0], "environment", &environment)
			for _, kv := range environment {
				if strings.HasPrefix(kv, "LISTEN_") {
					t.Errorf("a worker has %s", kv)
				}
			}
			z.stop()
		})
	}
	for name, c := range map[string]struct {
		listen []string
		env    string
		says   string
	}{
		"another name":  {[]string{"systemd:web"}, "LISTEN_FDS=2", `no socket named "web": there are ["unknown" "unknown"]`},
		"none":          {[]string{"systemd"}, "LISTEN_FDS=0", "has passed none"},
		"another's":     {nil, "LISTEN_FDS=2 LISTEN_PID=1", "no address to listen on"},
		"no number":     {[]string{"systemd"}, "LISTEN_FDS=some", "LISTEN_FDS=some is not a number of sockets"},
		"names missing": {[]string{"systemd"}, "LISTEN_FDS=2 LISTEN_FDNAMES=web", "has 1 names for 2 sockets"},
		"no listener":   {[]string{"systemd"}, "LISTEN_FDS=3; exec 5</dev/null", `(descriptor 5): it is no socket`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			z, _, _ := begin(t, c.listen, c.env)
			if code := z.exit(); code != 1 {
				t.Errorf("it ended with code %d", code)
			}
			list := z.log.list()
			if last := list[len(list)-1].raw; !strings.Contains(last, c.says) {
				t.Errorf("it says %q, want %q", last, c.says)
			}
		})
	}
}

// An address that is taken is tried again for a moment: an outgoing connection
// may have been given the port. The log says so.
func TestTakenForAMoment(t *testing.T) {
	t.Parallel()
	z := newZoo(t, "good", nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	z.cfg["Listen"] = []string{l.Addr().String()}
	z.prepare()
	z.begin()
	z.logged("address is taken: trying again for a moment", 1)
	l.Close()
	z.dial()
	z.settle(2)
	z.stop()
}
