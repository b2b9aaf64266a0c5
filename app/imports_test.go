package app_test

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The direction of imports is the architecture of this repository: it is what lets people lift cluster or app/checkout out
// and leave the rest. .ci/golangci.yml says the same to those who run the linter; here it holds for all who run the tests.
//
// Test files may import more than these rules allow: a test of the cart may well create a product.

const (
	repoRoot   = ".." // of the repository, seen from this package
	modulePath = "doorbuster"
)

// nouns are the packages of the domain; foundations are those of them that every other may build on.
var (
	nouns       = []string{"account", "audit", "cart", "catalog", "checkout", "inventory", "money", "payment", "pricing"}
	foundations = []string{"money", "pricing"}
)

// An importRule says what some packages never import, and why. Paths ending in "/..." stand for themselves and all below.
type importRule struct {
	name   string
	from   []string
	except []string
	deep   bool // what they import indirectly counts as well
	never  map[string]string
}

var importRules = []importRule{
	{
		name: "cluster is a library of its own",
		from: []string{modulePath + "/cluster/..."}, deep: true,
		never: map[string]string{
			modulePath + "/app/...":        "people lift cluster out of this repository, and the shop must not come along",
			modulePath + "/cmd/...":        "commands are imported by nobody",
			modulePath + "/migrations/...": "cluster knows no database",
		},
	},
	{
		name: "the shop runs without a master",
		from: []string{modulePath + "/app/..."}, deep: true,
		never: map[string]string{
			modulePath + "/cluster/...": "cmd/doorbuster alone knows both",
			modulePath + "/cmd/...":     "commands are imported by nobody",
		},
	},
	{
		name: "load tests speak HTTP only",
		from: []string{modulePath + "/loadtest/..."}, deep: true,
		// They start databases and fill the shelves by themselves. What they measure of the shop, they do over HTTP.
		except: []string{
			modulePath + "/loadtest/cluster", modulePath + "/loadtest/checkout", modulePath + "/loadtest/soak", modulePath + "/loadtest/hostile",
			modulePath + "/loadtest/internal/shop",
			modulePath + "/loadtest/volume", // it measures nothing
		},
		never: map[string]string{
			modulePath + "/app/...":        "a load test that shares code with the shop shares its mistakes",
			modulePath + "/cluster/...":    "as above",
			modulePath + "/cmd/...":        "commands are imported by nobody",
			modulePath + "/migrations/...": "what HTTP does not show is none of its business",
		},
	},
	{
		name: "the domain does not know who asks",
		from: belowApp(nouns),
		never: map[string]string{
			modulePath + "/app":                 "the HTTP edge imports the domain, never the other way round",
			"net/http/...":                      "HTTP lives in package app",
			"github.com/go-chi/...":             "routing lives in package app",
			"github.com/alexedwards/scs/...":    "sessions live in package app; the domain gets ids",
			"github.com/danielgtaylor/huma/...": "wire types live in package app",
		},
	},
	{
		name: "what is for tests stays in tests",
		from: []string{modulePath + "/..."}, except: []string{modulePath + "/app/dbtest/..."},
		never: testPackages,
	},
}

// testPackages have no place in files that are shipped.
var testPackages = map[string]string{
	modulePath + "/app/dbtest/...":    "it is for _test.go files",
	"github.com/testcontainers/...":   "containers are started by app/dbtest alone",
	"github.com/stretchr/testify/...": "a test library",
	"testing/...":                     "test helpers belong in _test.go files or in app/dbtest",
}

// belowApp lists the packages of some nouns with what is below them.
func belowApp(nouns []string) []string {
	var patterns []string
	for _, n := range nouns {
		patterns = append(patterns, modulePath+"/app/"+n+"/...")
	}
	return patterns
}

func TestImports(t *testing.T) {
	g := loadImports(t)
	for _, r := range importRules {
		t.Run(r.name, func(t *testing.T) {
			for _, p := range g.ours(r.from, r.except) {
				g.walk(p, func(chain []string, last string) bool {
					why, bad := lookupPath(r.never, last)
					if bad {
						t.Errorf("%s\n\t%s", strings.Join(chain, " imports "), why)
					}
					return r.deep && !bad
				})
			}
		})
	}
	t.Run("cluster needs only the standard library and x/sys", func(t *testing.T) {
		allowed := []string{modulePath + "/cluster/...", "golang.org/x/sys/..."}
		// cluster/admin is the master's HTTP face and merges metrics; whoever does not want that does not import it.
		for _, p := range g.ours([]string{modulePath + "/cluster/..."}, []string{modulePath + "/cluster/admin/..."}) {
			g.walk(p, func(chain []string, last string) bool {
				bad := !g[last].Standard && !matchAnyPath(allowed, last)
				if bad {
					t.Errorf("%s", strings.Join(chain, " imports "))
				}
				return !bad
			})
		}
	})
	t.Run("domain nouns do not know each other", func(t *testing.T) {
		joiners := []string{
			modulePath + "/app", modulePath + "/app/checkout/...", modulePath + "/cmd/...",
			modulePath + "/app/volume", modulePath + "/loadtest/volume", // rows of all tables, by the million
			modulePath + "/loadtest/cluster", modulePath + "/loadtest/checkout", modulePath + "/loadtest/soak", modulePath + "/loadtest/hostile",
			modulePath + "/loadtest/internal/shop",
		}
		for _, p := range g.ours([]string{modulePath + "/..."}, joiners) {
			for _, imported := range g[p].Imports {
				n := nounOf(imported)
				if n != "" && n != nounOf(p) && !slices.Contains(foundations, n) {
					t.Errorf("%s imports %s\n\tnouns are joined in app/checkout, in package app and in commands, nowhere else", p, imported)
				}
			}
		}
	})
}

