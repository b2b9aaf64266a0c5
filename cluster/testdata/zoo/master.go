//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"doorbuster/cluster"
)

// supervise is the life of a master.
func supervise() error {
	var m *cluster.Master
	cfg := cluster.Config{
		Output: os.Stdout,
		Log:    slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})),
		OnSetting: func(key, _ string) error {
			switch key {
			case "unknown":
				return errors.New("no such setting")
			case "master-panics":
				panic("judged too hard")
			case "master-blocks":
				gate(context.Background(), "judge")
			case "master-asks":
				_, err := m.Status(context.Background())
				return err
			case "master-sets":
				_, err := m.Set(context.Background(), "again", "")
				return err
			}
			return nil
		},
	}
	if err := json.Unmarshal([]byte(os.Getenv(configVariable)), &cfg); err != nil {
		return err
	}
	if os.Getenv(procVariable) != "" {
		if err := mountProc(); err != nil {
			return err
		}
	}
	var err error
	if cfg.Listeners, err = listeners(strings.Fields(os.Getenv(listenVariable))); err != nil {
		return err
	}
	if path := os.Getenv(envVariable); path != "" {
		cfg.EnvFunc = func() ([]string, error) {
			raw, err := os.ReadFile(path)
			return strings.FieldsFunc(string(raw), func(r rune) bool { return r == '\n' }), err
		}
	}
	var seen events
	cfg.OnEvent = seen.add
	if m, err = cluster.New(cfg); err != nil {
		return err
	}
	if path := os.Getenv(debugVariable); path != "" {
		l, err := net.Listen("unix", path)
		if err != nil {
			return errors.Join(err, m.Close())
		}
		go http.Serve(l, debugHandler(m, &seen))
	}
	return m.Run(context.Background())
}

// debugHandler shows what only the process of the master knows.
func debugHandler(m *cluster.Master, seen *events) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/events", func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(seen.list()) })
	mux.HandleFunc("/exec", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		wait, _ := time.ParseDuration(r.URL.Query().Get("wait"))
		if r.URL.Query().Has("raw") {
			json.NewEncoder(w).Encode(executeRaw(n))
			return
		}
		json.NewEncoder(w).Encode(execute(n, wait))
	})
	mux.HandleFunc("/state", func(w http.ResponseWriter, _ *http.Request) {
		debug.FreeOSMemory() // what is left is held by somebody
		var mem runtime.MemStats
		runtime.ReadMemStats(&mem)
		json.NewEncoder(w).Encode(map[string]uint64{"goroutines": uint64(runtime.NumGoroutine()), "heap": mem.HeapAlloc})
	})
	mux.HandleFunc("/order/{verb}/{n}", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.PathValue("n"))
		orders := map[string]func(context.Context, int) error{"scale": m.Scale, "restart": m.Restart, "drain": m.Drain,
			"reset": func(ctx context.Context, _ int) error { return m.Reset(ctx) }}
		answer := map[string]any{"error": ""}
		if err := orders[r.PathValue("verb")](r.Context(), n); err != nil {
			answer["error"] = err.Error()
			if verdict, ok := errors.AsType[*cluster.VerdictError](err); ok {
				answer["output"] = verdict.Output
			}
		}
		json.NewEncoder(w).Encode(answer)
	})
	mux.HandleFunc("/worker/{pid}/{path...}", func(w http.ResponseWriter, r *http.Request) {
		pid, _ := strconv.Atoi(r.PathValue("pid"))
		resp, err := m.Get(r.Context(), pid, "/"+r.PathValue("path")+"?"+r.URL.RawQuery)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		var body bytes.Buffer
		if _, err := body.ReadFrom(resp.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		w.WriteHeader(resp.StatusCode)
		body.WriteTo(w)
	})
	return mux
}

// listeners opens what is given as network, address, network, …
func listeners(pairs []string) (opened []net.Listener, err error) {
	for len(pairs) > 1 {
		l, err := net.Listen(pairs[0], pairs[1])
		if err != nil {
			return nil, err
		}
		opened, pairs = append(opened, l), pairs[2:]
	}
	return opened, nil
}

// execute runs n commands one after the other, as an application does that knows nothing of masters. Each is waited for
// only a while after its end. It returns the errors.
func execute(n int, wait time.Duration) []string {
	errs := []string{}
	for range n {
		var out bytes.Buffer
		cmd := exec.Command("/bin/sh", "-c", "echo hello")
		cmd.Stdout = &out
		err := cmd.Start()
		if err == nil {
			<-time.After(wait)
			err = cmd.Wait()
		}
		if err != nil || out.String() != "hello\n" {
			errs = append(errs, fmt.Sprintf("%q, %v", out.String(), err))
		}
	}
	return errs
}

// executeRaw does the same with system calls alone, which hold no pidfd.
func executeRaw(n int) []string {
	errs := []string{}
	for range n {
		pid, err := syscall.ForkExec("/bin/true", []string{"true"}, nil)
		for err == nil {
			var ws syscall.WaitStatus
			if _, err = syscall.Wait4(pid, &ws, 0, nil); err == nil {
				break
			}
			if errors.Is(err, syscall.EINTR) {
				err = nil
			}
		}
		if err != nil {
			errs = append(errs, err.Error())
		}
	}
	return errs
}

// events are those that Config.OnEvent got.
type events struct {
	mu   sync.Mutex
	seen []cluster.Event
}

func (e *events) add(event cluster.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen = append(e.seen, event)
}

func (e *events) list() []cluster.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.seen)
}
