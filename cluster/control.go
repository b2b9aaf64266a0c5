//go:build unix

package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Time limits of the control socket. Answers may take as long as a rolling restart.
const (
	controlHeaderTimeout = 5 * time.Second
	controlCloseTimeout  = time.Second
)

// Handler returns the commands as HTTP: what the control socket serves, and what an admin address may. The package's
// documentation has them. It asks nobody for a password.
func (m *Master) Handler() http.Handler { return m.handler }

// outcome is the answer to a command.
type outcome struct {
	OK      bool     `json:"ok"`
	Code    string   `json:"code,omitempty"` // names the reason where that is one of this package's errors
	Reason  string   `json:"reason,omitempty"`
	Output  []string `json:"output,omitempty"`
	Workers int      `json:"workers,omitempty"`
	Release string   `json:"release,omitempty"`
}

func (m *Master) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/status", m.handleStatus)
	mux.HandleFunc("GET /api/v1/logs", m.handleLogs)
	mux.HandleFunc("POST /api/v1/reload", m.handleReload(m.Reload))
	mux.HandleFunc("POST /api/v1/back", m.handleReload(m.ReloadBack))
	mux.HandleFunc("POST /api/v1/check", m.handleCheck)
	mux.HandleFunc("POST /api/v1/scale", m.handleScale)
	mux.HandleFunc("POST /api/v1/restart", m.handleSlot(m.Restart))
	mux.HandleFunc("POST /api/v1/drain", m.handleSlot(m.Drain))
	mux.HandleFunc("POST /api/v1/reset", m.handleReset)
	mux.HandleFunc("POST /api/v1/kill", m.handleSlot(m.Kill))
	mux.HandleFunc("POST /api/v1/stop", m.handleStop)
	mux.HandleFunc("POST /api/v1/settings", m.handleSettings)
	mux.HandleFunc("DELETE /api/v1/settings", m.handleUnset)
	return introduce(mux)
}

func (m *Master) handleStatus(w http.ResponseWriter, r *http.Request) {
	s, err := m.Status(r.Context())
	if err != nil {
		writeOutcome(w, http.StatusServiceUnavailable, failed(err))
		return
	}
	writeJSON(w, http.StatusOK, s)
}

// handleReload handles a command that replaces all workers.
func (m *Master) handleReload(do func(ctx context.Context, watch chan<- Event) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept") != ndjson {
			code, o := outcomeOf(do(r.Context(), nil))
			writeOutcome(w, code, o)
			return
		}
		w.Header().Set("Content-Type", ndjson)
		flush := http.NewResponseController(w)
		lines := json.NewEncoder(w)
		events, done, heard := make(chan Event, 256), make(chan error, 1), make(chan struct{}, 1)
		if c := callerOf(r.Context()); c != nil && c.told != nil {
			c.told = func() { heard <- struct{}{} } // this goroutine alone writes
		}
		go func() { done <- do(r.Context(), events) }()
		for {
			select {
			case <-heard:
				flush.Flush()
			case e := <-events:
				lines.Encode(e) //nolint:errcheck // the client is gone, or has it
				flush.Flush()
			case err := <-done:
				for len(events) > 0 { // they came before
					lines.Encode(<-events) //nolint:errcheck // the client is gone, or has it
				}
				_, o := outcomeOf(err)
				lines.Encode(o) //nolint:errcheck // as above
				return
			}
		}
	}
}

func (m *Master) handleCheck(w http.ResponseWriter, r *http.Request) {
	release, err := m.Check(r.Context())
	if err != nil {
		writeFailure(w, err)
		return
	}
	writeOutcome(w, http.StatusOK, outcome{OK: true, Release: release})
}

func outcomeOf(err error) (code int, o outcome) {
	var verdict *VerdictError
	switch {
	case err == nil:
		return http.StatusOK, outcome{OK: true}
	case errors.As(err, &verdict), errors.Is(err, ErrSuperseded):
		return http.StatusConflict, failed(err)
	}
	return http.StatusServiceUnavailable, failed(err)
}

func failed(err error) outcome {
	o := outcome{Reason: err.Error()}
	if verdict := new(VerdictError); errors.As(err, &verdict) {
		o.Output = verdict.Output
	}
	for code, known := range errorCodes {
		if errors.Is(err, known) {
			o.Code = code
		}
	}
	return o
}

func (m *Master) handleScale(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Workers int  `json:"workers"`
		Force   bool `json:"force"`
	}
	if !readJSON(w, r, &body) {
		return
	}
	wait, err := strconv.ParseBool(cmp.Or(r.URL.Query().Get("wait"), "true"))
	options := ScaleOptions{Force: body.Force, NoWait: err == nil && !wait}
	if err := m.scaleWith(r.Context(), body.Workers, options); err != nil {
		writeFailure(w, err)
		return
	}
	writeOutcome(w, http.StatusOK, outcome{OK: true, Workers: body.Workers})
}

