//go:build unix

package cluster_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"doorbuster/cluster"
)

// Every method of a master that does not run, because it has not begun or was
// closed, answers at once. New methods are found by reflection.
func TestMethodsOfAMasterThatDoesNotRun(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		prepare func(*cluster.Master) error
		want    error
		code    string
	}{
		"not yet": {func(*cluster.Master) error { return nil }, cluster.ErrNotRunning, "not running"},
		"closed":  {(*cluster.Master).Close, cluster.ErrStopped, "stopped"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, err := cluster.New(cluster.Config{Listen: []string{"127.0.0.1:0"}, Command: []string{"/bin/true"}, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if err := c.prepare(m); err != nil {
				t.Fatal(err)
			}
			master := reflect.ValueOf(m)
			for i := range master.NumMethod() {
				name := master.Type().Method(i).Name
				if name == "Run" || name == "Close" || name == "Addrs" || name == "Handler" {
					continue // these do not ask anybody
				}
				if err := callWithSomething(t, master.Method(i)); !errors.Is(err, c.want) {
					t.Errorf("%s: %v", name, err)
				}
			}
			w := httptest.NewRecorder()
			m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/status", nil))
			if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `"code":"`+c.code+`"`) {
				t.Errorf("over HTTP: %d %s", w.Code, w.Body)
			}
		})
	}
}

// callWithSomething calls a method with values of the types that it takes, and
// returns its error.
func callWithSomething(t *testing.T, method reflect.Value) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	var args []reflect.Value
	for in := range method.Type().Ins() {
		switch {
		case in == reflect.TypeFor[context.Context]():
			args = append(args, reflect.ValueOf(ctx))
		case in.Kind() == reflect.Int:
			args = append(args, reflect.ValueOf(1).Convert(in))
		case in.Kind() == reflect.String:
			args = append(args, reflect.ValueOf("one").Convert(in))
		default:
			args = append(args, reflect.Zero(in))
		}
	}
	results := method.Call(args)
	err, _ := reflect.TypeAssert[error](results[len(results)-1])
	return err
}

// A master that was closed does not run any more, and one that runs is not
// closed by Close.
func TestCloseAndRun(t *testing.T) {
	t.Parallel()
	cfg := cluster.Config{Listen: []string{"127.0.0.1:0"}, Command: []string{"/bin/true"}, Log: slog.New(slog.DiscardHandler)}
	closed, err := cluster.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(); err != nil {
		t.Error(err)
	}
	if err := closed.Run(t.Context()); !errors.Is(err, cluster.ErrStopped) {
		t.Errorf("run a closed master: %v", err)
	}
	running, err := cluster.New(cfg) // its workers end at once, and are tried again
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- running.Run(ctx) }()
	eventually(t, "a running master", func() bool {
		_, err := running.Status(ctx)
		return err == nil
	})
	if err := running.Close(); err == nil {
		t.Error("a running master can be closed")
	}
	if err := running.Run(ctx); err == nil {
		t.Error("a master runs twice")
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := running.Close(); err != nil {
		t.Error(err)
	}
}
