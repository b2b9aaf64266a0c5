//go:build unix

// Zoo is a service that misbehaves as it is told when it is linked, so that each of its releases is an executable of its
// own, as releases are in life. Started by a test it is a master; started by a master it is a worker.
//
// A behaviour is a list of words. Those with a colon are a point in the life of a worker and what happens there:
//
//	start    before Join
//	joined   after it
//	ready    after READY
//	drain    when it was told to leave
//
// With the word "serving" a worker serves by Worker.Serve, the second address over TLS; "stall=200ms" is its StallTimeout,
// "draintimeout=1s" its DrainTimeout. "short" does the same with a server too few. Otherwise it drains with the means of
// net/http, so that what is tested is the master.
//
// "ready:wait=50ms ready:panic=oops" panics 50 ms after READY, "joined@2:exit=3" exits with code 3 before READY, in slot 2
// and above. Other words only tell releases apart.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"doorbuster/cluster"
)

// behaviour is set by the linker.
var behaviour = "good"

// What a test tells its master. Workers inherit it.
const (
	configVariable = "ZOO_CONFIG" // a cluster.Config as JSON
	gateVariable   = "ZOO_GATE"   // a Unix socket: see gate
	debugVariable  = "ZOO_DEBUG"  // a Unix socket to serve debugHandler on

	listenVariable = "ZOO_LISTEN" // networks and addresses of Config.Listeners, with spaces between them
	envVariable    = "ZOO_ENV"    // a file with what Config.EnvFunc returns, a line each
	procVariable   = "ZOO_PROC"   // mount a /proc of this PID namespace first
)

func main() {
	found := descriptors() // before anything is opened here
	if len(os.Args) > 1 && os.Args[1] == "fork" {
		fork("orphan")
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "orphan" {
		gate(context.Background(), "orphan")
		return
	}
	if err := run(found); err != nil {
		fmt.Fprintln(os.Stderr, "zoo:", err)
		os.Exit(1)
	}
}

func run(found map[int]string) error {
	happen("start", 1)
	worker, err := cluster.Join()
	if errors.Is(err, cluster.ErrNoMaster) {
		return supervise()
	}
	if err != nil {
		return err
	}
	return work(worker, found)
}

// work is the life of a worker.
func work(w *cluster.Worker, found map[int]string) error {
	happen("joined", w.Slot())
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(rw http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(rw).Encode(map[string]any{
			"pid": os.Getpid(), "slot": w.Slot(), "release": w.Release(), "behaviour": strings.TrimSpace(behaviour),
		})
	})
	mux.HandleFunc("/hold", func(rw http.ResponseWriter, _ *http.Request) {
		gate(w.Hurry(), "request")
		fmt.Fprintln(os.Stderr, "finishing what was held") // without a master nobody reads that pipe any more
		fmt.Fprintln(rw, os.Getpid())
	})
	mux.HandleFunc("/wedge", func(http.ResponseWriter, *http.Request) { select {} })
	w.HandleAdmin(adminHandler(w, found))
	if servers := serversOf(w, mux); servers != nil {
		return w.Serve(servers...)
	}
	server := &http.Server{Handler: mux}
	for _, l := range w.Listeners() {
		go server.Serve(l)
	}
	if err := w.Ready(); err != nil {
		return err
	}
	happen("ready", w.Slot())
	<-w.Stop().Done()
	fmt.Fprintln(os.Stderr, "leaving:", context.Cause(w.Stop()))
	for _, l := range w.Listeners() {
		l.Close()
	}
	happenUntil(w.Hurry(), "drain", w.Slot())
	if err := server.Shutdown(w.Hurry()); err != nil && !errors.Is(err, net.ErrClosed) { // the listeners, by us
		return fmt.Errorf("cut: %w", context.Cause(w.Hurry()))
	}
	return nil
}

// happen does what the behaviour has for a point.
func happen(point string, slot int) { happenUntil(context.Background(), point, slot) }

