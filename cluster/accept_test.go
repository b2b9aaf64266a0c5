//go:build unix

package cluster_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"doorbuster/cluster"
)

// starving is the handler of a crew:
//
//	/starve  takes all descriptors that the process may have
//	/feed    gives them back
//	/errors  says how many accepts have failed
func starving(s *cluster.Server) http.Handler {
	var mu sync.Mutex
	var hoard []*os.File
	mux := http.NewServeMux()
	mux.HandleFunc("/", greet)
	mux.HandleFunc("/starve", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		limit := unix.Rlimit{Cur: 64, Max: 64}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			panic(err)
		}
		for {
			f, err := os.Open(os.DevNull)
			if err != nil {
				break
			}
			hoard = append(hoard, f)
		}
		greet(w, r)
	})
	mux.HandleFunc("/feed", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		for _, f := range hoard {
			f.Close()
		}
		hoard = nil
		greet(w, r)
	})
	mux.HandleFunc("/errors", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, s.AcceptErrors()) })
	return mux
}

// keptConn is a kept connection to one of a crew.
type keptConn struct {
	net.Conn
	buf *bufio.Reader
}

func (c *crew) keep(t *testing.T) *keptConn {
	t.Helper()
	conn, err := net.Dial("tcp", c.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &keptConn{conn, bufio.NewReader(conn)}
}

func (k *keptConn) get(t *testing.T, path string) string {
	t.Helper()
	fmt.Fprintf(k, "GET %s HTTP/1.1\r\nHost: shop\r\n\r\n", path)
	resp, err := http.ReadResponse(k.buf, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// What comes while a worker has no descriptor waits until it has.
func TestAcceptWithoutDescriptors(t *testing.T) {
	t.Parallel()
	c := startCrew(t, 1)
	kept := c.keep(t)
	kept.get(t, "/starve")
	late := make(chan string, 1)
	waiting := c.keep(t)
	go func() { late <- waiting.get(t, "/") }()
	until(t, func() bool {
		n, err := strconv.Atoi(kept.get(t, "/errors"))
		return n >= 3 && err == nil
	})
	select {
	case got := <-late:
		t.Fatalf("answered %q without a descriptor", got)
	default:
	}
	kept.get(t, "/feed")
	if got := <-late; got != "hello" {
		t.Errorf("got %q", got)
	}
}

// A worker without descriptors leaves the connections to its siblings.
func TestAcceptBesideStarving(t *testing.T) {
	t.Parallel()
	c := startCrew(t, 2)
	kept := c.keep(t)
	kept.get(t, "/starve")
	for range 50 {
		visit(t, c.addr)
	}
	kept.get(t, "/feed")
	for i := range c.procs { // both take their part again
		_, before, _ := c.board.Entry(i)
		until(t, func() bool {
			visit(t, c.addr)
			_, accepted, accepting := c.board.Entry(i)
			return accepting && accepted > before
		})
	}
}

// Accepts that fail on and on are tried less and less often, and logged once in a
// second with what to do. One that succeeds ends the row.
func TestAcceptErrorsAreLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for errno, advice := range map[syscall.Errno]string{
			syscall.EMFILE: "LimitNOFILE", syscall.ENFILE: "fs.file-max", syscall.ENOBUFS: "memory", syscall.ENOMEM: "memory", syscall.ECONNABORTED: "tried again",
		} {
			log := new(logLines)
			s := &cluster.Server{Log: slog.New(slog.NewJSONHandler(log, nil))}
			err := &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", errno)}
			var trouble cluster.AcceptTrouble
			begun, tries := time.Now(), 0
			for ; time.Since(begun) < 10*time.Second; tries++ {
				<-time.After(trouble.Note(s, err))
			}
			if tries > 20 || s.AcceptErrors() != int64(tries) {
				t.Errorf("%d tries in 10 s, %d errors", tries, s.AcceptErrors())
			}
			lines := log.with(`"level":"ERROR"`, advice, "lines_suppressed")
			if len(lines) < 5 || len(lines) > 11 || len(log.with()) != len(lines) {
				t.Errorf("got %d lines:\n%s", len(lines), strings.Join(log.with(), ""))
			}
			trouble.Over()
			if again := trouble.Note(s, err); again != 5*time.Millisecond {
				t.Errorf("the first pause of another row is %v", again)
			}
		}
	})
}

// Heartbeats tell the sum of all listeners.
func TestAcceptErrorsAreTold(t *testing.T) {
	t.Parallel()
	a := &cluster.Server{HTTP: new(http.Server), Log: quietLog}
	b := &cluster.Server{HTTP: new(http.Server), Log: quietLog}
	var trouble cluster.AcceptTrouble
	for _, s := range []*cluster.Server{a, a, b} {
		trouble.Note(s, syscall.EMFILE)
	}
	if got := cluster.AcceptErrorsTold(a, b); got != 3 {
		t.Errorf("got %d", got)
	}
}
