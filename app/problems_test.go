package app_test

import (
	"bufio"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doorbuster/app"
)

// A code is written once, in the table: each that the shop or its master can
// answer with is in the enum of the document, has a page behind its type, and
// nothing else has.
func TestEveryCodeHasItsPage(t *testing.T) {
	t.Parallel()
	v := open(t).visitor()
	var doc struct {
		Components struct {
			Schemas struct {
				Problem struct {
					Properties struct {
						Code struct{ Enum []string }
					}
				}
			}
		}
	}
	v.do("GET", "/openapi.json", nil).want(http.StatusOK, &doc)
	enum := doc.Components.Schemas.Problem.Properties.Code.Enum
	if diff := cmp.Diff(slices.Sorted(maps.Keys(codesInSource(t))), enum); diff != "" {
		t.Errorf("codes in the source and in the document (-source +document):\n%s", diff)
	}
	for _, code := range enum {
		var page app.ProblemKind
		r := v.do("GET", "/problems/"+code, nil, "Accept", "application/json").want(http.StatusOK, &page)
		if page.Code != code || page.Type != "/problems/"+code || page.Title == "" || page.Means == "" || page.Remedy == "" || len(page.Status) == 0 {
			t.Errorf("%s: got %s", code, r.body)
		}
		for _, accept := range []string{"", "*/*", "text/html,application/xhtml+xml,application/json;q=0.9"} {
			html := v.do("GET", "/problems/"+code, nil, "Accept", accept).want(http.StatusOK, nil)
			if media := html.header.Get("Content-Type"); media != "text/html; charset=utf-8" || !strings.Contains(string(html.body), "<code>"+code+"</code>") {
				t.Errorf("%s for %q: got %s: %s", code, accept, media, html.body)
			}
		}
	}
	v.do("GET", "/problems/nonsense", nil).problem(http.StatusNotFound, "not-found")
}

// codesInSource returns the codes that the shop answers with: in package app
// the first argument of the functions that make a problem, and in package
// cluster, which answers for a shop that has no worker, what stands in a type.
func codesInSource(t *testing.T) map[string]bool {
	t.Helper()
	codes := map[string]bool{}
	makers := []string{"problem", "refusal", "temporary", "refuse"}
	eachFile(t, ".", func(file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			if name, ok := call.Fun.(*ast.Ident); ok && slices.Contains(makers, name.Name) {
				if text, ok := stringIn(call.Args[0]); ok && !strings.Contains(text, " ") { // the e-mail's refuse gives reasons
					codes[text] = true
				}
			}
			return true
		})
	})
	eachFile(t, "../cluster", func(file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			if e, ok := n.(ast.Expr); ok {
				if text, ok := stringIn(e); ok {
					if code, ok := strings.CutPrefix(text, "/problems/"); ok {
						codes[code] = true
					}
				}
			}
			return true
		})
	})
	return codes
}

func stringIn(e ast.Expr) (string, bool) {
	literal, ok := e.(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(literal.Value)
	return text, err == nil
}

// eachFile parses the Go files below a folder, but for tests.
func eachFile(t *testing.T, folder string, f func(*ast.File)) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		f(file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Where a handler of files has none, and where a method fits nothing, the
// answer is a problem as everywhere.
func TestOneFormOfErrors(t *testing.T) {
	t.Parallel()
	v := open(t).visitor()
	for _, path := range []string{"/docs/nothing", "/docs/swagger-ui.cs", "/docs/a/b", "/problems", "/problems/", "/nothing"} {
		v.do("GET", path, nil).problem(http.StatusNotFound, "not-found")
		v.do("HEAD", path, nil).want(http.StatusNotFound, nil)
	}
	for _, path := range []string{"/docs", "/docs/", "/openapi.json", "/problems/internal", "/v1/cart"} {
		v.do("OPTIONS", path, nil).problem(http.StatusMethodNotAllowed, "method-not-allowed")
	}
}

// What net/http refuses before the shop sees it has no form, as the document says; all else has.
func TestBeforeTheShop(t *testing.T) {
	t.Parallel()
	s := open(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := s.app.HTTPServer()
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	const problem, text, none = "application/problem+json", "text/plain; charset=utf-8", ""
	for name, c := range map[string]struct {
		request, media string
		status         int
	}{
		"malformed path":    {"GET /%zz HTTP/1.1\r\nHost: shop\r\n\r\n", text, 400},
		"no Host":           {"GET /livez HTTP/1.1\r\n\r\n", text, 400},
		"malformed Host":    {"GET /livez HTTP/1.1\r\nHost: a b\r\n\r\n", text, 400},
		"malformed header":  {"GET /livez HTTP/1.1\r\nHost: shop\r\nA B: c\r\n\r\n", text, 400},
		"unknown Expect":    {"GET /livez HTTP/1.1\r\nHost: shop\r\nExpect: wonders\r\n\r\n", none, 417},
		"headers too large": {"GET /livez HTTP/1.1\r\nHost: shop\r\nA: " + strings.Repeat("b", 1<<16) + "\r\n\r\n", text, 431},
		"transfer coding":   {"POST /v1/cart/items HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: gzip\r\n\r\n", text, 501},
		"version":           {"GET /livez HTTP/3.0\r\nHost: shop\r\n\r\n", text, 505},
		"options of all":    {"OPTIONS * HTTP/1.1\r\nHost: shop\r\n\r\n", problem, 404},
		"a proxy's request": {"CONNECT shop:443 HTTP/1.1\r\nHost: shop\r\n\r\n", problem, 405},
		"malformed query":   {"GET /v1/cart?a=%zz HTTP/1.1\r\nHost: shop\r\n\r\n", problem, 422},
		"unknown method":    {"BREW /v1/cart HTTP/1.1\r\nHost: shop\r\n\r\n", problem, 405},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, c.request); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if media := resp.Header.Get("Content-Type"); resp.StatusCode != c.status || media != c.media {
				body, _ := io.ReadAll(resp.Body)
				t.Errorf("got %d, %q, want %d, %q: %s", resp.StatusCode, media, c.status, c.media, body)
			}
		})
	}
}