func happenUntil(ctx context.Context, point string, slot int) {
	for word := range strings.FieldsSeq(behaviour) {
		when, action, ok := strings.Cut(word, ":")
		at, from, some := strings.Cut(when, "@")
		if least, err := strconv.Atoi(from); !ok || at != point || some && (err != nil || slot < least) {
			continue
		}
		verb, value, _ := strings.Cut(action, "=")
		act(ctx, point, verb, value)
	}
}

func act(ctx context.Context, point, verb, value string) {
	number, _ := strconv.Atoi(value)
	switch verb {
	case "say":
		fmt.Fprintln(os.Stderr, value)
	case "wait":
		d, err := time.ParseDuration(value)
		if err != nil {
			panic(err)
		}
		<-time.After(d)
	case "gate":
		gate(ctx, point)
	case "exit":
		os.Exit(number)
	case "panic":
		panic(value)
	case "hang":
		<-time.After(time.Hour) // it is deaf to everything
	case "stop":
		if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
			panic(err)
		}
		<-time.After(time.Hour) // the signal may find another thread first
	case "grow":
		grow(number)
	case "flood":
		flood(number << 20)
	case "gush":
		go flood(1 << 62)
	case "fork":
		fork("fork")
	case "protocol":
		speak(number)
	case "mumble":
		mumble()
	default:
		panic("the zoo has no " + verb)
	}
}

// gate stops here until the test lets it go on, or ctx ends. The test is told who came, and where to.
func gate(ctx context.Context, point string) {
	conn, err := net.Dial("unix", os.Getenv(gateVariable))
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	fmt.Fprintf(conn, "%s %d\n", point, os.Getpid())
	conn.Read(make([]byte, 1)) // what ends it does not matter
}

var hoard [][]byte

// grow takes megabytes of memory and touches all of it.
func grow(megabytes int) {
	for range megabytes {
		piece := make([]byte, 1<<20)
		for i := 0; i < len(piece); i += os.Getpagesize() {
			piece[i] = 1
		}
		hoard = append(hoard, piece)
	}
}

// flood writes to standard output: long lines, short ones, and parts of one that never ends.
func flood(n int) {
	long := bytes.Repeat([]byte("0123456789"), 20_000)
	for n > 0 {
		for _, p := range [][]byte{[]byte("short\n"), append(long[:70_000:70_000], '\n'), long} {
			if _, err := os.Stdout.Write(p); err != nil {
				return
			}
			n -= len(p)
		}
	}
	os.Stdout.Write([]byte{'\n'})
}

// fork starts this program again, which starts it again and ends, so that the third one has lost its parent.
func fork(as string) {
	cmd := exec.Command("/proc/self/exe", as)
	err := cmd.Start()
	if err == nil && as == "fork" {
		err = cmd.Wait()
	}
	if err != nil {
		panic(err)
	}
}

// speak makes this program take its master for one of another version.
func speak(version int) {
	const name = "CLUSTER_WORKER"
	var invitation map[string]any
	if err := json.Unmarshal([]byte(os.Getenv(name)), &invitation); err != nil {
		panic(err)
	}
	invitation["protocol"] = version
	raw, err := json.Marshal(invitation)
	if err != nil {
		panic(err)
	}
	if err := os.Setenv(name, string(raw)); err != nil {
		panic(err)
	}
}

// mumble says what a master can't make sense of, before Join takes the link over.
func mumble() {
	const link = 3
	for _, packet := range []string{"", "{", "[]", `{"kind":1}`, `{"kind":"from the future"}`, `{"kind":"beat","descriptor":true}`, strings.Repeat("x", 70_000)} {
		for fds := range 5 {
			if len(packet) > 1000 && fds > 0 {
				break // there is no room for many of these
			}
			rights := unix.UnixRights([]int{1, 1, 1, 1}[:fds]...)
			if fds == 0 {
				rights = nil
			}
			if err := unix.Sendmsg(link, []byte(packet), rights, nil, 0); err != nil {
				panic(err)
			}
		}
	}
}

// descriptors returns those that are open, and what they are.
func descriptors() map[int]string {
	found := map[int]string{}
	for fd := range 256 {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			link, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
			if flags&unix.FD_CLOEXEC != 0 {
				link += " cloexec"
			}
			found[fd] = link
		}
	}
	return found
}
