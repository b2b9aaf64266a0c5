package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Time limits of a request's body: from its head to its end. A body has maxBody
// bytes at most, so they are least rates as well: 3.2 KiB/s for the largest, and
// 8 KiB/s in a drain.
const (
	bodyTimeout      = 5 * time.Second
	drainBodyTimeout = 2 * time.Second // from the beginning of the drain, if that comes later
)

// whole reads the body of a request before anything else is done for it. Whoever
// sends it slowly has no session, no place at a turnstile, no connection and no
// part of a limit, and holds nothing but his own connection. Requests that should
// have no body are no exception: net/http would wait for it after the answer.
func (a *App) whole(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody {
			body, err := a.readBody(w, r)
			if err != nil {
				a.writeProblem(w, r, err)
				return
			}
			r.Body = &readBytes{Reader: bytes.NewReader(body), all: body}
		}
		next.ServeHTTP(w, r)
	})
}

// readBytes is a body that was read already.
type readBytes struct {
	*bytes.Reader
	all []byte
}

// Close does nothing.
func (*readBytes) Close() error { return nil }

// wellFormed looks at the form of a request before a handler sees it, so that
// whatever is wrong with that is answered in one place and in one way: a query
// that can't be parsed, a body that is compressed or no JSON.
func (a *App) wellFormed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			a.writeProblem(w, r, invalid("query", "", "is malformed"))
			return
		}
		if limit, ok := query["limit"]; ok { // huma takes +5 and 05, and an empty one for none
			if _, err := parseLimit(limit[0]); err != nil {
				a.writeProblem(w, r, err)
				return
			}
		}
		if body, ok := r.Body.(*readBytes); ok && len(body.all) > 0 {
			plain, err := plainBody(r.Header, body.all)
			if err != nil {
				a.writeProblem(w, r, err)
				return
			}
			r.Body = &readBytes{Reader: bytes.NewReader(plain), all: plain}
		}
		next.ServeHTTP(w, r)
	})
}

// parseLimit parses the number of entries on a page.
func parseLimit(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxLimit || strconv.Itoa(n) != s {
		return 0, invalid("query", "limit", fmt.Sprintf("is not a whole number from 1 to %d, such as %d", maxLimit, defaultLimit))
	}
	return n, nil
}

// plainBody checks what kind of body it is, and returns it in the form in which
// huma decodes it.
func plainBody(header http.Header, body []byte) ([]byte, error) {
	mediaType := func(detail string) *Problem {
		return problem("unsupported-media-type", detail)
	}
	if coding := header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return nil, mediaType("Send the body without a Content-Encoding.")
	}
	types := header.Values("Content-Type")
	if len(types) != 1 {
		return nil, mediaType("Send one Content-Type: application/json.")
	}
	media, params, err := mime.ParseMediaType(types[0]) // in any case (RFC 9110, section 8.3.1)
	if err != nil || media != "application/json" {
		return nil, mediaType("Send application/json.")
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") { // RFC 8259, section 8.1
		return nil, mediaType("Send the JSON in UTF-8, and no other charset.")
	}
	header["Content-Type"] = contentJSON
	return plainJSON(body)
}

// plainJSON returns a JSON text in which all whole numbers are written as such:
// 1.0 and 1e0 are whole to JSON Schema, but not to encoding/json. It refuses
// names that stand twice in an object, of which encoding/json would take the last
// and others the first (RFC 8259, section 4), and numbers that no float64 holds.
// What is no JSON is returned as it is: whoever decodes it says why.
func plainJSON(text []byte) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var (
		out  []byte // nil: nothing was rewritten
		done int    // of text
		open []*scope
	)
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) && out != nil {
			return append(out, text[done:]...), nil
		}
		if err != nil {
			return text, nil //nolint:nilerr // see above
		}
		if token == json.Delim('}') || token == json.Delim(']') {
			open = open[:len(open)-1]
			continue
		}
		field := ""
		if len(open) > 0 {
			inner := open[len(open)-1]
			if inner.wantsName() {
				if !inner.enter(token.(string)) { //nolint:forcetypeassert // the decoder sees to it
					return nil, invalid("body", inner.name, "is given more than once")
				}
				continue
			}
			field = inner.name
		}
		switch token := token.(type) {
		case json.Delim:
			open = append(open, newScope(token == '{'))
		case json.Number:
			plain, err := plainNumber(token.String())
			if err != nil {
				return nil, invalid("body", field, err.Error())
			}
			if plain != token.String() {
				end := int(decoder.InputOffset())
				out = append(append(out, text[done:end-len(token)]...), plain...)
				done = end
			}
		}
	}
}

