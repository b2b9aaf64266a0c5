package app_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doorbuster/app"
)

// A code is written once, in the table: each that the shop or its master can answer with is in the enum of the document,
// has a page behind its type, and nothing else has.
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

// codesInSource returns the codes that the shop answers with: in package app the first argument of the functions that make
// a problem, and in package cluster, which answers for a shop that has no worker, what stands in a type.
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

// Where a handler of files has none, and where a method fits nothing, the answer is a problem as everywhere.
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
