package deploy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// project is a running compose project.
type project struct {
	t     *testing.T
	name  string
	shop  string // its address
	admin string // its master's
	ports []string
}

// openProject brings the whole demo up, by the one command that the README names, on ports of its own.
func openProject(t *testing.T) *project {
	t.Helper()
	if os.Getenv("TEST_COMPOSE") == "" {
		t.Skip("TEST_COMPOSE=true runs this, with Docker and Compose v2: make test-containers")
	}
	port := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		return port
	}
	p := &project{t: t, name: "doorbuster-test"}
	shop, admin := port(), port()
	p.shop, p.admin = "http://127.0.0.1:"+shop, "http://127.0.0.1:"+admin
	p.ports = []string{"SHOP_PORT=" + shop, "ADMIN_PORT=" + admin, "PROMETHEUS_PORT=" + port(), "GRAFANA_PORT=" + port()}
	p.compose(nil, "--profile", "*", "down", "--volumes", "--remove-orphans") // of a test that was cut off
	t.Cleanup(p.down)
	p.compose(nil, "up", "--detach")
	return p
}

// compose runs a command of compose, with some variables, and returns what it printed.
func (p *project) compose(env []string, args ...string) string {
	p.t.Helper()
	out, err := p.try(env, args...)
	if err != nil {
		p.t.Fatalf("docker compose %v: %v\n%s\n%s", args, err, out, p.logs())
	}
	return out
}

func (p *project) try(env []string, args ...string) (string, error) {
	// Not the test's context: it is over when the project is taken down.
	cmd := exec.CommandContext(context.Background(), "docker", append([]string{"compose", "--project-name", p.name, "--project-directory", ".."}, args...)...)
	cmd.Env = slices.Concat(os.Environ(), p.ports, env)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, errs.String())
	}
	return out.String(), err
}

func (p *project) logs() string {
	out, _ := p.try(nil, "logs", "--no-color", "--tail=50")
	return out
}

func (p *project) down() {
	if p.t.Failed() {
		p.t.Log(p.logs())
	}
	if _, err := p.try(nil, "down", "--volumes"); err != nil {
		p.t.Error(err)
	}
	for _, kind := range [][]string{{"ps", "--all"}, {"volume", "ls"}, {"network", "ls"}} {
		args := append(kind, "--quiet", "--filter", "label=com.docker.compose.project="+p.name)
		if out := docker(p.t, args...); out != "" {
			p.t.Errorf("docker %v after the end: %s", args, out)
		}
	}
}

func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(context.Background(), "docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// container is the id of a service's container.
func (p *project) container(service string) string {
	p.t.Helper()
	return docker(p.t, "ps", "--all", "--quiet", "--filter", "label=com.docker.compose.project="+p.name, "--filter", "label=com.docker.compose.service="+service)
}

// status is as much of "doorbuster status --json" as is looked at here.
type status struct {
	Master struct {
		State        string `json:"state"`
		Target       int    `json:"target"`
		Ready        int    `json:"ready"`
		CrashesTotal int    `json:"crashes_total"`
		ReloadsTotal int    `json:"reloads_total"`
	} `json:"master"`
	Workers []struct {
		PID      int    `json:"pid"`
		State    string `json:"state"`
		InFlight int    `json:"in_flight"`
	} `json:"workers"`
}

// asking is for questions that are asked again.
var asking = &http.Client{Timeout: 5 * time.Second}

// status asks the admin address, by its token. While the container is replaced nobody answers.
func (p *project) status() (s status, err error) {
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.admin+"/api/v1/status", nil)
	if err != nil {
		return s, err
	}
	req.Header.Set("Authorization", "Bearer demo")
	resp, err := asking.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	return s, json.NewDecoder(resp.Body).Decode(&s)
}

// untilLimit is far more than anything here takes.
const untilLimit = 2 * time.Minute

// until asks until something is so.
func (p *project) until(what string, is func(status) bool) status {
	p.t.Helper()
	limit := time.After(untilLimit)
	for {
		s, err := p.status()
		if err == nil && is(s) {
			return s
		}
		select {
		case <-limit:
			p.t.Fatalf("waited %v for %s: %v %+v\n%s", untilLimit, what, err, s, p.logs())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// settled waits for so many workers, all ready, and nothing that is under way.
func (p *project) settled(workers int) status {
	p.t.Helper()
	return p.until(fmt.Sprintf("%d ready workers", workers), func(s status) bool { return s.settled(workers) })
}

func (s status) settled(workers int) bool {
	return s.Master.State == "running" && s.Master.Ready == workers && s.Master.Target == workers && len(s.Workers) == workers
}

func (s status) pids() (pids []int) {
	for _, w := range s.Workers {
		pids = append(pids, w.PID)
	}
	return pids
}

// customer is somebody with a cookie jar.
type customer struct {
	p      *project
	key    string
	sku    string // what there is enough of, even after a sale
	client *http.Client
}

func (p *project) customer(key string) *customer {
	p.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	transport := &http.Transport{}
	p.t.Cleanup(transport.CloseIdleConnections)
	return &customer{p, key, "TONQUAY-HUSH", &http.Client{Jar: jar, Timeout: time.Minute, Transport: transport}}
}

func (c *customer) post(path, body string) (int, string) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, c.p.shop+path, strings.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", c.key)
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(text)
}

func (c *customer) fill() (int, string) {
	return c.post("/v1/cart/items", fmt.Sprintf(`{"sku": %q, "quantity": 1}`, c.sku))
}

func (c *customer) checkOut() (int, string) {
	return c.post("/v1/checkout", fmt.Sprintf(`{"email": "%s@example.com", "payment_token": "tok_ok"}`, c.key))
}

// buy has a customer of that name do what the demo tells people to type.
func (p *project) buy(name string) (int, string) {
	p.t.Helper()
	return p.customer(name).buy()
}

// buy returns the answer to the checkout.
func (c *customer) buy() (int, string) {
	if code, text := c.fill(); code != http.StatusOK {
		return code, text
	}
	return c.checkOut()
}

// await asks until the answer has something in it.
func (p *project) await(address, want string) {
	p.t.Helper()
	limit := time.After(untilLimit)
	for {
		resp, err := asking.Get(address)
		var body []byte
		if err == nil {
			body, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		if err == nil && strings.Contains(string(body), want) {
			return
		}
		select {
		case <-limit:
			p.t.Fatalf("waited %v for %s in %s: %v %.500s\n%s", untilLimit, want, address, err, body, p.logs())
		case <-time.After(20 * time.Millisecond):
		}
	}
}
