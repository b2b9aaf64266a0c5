package app

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// bodyTimeout bounds the arrival of a request's body.
const bodyTimeout = 5 * time.Second

// wellFormed reads a request as a whole before a handler sees it, so that whatever is wrong with its form is answered in
// one place and in one way: a query that can't be parsed, a body that is too large, too slow, cut short, wrongly framed or
// compressed. It knows the size before it asks for the body (Expect: 100-continue).
func (a *App) wellFormed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := url.ParseQuery(r.URL.RawQuery); err != nil {
			a.writeProblem(w, r, invalid("query", "", "is malformed"))
			return
		}
		if r.Body == nil || r.Body == http.NoBody {
			next.ServeHTTP(w, r)
			return
		}
		if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
			a.writeProblem(w, r, problem("unsupported-media-type",
				"Send the body without a Content-Encoding."))
			return
		}
		body, err := readBody(w, r)
		if err != nil {
			a.writeProblem(w, r, err)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		// huma compares media types as they are written; they are the same in any case (RFC 9110, section 8.3.1).
		if media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil {
			r.Header["Content-Type"] = []string{mime.FormatMediaType(media, params)}
		}
		next.ServeHTTP(w, r)
	})
}

func tooLarge() *Problem {
	p := problem("too-large", "The body is too large.")
	p.Errors = []FieldError{fieldError("body", "", "is too large")}
	return p
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength > maxBody {
		return nil, tooLarge()
	}
	conn := http.NewResponseController(w)
	if err := conn.SetReadDeadline(time.Now().Add(bodyTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, tooLarge()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, problem("request-timeout", "The body did not arrive in time.")
	}
	if err != nil {
		p := problem("invalid-request", "The body was cut short or is wrongly framed.")
		p.Status = http.StatusBadRequest
		p.Errors, p.cause = []FieldError{fieldError("body", "", "was cut short or is wrongly framed")}, err
		return nil, p
	}
	// A deadline that stays would end the request's context in the middle of a long handler.
	if err := conn.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, err
	}
	return body, nil
}
