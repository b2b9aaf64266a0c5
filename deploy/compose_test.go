// Package deploy_test runs docker-compose.yml for real: what a newcomer types, and what an operator does to it.
package deploy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// O1, O5: the whole demo by one command; a purchase, a deploy, memory that runs out, a stop in the middle of payments, and
// nothing that is left. One project is brought up for all of it, so the order matters.
func TestCompose(t *testing.T) {
	p := openProject(t)
	if said := p.compose(nil, "logs", "--no-color", "--no-log-prefix", "open"); !strings.Contains(said, "The shop is open:  "+strings.Replace(p.shop, "127.0.0.1", "localhost", 1)) {
		t.Errorf("it says:\n%s", said)
	}
	first := p.customer("first")
	first.sku = "AURORA-55-OLED" // as it says
	if code, text := first.buy(); code != http.StatusCreated || !strings.Contains(text, `"status":"confirmed"`) {
		t.Fatalf("the first purchase: %d %s", code, text)
	}
	before := p.settled(2) // a worker for each of its CPUs

	// A deploy by a signal to the container.
	p.compose(nil, "kill", "--signal", "USR2", "shop")
	after := p.until("the end of the deploy", func(s status) bool { return s.Master.ReloadsTotal == 1 && s.settled(2) })
	for _, pid := range after.pids() {
		if slices.Contains(before.pids(), pid) {
			t.Errorf("the workers were %v and are %v", before.pids(), after.pids())
		}
	}
	if code, text := p.buy("second"); code != http.StatusCreated {
		t.Errorf("after the deploy: %d %s", code, text)
	}

	t.Run("a sale", p.sale)
	t.Run("make sale", p.makeSale)
	t.Run("memory runs out", p.memoryRunsOut)
	t.Run("stop in the middle of payments", p.stopInTheMiddle)

	// A container with one CPU has one worker.
	p.compose([]string{"SHOP_CPUS=1"}, "up", "--detach", "shop")
	p.settled(1)
	if code, text := p.buy("third"); code != http.StatusCreated {
		t.Errorf("with one worker: %d %s", code, text)
	}
	t.Run("observed", p.observed)
}

// aSmallSale is settings of loadtest/midnight-sale.js. A doorbuster has a hundred units at the least.
func aSmallSale(sku string) []string {
	return []string{"SKU=" + sku, "BUYERS=120", "PREPARE=5", "BROWSE=10"}
}

// sale runs k6 and the audit in containers.
func (p *project) sale(t *testing.T) {
	env := aSmallSale("AURORA-55-OLED")
	if out, err := p.try(env, "run", "--rm", "--no-deps", "sale"); err != nil || !strings.Contains(out, "all within the limits") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := p.try(nil, "exec", "-T", "shop", "/doorbuster", "audit", "--acks", "/sale/acks.jsonl"); err != nil || !strings.Contains(out, "\n0 findings") {
		t.Errorf("%v\n%s", err, out)
	}
	report := filepath.Join(t.TempDir(), "report.html")
	p.compose(nil, "cp", "shop:/sale/report.html", report)
	if html, err := os.ReadFile(report); err != nil || !bytes.Contains(html, []byte("<html")) {
		t.Errorf("the report is %d bytes, %v", len(html), err)
	}
}

// makeSale runs what "make sale" does. Its k6 is here, and the audit inside the shop's container.
func (p *project) makeSale(t *testing.T) {
	k6 := os.Getenv("K6")
	if k6 == "" {
		t.Skip("K6=$PWD/bin/k6 names a k6 program, which \"make bin/k6\" builds, and runs this")
	}
	cmd := exec.CommandContext(t.Context(), "go", "run", "./loadtest/sale", "-k6", k6, "-dir", t.TempDir())
	cmd.Dir = ".."
	cmd.Env = slices.Concat(os.Environ(), p.ports, aSmallSale("TONQUAY-HUSH"), []string{"DATABASE_URL=", "CONTROL_SOCKET=" + filepath.Join(t.TempDir(), "none"), "COMPOSE_PROJECT_NAME=" + p.name, "SHOP=" + p.shop, "ADMIN=" + p.admin, "ADMIN_TOKEN=demo"})
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "\n0 findings") {
		t.Errorf("%v\n%s", err, out)
	}
}

