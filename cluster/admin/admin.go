package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"

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
	host, _, err := net.SplitHostPort(cfg.Addr)
	switch {
	case err != nil:
		return nil, fmt.Errorf("is no address such as 127.0.0.1:3001: %w", err)
	case cfg.Token != strings.TrimSpace(cfg.Token) || strings.ContainsFunc(cfg.Token, unicode.IsControl):
		return nil, errors.New("the token begins or ends with a blank, or has a line break in it, which no request could bear")
	case cfg.Token == "" && !isLoopback(host):
		return nil, errors.New("others can reach this address, and whoever does could stop the shop: set a token, or take a loopback address such as 127.0.0.1:3001")
	}
	h := &handler{master: master, token: cfg.Token, origin: http.NewCrossOriginProtection()}
	h.origin.SetDenyHandler(http.HandlerFunc(refuseOrigin))
	commands := http.NewServeMux()
	commands.Handle("/api/v1/", h.origin.Handler(master.Handler()))
	commands.HandleFunc("GET /api/v1/logs", func(w http.ResponseWriter, r *http.Request) {
		if h.foreign(r) { // few may follow the log at a time
			refuseOrigin(w, r)
			return
		}
		master.Handler().ServeHTTP(w, r)
	})
	commands.HandleFunc("GET /metrics", h.metrics)
	commands.HandleFunc("GET /debug/workers/{pid}/{path...}", h.debug)
	mux := http.NewServeMux()
	mux.Handle("/", h.guard(commands))
	mux.HandleFunc("GET /livez", h.livez)
	mux.HandleFunc("GET /readyz", h.readyz)
	return mux, nil
}

// isLoopback reports whether only this machine can reach what a name or an IP address stands for.
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
	origin *http.CrossOriginProtection
}

// guard lets those through who bear the token. Without one, the request has to name a loopback host: a page on another site
// may have had its name resolved to this address (DNS rebinding), and the browser believes that it is the same origin.
func (h *handler) guard(next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(h.token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.token != "" {
			scheme, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " ")
			if got := sha256.Sum256([]byte(bearer)); !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
				w.Header().Set("WWW-Authenticate", "Bearer")
				refuse(w, http.StatusUnauthorized, "this address needs the header Authorization: Bearer TOKEN")
				return
			}
		} else if host := (&url.URL{Host: r.Host}).Hostname(); !isLoopback(host) {
			refuse(w, http.StatusForbidden, "ask for this address by a loopback name, such as localhost")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func refuseOrigin(w http.ResponseWriter, _ *http.Request) {
	refuse(w, http.StatusForbidden, "a page of another site asks for this")
}

func refuse(w http.ResponseWriter, code int, reason string) {
	answer(w, code, map[string]any{"ok": false, "reason": reason})
}

// answer writes what anybody may get to see. The connection is closed after it, unread body and all, so that those who
// bear no token can't hold the master's descriptors.
func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Connection", "close")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(v) //nolint:errcheck // the client is gone, or has it
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

// foreign reports whether a page of another site asks, for what such pages may not even ask for, although it is a GET.
func (h *handler) foreign(r *http.Request) bool {
	strict := *r
	strict.Method = http.MethodPost
	return h.origin.Check(&strict) != nil
}

// debug passes a question on to one worker (W6).
func (h *handler) debug(w http.ResponseWriter, r *http.Request) {
	if h.foreign(r) { // a profile costs the worker something
		refuseOrigin(w, r)
		return
	}
	pid, err := strconv.Atoi(r.PathValue("pid"))
	if err != nil {
		refuse(w, http.StatusBadRequest, "a worker is named by its pid")
		return
	}
	path := r.PathValue("path")
	if path != "" && !fs.ValidPath(strings.TrimSuffix(path, "/")) {
		refuse(w, http.StatusBadRequest, "this path leads elsewhere")
		return
	}
	resp, err := h.master.Get(r.Context(), pid, (&url.URL{Path: "/debug/" + path, RawQuery: r.URL.RawQuery}).RequestURI())
	if err != nil {
		refuse(w, http.StatusBadGateway, err.Error())
		return
	}
	defer resp.Body.Close()
	maps.Copy(w.Header(), resp.Header)
	if rest, ok := strings.CutPrefix(resp.Header.Get("Location"), "/debug/"); ok {
		w.Header().Set("Location", "/debug/workers/"+strconv.Itoa(pid)+"/"+rest)
	}
	w.WriteHeader(resp.StatusCode)
	if _, err := io.Copy(w, resp.Body); err != nil {
		panic(http.ErrAbortHandler) // cuts the connection: nobody takes half an answer of a dead worker for the whole
	}
}
