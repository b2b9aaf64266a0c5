//go:build linux

// Speaker is one side of protocol 1, written from its specification and frozen: it uses nothing of package cluster, so that
// what it says and understands does not change with it. A release that can't talk to it has broken the promise that
// releases of the same protocol can be mixed.
//
// Started by a master, it is a worker that serves HTTP. With arguments it is a master that goes through the life of one
// worker, which it is the program of, and says "ok". In between it says things that make no sense.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// message has the fields of protocol 1. Whatever else comes is ignored.
type message struct {
	Kind       string         `json:"kind"`
	Beat       map[string]any `json:"beat,omitempty"`
	Delay      int64          `json:"delay,omitempty"`
	From       int            `json:"from,omitempty"`
	Data       []byte         `json:"data,omitempty"`
	Key        string         `json:"key,omitempty"`
	Value      string         `json:"value,omitempty"`
	ID         int64          `json:"id,omitempty"`
	Error      string         `json:"error,omitempty"`
	Descriptor bool           `json:"descriptor,omitempty"`
}

// invitation is CLUSTER_WORKER.
type invitation struct {
	Protocol    int               `json:"protocol"`
	Slot        int               `json:"slot"`
	Release     string            `json:"release"`
	Place       int               `json:"place"`
	Listeners   int               `json:"listeners"`
	Heartbeat   int64             `json:"heartbeat"`
	KillTimeout int64             `json:"kill_timeout"`
	Settings    map[string]string `json:"settings,omitempty"`
}

func main() {
	var err error
	if os.Getenv("CLUSTER_WORKER") != "" {
		err = work()
	} else {
		err = supervise(os.Args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "speaker:", err)
		os.Exit(1)
	}
}

func send(link int, m message, fds ...int) error {
	m.Descriptor = len(fds) > 0
	packet, err := json.Marshal(m)
	if err != nil {
		return err
	}
	var rights []byte
	if len(fds) > 0 {
		rights = syscall.UnixRights(fds...)
	}
	if err := syscall.Sendmsg(link, packet, rights, nil, syscall.MSG_NOSIGNAL); err != nil {
		return fmt.Errorf("send %s: %w", m.Kind, err)
	}
	return nil
}

func receive(link int) (m message, fd int, err error) {
	packet, rights := make([]byte, 64<<10), make([]byte, 64)
	var n, rn int
	for {
		if n, rn, _, _, err = syscall.Recvmsg(link, packet, rights, 0); err != syscall.EINTR {
			break
		}
	}
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err != nil {
		return m, -1, err
	}
	if err := json.Unmarshal(packet[:n], &m); err != nil {
		return m, -1, err
	}
	if !m.Descriptor {
		return m, -1, nil
	}
	control, err := syscall.ParseSocketControlMessage(rights[:rn])
	if err != nil {
		return m, -1, err
	}
	fds, err := syscall.ParseUnixRights(&control[0])
	if err != nil {
		return m, -1, err
	}
	return m, fds[0], nil
}

// work is the life of a worker.
func work() error {
	var inv invitation
	if err := json.Unmarshal([]byte(os.Getenv("CLUSTER_WORKER")), &inv); err != nil {
		return err
	}
	if inv.Protocol != 1 || inv.Slot < 1 || inv.Heartbeat < 1 || inv.Listeners < 1 {
		return fmt.Errorf("the invitation is %+v", inv)
	}
	const link, firstListener = 3, 7
	file := os.NewFile(firstListener, "listener")
	listener, err := net.FileListener(file)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	settings, heard := inv.Settings, []string{}
	if settings == nil {
		settings = map[string]string{}
	}
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "protocol 1") }))
	admin := http.NewServeMux()
	admin.HandleFunc("/settings", func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		json.NewEncoder(w).Encode(settings)
	})
	admin.HandleFunc("/messages", func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		json.NewEncoder(w).Encode(heard)
	})
	admin.HandleFunc("/broadcast", func(w http.ResponseWriter, r *http.Request) {
		send(link, message{Kind: "broadcast", Data: []byte(r.URL.Query().Get("data"))})
		fmt.Fprintln(w, "null")
	})
	if err := send(link, message{Kind: "ready"}); err != nil {
		return err
	}
	beat := func() {
		send(link, message{Kind: "beat", Beat: map[string]any{
			"memory": 1 << 20, "goroutines": 1, "in_flight": 0, "connections": 0, "requests": 7, "lag": 0,
		}})
	}
	go func() {
		for range time.Tick(time.Duration(inv.Heartbeat)) {
			beat()
		}
	}()
	for {
		m, fd, err := receive(link)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		switch m.Kind {
		case "ask":
			beat()
		case "set":
			mu.Lock()
			settings[m.Key] = m.Value
			mu.Unlock()
			send(link, message{Kind: "applied", ID: m.ID})
		case "message":
			mu.Lock()
			heard = append(heard, fmt.Sprintf("%d: %s", m.From, m.Data))
			mu.Unlock()
		case "serve":
			f := os.NewFile(uintptr(fd), "admin")
			conn, err := net.FileConn(f)
			f.Close()
			if err != nil {
				return err
			}
			go answer(conn, admin)
		case "drain", "hurry":
			return nil
		}
	}
}

