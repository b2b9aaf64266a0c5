//go:build unix

package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"doorbuster/cluster"
)

// commanded is what the master answers to a command.
type commanded struct {
	status int
	header http.Header
	body   string
	// of the body, where it is an outcome
	OK      bool     `json:"ok"`
	Code    string   `json:"code"`
	Reason  string   `json:"reason"`
	Output  []string `json:"output"`
	Workers int      `json:"workers"`
}

// post sends a request to the control socket as any program may, and leaves its answer to be read. An answer that never
// comes ends with the limit.
func (z *zoo) post(method, path, body string, header ...string) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(z.Context(), hang)
	z.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, method, "http://master"+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	socket := z.cfg["ControlSocket"].(string)
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}
	return transport.RoundTrip(req)
}

func (z *zoo) command(method, path, body string) (c commanded, err error) {
	resp, err := z.post(method, path, body)
	if err != nil {
		return c, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	c.status, c.header, c.body = resp.StatusCode, resp.Header, strings.TrimSpace(string(raw))
	if err == nil && resp.Header.Get("Content-Type") == "application/json" && !strings.HasSuffix(path, "/status") {
		err = json.Unmarshal(raw, &c)
	}
	return c, err
}

func (z *zoo) mustCommand(method, path, body string) commanded {
	z.Helper()
	c, err := z.command(method, path, body)
	if err != nil {
		z.Fatalf("%s %s: %v", method, path, err)
	}
	return c
}

// later sends a command whose answer takes its time.
func (z *zoo) later(method, path string) <-chan commanded {
	answer := make(chan commanded, 1)
	go func() {
		c, err := z.command(method, path, "")
		if err != nil {
			z.Errorf("%s %s: %v", method, path, err)
		}
		answer <- c
	}()
	return answer
}

// M15: what is no command, or none that can be done, is refused with a status and a reason, and changes nothing.
func TestControlRefuses(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good raced", nil)
	before := z.settle(2)
	long := strings.Repeat(" ", 64<<10)
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		want                     string // in the reason, or what is allowed
	}{
		{"unknown path", "GET", "/api/v1/nothing", "", 404, ""},
		{"root", "GET", "/", "", 404, ""},
		{"below a command", "POST", "/api/v1/stop/now", "", 404, ""},
		{"read a reload", "GET", "/api/v1/reload", "", 405, "POST"},
		{"read a stop", "GET", "/api/v1/stop", "", 405, "POST"},
		{"look at a stop", "HEAD", "/api/v1/stop", "", 405, "POST"},
		{"put a scale", "PUT", "/api/v1/scale", `{"workers":3}`, 405, "POST"},
		{"replace settings", "PUT", "/api/v1/settings", "", 405, "DELETE, POST"},
		{"forget a setting that was not made", "DELETE", "/api/v1/settings?key=colour", "", 422, `setting "colour" was not made`},
		{"forget no setting", "DELETE", "/api/v1/settings", "", 422, `setting "" was not made`},
		{"write the status", "POST", "/api/v1/status", "", 405, "GET, HEAD"},
		{"no body", "POST", "/api/v1/scale", "", 400, "EOF"},
		{"half a body", "POST", "/api/v1/scale", `{"workers":`, 400, "unexpected EOF"},
		{"no JSON", "POST", "/api/v1/scale", "workers=3", 400, "invalid character"},
		{"another type", "POST", "/api/v1/scale", `{"workers":"3"}`, 400, "cannot unmarshal string"},
		{"a list", "POST", "/api/v1/scale", `[3]`, 400, "cannot unmarshal array"},
		{"a fraction", "POST", "/api/v1/scale", `{"workers":2.5}`, 400, "cannot unmarshal number 2.5"},
		{"a number without end", "POST", "/api/v1/scale", `{"workers":99999999999999999999}`, 400, "cannot unmarshal number"},
		{"an unknown field", "POST", "/api/v1/scale", `{"workers":3,"worker":3}`, 400, `unknown field "worker"`},
		{"a second object", "POST", "/api/v1/scale", `{"workers":3}{"workers":4}`, 400, "something comes after it"},
		{"rubbish behind", "POST", "/api/v1/scale", `{"workers":3}x`, 400, "something comes after it"},
		{"too large", "POST", "/api/v1/scale", `{"workers":` + long + `3}`, 400, "request body too large"},
		{"too large behind", "POST", "/api/v1/scale", `{"workers":3}` + long, 400, "something comes after it"},
		{"none", "POST", "/api/v1/scale", `{"workers":0}`, 422, "0 workers: there can be 1 to 1024"},
		{"not said how many", "POST", "/api/v1/scale", `{}`, 422, "0 workers: there can be 1 to 1024"},
		{"less than none", "POST", "/api/v1/scale", `{"workers":-1}`, 422, "-1 workers: there can be 1 to 1024"},
		{"too many", "POST", "/api/v1/scale", `{"workers":1025}`, 422, "1025 workers: there can be 1 to 1024"},
		{"an unknown setting", "POST", "/api/v1/settings", `{"key":"unknown","value":"x"}`, 422, "no such setting"},
		{"an unknown field of a setting", "POST", "/api/v1/settings", `{"name":"colour","value":"red"}`, 400, `unknown field "name"`},
		{"a setting of another type", "POST", "/api/v1/settings", `{"key":"colour","value":1}`, 400, "cannot unmarshal number"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := z.mustCommand(c.method, c.path, c.body)
			if got.status != c.status || got.OK || got.Workers != 0 {
				t.Errorf("got status %d: %s; want %d", got.status, got.body, c.status)
			}
			switch c.status {
			case http.StatusNotFound:
			case http.StatusMethodNotAllowed:
				if got := got.header.Get("Allow"); got != c.want {
					t.Errorf("got Allow %q, want %q", got, c.want)
				}
			default:
				if got.header.Get("Content-Type") != "application/json" || !strings.Contains(got.Reason, c.want) {
					t.Errorf("the answer is %s; it should speak of %q", got.body, c.want)
				}
			}
		})
	}
	if n, err := z.client.Set(t.Context(), "colour", ""); n != 2 || err != nil {
		t.Errorf("a setting that is in order: %d workers have it, %v", n, err)
	}
	if err := z.client.Scale(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	after := z.settle(3)
	for _, w := range after.Workers { // the last was given all settings that the master keeps
		var settings map[string]string
		if z.askWorker(w.PID, "settings", &settings); len(settings) != 1 {
			t.Errorf("worker %d has the settings %v", w.Slot, settings)
		}
	}
	if after.Master.ReloadsTotal != 0 || after.Workers[0].PID != before.Workers[0].PID || after.Workers[1].PID != before.Workers[1].PID {
		t.Errorf("the cluster was %+v and is %+v", before, after)
	}
	z.stop()
}

