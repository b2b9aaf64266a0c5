package dbtest

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
)

// Bounds of the search for an address. With those of the probe they add up to
// less than 20 seconds, which is what a reader of the reason may have waited.
const (
	reachLimit   = 10 * time.Second       // from the request for a container to an answer from it
	attemptLimit = time.Second            // for one address; some swallow packets
	attemptPause = 100 * time.Millisecond // between rounds; Redis needs a moment to listen
	removeLimit  = 2 * time.Second
)

// hostOverride names the variable by which testcontainers is told where
// published ports answer.
const hostOverride = "TESTCONTAINERS_HOST_OVERRIDE"

// route is how this process gets to what listens in a container.
type route struct {
	host   string // published ports answer there
	direct bool   // by the container's own address instead; host is "" then
}

func (r route) String() string {
	if r.direct {
		return "the container's own address"
	}
	return r.host
}

// address is where a port of a started container is reached.
func (r route) address(ctx context.Context, c testcontainers.Container, port network.Port) (string, error) {
	if r.direct {
		ip, err := c.ContainerIP(ctx)
		if err == nil && ip == "" {
			err = errors.New("it has no address of its own")
		}
		return net.JoinHostPort(ip, port.Port()), err
	}
	published, err := c.MappedPort(ctx, port.String())
	return net.JoinHostPort(r.host, published.Port()), err
}

// wait has testcontainers wait for a line of the log and, where it can reach
// the port, for that.
func (r route) wait(port network.Port, line *wait.LogStrategy) testcontainers.CustomizeRequestOption {
	if r.direct {
		return testcontainers.WithWaitStrategy(line)
	}
	return testcontainers.WithWaitStrategy(line, wait.ForListeningPort(port.String()))
}

// An attempt is an address to try, and the route that it would prove.
type attempt struct {
	address string // host:port
	route   route
}

// surroundings is what the choice of addresses depends on, apart from the
// container.
type surroundings struct {
	override string       // the value of TESTCONTAINERS_HOST_OVERRIDE
	engine   string       // the engine's URL
	asked    string       // the value of DOCKER_HOST
	gateways []netip.Addr // of the default routes of this process
	direct   bool         // tests can do without published ports; the reaper of testcontainers can't
}

// findRoute starts a Redis and tries addresses until it answers on one. That
// is the only way to know: an engine does not say where it publishes ports as
// seen from here, and testcontainers guesses (docker_host.go, daemonHost).
// The password of that Redis is random, so nothing else can be taken for it.
// The image must be in the engine.
func findRoute(ctx context.Context, engine *client.Client, image string, around surroundings) (r route, err error) {
	ctx, cancel := context.WithTimeout(ctx, reachLimit)
	defer cancel()
	password := rand.Text()
	id, err := startProbe(ctx, engine, image, password)
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeLimit)
		defer cancel()
		if id != "" {
			_, _ = engine.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		}
	}()
	if err != nil {
		return route{}, fmt.Errorf("cannot run %s: %s", image, firstLine(err))
	}
	var (
		tried []attempt
		own   string // address that answers, of no use here
	)
	for {
		inspected, err := engine.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
		if err == nil {
			if state := inspected.Container.State; state != nil && !state.Running {
				return route{}, fmt.Errorf("cannot run %s: it exited with %d", image, state.ExitCode)
			}
			tried = attempts(inspected.Container.NetworkSettings, around)
		}
		for _, a := range tried {
			switch {
			case !answers(ctx, a.address, password):
			case a.route.direct && !around.direct && own == "":
				own = a.address // one more round: Redis listens only now
			case a.route.direct && !around.direct:
				return route{}, unreachable(tried, around, own)
			default:
				return a.route, nil
			}
		}
		select {
		case <-ctx.Done():
			return route{}, unreachable(tried, around, own)
		case <-time.After(attemptPause):
		}
	}
}

// startProbe returns the id of a container even if it could not be started:
// it has to be removed. An engine carries out a request to create a container
// even when nobody waits any more, so a cancellation takes effect after it.
func startProbe(ctx context.Context, engine *client.Client, image, password string) (id string, err error) {
	creation, cancel := context.WithTimeout(context.WithoutCancel(ctx), reachLimit)
	defer cancel()
	created, err := engine.ContainerCreate(creation, client.ContainerCreateOptions{
		Config: &container.Config{
			Image:        image,
			Cmd:          []string{"redis-server", "--requirepass", password},
			Labels:       map[string]string{ownerLabel: owner(os.Getpid())},
			ExposedPorts: network.PortSet{redisPort: {}},
		},
		HostConfig: &container.HostConfig{PortBindings: network.PortMap{redisPort: {{}}}},
	})
	if err != nil {
		return "", err
	}
	_, err = engine.ContainerStart(ctx, created.ID, client.ContainerStartOptions{})
	return created.ID, err
}