// answer answers one request.
func answer(conn net.Conn, h http.Handler) {
	defer conn.Close()
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	w := &answering{header: http.Header{}}
	h.ServeHTTP(w, r)
	fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", w.body.Len(), w.body.String())
}

type answering struct {
	header http.Header
	body   strings.Builder
}

func (a *answering) Header() http.Header         { return a.header }
func (a *answering) WriteHeader(int)             {}
func (a *answering) Write(b []byte) (int, error) { return a.body.Write(b) }

// supervise is the life of a master with one worker.
func supervise(command []string) error {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	link := pair[0]
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	socket, err := listener.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	board, err := os.CreateTemp("", "speaker")
	if err != nil {
		return err
	}
	os.Remove(board.Name())
	if err := board.Truncate(3 * 128); err != nil {
		return err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	program, err := os.Open(command[0])
	if err != nil {
		return err
	}
	pid, err := syscall.ForkExec(command[0], command, &syscall.ProcAttr{
		Env: append(os.Environ(), `CLUSTER_WORKER={"protocol":1,"slot":1,"release":"frozen","place":0,"listeners":1,`+
			`"heartbeat":3600000000000,"kill_timeout":30000000000,"settings":{"before":"1"}}`),
		Files: []uintptr{null.Fd(), 2, 2, uintptr(pair[1]), board.Fd(), 2, program.Fd(), socket.Fd()},
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		return err
	}
	defer syscall.Kill(pid, syscall.SIGKILL)
	syscall.Close(pair[1])
	heard := func(kind string, id int64) (message, error) {
		for {
			m, fd, err := receive(link)
			if err != nil || fd >= 0 || m.Error != "" {
				return m, fmt.Errorf("waiting for %s: got %+v with descriptor %d: %w", kind, m, fd, err)
			}
			if m.Kind == kind && m.ID == id {
				return m, nil
			}
			if m.Kind != "beat" {
				return m, fmt.Errorf("waiting for %s: got %+v", kind, m)
			}
		}
	}
	if _, err := heard("ready", 0); err != nil {
		return err
	}
	if _, err := heard("beat", 0); err != nil {
		return err
	}
	if err := mumble(link, null, socket); err != nil {
		return err
	}
	if err := send(link, message{Kind: "ask"}); err != nil {
		return err
	}
	m, err := heard("beat", 0)
	if err != nil {
		return err
	}
	for _, field := range []string{"memory", "goroutines", "in_flight", "connections", "requests", "lag"} {
		if _, ok := m.Beat[field].(float64); !ok {
			return fmt.Errorf("a beat without %s: %v", field, m.Beat)
		}
	}
	if err := send(link, message{Kind: "set", ID: 5, Key: "colour", Value: "red"}); err != nil {
		return err
	}
	if _, err := heard("applied", 5); err != nil {
		return err
	}
	if err := send(link, message{Kind: "message", From: 9, Data: []byte("hello")}); err != nil {
		return err
	}
	for path, want := range map[string]string{
		"/settings": `{"before":"1","colour":"red"}`, "/messages?n=1": `["9: hello"]`,
	} {
		got, err := get(link, path)
		if err != nil || got != want {
			return fmt.Errorf("%s: got %s, want %s (%v)", path, got, want, err)
		}
	}
	resp, err := http.Get("http://" + listener.Addr().String())
	if err != nil {
		return err
	}
	resp.Body.Close()
	if err := send(link, message{Kind: "drain"}); err != nil {
		return err
	}
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &ws, 0, nil); err != nil || ws != 0 {
		return fmt.Errorf("the worker ended with status %#x: %v", ws, err)
	}
	fmt.Println("ok")
	return nil
}

// mumble says what a worker can't make sense of, and has to live through.
func mumble(link int, null, socket *os.File) error {
	serve := `{"kind":"serve","descriptor":true}`
	for _, c := range []struct {
		packet string
		files  []*os.File
	}{
		{"", nil}, {"{", nil}, {"[]", nil}, {`{"kind":"from the future"}`, nil}, {`{"kind":1}`, nil}, {"", []*os.File{null}},
		{strings.Repeat("x", 100_000), []*os.File{null}},
		{serve, nil}, {`{"kind":"serve"}`, nil}, {serve, []*os.File{null}}, {serve, []*os.File{socket}},
		{serve, []*os.File{null, null}}, {serve, []*os.File{null, null, null, null, null}},
		{`{"kind":"ask"}`, []*os.File{socket}},
	} {
		var rights []byte
		var fds []int
		for _, f := range c.files {
			fds = append(fds, int(f.Fd()))
		}
		if len(fds) > 0 {
			rights = syscall.UnixRights(fds...)
		}
		if err := syscall.Sendmsg(link, []byte(c.packet), rights, nil, syscall.MSG_NOSIGNAL); err != nil {
			return fmt.Errorf("mumble %.20q: %w", c.packet, err)
		}
	}
	return nil
}

// get asks the worker over a connection that it is passed.
func get(link int, path string) (string, error) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	if err := send(link, message{Kind: "serve"}, pair[1]); err != nil {
		return "", err
	}
	syscall.Close(pair[1])
	conn := os.NewFile(uintptr(pair[0]), "conn")
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return strings.TrimSpace(string(body)), err
}
