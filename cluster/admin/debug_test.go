//go:build unix

package admin_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// W6: one worker can be looked at alone, by its pid, and at nothing but what it has under /debug/.
func TestDebug(t *testing.T) {
	t.Parallel()
	s := start(t, 2, false)
	workers := s.settle(2).Workers
	pid := workers[1].PID
	of := func(path string) string { return "/debug/workers/" + strconv.Itoa(pid) + path }
	for _, w := range workers {
		for path, want := range map[string]string{
			"/who":         "/debug/who",
			"/who/":        "/debug/who/",
			"/a/b?c=d&e":   "/debug/a/b?c=d&e",
			"/":            "/debug/",
			"/a%3Fb%20%25": "/debug/a%3Fb%20%25",
		} {
			got := s.get("/debug/workers/" + strconv.Itoa(w.PID) + path)
			if got.code != http.StatusOK || got.body != fmt.Sprint(w.PID, " GET ", want) {
				t.Errorf("%s of %d: got %d: %s", path, w.PID, got.code, got.body)
			}
		}
	}
	if got := s.get(of("/pprof/cmdline")); got.code != http.StatusOK || !strings.Contains(got.body, filepath.Base(os.Args[0])) {
		t.Errorf("cmdline: got %d: %s", got.code, got.body)
	}
	if got := s.get(of("/pprof/goroutine?debug=1")); got.code != http.StatusOK || !strings.HasPrefix(got.body, "goroutine profile: total ") {
		t.Errorf("goroutine: got %d: %.100s", got.code, got.body)
	}
	if got := s.get(of("/teapot")); got.code != http.StatusTeapot || got.body != "short and stout\n" ||
		got.header.Get("X-Tea") != "none" || !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") {
		t.Errorf("another code: got %d: %s, %v", got.code, got.body, got.header)
	}
	if got := send(t, request{method: http.MethodHead, url: s.admin + of("/who")}); got.code != http.StatusOK || got.body != "" {
		t.Errorf("HEAD: got %d: %s", got.code, got.body)
	}
	for path, location := range map[string]string{
		"/pprof": of("/pprof/"), // of the worker's ServeMux
		"/moved": of("/pprof/?debug=1"),
		"/away":  "https://elsewhere.example/debug/",
		"/up":    "/secret", // which is none of the master's
	} {
		if got := s.get(of(path)); got.code/100 != 3 || got.header.Get("Location") != location {
			t.Errorf("%s: got %d, %q, want %q", path, got.code, got.header.Get("Location"), location)
		}
	}
	for path, code := range map[string]int{
		"/debug/workers/1/who":                                    502, // not even the init process
		fmt.Sprint("/debug/workers/", os.Getpid()) + "/who":       502,
		fmt.Sprint("/debug/workers/", s.cmd.Process.Pid) + "/who": 502, // the master is no worker
		"/debug/workers/0/who":                                    502, "/debug/workers/-1/who": 502,
		"/debug/workers/one/who": 400, "/debug/workers/1x/who": 400, "/debug/workers/%20/who": 400,
		"/debug/workers/99999999999999999999/who": 400,
		of("/..%2fsecret"):                        400, of("/%2e%2e/secret"): 400, of("/a/%2e%2e/%2e%2e/secret"): 400, of("/a%2f..%2f..%2fsecret"): 400,
		of("/%2fsecret"): 400, of("/a%2f%2fb"): 400, of("/..%2f"): 400, of("/%2e%2e"): 400, of("/a/%2e/b"): 400, of("/%ff"): 400,
	} {
		got := s.get(path)
		if got.code != code || strings.Contains(got.body, "the secret") {
			t.Errorf("%s: got %d: %s, want %d", path, got.code, got.body, code)
		}
		got.refusal(t)
	}
	// Plain dots are resolved before anybody is asked, and what is outside of /debug/ there is not.
	for _, path := range []string{of("/../../../secret"), of("/../secret")} {
		got := s.get(path)
		if got.code/100 != 3 {
			t.Errorf("%s: got %d: %s", path, got.code, got.body)
		}
		if got := s.get(got.header.Get("Location")); got.code == http.StatusOK {
			t.Errorf("%s: got %s", path, got.body)
		}
	}
	for i, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example"}} {
		if got := send(t, request{url: s.admin + of("/who"), header: header}); got.code != http.StatusForbidden {
			t.Errorf("%d: from another site: got %d: %s", i, got.code, got.body)
		}
	}
	s.command("stop", "")
	s.exit()
}

// W6: what a worker has not said to the end is not taken for the whole; one that has gone is not mistaken for another.
func TestDebugOfAWorkerThatDies(t *testing.T) {
	t.Parallel()
	s := start(t, 2, false)
	victim := s.settle(2).Workers[0].PID
	resp, err := client.Get(s.admin + "/debug/workers/" + strconv.Itoa(victim) + "/endless")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadFull(resp.Body, make([]byte, 1<<18)); err != nil {
		t.Fatal(err)
	}
	s.kill(victim, syscall.SIGKILL)
	if n, err := io.Copy(io.Discard, resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("after %d bytes more: %v", n, err)
	}
	eventually(t, "the end of the worker", func() bool { return s.state(victim) == "gone" })
	got := s.get("/debug/workers/" + strconv.Itoa(victim) + "/who")
	if got.code != http.StatusBadGateway || !strings.Contains(got.refusal(t), "no worker with pid") {
		t.Errorf("got %d: %s", got.code, got.body)
	}
	if got := s.get("/livez"); got.code != http.StatusOK {
		t.Errorf("/livez: got %d", got.code)
	}
	s.command("stop", "")
	s.exit()
}
