package cluster_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"doorbuster/cluster"
)

// Whatever a handler answers that was at work when the drain began: the answer says that the connection has to go, arrives
// as it would have otherwise, and ends the connection.
func TestNoticeInAnswersInFlight(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "page")
	if err := os.WriteFile(file, bytes.Repeat([]byte("a page "), 1<<15), 0o600); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 6000)
	for name, c := range map[string]struct {
		request string
		handler http.HandlerFunc
		before  http.HandlerFunc // what is answered before the drain begins
		keeps   bool             // it can't or need not be told
	}{
		"nothing":    {handler: func(http.ResponseWriter, *http.Request) {}},
		"text":       {handler: greet},
		"a status":   {handler: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }},
		"no content": {handler: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }},
		"not modified": {handler: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Etag", `"1"`)
			w.WriteHeader(http.StatusNotModified)
		}},
		"chunks": {handler: func(w http.ResponseWriter, _ *http.Request) {
			for range 3 {
				io.WriteString(w, long)
				w.(http.Flusher).Flush()
			}
		}},
		"a file":      {handler: func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) }},
		"a long head": {handler: func(w http.ResponseWriter, r *http.Request) { w.Header().Set("A-Long-One", long); greet(w, r) }},
		"a trailer": {handler: func(w http.ResponseWriter, r *http.Request) {
			greet(w, r)
			w.Header().Set(http.TrailerPrefix+"Sum", "1")
		}},
		"HEAD":            {request: "HEAD / HTTP/1.1\r\nHost: shop\r\n\r\n", handler: greet},
		"an unread body":  {request: "POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 5\r\n\r\nhello", handler: greet},
		"hints before":    {before: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusEarlyHints) }, handler: greet},
		"hints meanwhile": {handler: func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusEarlyHints); greet(w, r) }},
		"100 Continue": {
			request: "POST / HTTP/1.1\r\nHost: shop\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
			handler: func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); greet(w, r) },
		},
		"its own close": {handler: func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Connection", "close"); greet(w, r) }},
		"its own words": {keeps: true, handler: func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Connection", "x"); greet(w, r) }},
		"HTTP/1.0":      {keeps: true, request: "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", handler: greet},
		"a head that had left, and a body that looks like one": {
			keeps: true,
			before: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "19")
				w.(http.Flusher).Flush()
			},
			handler: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "HTTP/1.1 200 OK\r\n\r\n") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.request == "" {
				c.request = "GET / HTTP/1.1\r\nHost: shop\r\n\r\n"
			}
			method, _, _ := strings.Cut(c.request, " ")
			open := func() (*workplace, *patron) {
				p := openWorkplace(t, func(p *workplace) {
					p.LameDuck = time.Hour / 2
					p.HTTP.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if c.before != nil {
							c.before(w, r)
						}
						p.entered <- ""
						<-p.release
						c.handler(w, r)
					})
				})
				v := p.patron()
				v.send(c.request)
				<-p.entered
				return p, v
			}
			p, v := open()
			p.release <- struct{}{}
			want, wantBody := readAnswer(v, method)
			v.Close()
			p.close()

			p, v = open()
			p.tellToStop()
			p.release <- struct{}{}
			got, body := readAnswer(v, method)
			if body != wantBody || got.StatusCode != want.StatusCode || got.ContentLength != want.ContentLength {
				t.Errorf("got %d and %d bytes, want %d and %d", got.StatusCode, len(body), want.StatusCode, len(wantBody))
			}
			got.Header.Del("Date")
			want.Header.Del("Date")
			if got.Close == c.keeps {
				t.Errorf("closing: got %v", got.Close)
			}
			if fmt.Sprint(got.Header, got.Trailer) != fmt.Sprint(want.Header, want.Trailer) {
				t.Errorf("got %v, want %v", got.Header, want.Header)
			}
			if c.keeps {
				v.Close()
			} else {
				v.gone()
			}
			p.mustEnd(nil)
		})
	}
}

// readAnswer reads an answer, and what is said before it.
func readAnswer(v *patron, method string) (*http.Response, string) {
	v.t.Helper()
	for {
		resp, err := http.ReadResponse(v.buf, &http.Request{Method: method})
		if err != nil {
			v.t.Fatal(err)
		}
		if resp.StatusCode < 200 {
			continue
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			v.t.Fatal(err)
		}
		return resp, string(body)
	}
}

// An answer with the notice is the same answer, and says that it is the last; what is no head, or says something about the
// connection itself, stays as it is.
func FuzzNoticePlace(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 200 OK\r\nConnection: x\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\n", "5\r\nhello\r\n", "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		at := cluster.NoticePlace(p)
		if line := bytes.Index(p, []byte("\r\n")) + 2; at != 0 && (at != line || !bytes.HasPrefix(p, []byte("HTTP/1.1 "))) {
			t.Fatalf("%q: the notice would go to %d", p, at)
		}
		if at == 0 || bytes.Count(p, []byte("\n")) != bytes.Count(p, []byte("\r\n")) {
			return // net/http ends lines with both
		}
		parse := func(p []byte) (*http.Response, error) {
			return http.ReadResponse(bufio.NewReader(bytes.NewReader(p)), nil)
		}
		want, err := parse(p)
		if err != nil {
			return // the head is longer than p, or net/http would not write it
		}
		got, err := parse(slices.Concat(p[:at], []byte(cluster.Notice), p[at:]))
		if err != nil || got.StatusCode != want.StatusCode || !got.Close {
			t.Fatalf("%q: got %v, %v", p, got, err)
		}
		want.Header.Del("Connection") // one in unusual letters
		got.Header.Del("Connection")
		if fmt.Sprint(got.Header) != fmt.Sprint(want.Header) {
			t.Fatalf("%q: got %v, want %v", p, got.Header, want.Header)
		}
	})
}
