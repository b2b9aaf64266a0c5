package dbtest

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/moby/moby/client"
)

// Addresses of this machine, one for each place that an engine can be in. What listens at one is not found at another.
const (
	loopback = "127.0.0.1"
	remote   = "127.83.0.2"
	gateway  = "127.83.0.3"
	bound    = "127.83.0.4"
	own      = "127.83.0.5"
	route0   = "127.83.0.6"
	nowhere  = "127.83.0.9"
)

// find has an engine with this container look for the route to it, and requires that the container is removed.
func find(t *testing.T, ctx context.Context, c *fakeContainer, around surroundings) (route, error) { //nolint:revive // t comes first in tests
	t.Helper()
	removed := make(chan string, 1)
	s := httptest.NewServer(&engine{container: c, removed: func(id string) { removed <- id }})
	defer s.Close()
	cli, err := client.New(client.WithHost("tcp://" + s.Listener.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	r, err := findRoute(ctx, cli, "redis:8.4-alpine", around)
	select {
	case id := <-removed:
		if id != "one" {
			t.Errorf("removed %s, want the container", id)
		}
	default:
		t.Error("the container was not removed")
	}
	return r, err
}

// Wherever published ports answer, they are found, and nothing else is taken for them.
func TestFindsTheRouteToContainers(t *testing.T) {
	t.Parallel()
	const local = "unix:///var/run/docker.sock"
	for _, c := range []struct {
		name   string
		at     string // where the published port answers
		change func(*fakeContainer)
		around surroundings
		want   route
	}{
		{
			"an engine on this machine, without a bridge address", loopback, nil,
			surroundings{engine: local, gateways: []netip.Addr{netip.MustParseAddr(nowhere)}},
			route{host: loopback},
		},
		{
			"from inside a container, by the gateway of the engine's bridge", gateway,
			func(c *fakeContainer) { c.gateway = gateway },
			surroundings{engine: local},
			route{host: gateway},
		},
		{
			"from inside a container, by the gateway of its own network", route0,
			func(c *fakeContainer) { c.gateway = nowhere },
			surroundings{engine: local, gateways: []netip.Addr{netip.MustParseAddr(route0)}},
			route{host: route0},
		},
		{"a remote engine", remote, nil, surroundings{engine: "tcp://" + remote + ":2375"}, route{host: remote}},
		{"a remote engine with TLS", remote, nil, surroundings{engine: "https://" + remote + ":2376"}, route{host: remote}},
		{
			"a remote engine behind a proxy of its socket", gateway, func(c *fakeContainer) { c.gateway = gateway },
			surroundings{engine: "tcp://" + nowhere + ":2375"},
			route{host: gateway},
		},
		{
			"a remote engine behind a tunnel", remote, nil,
			surroundings{engine: "unix:///tmp/tunnel.sock", asked: "ssh://user@" + remote},
			route{host: remote},
		},
		{
			"an engine that publishes at one address", bound, func(c *fakeContainer) { c.published = bound },
			surroundings{engine: local},
			route{host: bound},
		},
		{"the override", remote, nil, surroundings{engine: local, override: remote}, route{host: remote}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			container := serving(t, c.at)
			if c.change != nil {
				c.change(container)
			}
			// Whoever else has that port on this machine, with another password, is not what we look for.
			if c.at != loopback {
				other := miniredis.NewMiniRedis()
				other.RequireAuth("another")
				if err := other.StartAddr(net.JoinHostPort(loopback, container.port)); err == nil {
					defer other.Close()
				}
			}
			if got, err := find(t, t.Context(), container, c.around); err != nil || got != c.want {
				t.Errorf("got %q, %v, want %q", got, err, c.want)
			}
		})
	}
}

// The container's own address does where testcontainers has no reaper to reach.
func TestFindsTheContainersOwnAddress(t *testing.T) {
	t.Parallel()
	c := servingAt(t, net.JoinHostPort(own, redisPort.Port()))
	c.port, c.ip = unusedPort(t), own
	got, err := find(t, t.Context(), c, surroundings{direct: true})
	if want := (route{direct: true}); err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	got, err = find(t, t.Context(), c, surroundings{})
	hint := "only a container's own address does (" + own + ":6379); set TESTCONTAINERS_HOST_OVERRIDE to an address of the " +
		"engine's machine that can be reached from here, or TESTCONTAINERS_RYUK_DISABLED=true, which does with that"
	if err == nil || !strings.HasSuffix(err.Error(), hint) {
		t.Errorf("with the reaper: got %q, %v, want %s", got, err, hint)
	}
}

func unusedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func TestSaysWhyThereIsNoRoute(t *testing.T) {
	t.Parallel()
	port := unusedPort(t)
	for _, c := range []struct {
		name      string
		container *fakeContainer
		around    surroundings
		want      string // [PORT] is the port
	}{
		{
			"nothing answers", &fakeContainer{port: port, published: "0.0.0.0", gateway: gateway},
			surroundings{engine: "tcp://" + remote + ":2375"},
			"publishes ports, but none answers here (tried " + remote + ":[PORT], " + loopback + ":[PORT], " + gateway + ":[PORT], " +
				"host.docker.internal:[PORT], host.containers.internal:[PORT]); set TESTCONTAINERS_HOST_OVERRIDE to an address of the " +
				"engine's machine that can be reached from here",
		},
		{
			"the override is wrong, though another address would do", serving(t, loopback),
			surroundings{override: nowhere},
			"publishes ports, but none answers at TESTCONTAINERS_HOST_OVERRIDE=" + nowhere + " (tried " + nowhere + ":[PORT]); unset it, " +
				"or set it to an address of the engine's machine that can be reached from here",
		},
		{"nothing is published", &fakeContainer{}, surroundings{}, "published no port of a container"},
		{
			"it does not start", &fakeContainer{startErr: "OCI runtime create failed\nand more"},
			surroundings{},
			"cannot run redis:8.4-alpine: Error response from daemon: OCI runtime create failed",
		},
		{"it exits", &fakeContainer{exited: 127, port: port}, surroundings{}, "cannot run redis:8.4-alpine: it exited with 127"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			want := strings.ReplaceAll(c.want, "[PORT]", c.container.port)
			if got, err := find(t, ctx, c.container, c.around); err == nil || err.Error() != want {
				t.Errorf("got %q, %v\nwant %s", got, err, want)
			}
		})
	}
}