// A scope is an object or an array that a decoder is in.
type scope struct {
	names map[string]bool // nil: an array
	name  string          // of the value that comes, or the last one
	named bool            // it comes
}

func newScope(object bool) *scope {
	if object {
		return &scope{names: map[string]bool{}}
	}
	return &scope{}
}

// wantsName reports whether what comes is a name. If not, it is the value.
func (s *scope) wantsName() bool {
	if s.names == nil {
		return false
	}
	s.named = !s.named
	return s.named
}

// enter notes a name. It fails when that is not the first of its kind.
func (s *scope) enter(name string) bool {
	s.name = name
	if s.names[name] {
		return false
	}
	s.names[name] = true
	return true
}

var errNumber = errors.New("is a number out of range")

// plainNumber writes a whole number without a fraction and an exponent, as far as
// float64 holds each (RFC 8259, section 6). Others stay as they are.
func plainNumber(s string) (string, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return "", errNumber
	}
	const exact = 1 << 53
	if !strings.ContainsAny(s, ".eE") || f < -exact || f > exact || f != float64(int64(f)) {
		return s, nil
	}
	return strconv.FormatInt(int64(f), 10), nil
}

func tooLarge() *Problem {
	p := problem("too-large", "The body is too large.")
	p.Errors = []FieldError{fieldError("body", "", "is too large")}
	return p
}

// readBody reads a body. It knows the size before it asks for it (Expect: 100-continue).
func (a *App) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength > maxBody {
		w.Header().Set("Connection", "close") // or net/http would wait for it, outside of all limits below
		return nil, tooLarge()
	}
	deadline := &bodyDeadline{conn: http.NewResponseController(w)}
	if err := deadline.within(bodyTimeout); err != nil {
		return nil, err
	}
	stop := a.cfg.Host.OnDrain(func() { deadline.within(drainBodyTimeout) }) //nolint:errcheck // then the first one stays
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	stop()
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		err = tooLarge()
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		err = problem("request-timeout", fmt.Sprintf(
			"The body did not arrive in time: send it within %v, %d bytes a second for the largest.", bodyTimeout, maxBody/int(bodyTimeout/time.Second)))
	} else if err != nil {
		p := problem("invalid-request", "The body was cut short or is wrongly framed.")
		p.Status = http.StatusBadRequest
		p.Errors, p.cause = []FieldError{fieldError("body", "", "was cut short or is wrongly framed")}, err
		err = p
	}
	return body, errors.Join(err, deadline.end(err == nil))
}

// bodyDeadline is until when a body has to arrive.
type bodyDeadline struct {
	conn *http.ResponseController

	mu   sync.Mutex
	at   time.Time
	over bool
}

// within makes it so much from now on, or leaves it if it is earlier.
func (d *bodyDeadline) within(limit time.Duration) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := time.Now().Add(limit)
	if d.over || !d.at.IsZero() && d.at.Before(at) {
		return nil
	}
	d.at = at
	return d.set(at)
}

// end takes it back when all has arrived: it would end the request's context in
// the middle of a long handler.
func (d *bodyDeadline) end(arrived bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	if !arrived {
		return nil
	}
	return d.set(time.Time{})
}

func (d *bodyDeadline) set(at time.Time) error {
	if err := d.conn.SetReadDeadline(at); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("set the deadline of a body: %w", err)
	}
	return nil
}
