package dbtest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
)

func TestProbe(t *testing.T) {
	t.Parallel()
	reaper := testcontainers.ReaperDefaultImage //nolint:staticcheck // deprecated in favour of an internal name
	all := []string{"postgres:17.7-alpine", "redis:8.4-alpine", reaper}
	both, one := all[:2], all[:1]
	ask := func(t *testing.T, host, reaperless string) string {
		t.Helper()
		return prober(t.Context(), t, "probe", "DOCKER_HOST="+host, "TESTCONTAINERS_RYUK_DISABLED="+reaperless)
	}
	// Where nobody answers at DOCKER_HOST, testcontainers takes the engine of this machine, if it has one.
	usual := ask(t, "", "")
	hangs := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	for _, c := range []struct {
		name       string
		engine     http.Handler
		reaperless string
		want       string
	}{
		{"has the images", &engine{local: all, container: serving(t, "127.0.0.1")}, "", "Docker 99.1|127.0.0.1|<nil>"},
		{"can pull the images", &engine{registry: all, container: serving(t, "127.0.0.1")}, "", "Docker 99.1|127.0.0.1|<nil>"},
		{"can pull one", &engine{registry: one}, "", "||Docker 99.1 has no image redis:8.4-alpine and cannot pull it"},
		{"has none", &engine{}, "", "||Docker 99.1 has no image postgres:17.7-alpine and cannot pull it"},
		{"has no reaper", &engine{local: both}, "", "||Docker 99.1 has no image " + reaper +
			" and cannot pull it; TESTCONTAINERS_RYUK_DISABLED=true does without it"},
		{"needs no reaper", &engine{local: both, container: serving(t, "127.0.0.1")}, "true", "Docker 99.1|127.0.0.1|<nil>"},
		{"is something else", http.NotFoundHandler(), "", usual},
		{"hangs", hangs, "", "||no Docker engine answered"},
		{"is not there", nil, "", usual},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(c.engine)
			defer s.Close()
			if c.engine == nil {
				s.Close()
			}
			if got := ask(t, "tcp://"+s.Listener.Addr().String(), c.reaperless); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	gone := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	var (
		mu      sync.Mutex
		removed []string
	)
	s := httptest.NewServer(&engine{
		owners: map[string]string{
			"gone": owner(gone.Process.Pid), "alive": owner(os.Getpid()),
			"elsewhere": "other" + owner(gone.Process.Pid), "strange": "owner", "empty": "",
		},
		removed: func(id string) {
			mu.Lock()
			defer mu.Unlock()
			removed = append(removed, id)
		},
	})
	defer s.Close()
	c, err := client.New(client.WithHost("tcp://" + s.Listener.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sweep(t.Context(), c)
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"gone"}; !slices.Equal(removed, want) {
		t.Errorf("removed %q, want %q", removed, want)
	}
}

// A container that the engine is creating must become known, or nobody could remove it.
func TestCancellationSparesACreation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			cancel string // in which step
			want   string // the steps, and after which of them the context was cancelled
		}{
			{"pull", "pull! create! hang! created!"},
			{"create", "pull create hang! created!"},
			{"hang", "pull create hang created!"},
			{"created", "pull create hang created!"},
			{"never", "pull create hang created"},
		} {
			ctx, cancel := context.WithCancel(t.Context())
			var got []string
			run := func(ctx context.Context, _ string, options ...testcontainers.ContainerCustomizer) (testcontainers.Container, error) {
				var r testcontainers.GenericContainerRequest
				for _, o := range options {
					if err := o.Customize(&r); err != nil {
						return nil, err
					}
				}
				for _, step := range []string{"pull", "create", "hang", "created"} {
					switch step {
					case "create":
						_ = r.LifecycleHooks[0].PreCreates[0](ctx, r.ContainerRequest)
					case "hang":
						time.Sleep(createLimit)
					case "created":
						_ = r.LifecycleHooks[0].PostCreates[0](ctx, nil)
					}
					if step == c.cancel {
						cancel()
					}
					synctest.Wait()
					if ctx.Err() != nil {
						step += "!"
					}
					got = append(got, step)
				}
				return nil, nil
			}
			_, _ = runContainer(ctx, run, "")
			cancel()
			if got := strings.Join(got, " "); got != c.want {
				t.Errorf("cancelled in %s: got %q, want %q", c.cancel, got, c.want)
			}
		}
	})
}
