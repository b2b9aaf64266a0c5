package dbtest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// engine is as much of a Docker engine as the probe asks of one.
type engine struct {
	local    []string // images that are here
	registry []string // images that could be pulled
}

func (e engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Api-Version", "1.50")
	w.Header().Set("Content-Type", "application/json")
	path := r.URL.Path
	if strings.HasPrefix(path, "/v1.") {
		path = path[1+strings.IndexByte(path[1:], '/'):]
	}
	has := func(images []string, before, after string) bool {
		for _, image := range images {
			if path == before+image+after || path == before+"docker.io/library/"+image+after {
				return true
			}
		}
		return false
	}
	switch {
	case path == "/_ping":
		io.WriteString(w, "OK")
	case path == "/info":
		io.WriteString(w, `{"ServerVersion":"99.1","OperatingSystem":"Fake","MemTotal":1}`)
	case path == "/version":
		io.WriteString(w, `{"Version":"99.1","ApiVersion":"1.50","MinAPIVersion":"1.24"}`)
	case has(e.local, "/images/", "/json"), has(e.registry, "/distribution/", "/json"):
		io.WriteString(w, `{}`)
	default:
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, `{"message":"not here"}`)
	}
}

func TestProbe(t *testing.T) {
	t.Parallel()
	both := []string{"postgres:17-alpine", "redis:8-alpine"}
	for _, c := range []struct {
		name   string
		engine http.Handler
		want   string
	}{
		{"has the images", engine{local: both}, "Docker 99.1|<nil>"},
		{"can pull the images", engine{registry: both}, "Docker 99.1|<nil>"},
		{"can pull one", engine{registry: both[:1]}, "|Docker 99.1 has no image redis:8-alpine and cannot pull it"},
		{"has none", engine{}, "|Docker 99.1 has no image postgres:17-alpine and cannot pull it"},
		{"is something else", http.NotFoundHandler(), "|no Docker engine answered"},
		{"hangs", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), "|no Docker engine answered"},
		{"is not there", nil, "|no Docker engine answered"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(c.engine)
			defer s.Close()
			if c.engine == nil {
				s.Close()
			}
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			// A home of its own, so that no configuration of the machine's names another engine.
			cmd.Env = append(os.Environ(), asProber+"=1", "HOME="+t.TempDir(), "DOCKER_CONFIG="+t.TempDir(),
				"DOCKER_HOST=tcp://"+s.Listener.Addr().String(), "TEST_POSTGRES_IMAGE=", "TEST_REDIS_IMAGE=")
			out, err := cmd.CombinedOutput() // with stderr: it must be silent
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if got := strings.TrimSpace(string(out)); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}
