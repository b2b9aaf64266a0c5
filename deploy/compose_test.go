// Package deploy_test runs docker-compose.yml for real: what a newcomer types, and what an operator does to it.
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
	"sync"
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
	p := &project{t: t, name: fmt.Sprintf("doorbuster-test-%d", os.Getpid())}
	shop, admin := port(), port()
	p.shop, p.admin = "http://127.0.0.1:"+shop, "http://127.0.0.1:"+admin
	p.ports = []string{"SHOP_PORT=" + shop, "ADMIN_PORT=" + admin, "PROMETHEUS_PORT=" + port(), "GRAFANA_PORT=" + port()}
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
	if _, err := p.try(nil, "--profile", "*", "down", "--volumes", "--timeout", "60"); err != nil {
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

// status asks the admin address, by its token. While the container is replaced nobody answers.
func (p *project) status() (s status, err error) {
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.admin+"/api/v1/status", nil)
	if err != nil {
		return s, err
	}
	req.Header.Set("Authorization", "Bearer demo")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	return s, json.NewDecoder(resp.Body).Decode(&s)
}

// until asks until something is so; the test binary's limit ends it.
func (p *project) until(what func(status) bool) status {
	p.t.Helper()
	for {
		if s, err := p.status(); err == nil && what(s) {
			return s
		}
		<-time.After(20 * time.Millisecond)
	}
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
	return &customer{p, key, &http.Client{Jar: jar, Timeout: time.Minute, Transport: transport}}
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
	return c.post("/v1/cart/items", `{"sku": "AURORA-55-OLED", "quantity": 1}`)
}

func (c *customer) checkOut() (int, string) {
	return c.post("/v1/checkout", fmt.Sprintf(`{"email": "%s@example.com", "payment_token": "tok_ok"}`, c.key))
}

// buy is what the demo tells people to type. It returns the answer to the checkout.
func (p *project) buy(key string) (int, string) {
	p.t.Helper()
	c := p.customer(key)
	if code, text := c.fill(); code != http.StatusOK {
		return code, text
	}
	return c.checkOut()
}

