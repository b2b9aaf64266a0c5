//go:build unix

package admin_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"doorbuster/cluster"
	"doorbuster/cluster/admin"
)

// Tests of whole clusters start this program again, as the master of a service with an admin address, and it starts itself
// as the workers: signals, wait statuses and memory of their own are what is tested.

const (
	configVariable = "ADMIN_TEST_CONFIG" // of the master: a cluster.Config as JSON
	gateVariable   = "ADMIN_TEST_GATE"   // where workers wait before they are ready; empty: they don't
)

func TestMain(m *testing.M) {
	worker, err := cluster.Join()
	config, isMaster := os.LookupEnv(configVariable)
	switch {
	case err == nil:
		err = work(worker)
	case errors.Is(err, cluster.ErrNoMaster) && isMaster:
		err = supervise(config)
	case errors.Is(err, cluster.ErrNoMaster):
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// supervise is the life of a master. It prints where the service and its admin address are.
func supervise(config string) error {
	cfg := cluster.Config{
		Log: slog.New(slog.NewJSONHandler(os.Stderr, nil)),
		OnSetting: func(key, _ string) error {
			if key == "unknown" {
				return errors.New("no such setting")
			}
			return nil
		},
	}
	if err := json.Unmarshal([]byte(config), &cfg); err != nil {
		return err
	}
	master, err := cluster.New(cfg)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, master.Close())
	}
	handler, err := admin.New(master, admin.Config{Addr: listener.Addr().String()})
	if err != nil {
		return errors.Join(err, master.Close())
	}
	server := &http.Server{Handler: handler}
	go server.Serve(listener)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin) // it ends with the test, however that ends
		cancel()
	}()
	fmt.Println("http://"+master.Addrs()[0], "http://"+listener.Addr().String())
	err = master.Run(ctx)
	limit, stop := context.WithTimeout(context.Background(), hang)
	defer stop()
	return errors.Join(err, server.Shutdown(limit))
}

// work is the life of a worker.
func work(w *cluster.Worker) error {
	if gate := os.Getenv(gateVariable); gate != "" {
		conn, err := net.Dial("tcp", gate)
		if err != nil {
			return err
		}
		fmt.Fprintln(conn, os.Getpid())
		io.Copy(io.Discard, conn)
	}
	registry := prometheus.NewRegistry()
	greetings := prometheus.NewCounter(prometheus.CounterOpts{Name: "greetings_total"})
	took := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "greeting_seconds", Buckets: []float64{1, 10}})
	registry.MustRegister(greetings, took, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	private := http.NewServeMux()
	private.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	private.HandleFunc("/secret", func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, "the secret") })
	private.HandleFunc("/debug/", func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprint(rw, os.Getpid(), " ", r.Method, " ", r.RequestURI)
	})
	private.HandleFunc("/debug/pprof/", pprof.Index)
	private.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	private.HandleFunc("/debug/moved", redirect("/debug/pprof/?debug=1"))
	private.HandleFunc("/debug/away", redirect("https://elsewhere.example/debug/"))
	private.HandleFunc("/debug/up", redirect("/secret"))
	private.HandleFunc("/debug/teapot", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("X-Tea", "none")
		http.Error(rw, "short and stout", http.StatusTeapot)
	})
	private.HandleFunc("/debug/endless", func(rw http.ResponseWriter, r *http.Request) {
		rw.Write(bytes.Repeat([]byte{'x'}, 1<<20)) // more than anybody on the way keeps to himself
		http.NewResponseController(rw).Flush()
		<-r.Context().Done()
	})
	w.HandleAdmin(private)
	if err := w.OnSetting(func(key, value string) error {
		if key == "picky" && w.Slot() == 2 {
			return errors.New("not here")
		}
		return nil
	}); err != nil {
		return err
	}
	public := http.NewServeMux()
	public.HandleFunc("/", func(rw http.ResponseWriter, _ *http.Request) {
		greetings.Inc()
		took.Observe(float64(w.Slot()))
		fmt.Fprint(rw, os.Getpid())
	})
	public.HandleFunc("/hold", func(rw http.ResponseWriter, r *http.Request) { // until the client goes
		http.NewResponseController(rw).Flush()
		<-r.Context().Done()
	})
	return w.Serve(&cluster.Server{HTTP: &http.Server{Handler: public}, DrainTimeout: hang})
}

func redirect(to string) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Location", to) // http.Redirect would make it of this place
		rw.WriteHeader(http.StatusFound)
	}
}

// service is a cluster under test.
type service struct {
	*testing.T
	url, admin string // of the service, and of its master
	cmd        *exec.Cmd
	gate       net.Listener  // nil: none
	ended      chan struct{} // closed when the master was reaped
	gone       chan struct{} // closed when no process of the cluster is left
	said       bytes.Buffer  // by all of them; complete when gone
}