// lingerers need about 40 KB each. Docker's proxy of a port takes up to six descriptors for each, and dies when it has none.
const lingerers = 2000

// memoryRunsOut opens a shop that has little memory, and sends more connections than it can hold, each with a request that
// goes on for as long as it may. The kernel kills a worker; the container has to live on, with a new one.
func (p *project) memoryRunsOut(t *testing.T) {
	if strings.Contains(docker(t, "info"), "No memory limit support") {
		t.Skip("this Docker engine can't limit memory")
	}
	p.compose([]string{"SHOP_MEMORY=64m"}, "up", "--detach", "shop")
	p.settled(1) // one, in so little
	container := p.container("shop")
	const life = "{{.State.StartedAt}} {{.RestartCount}}"
	started := docker(t, "inspect", "--format", life, container)

	ctx, cancel := context.WithCancel(t.Context())
	var crowd sync.WaitGroup
	for range lingerers {
		crowd.Go(func() {
			for ctx.Err() == nil {
				p.linger(ctx)
			}
		})
	}
	p.until("a worker's end", func(s status) bool { return s.Master.CrashesTotal > 0 })
	cancel()
	crowd.Wait()
	p.settled(1)
	if logs := p.compose(nil, "logs", "--no-color", "shop"); !strings.Contains(logs, "was killed by SIGKILL") {
		t.Errorf("no worker was killed:\n%s", logs)
	}
	if now := docker(t, "inspect", "--format", life, container); now != started {
		t.Errorf("the container was started at %s, and now at %s", started, now)
	}
	if code, text := p.buy("after-the-crowd"); code != http.StatusCreated {
		t.Errorf("of the new worker: %d %s", code, text)
	}
}

// linger begins a request that does not end, and stays until the shop has had enough of it.
func (p *project) linger(ctx context.Context) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", strings.TrimPrefix(p.shop, "http://"))
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: shop\r\nX-Long: %s", strings.Repeat("x", 15<<10))
	io.Copy(io.Discard, conn)
}

// stopInTheMiddle stops the shop while payments are under way: they are finished, and it ends with 0.
func (p *project) stopInTheMiddle(t *testing.T) {
	const customers = 20
	slow := []string{"PAYMENT_LATENCY=2s"}
	p.compose(slow, "up", "--detach", "shop")
	p.settled(2)
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
	p.until("all customers' payments", func(s status) bool {
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
	container := p.container("shop")
	if code := docker(t, "inspect", "--format", "{{.State.ExitCode}}", container); code != "0" {
		t.Errorf("exit code %s", code)
	}
	if t.Failed() {
		t.Log(docker(t, "logs", container))
	}
}

// observed has Prometheus scrape the shop, with its token, and asks it what the dashboard asks. Grafana shows the dashboard,
// where its image is: it can't be had everywhere.
func (p *project) observed(t *testing.T) {
	if _, err := p.try(nil, "--profile", "observe", "up", "--detach", "--no-deps", "prometheus"); err != nil {
		t.Fatal(err)
	}
	defer p.compose(nil, "--profile", "observe", "rm", "--stop", "--force", "--volumes")
	prometheus := "http://127.0.0.1:" + strings.TrimPrefix(p.ports[2], "PROMETHEUS_PORT=")
	for _, panel := range readDashboard(t) {
		for _, target := range panel.Targets {
			p.await(prometheus+"/api/v1/query?query="+url.QueryEscape(target.Expr), `"result":[{`)
		}
	}

	images := strings.Fields(p.compose(nil, "--profile", "observe", "config", "--images", "grafana"))
	i := slices.IndexFunc(images, func(name string) bool { return strings.Contains(name, "grafana/") })
	if i < 0 || exec.CommandContext(t.Context(), "docker", "image", "inspect", images[i]).Run() != nil {
		t.Logf("without Grafana: %v", images)
		return
	}
	p.compose(nil, "--profile", "observe", "up", "--detach", "--no-deps", "grafana")
	grafana := "http://127.0.0.1:" + strings.TrimPrefix(p.ports[3], "GRAFANA_PORT=")
	p.await(grafana+"/api/dashboards/uid/doorbuster", `"title":"Doorbuster"`)
	p.await(grafana+"/api/datasources/proxy/uid/prometheus/api/v1/query?query=cluster_workers_ready", `"result":[{`)
}
