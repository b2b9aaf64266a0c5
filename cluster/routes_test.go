package cluster_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every route is in the documentation of this package and of package admin, and nothing else.
func TestRoutesAreDocumented(t *testing.T) {
	t.Parallel()
	read := func(path ...string) string {
		t.Helper()
		raw, err := os.ReadFile(filepath.Join(path...))
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	routes := regexp.MustCompile(`HandleFunc\("(\S+) /api/v1/(\w+)"`).FindAllStringSubmatch(read("control.go"), -1)
	if len(routes) < 13 {
		t.Fatalf("only %d routes are found", len(routes))
	}
	doc, admin := read("doc.go"), strings.Join(strings.Fields(read("admin", "doc.go")), " ")
	_, admin, _ = strings.Cut(admin, "package cluster documents them:")
	admin, _, _ = strings.Cut(admin, "/metrics")
	served := map[string]bool{}
	for _, r := range routes {
		served[r[1]+" "+r[2]] = true
		if !regexp.MustCompile(`\n//	` + r[1] + ` +/api/v1/` + r[2] + `\b`).MatchString(doc) {
			t.Errorf("doc.go lacks %s /api/v1/%s", r[1], r[2])
		}
		if !regexp.MustCompile(`\b` + r[2] + `\b`).MatchString(admin) {
			t.Errorf("package admin lacks %s: %s", r[2], admin)
		}
	}
	for _, r := range regexp.MustCompile(`\n//	(\w+) +/api/v1/(\w+)`).FindAllStringSubmatch(doc, -1) {
		if !served[r[1]+" "+r[2]] {
			t.Errorf("doc.go has %s /api/v1/%s, which is not served", r[1], r[2])
		}
	}
}