// What a package drags in by its own mistake, and why that is bearable.
var excusedForTesting = map[string]string{
	"github.com/fergusstrange/embedded-postgres": "its test_config.go is a test under the wrong name; testing registers nothing until testing.Init",
}

func TestShippedBinaryCarriesNoTests(t *testing.T) {
	const binary = modulePath + "/cmd/doorbuster"
	g := loadImports(t)
	if _, ok := g[binary]; !ok {
		t.Skip("there is no", binary, "yet")
	}
	g.walk(binary, func(chain []string, last string) bool {
		if g[last].Standard {
			return false
		}
		why, bad := lookupPath(testPackages, last)
		if bad {
			t.Errorf("%s\n\t%s", strings.Join(chain, " imports "), why)
			return false
		}
		_, ok := excusedForTesting[last]
		if links := slices.Contains(g[last].Imports, "testing"); links != ok {
			t.Errorf("%s\n\timports testing: %t, is excused for it: %t", strings.Join(chain, " imports "), links, ok)
		}
		return true
	})
}

// The root is the first thing a visitor sees. Dotfiles are not counted.
func TestRootHoldsWhatItShould(t *testing.T) {
	allowed := []string{
		"cmd", "app", "cluster", "migrations", "deploy", "loadtest",
		"docker-compose.yml", "Dockerfile", "go.mod", "go.sum", "Makefile", "README.md", "LICENSE",
	}
	out, err := runInRoot(t, "git", "ls-files", "-z")
	if err != nil || out == "" {
		t.Skip("not a git checkout:", err)
	}
	found := map[string]bool{}
	for file := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		entry, _, _ := strings.Cut(file, "/")
		found[entry] = true
	}
	for _, entry := range slices.Sorted(maps.Keys(found)) {
		if !strings.HasPrefix(entry, ".") && !slices.Contains(allowed, entry) {
			t.Errorf("%s does not belong in the root; it holds only %s and dotfiles", entry, strings.Join(allowed, " "))
		}
	}
}

// An importGraph holds every package of this module and all they import, by import path; test files are left out.
type importGraph map[string]struct {
	ImportPath string
	Standard   bool
	Imports    []string
}

func loadImports(t *testing.T) importGraph {
	t.Helper()
	readTree(t)
	// -e: a package that does not compile is another test's complaint. readonly: a test never edits go.mod.
	out, err := runInRoot(t, "go", "list", "-e", "-mod=readonly", "-deps", "-json=ImportPath,Standard,Imports", "./...")
	if err != nil {
		t.Fatal(err)
	}
	g := importGraph{}
	for dec := json.NewDecoder(strings.NewReader(out)); ; {
		p := g[""]
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		g[p.ImportPath] = p
	}
	if _, ok := g[modulePath+"/app/money"]; !ok {
		t.Fatalf("go list found %d packages, but not %s/app/money", len(g), modulePath)
	}
	return g
}

// readTree opens every Go file. The go command keeps a test's verdict until a file changes that the test itself opened;
// what go list reads for us it does not see.
func readTree(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(repoRoot, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != repoRoot && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case filepath.Ext(path) == ".go" || d.Name() == "go.mod":
			_, err = os.ReadFile(path)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// ours lists the packages of this module that match from and not except, in order.
func (g importGraph) ours(from, except []string) []string {
	var paths []string
	for _, p := range slices.Sorted(maps.Keys(g)) {
		if matchPath(modulePath+"/...", p) && matchAnyPath(from, p) && !matchAnyPath(except, p) {
			paths = append(paths, p)
		}
	}
	return paths
}

// walk visits what p imports, nearest first and each package once, with a shortest chain of imports that leads there. Where
// visit returns false it goes no further.
func (g importGraph) walk(p string, visit func(chain []string, last string) bool) {
	seen := map[string]bool{p: true, "C": true} // "C" is no package but the door to cgo
	for queue := [][]string{{p}}; len(queue) > 0; queue = queue[1:] {
		for _, next := range g[queue[0][len(queue[0])-1]].Imports {
			if seen[next] {
				continue
			}
			seen[next] = true
			if chain := append(slices.Clone(queue[0]), next); visit(chain, next) {
				queue = append(queue, chain)
			}
		}
	}
}

// nounOf returns the domain package that path is or lies below, "" if none.
func nounOf(path string) string {
	rest, ok := strings.CutPrefix(path, modulePath+"/app/")
	first, _, _ := strings.Cut(rest, "/")
	if !ok || !slices.Contains(nouns, first) {
		return ""
	}
	return first
}

func matchPath(pattern, path string) bool {
	base, below := strings.CutSuffix(pattern, "/...")
	return path == base || below && strings.HasPrefix(path, base+"/")
}

func matchAnyPath(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matchPath(p, path) })
}

func lookupPath(never map[string]string, path string) (why string, bad bool) {
	for p, why := range never {
		if matchPath(p, path) {
			return why, true
		}
	}
	return "", false
}

// runInRoot runs a program in the root and returns what it prints.
func runInRoot(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = repoRoot
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return "", errors.New(name + ": " + strings.TrimSpace(string(exit.Stderr)))
	}
	return string(out), err
}
