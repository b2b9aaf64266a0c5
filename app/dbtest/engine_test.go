package dbtest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
)

// engine is as much of a Docker engine as the probe asks of one. It is for what no engine at hand does: to be far away,
// to be reached by a certain address only, or not at all.
type engine struct {
	local     []string          // images that are here
	registry  []string          // images that could be pulled
	owners    map[string]string // of containers that are here, by their ids
	container *fakeContainer    // what a creation makes; nil fails
	removed   func(id string)
}

// fakeContainer is a container with a Redis in this process.
type fakeContainer struct {
	redis     *miniredis.Miniredis // nil if nothing listens
	published string               // the IP that its port is said to be published at
	port      string               // "" publishes nothing
	gateway   string
	ip        string
	startErr  string
	exited    int // with this code, unless 0
	onCreate  func()
}

// serving is a container whose published port answers at one address of this machine only. Linux has all of
// 127.0.0.0/8 at hand.
func serving(t *testing.T, host string) *fakeContainer {
	t.Helper()
	return servingAt(t, net.JoinHostPort(host, "0"))
}

func servingAt(t *testing.T, address string) *fakeContainer {
	t.Helper()
	m := miniredis.NewMiniRedis()
	if err := m.StartAddr(address); err != nil {
		t.Skipf("this machine can't listen at %s: %v", address, err)
	}
	t.Cleanup(m.Close)
	return &fakeContainer{redis: m, published: "0.0.0.0", port: m.Port()}
}

func (c *fakeContainer) inspect(w io.Writer) {
	ports := `{}`
	if c.port != "" {
		ports = fmt.Sprintf(`{"6379/tcp": [{"HostIp": %q, "HostPort": %q}]}`, c.published, c.port)
	}
	fmt.Fprintf(w, `{"Id": "one", "State": {"Running": %t, "ExitCode": %d}, "NetworkSettings": {"Ports": %s,
		"Networks": {"bridge": {"Gateway": %q, "IPAddress": %q}}}}`, c.exited == 0, c.exited, ports, c.gateway, c.ip)
}

func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Api-Version", "1.50")
	w.Header().Set("Content-Type", "application/json")
	path := r.URL.Path
	if strings.HasPrefix(path, "/v1.") {
		path = path[1+strings.IndexByte(path[1:], '/'):]
	}
	has := func(images []string, before, after string) bool {
		for _, image := range images {
			if path == before+image+after || path == before+"docker.io/library/"+image+after {
				return true
			}
		}
		return false
	}
	switch {
	case path == "/_ping":
		io.WriteString(w, "OK")
	case path == "/info":
		io.WriteString(w, `{"ServerVersion":"99.1","OperatingSystem":"Fake","MemTotal":1}`)
	case path == "/version":
		io.WriteString(w, `{"Version":"99.1","ApiVersion":"1.50","MinAPIVersion":"1.24"}`)
	case r.Method == http.MethodDelete && r.URL.Query().Get("v") == "1" && r.URL.Query().Get("force") == "1":
		if e.removed != nil {
			e.removed(strings.TrimPrefix(path, "/containers/"))
		}
		w.WriteHeader(http.StatusNoContent)
	case path == "/containers/json" && strings.Contains(r.URL.Query().Get("filters"), ownerLabel):
		list := []map[string]any{}
		for id, owner := range e.owners {
			list = append(list, map[string]any{"Id": id, "Labels": map[string]string{ownerLabel: owner}})
		}
		_ = json.NewEncoder(w).Encode(list)
	case has(e.local, "/images/", "/json"), has(e.registry, "/distribution/", "/json"):
		io.WriteString(w, `{}`)
	case path == "/images/create":
		io.WriteString(w, `{"status": "pulled"}`)
	case e.container != nil && path == "/containers/create":
		e.create(w, r)
	case e.container != nil && path == "/containers/one/start" && e.container.startErr != "":
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintf(w, `{"message": %q}`, e.container.startErr)
	case e.container != nil && path == "/containers/one/start":
		w.WriteHeader(http.StatusNoContent)
	case e.container != nil && path == "/containers/one/json":
		e.container.inspect(w)
	default:
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, `{"message":"not here"}`)
	}
}

// create gives the Redis the password that the request has for it.
func (e *engine) create(w http.ResponseWriter, r *http.Request) {
	var request struct{ Cmd []string }
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil || len(request.Cmd) != 3 {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if e.container.redis != nil {
		e.container.redis.RequireAuth(request.Cmd[2])
	}
	if e.container.onCreate != nil {
		e.container.onCreate()
	}
	w.WriteHeader(http.StatusCreated)
	io.WriteString(w, `{"Id": "one"}`)
}

// prober runs this test binary as a prober (see asProber) and returns what it prints. It has a home of its own, so that
// no configuration of the machine's names another engine, and no variable that this process set or was given.
func prober(ctx context.Context, t *testing.T, what string, env ...string) string {
	t.Helper()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), asProber+"="+what, "HOME="+t.TempDir(), "DOCKER_CONFIG="+t.TempDir(), hostOverride+"=",
		"TEST_DATABASE_URL=", "TEST_REDIS_URL=", "TEST_SERVERS=", "TEST_POSTGRES_IMAGE=", "TEST_REDIS_IMAGE=")
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput() // with stderr: it must be silent
	if err != nil {
		t.Fatalf("%v, %v: %s", err, ctx.Err(), out)
	}
	return strings.TrimSpace(string(out))
}