// M15: the commands over plain HTTP, as curl sends them.
func TestControlCommands(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good", nil)
	want := func(got commanded, status int, body string) {
		t.Helper()
		if got.status != status || body != "" && got.body != body ||
			got.header.Get("Content-Type") != "application/json" || got.header.Get("Cache-Control") != "no-store" {
			t.Errorf("got %d %s %v, want %d %s", got.status, got.body, got.header, status, body)
		}
	}
	want(z.mustCommand("POST", "/api/v1/scale", "{\"workers\": 3}\n"), 200, `{"ok":true,"workers":3}`)
	z.settle(3)
	want(z.mustCommand("POST", "/api/v1/settings", `{"key":"colour","value":"red"}`), 200, `{"ok":true,"workers":3}`)
	want(z.mustCommand("POST", "/api/v1/reload", ""), 200, `{"ok":true}`)
	var s cluster.Status
	status := z.mustCommand("GET", "/api/v1/status", "")
	want(status, 200, "")
	if err := json.Unmarshal([]byte(status.body), &s); err != nil ||
		s.Master.PID != z.cmd.Process.Pid || s.Master.ReloadsTotal != 1 || len(s.Workers) != 3 {
		t.Errorf("got %+v, %v", s, err)
	}

	// M14: a setting that some refuse names them, and counts the others.
	picky := z.mustCommand("POST", "/api/v1/settings", `{"key":"picky","value":"yes"}`)
	want(picky, 422, "")
	if picky.OK || picky.Workers != 1 ||
		!strings.Contains(picky.Reason, "worker 2 refuses: not here") || !strings.Contains(picky.Reason, "worker 3 refuses: not here") {
		t.Errorf("got %s", picky.body)
	}

	// M9: so does a reload that fails, with the last lines of the worker that is to blame.
	z.deploy("start:say=no-database start:exit=3")
	failed := z.mustCommand("POST", "/api/v1/reload", "")
	want(failed, 409, "")
	if failed.OK || !strings.Contains(failed.Reason, "exited with code 3 before it was ready") ||
		!slices.Contains(failed.Output, "no-database") {
		t.Errorf("got %s", failed.body)
	}
	if err := os.Remove(z.program); err != nil {
		t.Fatal(err)
	}
	refused := z.mustCommand("POST", "/api/v1/reload", "")
	want(refused, 409, "")
	if refused.OK || !strings.Contains(refused.Reason, "there is no such file") || refused.Output != nil {
		t.Errorf("got %s", refused.body)
	}
	lines := z.follow()
	if kinds, outcome := lines.rest(t); len(kinds) != 0 || outcome.OK || outcome.Reason != refused.Reason {
		t.Errorf("line by line: %v, then %+v", kinds, outcome)
	}
	if s := z.settle(3); s.Master.ReloadsTotal != 4 || s.Master.ReloadsFailed != 3 {
		t.Errorf("%d reloads, %d failed", s.Master.ReloadsTotal, s.Master.ReloadsFailed)
	}
	z.stop()
}