// O1, O5: the whole demo by one command; a purchase, a deploy, memory that runs out, a stop in the middle of payments, and
// nothing that is left. One project is brought up for all of it, so the order matters.
func TestCompose(t *testing.T) {
	p := openProject(t)
	container := docker(t, "ps", "--quiet", "--filter", "label=com.docker.compose.project="+p.name, "--filter", "label=com.docker.compose.service=shop")

	if said := p.compose(nil, "logs", "--no-color", "--no-log-prefix", "open"); !strings.Contains(said, "The shop is open:  "+strings.Replace(p.shop, "127.0.0.1", "localhost", 1)) {
		t.Errorf("it says:\n%s", said)
	}
	if code, text := p.buy("first"); code != http.StatusCreated || !strings.Contains(text, `"status":"confirmed"`) {
		t.Fatalf("the first purchase: %d %s", code, text)
	}
	before := p.until(func(s status) bool { return s.settled(2) }) // a worker for each of its CPUs

	// A deploy by a signal to the container.
	p.compose(nil, "kill", "--signal", "USR2", "shop")
	after := p.until(func(s status) bool { return s.Master.ReloadsTotal == 1 && s.settled(2) })
	for _, pid := range after.pids() {
		if slices.Contains(before.pids(), pid) {
			t.Errorf("the workers were %v and are %v", before.pids(), after.pids())
		}
	}
	if code, text := p.buy("second"); code != http.StatusCreated {
		t.Errorf("after the deploy: %d %s", code, text)
	}

	t.Run("memory runs out", func(t *testing.T) { p.memoryRunsOut(t, container) })
	t.Run("stop in the middle of payments", p.stopInTheMiddle)

	// A container with one CPU has one worker.
	p.compose([]string{"SHOP_CPUS=1"}, "up", "--detach", "shop")
	p.until(func(s status) bool { return s.settled(1) })
	if code, text := p.buy("third"); code != http.StatusCreated {
		t.Errorf("with one worker: %d %s", code, text)
	}

	t.Run("a sale", func(t *testing.T) {
		sale := []string{"BUYERS=100", "PREPARE=5", "BROWSE=10"}
		if out, err := p.try(sale, "run", "--rm", "--no-deps", "sale"); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		if out, err := p.try(sale, "run", "--rm", "--no-deps", "audit"); err != nil || !strings.Contains(out, "\n0 findings") {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("observed", p.observed)
}

// memoryRunsOut takes memory away from the container until the kernel kills, gives it back, and expects the container to
// have lived through it.
func (p *project) memoryRunsOut(t *testing.T, container string) {
	if strings.Contains(docker(t, "info"), "No memory limit support") {
		t.Skip("this Docker engine can't limit memory")
	}
	started := docker(t, "inspect", "--format", "{{.State.StartedAt}} {{.RestartCount}}", container)
	crashed := false
	for mb := 64; mb >= 8 && !crashed; mb -= 4 {
		size := fmt.Sprintf("%dm", mb)
		// It fails where the kernel can't make the container so small at once.
		exec.CommandContext(t.Context(), "docker", "update", "--memory", size, "--memory-swap", size, container).Run()
		for range 50 { // requests need memory
			if resp, err := http.Get(p.shop + "/v1/products?limit=100"); err == nil {
				resp.Body.Close()
			}
		}
		s, err := p.status()
		crashed = err == nil && s.Master.CrashesTotal > 0
	}
	docker(t, "update", "--memory", "1536m", "--memory-swap", "1536m", container)
	if !crashed {
		t.Skip("the kernel of this machine does not hold the container to its memory")
	}
	p.until(func(s status) bool { return s.settled(2) })
	if now := docker(t, "inspect", "--format", "{{.State.StartedAt}} {{.RestartCount}}", container); now != started {
		t.Errorf("the container was started at %s, and now at %s", started, now)
	}
}

// stopInTheMiddle stops the shop while payments are under way: they are finished, and it ends with 0.
func (p *project) stopInTheMiddle(t *testing.T) {
	const customers = 20
	slow := []string{"PAYMENT_LATENCY=2s"}
	p.compose(slow, "up", "--detach", "shop")
	p.until(func(s status) bool { return s.settled(2) })
	all := make([]*customer, customers)
	for i := range all {
		all[i] = p.customer(fmt.Sprintf("slow-%d", i))
		if code, text := all[i].fill(); code != http.StatusOK {
			t.Fatalf("fill a cart: %d %s", code, text)
		}
	}
	answers := make(chan string, customers)
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() {
			code, text := c.checkOut()
			answers <- fmt.Sprintf("%d %.200s", code, text)
		})
	}
	p.until(func(s status) bool {
		n := 0
		for _, w := range s.Workers {
			n += w.InFlight
		}
		return n == customers
	})
	p.compose(slow, "stop", "shop")
	wg.Wait()
	close(answers)
	for a := range answers {
		if !strings.HasPrefix(a, "201 ") {
			t.Errorf("a customer was told %s", a)
		}
	}
	container := docker(t, "ps", "--all", "--quiet", "--filter", "label=com.docker.compose.project="+p.name, "--filter", "label=com.docker.compose.service=shop")
	if code := docker(t, "inspect", "--format", "{{.State.ExitCode}}", container); code != "0" {
		t.Errorf("exit code %s", code)
	}
	if t.Failed() {
		t.Log(docker(t, "logs", container))
	}
}

// observed has Prometheus scrape the shop, with its token. Grafana's image can't be had everywhere.
func (p *project) observed(t *testing.T) {
	if _, err := p.try(nil, "--profile", "observe", "up", "--detach", "--no-deps", "prometheus"); err != nil {
		t.Skipf("no Prometheus here: %v", err)
	}
	port := strings.TrimPrefix(p.ports[2], "PROMETHEUS_PORT=")
	for {
		resp, err := http.Get("http://127.0.0.1:" + port + "/api/v1/query?query=cluster_workers_ready")
		if err != nil {
			continue // it is starting
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if strings.Contains(string(text), `"result":[{`) {
			return
		}
	}
}