// attempts lists where the Redis of the probe may be, the likely first.
func attempts(c *container.NetworkSettings, around surroundings) (list []attempt) {
	if c == nil {
		return nil
	}
	published := c.Ports[redisPort]
	add := func(host string) {
		if host == "" || len(published) == 0 {
			return
		}
		// testcontainers takes the first binding, too.
		a := attempt{net.JoinHostPort(host, published[0].HostPort), route{host: host}}
		if !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	if around.override != "" { // the user knows, and a wrong address must not be passed over in silence
		add(around.override)
		return list
	}
	add(hostOf(around.engine))
	add(hostOf(around.asked))
	add("127.0.0.1")
	if len(published) > 0 {
		add(address(published[0].HostIP))
	}
	var own []string // the container's
	for _, name := range slices.Sorted(maps.Keys(c.Networks)) {
		n := c.Networks[name]
		add(address(n.Gateway))
		own = append(own, address(n.IPAddress))
	}
	for _, gateway := range around.gateways { // of the bridge that this container is on, if this is one
		add(address(gateway))
	}
	add("host.docker.internal")     // Docker Desktop
	add("host.containers.internal") // Podman
	for _, ip := range own {
		if ip != "" {
			list = append(list, attempt{net.JoinHostPort(ip, redisPort.Port()), route{direct: true}})
		}
	}
	return list
}

// defaultGateways reads Linux's routing table, whose addresses are in the
// machine's byte order. Elsewhere there are none to be had.
func defaultGateways() (list []netip.Addr) {
	table, _ := os.ReadFile("/proc/net/route")
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line) // interface, destination, gateway, ...
		if len(f) < 3 || f[1] != "00000000" {
			continue
		}
		raw, err := hex.DecodeString(f[2])
		if err != nil || len(raw) != 4 {
			continue
		}
		var ip [4]byte
		binary.NativeEndian.PutUint32(ip[:], binary.BigEndian.Uint32(raw))
		list = append(list, netip.AddrFrom4(ip))
	}
	return list
}

// hostOf returns the host of an engine that is reached by network, else "".
func hostOf(engine string) string {
	u, err := url.Parse(engine)
	if err != nil || !slices.Contains([]string{"tcp", "http", "https", "ssh"}, u.Scheme) {
		return ""
	}
	return u.Hostname()
}

// address returns "" for an address that leads nowhere.
func address(ip netip.Addr) string {
	if !ip.IsValid() || ip.IsUnspecified() {
		return ""
	}
	return ip.String()
}

// answers reports whether the Redis with this password is at the address. It
// speaks RESP by itself: a client would retry, and log.
func answers(ctx context.Context, address, password string) bool {
	ctx, cancel := context.WithTimeout(ctx, attemptLimit)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := fmt.Fprintf(conn, "*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n", len(password), password); err != nil {
		return false
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	return err == nil && answer == "+OK\r\n"
}

// unreachable says what was tried and what to set.
func unreachable(tried []attempt, around surroundings, own string) error {
	if len(tried) == 0 {
		return errors.New("published no port of a container")
	}
	const where = "an address of the engine's machine that can be reached from here"
	var addresses []string
	for _, a := range tried {
		if a.address != own {
			addresses = append(addresses, a.address)
		}
	}
	list := strings.Join(addresses, ", ")
	switch {
	case around.override != "":
		return fmt.Errorf("publishes ports, but none answers at %s=%s (tried %s); unset it, or set it to %s",
			hostOverride, around.override, list, where)
	case own != "":
		return fmt.Errorf("publishes ports, but none answers here (tried %s), and only a container's own address does (%s); "+
			"set %s to %s, or TESTCONTAINERS_RYUK_DISABLED=true, which does with that", list, own, hostOverride, where)
	default:
		return fmt.Errorf("publishes ports, but none answers here (tried %s); set %s to %s", list, hostOverride, where)
	}
}