// M15, M4: a stop that waits is answered when the last worker is gone and all is given back, and not before. A reload that
// was waited for is told that the master stops.
func TestControlStop(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "drain:gate", nil)
	pids := z.pids()
	z.deploy("joined:gate")
	plain := z.later("POST", "/api/v1/reload")
	z.gate.wait("joined", 1)
	client := make(chan error, 1)
	go func() { client <- z.client.Reload(t.Context(), nil) }()
	z.logged("reloading", 2) // of the same file: both wait for the one
	stopped := z.later("POST", "/api/v1/stop?wait=true")
	wantEnded(t, <-plain, http.StatusServiceUnavailable, "stopped", cluster.ErrStopped)
	if err := <-client; !errors.Is(err, cluster.ErrStopped) {
		t.Errorf("the reload of the client: %v", err)
	}
	notYet := func() {
		t.Helper()
		select {
		case c := <-stopped:
			t.Fatalf("the stop is answered before its time: %d %s", c.status, c.body)
		default:
		}
	}
	draining := z.gate.wait("drain", 2)
	notYet()
	wantEnded(t, z.mustCommand("POST", "/api/v1/reload", ""), http.StatusServiceUnavailable, "stopped", cluster.ErrStopped)
	draining[0].pass()
	eventually(t, "the end of one worker", func() bool { return len(z.status().Workers) == 1 })
	notYet()
	draining[1].pass()
	if c := <-stopped; c.status != http.StatusOK || !c.OK {
		t.Errorf("the stop: %d %s", c.status, c.body)
	}
	z.nothingLeft()
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("worker %d is still there: %v", pid, err)
		}
	}
	if code := z.exit(); code != 0 {
		t.Errorf("the master ended with code %d", code)
	}
}

// M15: a stop that does not wait is answered at once.
func TestControlStopWithoutWaiting(t *testing.T) {
	t.Parallel()
	for _, query := range []string{"", "?wait=false", "?wait=what"} {
		z := startZoo(t, "drain:gate", config{"Workers": 1})
		if c := z.mustCommand("POST", "/api/v1/stop"+query, ""); c.status != http.StatusOK || !c.OK {
			t.Errorf("stop%s: %d %s", query, c.status, c.body)
		}
		z.gate.wait("drain", 1)
		wantEnded(t, z.mustCommand("POST", "/api/v1/scale", `{"workers":5}`), http.StatusServiceUnavailable, "stopped", cluster.ErrStopped)
		if s := z.status(); s.Master.State != "stopping" || len(s.Workers) != 1 {
			t.Errorf("stop%s: the cluster is %s with %d workers", query, s.Master.State, len(s.Workers))
		}
		z.gate.open()
		if code := z.exit(); code != 0 {
			t.Errorf("the master ended with code %d", code)
		}
	}
}

// M14: settings are bounded all together, as the JSON in which they travel. What is refused reaches nobody; what is accepted
// reaches all, also workers that come later.
func TestControlSettingsAreBounded(t *testing.T) {
	t.Parallel()
	z := startZoo(t, "good", nil)
	const most, one, two = 48 << 10, len(`{"a":""}`), len(`{"a":"","b":""}`)
	kept := map[string]string{}
	for _, c := range []struct {
		key, of string
		times   int
		refused bool
	}{
		{"a", "x", most - one + 1, true},
		{"a", "x", most - one, false},
		{"b", "x", 0, true},
		{"a", "x", most - two, false},
		{"b", "x", 0, false},
		{"b", "x", 1, true},
		{"a", "x", 30 << 10, false},
		{"b", "x", most - two - 30<<10 + 1, true},
		{"b", "x", 1, false},
		{"a", "<", (most-two-1)/len(`\u003c`) + 1, true}, // what takes six times as much on its way
		{"a", "<", (most - two - 1) / len(`\u003c`), false},
	} {
		all := maps.Clone(kept)
		all[c.key] = strings.Repeat(c.of, c.times)
		raw, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		got := z.mustCommand("POST", "/api/v1/settings", fmt.Sprintf(`{"key":%q,"value":%q}`, c.key, all[c.key]))
		if !c.refused {
			kept = all
			if got.status != http.StatusOK || got.Workers != 2 {
				t.Errorf("%s of %d times %q: %d %s", c.key, c.times, c.of, got.status, got.body)
			}
			continue
		}
		want := fmt.Sprintf("would have %d bytes: the limit is %d", len(raw), most)
		if got.status != http.StatusUnprocessableEntity || got.Workers != 0 || !strings.Contains(got.Reason, want) {
			t.Errorf("%s of %d times %q: %d %s; it should speak of %q", c.key, c.times, c.of, got.status, got.body, want)
		}
	}
	has := func() {
		t.Helper()
		for _, pid := range z.pids() {
			var settings map[string]string
			if z.askWorker(pid, "settings", &settings); !maps.Equal(settings, kept) {
				t.Errorf("pid %d has settings of %d and %d bytes", pid, len(settings["a"]), len(settings["b"]))
			}
		}
	}
	has()
	z.deploy("good next")
	if err := z.client.Reload(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	z.settle(2)
	has()
	z.stop()
}
