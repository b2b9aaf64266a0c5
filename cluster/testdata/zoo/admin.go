//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/pprof"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	"doorbuster/cluster"
)

// mailbox keeps what the other workers and the operator said.
type mailbox struct {
	mu       sync.Mutex
	arrived  sync.Cond
	messages []string // "from: data"
	settings map[string]string
}

// adminHandler is what a worker answers to its master alone.
func adminHandler(w *cluster.Worker, found map[int]string) http.Handler {
	box := &mailbox{settings: map[string]string{}}
	box.arrived.L = &box.mu
	w.OnMessage(func(from int, data []byte) {
		switch string(data) {
		case "block":
			gate(context.Background(), "message")
		case "panic":
			panic("unheard of")
		}
		box.mu.Lock()
		defer box.mu.Unlock()
		box.messages = append(box.messages, fmt.Sprintf("%d: %s", from, data))
		box.arrived.Broadcast()
	})
	w.OnSetting(func(key, value string) error {
		if key == "picky" && w.Slot() > 1 {
			return errors.New("not here")
		}
		switch key {
		case "block":
			gate(context.Background(), "setting")
		case "panic":
			panic("applied too hard")
		case "nowhere":
			return errors.New("not anywhere")
		}
		box.mu.Lock()
		defer box.mu.Unlock()
		box.settings[key] = value
		return nil
	})
	var sick atomic.Pointer[string]
	w.Healthy(func(context.Context) error {
		switch why := sick.Load(); {
		case why == nil || *why == "":
			return nil
		case *why == "block":
			gate(context.Background(), "health")
			return nil
		case *why == "panic":
			panic("too ill to tell")
		default:
			return errors.New(*why)
		}
	})
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	answer := func(path string, f func(r *http.Request) any) {
		mux.HandleFunc(path, func(rw http.ResponseWriter, r *http.Request) { json.NewEncoder(rw).Encode(f(r)) })
	}
	answer("/found", func(*http.Request) any { return found })
	answer("/descriptors", func(*http.Request) any { return descriptors() })
	answer("/environment", func(*http.Request) any { return os.Environ() })
	answer("/sick", func(r *http.Request) any {
		why := r.URL.Query().Get("why")
		sick.Store(&why)
		return why
	})
	answer("/shell", func(r *http.Request) any { // runs a command, and tells what it says
		out, err := exec.Command("/bin/sh", "-c", r.URL.Query().Get("command")).CombinedOutput()
		if err != nil {
			return err.Error() + ": " + string(out)
		}
		return string(out)
	})
	answer("/child", func(r *http.Request) any { // starts a program that comes to a gate
		cmd := exec.Command("/proc/self/exe", "orphan")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: r.URL.Query().Has("daemon")}
		if err := cmd.Start(); err != nil {
			return err.Error()
		}
		return cmd.Process.Pid
	})
	answer("/account", func(*http.Request) any {
		var files syscall.Rlimit
		syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files)
		groups, _ := os.Getgroups()
		return map[string]any{
			"uid": os.Getuid(), "gid": os.Getgid(), "groups": groups, "soft": files.Cur, "hard": files.Max, "workers": w.Workers(),
		}
	})
	answer("/grow", func(r *http.Request) any {
		n, _ := strconv.Atoi(r.URL.Query().Get("mb"))
		go grow(n) // it is replaced for that, and may not live to answer
		return n
	})
	answer("/close", func(*http.Request) any {
		for _, l := range w.Listeners() {
			l.Close()
		}
		return nil
	})
	answer("/broadcast", func(r *http.Request) any {
		if err := w.Broadcast([]byte(r.URL.Query().Get("data"))); err != nil {
			return err.Error()
		}
		return nil
	})
	answer("/messages", func(r *http.Request) any { // when there are n of them
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		box.mu.Lock()
		defer box.mu.Unlock()
		for len(box.messages) < n {
			box.arrived.Wait()
		}
		return box.messages
	})
	answer("/settings", func(*http.Request) any {
		box.mu.Lock()
		defer box.mu.Unlock()
		return box.settings
	})
	return mux
}
