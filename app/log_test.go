package app_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// logBuffer collects a worker's log.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// line returns the first line that contains all parts, or "".
func (b *logBuffer) line(parts ...string) string {
next:
	for line := range strings.Lines(b.String()) {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				continue next
			}
		}
		return line
	}
	return ""
}

// A request that is given up because its client has gone is nobody's business. One that the worker gives up, because it is
// about to leave, is answered with 503, so the log says why.
func TestGivenUpRequestsAreLogged(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		cause  error
		logged bool
	}{
		{"the client has gone", nil, false},
		{"the worker leaves", errors.New("the worker leaves in a moment"), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(test.cause)
			answer := httptest.NewRecorder()
			request := httptest.NewRequestWithContext(ctx, http.MethodGet, "/v1/session", nil)
			request.AddCookie(&http.Cookie{Name: "session", Value: "of-somebody"})
			s.app.Handler().ServeHTTP(answer, request)
			if answer.Code != http.StatusServiceUnavailable || answer.Header().Get("Retry-After") == "" {
				t.Errorf("got %d: %s", answer.Code, answer.Body)
			}
			if line := s.log.line("request failed"); (line != "") != test.logged {
				t.Errorf("got log line %q, want one: %v", line, test.logged)
			}
		})
	}
}
