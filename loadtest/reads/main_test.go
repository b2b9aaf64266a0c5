package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"doorbuster/loadtest/internal/cli"
	"doorbuster/loadtest/internal/wrk"
)

// TestMain lets the test binary stand in for the program: startBare starts whatever is running once more.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == serveBareFlag {
		main()
	}
	os.Exit(m.Run())
}

func TestFlagsAreChecked(t *testing.T) {
	const ok = "http://127.0.0.1:3000/x"
	tests := []struct {
		args string
		want string // part of the complaint; none if empty
	}{
		{"-url " + ok, ""},
		{"-url http://localhost:3000/x", ""},
		{"-url http://[::1]:3000/x", ""},
		{"-url http://127.8.9.1/x -rounds 1 -duration 2s -connections 8 -json", ""},
		{"", "-url is missing"},
		{"-url http://192.0.2.1:3000/x", "load goes only to this machine"},
		{"-url http://0.0.0.0:3000/x", "load goes only to this machine"},
		{"-url http://shop.example/x", "load goes only to this machine"},
		{"-url http://127.0.0.1.example/x", "load goes only to this machine"},
		{"-url http://127.0.0.1@shop.example/x", "load goes only to this machine"},
		{"-url https://127.0.0.1:3000/x", "only http://"},
		{"-url 127.0.0.1:3000/x", "first path segment"},
		{"-url " + ok + " -rounds 0", "-rounds"},
		{"-url " + ok + " -duration 1500ms", "whole seconds"},
		{"-url " + ok + " -duration 0s", "whole seconds"},
		{"-url " + ok + " -connections 0", "-connections"},
		{"-url " + ok + " more", "unexpected argument"},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			_, err := parseFlags(strings.Fields(tt.args), io.Discard)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("got %v, want no error", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestExitStatusOfFlags(t *testing.T) {
	for args, want := range map[string]int{"-h": cli.OK, "-rounds many": cli.BadUsage, "": cli.BadUsage} {
		if got := run(t.Context(), strings.Fields(args), io.Discard, io.Discard); got != want {
			t.Errorf("with %q: exit status %d, want %d", args, got, want)
		}
	}
}

func TestMissingToolsAreNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := requireTools()
	if err == nil || !strings.Contains(err.Error(), "apt-get install wrk nginx") {
		t.Errorf("got %v, want an error that says what to install", err)
	}
}

func TestNginxUsesSendfileOnlyWhereItHelps(t *testing.T) {
	for size, want := range map[int]string{900: "sendfile off;", 100_000: "sendfile on;"} {
		conf, err := nginxConf(t.TempDir(), "127.0.0.1:1", answer{make([]byte, size), `a/b; c="d"`}, 64)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{want, `default_type "a/b; c=\"d\"";`, "worker_connections 1024;"} {
			if !strings.Contains(conf, want) {
				t.Errorf("for %d bytes the configuration lacks %q:\n%s", size, want, conf)
			}
		}
	}
}

func TestCheckBytesNoticesAnswersWithoutTheBody(t *testing.T) {
	s := wrk.Sample{Requests: 1000, Bytes: 1000 * 1100}
	if err := checkBytes(s, 900); err != nil {
		t.Errorf("1100 bytes carry a body of 900 and its headers, but got %v", err)
	}
	if err := checkBytes(s, 1100); err != nil {
		t.Errorf("wrk's rounding must not fail a run, but got %v", err)
	}
	if err := checkBytes(s, 4000); err == nil {
		t.Error("1100 bytes cannot carry a body of 4000, but checkBytes is content")
	}
}

// startShop is a stand-in for the shop: one JSON answer.
func startShop(t *testing.T) (url string) {
	t.Helper()
	body := []byte(`{"slug":"aurora-55-oled-tv","description":"` + strings.Repeat("x", 800) + `"}`)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/product" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", `application/json; charset="utf-8"`)
		_, _ = w.Write(body)
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/product"
}

func requireForRealRun(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("runs wrk for six seconds")
	}
	if err := requireTools(); err != nil {
		t.Skip(err)
	}
}

// leavesNothing gives the run a temporary directory of its own and fails if anything is left in it.
func leavesNothing(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Cleanup(func() {
		left, err := os.ReadDir(dir)
		if err != nil || len(left) > 0 {
			t.Errorf("left in the temporary directory: %v, %v", left, err)
		}
	})
}

func TestComparesThreeServers(t *testing.T) {
	requireForRealRun(t)
	leavesNothing(t)
	var stdout, stderr bytes.Buffer
	args := []string{"-url", startShop(t), "-rounds", "1", "-duration", "1s", "-connections", "8", "-json"}
	if status := run(t.Context(), args, &stdout, &stderr); status != cli.OK {
		t.Fatalf("exit status %d\n%s", status, &stderr)
	}
	var rep report
	if err := json.Unmarshal(stdout.Bytes(), &rep); err != nil {
		t.Fatalf("%v\n%s", err, &stdout)
	}
	if want := `application/json; charset="utf-8"`; rep.PayloadBytes < 800 || rep.ContentType != want {
		t.Errorf("compared %d bytes of %s, want at least 800 of %s", rep.PayloadBytes, rep.ContentType, want)
	}
	for _, got := range rep.Targets {
		if got.RequestsPerSecond.Median <= 0 || got.RatioToBare.Median <= 0 || got.RatioToNginx.Median <= 0 {
			t.Errorf("%s has no figures: %+v", got.Name, got)
		}
	}
}

// writerFunc lets a test act on the first line of progress.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestInterruptedRunLeavesNothing(t *testing.T) {
	requireForRealRun(t)
	leavesNothing(t)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	args := []string{"-url", startShop(t), "-rounds", "1000", "-duration", "1s", "-connections", "8"}
	var stdout, stderr bytes.Buffer
	status := run(ctx, args, &stdout, writerFunc(func(p []byte) (int, error) {
		interrupt() // with both peers running and a thousand rounds to go
		return stderr.Write(p)
	}))
	if status != cli.Interrupted || !strings.Contains(stderr.String(), "interrupted") || stdout.Len() > 0 {
		t.Errorf("exit status %d, want %d, an explanation and no table\n%s%s", status, cli.Interrupted, &stderr, &stdout)
	}
}

func TestAURLThatDoesNotAnswerFailsTheRun(t *testing.T) {
	if err := requireTools(); err != nil {
		t.Skip(err)
	}
	leavesNothing(t)
	var stderr bytes.Buffer
	if status := run(t.Context(), []string{"-url", startShop(t) + "/nothing"}, io.Discard, &stderr); status != cli.Failed {
		t.Errorf("exit status %d, want %d", status, cli.Failed)
	}
	if !strings.Contains(stderr.String(), "404 Not Found, want 200") {
		t.Errorf("got %q, want the status named", &stderr)
	}
}