// start starts a master with a number of workers. At a gate they wait until they are let in.
func start(t *testing.T, workers int, gated bool) *service {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Time limits are ones that a busy machine does not reach.
	config, err := json.Marshal(map[string]any{
		"Listen": []string{"127.0.0.1:0"}, "Command": []string{program}, "Workers": workers, "Bake": 50 * time.Millisecond,
		"ReadyTimeout": hang, "KillTimeout": 2 * hang, "HeartbeatInterval": 50 * time.Millisecond, "HeartbeatTimeout": hang,
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &service{T: t, ended: make(chan struct{}), gone: make(chan struct{}), cmd: exec.Command(program)}
	s.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", configVariable+"="+string(config))
	if gated {
		if s.gate, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		s.Cleanup(func() { s.gate.Close() })
		s.cmd.Env = append(s.cmd.Env, gateVariable+"="+s.gate.Addr().String())
	}
	s.begin()
	return s
}

func (s *service) begin() {
	s.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		s.Fatal(err)
	}
	s.cmd.Stderr = write
	stdin, err := s.cmd.StdinPipe()
	if err != nil {
		s.Fatal(err)
	}
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		s.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.Fatal(err)
	}
	write.Close()
	go func() {
		defer close(s.gone) // every process of the cluster has this pipe
		defer read.Close()
		io.Copy(&s.said, read)
	}()
	addresses, err := bufio.NewReader(stdout).ReadString('\n')
	go func() {
		defer close(s.ended)
		s.cmd.Wait()
	}()
	s.Cleanup(func() {
		stdin.Close()
		s.cmd.Process.Kill()
		wait(s.T, s.ended, "end of the master")
		wait(s.T, s.gone, "end of all workers")
		if strings.Contains(s.said.String(), "DATA RACE") || strings.Contains(s.said.String(), "panic") {
			s.Error("somebody panics, or races")
		}
		if s.Failed() {
			s.Log(s.said.String())
		}
	})
	if n, _ := fmt.Sscanln(addresses, &s.url, &s.admin); n != 2 {
		s.Fatalf("the master says %q, %v", addresses, err)
	}
}

// wait waits for a channel to be closed.
func wait(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(hang):
		t.Errorf("waited in vain for the %s", what)
	}
}

// eventually waits for what nothing tells of.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(hang); !so(); <-ticker.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// get asks the admin address.
func (s *service) get(path string) response {
	s.Helper()
	return send(s.T, request{url: s.admin + path})
}

// command gives a command that has to succeed.
func (s *service) command(name, body string) response {
	s.Helper()
	got := send(s.T, request{method: http.MethodPost, url: s.admin + "/api/v1/" + name, body: body})
	if got.code != http.StatusOK {
		s.Fatalf("%s: got %d: %s", name, got.code, got.body)
	}
	return got
}

func (s *service) status() (status cluster.Status) {
	s.Helper()
	if err := json.Unmarshal([]byte(s.get("/api/v1/status").body), &status); err != nil {
		s.Fatal(err)
	}
	return status
}

// settle waits until the cluster is what it should be, with so many workers, and returns it.
func (s *service) settle(workers int) (status cluster.Status) {
	s.Helper()
	eventually(s.T, "a settled cluster", func() bool {
		status = s.status()
		return status.Master.State == "running" && status.Master.Ready == workers && len(status.Workers) == workers
	})
	return status
}

func (s *service) kill(pid int, signal syscall.Signal) {
	s.Helper()
	if err := syscall.Kill(pid, signal); err != nil {
		s.Fatal(err)
	}
}

// visitor waits for a worker at the gate, and returns what lets it in.
func (s *service) visitor() (letIn func()) {
	s.Helper()
	s.gate.(*net.TCPListener).SetDeadline(time.Now().Add(hang))
	conn, err := s.gate.Accept()
	if err != nil {
		s.Fatal(err)
	}
	var once sync.Once
	s.Cleanup(func() { once.Do(func() { conn.Close() }) })
	return func() { once.Do(func() { conn.Close() }) }
}

// hold begins a request that a worker works on until it is let go.
func (s *service) hold() (letGo func()) {
	s.Helper()
	resp, err := (&http.Client{Timeout: 2 * hang, Transport: &http.Transport{DisableKeepAlives: true}}).Get(s.url + "/hold")
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { resp.Body.Close() })
	return func() { resp.Body.Close() }
}

// exit waits for the end of the master and of all its workers.
func (s *service) exit() {
	s.Helper()
	wait(s.T, s.ended, "end of the master")
	wait(s.T, s.gone, "end of all workers")
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		s.Errorf("the master ended with code %d", code)
	}
}