// A container that the engine creates for nobody any more is removed all the same.
func TestCancelledSearchLeavesNoContainer(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if got, err := find(t, ctx, &fakeContainer{onCreate: cancel}, surroundings{}); err == nil {
		t.Errorf("got %q, want an error", got)
	}
}

// noRouteLimit is what somebody may wait for the reason at the most.
const noRouteLimit = 20 * time.Second

// Where containers can't be reached the private servers take over, and the reason is shown; unless containers are
// insisted on.
func TestPrivateServersWhereContainersCannotBeReached(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(&engine{
		local:     []string{"postgres:17.7-alpine", "redis:8.4-alpine"},
		container: &fakeContainer{port: unusedPort(t), published: "0.0.0.0"},
	})
	t.Cleanup(s.Close)
	const reason = "Docker 99.1 publishes ports, but none answers here (tried 127.0.0.1:"
	for insist, want := range map[string]string{
		"":           ", private servers (" + reason,
		"containers": "|TEST_SERVERS=containers: " + reason,
	} {
		t.Run(cmp.Or(insist, "any"), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), noRouteLimit)
			defer cancel()
			got := prober(ctx, t, "redis", "TEST_SERVERS="+insist, "DOCKER_HOST=tcp://"+s.Listener.Addr().String(),
				"TESTCONTAINERS_RYUK_DISABLED=true")
			if !strings.Contains(got, want) {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

// As a dev container does: this test binary, in a container of the real engine, with the engine's socket.
func TestFindsTheRouteFromInsideAContainer(t *testing.T) {
	t.Parallel()
	if os.Getenv("TEST_SERVERS") != "containers" {
		t.Skip("TEST_SERVERS=containers runs this: it takes a minute to build")
	}
	image := imagesFrom(os.Getenv)
	docker := func(args ...string) (string, error) {
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "docker", args...)
		var errs strings.Builder // which may be warnings
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			err = fmt.Errorf("docker %s: %w: %s", args[0], err, &errs)
		}
		return strings.TrimSpace(string(out)), err
	}
	for _, i := range []string{image.postgres, image.redis} {
		if _, err := docker("image", "inspect", i); err != nil {
			t.Skipf("no Docker engine has %s here: %v", i, err)
		}
	}
	host := cmp.Or(os.Getenv("DOCKER_HOST"), client.DefaultDockerHost)
	socket, local := strings.CutPrefix(host, "unix://")
	if !local {
		t.Skipf("the engine at %s is on another machine, and gives its containers no socket", host)
	}
	binary := filepath.Join(t.TempDir(), "dbtest")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // no library of this machine is in there
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	id, err := docker("create", "--volume", socket+":/var/run/docker.sock", "--entrypoint", "/dbtest", "--env", asProber+"=servers",
		"--env", "TEST_POSTGRES_IMAGE="+image.postgres, "--env", "TEST_REDIS_IMAGE="+image.redis,
		"--env", "TESTCONTAINERS_RYUK_DISABLED=true", image.redis)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := docker("rm", "--force", "--volumes", id); err != nil {
			t.Error(err)
		}
	})
	if _, err := docker("cp", binary, id+":/dbtest"); err != nil {
		t.Fatal(err)
	}
	said, err := docker("start", "--attach", id)
	if err != nil || !strings.HasPrefix(said, "PostgreSQL ") || !strings.Contains(said, ", containers (Docker ") {
		t.Errorf("it says %s, %v", said, err)
	}
	t.Logf("from inside a container: %s", said)
}
