package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"doorbuster/cluster"
)

// Config says who may use the address.
type Config struct {
	// Addr is the address that the handler is served on. Without a Token it has to be a loopback address.
	Addr string
	// Token is what every request has to bear, except for the probes. Empty: none.
	Token string
}

// Master is what the handler needs of a *cluster.Master.
type Master interface {
	Handler() http.Handler
	Status(ctx context.Context) (cluster.Status, error)
	Get(ctx context.Context, pid int, path string) (*http.Response, error)
}

// New returns the handler. It refuses an address that others can reach when there is no token.
func New(master Master, cfg Config) (http.Handler, error) {
	local, err := loopback(cfg.Addr)
	if err != nil {
		return nil, err
	}
	if !local && cfg.Token == "" {
		return nil, errors.New("others can reach this address, and whoever does could stop the shop: set a token, or take a loopback address such as 127.0.0.1:3001")
	}
	h := &handler{master: master, token: cfg.Token}
	commands := http.NewServeMux()
	commands.Handle("/api/v1/", http.NewCrossOriginProtection().Handler(master.Handler()))
	commands.HandleFunc("GET /metrics", h.metrics)
	commands.HandleFunc("GET /debug/workers/{pid}/{path...}", h.debug)
	mux := http.NewServeMux()
	mux.Handle("/", h.guard(commands))
	mux.HandleFunc("GET /livez", h.livez)
	mux.HandleFunc("GET /readyz", h.readyz)
	return mux, nil
}

// loopback reports whether only this machine can reach an address.
func loopback(addr string) (bool, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false, fmt.Errorf("is malformed: %w", err)
	}
	return isLoopback(host), nil
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

type handler struct {
	master Master
	token  string
}

// guard lets those through who bear the token. Without one, the request has to name a loopback host: a page on another site
// may have had its name resolved to this address (DNS rebinding), and the browser believes that it is the same origin.
func (h *handler) guard(next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(h.token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.token != "" {
			bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			if got := sha256.Sum256([]byte(bearer)); !ok || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
				w.Header().Set("WWW-Authenticate", "Bearer")
				refuse(w, http.StatusUnauthorized, "this address needs the header Authorization: Bearer TOKEN")
				return
			}
		} else if host, _, err := net.SplitHostPort(r.Host); !isLoopback(host) && (err == nil || !isLoopback(strings.Trim(r.Host, "[]"))) {
			refuse(w, http.StatusForbidden, "ask for this address by a loopback name, such as localhost")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func refuse(w http.ResponseWriter, code int, reason string) {
	answer(w, code, map[string]any{"ok": false, "reason": reason})
}

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(v) // the client is gone, or has it
}

// livez says that the master answers.
func (h *handler) livez(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]string{"status": "ok"})
}

// readyz says whether the shop serves: that at least one worker is ready, and that nobody has told the master to stop.
func (h *handler) readyz(w http.ResponseWriter, r *http.Request) {
	s, err := h.master.Status(r.Context())
	switch {
	case err != nil:
		refuse(w, http.StatusServiceUnavailable, err.Error())
	case s.Master.State == "stopping":
		answer(w, http.StatusServiceUnavailable, map[string]string{"status": "stopping"})
	case s.Master.Ready == 0:
		answer(w, http.StatusServiceUnavailable, map[string]string{"status": "no worker is ready"})
	default:
		answer(w, http.StatusOK, map[string]string{"status": "ok"})
	}
}

// debug passes a question on to one worker (W6).
func (h *handler) debug(w http.ResponseWriter, r *http.Request) {
	pid, err := strconv.Atoi(r.PathValue("pid"))
	if err != nil {
		refuse(w, http.StatusBadRequest, "a worker is named by its pid")
		return
	}
	path := "/debug/" + r.PathValue("path")
	if r.URL.RawQuery != "" {
		path += "?" + r.URL.RawQuery
	}
	resp, err := h.master.Get(r.Context(), pid, path)
	if err != nil {
		refuse(w, http.StatusBadGateway, err.Error())
		return
	}
	defer resp.Body.Close()
	for _, name := range []string{"Content-Type", "Content-Disposition", "X-Content-Type-Options"} {
		if v := resp.Header.Get(name); v != "" {
			w.Header().Set(name, v)
		}
	}
	w.WriteHeader(resp.StatusCode)
	io.Copy(w, resp.Body) // the client is gone, or the worker: either sees a short answer
}