// handleSlot handles a command that is about one slot.
func (m *Master) handleSlot(do func(ctx context.Context, slot int) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Slot int `json:"slot"`
		}
		if !readJSON(w, r, &body) {
			return
		}
		if err := do(r.Context(), body.Slot); err != nil {
			writeFailure(w, err)
			return
		}
		writeOutcome(w, http.StatusOK, outcome{OK: true})
	}
}

func (m *Master) handleReset(w http.ResponseWriter, r *http.Request) {
	if err := m.Reset(r.Context()); err != nil {
		writeFailure(w, err)
		return
	}
	writeOutcome(w, http.StatusOK, outcome{OK: true})
}

// writeFailure tells a verdict, which is about workers, from a refusal, which is
// about the command.
func writeFailure(w http.ResponseWriter, err error) {
	var verdict *VerdictError
	if errors.As(err, &verdict) || errors.Is(err, ErrSuperseded) {
		code, o := outcomeOf(err)
		writeOutcome(w, code, o)
		return
	}
	writeOutcome(w, refusalCode(err), failed(err))
}

func refusalCode(err error) int {
	if errors.Is(err, ErrStopped) || errors.Is(err, ErrNotRunning) {
		return http.StatusServiceUnavailable
	}
	return http.StatusUnprocessableEntity
}

func (m *Master) handleStop(w http.ResponseWriter, r *http.Request) {
	is := func(name string) bool {
		yes, err := strconv.ParseBool(r.URL.Query().Get(name))
		return err == nil && yes
	}
	stop := m.Stop
	if is("now") {
		stop = m.StopNow
	}
	if err := stop(r.Context()); err != nil && !errors.Is(err, ErrStopped) {
		writeOutcome(w, http.StatusServiceUnavailable, failed(err))
		return
	}
	if is("wait") {
		select {
		case <-m.ended:
		case <-r.Context().Done():
			return
		}
	}
	writeOutcome(w, http.StatusOK, outcome{OK: true})
}

func (m *Master) handleSettings(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	}
	if !readJSON(w, r, &body) {
		return
	}
	n, err := m.Set(r.Context(), body.Key, body.Value)
	if err != nil {
		o := failed(err)
		o.Workers = n
		writeOutcome(w, refusalCode(err), o)
		return
	}
	writeOutcome(w, http.StatusOK, outcome{OK: true, Workers: n})
}

func (m *Master) handleUnset(w http.ResponseWriter, r *http.Request) {
	n, err := m.Unset(r.Context(), r.URL.Query().Get("key"))
	if err != nil {
		writeOutcome(w, refusalCode(err), failed(err))
		return
	}
	writeOutcome(w, http.StatusOK, outcome{OK: true, Workers: n})
}

const maxRequestBytes = 64 << 10

// readJSON reads one object. A field that nobody knows is a typing error, and would change something else than was meant.
func readJSON(w http.ResponseWriter, r *http.Request, into any) bool {
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequestBytes))
	body.DisallowUnknownFields()
	err := body.Decode(into)
	if _, end := body.Token(); err == nil && !errors.Is(end, io.EOF) {
		err = errors.New("something comes after it")
	}
	if err != nil {
		writeOutcome(w, http.StatusBadRequest, outcome{Reason: "the body is not the JSON that is expected: " + err.Error()})
		return false
	}
	return true
}

func writeOutcome(w http.ResponseWriter, code int, o outcome) { writeJSON(w, code, o) }

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(v) //nolint:errcheck // the client is gone, or has it
}

// listenControl opens the control socket. The lock on the PID file makes sure that one that is there already is a remnant.
func listenControl(path string) (*net.UnixListener, error) {
	if err := makeFolder(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	if c, err := net.Dial("unix", path); err == nil { //nolint:noctx // a Unix socket answers at once
		c.Close()
		return nil, fmt.Errorf("control socket %s is in use by another master: choose another path", path)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != os.ModeSocket {
		return nil, fmt.Errorf("control socket %s: there is something else at this path, which is left alone: choose another one", path)
	}
	if _, err := os.Lstat(path); err == nil {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("remove control socket %s, which a master has left that is no more: %w; remove it, or name another path", path, err)
		}
	}
	l, err := privateSocket.Listen(context.Background(), "unix", path)
	if err != nil {
		if len(path) >= maxSocketPath {
			err = fmt.Errorf("%w: %s", err, socketPathTooLong)
		}
		return nil, fmt.Errorf("open control socket %s: %w; name a path that this account may write to", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil { // where privateSocket can't do that, or the umask took too much
		return nil, errors.Join(fmt.Errorf("close the control socket to others: %w", err), l.Close())
	}
	return l.(*net.UnixListener), nil //nolint:forcetypeassert // of "unix"
}

// serveControl serves the control socket until the returned function is called, which lets answers that are under way
// arrive.
func (m *Master) serveControl() (stop func()) {
	if m.control == nil {
		return func() {}
	}
	server := &http.Server{Handler: m.handler, ReadHeaderTimeout: controlHeaderTimeout, ConnContext: withPeer}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Serve(&reservedListener{m.control, &m.reserve}) //nolint:errcheck // it ends by Shutdown
	}()
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), controlCloseTimeout)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			server.Close()
		}
		<-done
	}
}
