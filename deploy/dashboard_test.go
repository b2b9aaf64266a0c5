package deploy_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

// panel is as much of a dashboard's panel as is looked at here.
type panel struct {
	Title   string
	Targets []struct{ Expr string }
}

func readDashboard(t *testing.T) []panel {
	t.Helper()
	raw, err := os.ReadFile("grafana/dashboards/shop.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct{ Panels []panel }
	if err := json.Unmarshal(raw, &dashboard); err != nil {
		t.Fatal(err)
	}
	return dashboard.Panels
}

// A panel of a metric that nobody exports stays empty, and nobody notices.
func TestDashboardMetrics(t *testing.T) {
	t.Parallel()
	var exported strings.Builder
	for _, file := range []string{"../app/metrics.go", "../cluster/admin/metrics.go"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		exported.Write(source)
	}
	panels := readDashboard(t)
	metric := regexp.MustCompile(`\b(shop|cluster|http|postgres)_[a-z_]+`)
	suffix := regexp.MustCompile(`_(bucket|count|sum)$`)
	seen := 0
	for _, p := range panels {
		for _, target := range p.Targets {
			for _, name := range metric.FindAllString(target.Expr, -1) {
				seen++
				if !strings.Contains(exported.String(), `"`+name+`"`) && !strings.Contains(exported.String(), `"`+suffix.ReplaceAllString(name, "")+`"`) {
					t.Errorf("panel %q shows %s, which is not exported", p.Title, name)
				}
			}
		}
		if len(p.Targets) == 0 {
			t.Errorf("panel %q shows nothing", p.Title)
		}
	}
	if seen < len(panels) {
		t.Errorf("%d metrics in %d panels", seen, len(panels))
	}
}
