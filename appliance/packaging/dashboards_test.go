package packaging_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// served are the names of all samples of the page that ringside serves.
func served(t *testing.T) map[string]bool {
	t.Helper()
	b, err := os.ReadFile("../metrics/testdata/page.txt")
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)^(ringside_\w+)`).FindAllSubmatch(b, -1) {
		out[string(m[1])] = true
	}
	if len(out) < 30 {
		t.Fatalf("the golden page has %d names only", len(out))
	}
	return out
}

var metricName = regexp.MustCompile(`\bringside_\w+`)

// dashboard is one of Grafana, as far as it is looked at.
type dashboard struct {
	UID    string
	Title  string
	Panels []struct {
		ID      int
		Type    string
		Title   string
		GridPos struct{ X, Y, W, H int }
		Targets []struct{ Expr string }
	}
}

// Whatever dashboards and rules ask for is on the page, and whatever is on the page
// that an operator needs is on a dashboard.
func TestNamesExist(t *testing.T) {
	names := served(t)
	files, err := filepath.Glob("grafana/*.json")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 2 {
		t.Fatalf("dashboards: %v", files)
	}
	used := make(map[string]bool)
	for _, file := range append(files, rulesFile) {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range metricName.FindAllString(string(b), -1) {
			used[name] = true
			if !names[name] {
				t.Errorf("%s asks for %s, which is not on the page", file, name)
			}
		}
	}
	for name := range names {
		if base := strings.TrimSuffix(strings.TrimSuffix(name, "_sum"), "_count"); !used[name] && !used[base+"_bucket"] {
			t.Errorf("%s is on no dashboard and in no rule", name)
		}
	}
}

func TestDashboards(t *testing.T) {
	files, err := filepath.Glob("grafana/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var d dashboard
			if err := json.Unmarshal(b, &d); err != nil {
				t.Fatal(err)
			}
			if d.UID == "" || d.Title == "" || len(d.Panels) < 10 {
				t.Errorf("uid %q, title %q, %d panels", d.UID, d.Title, len(d.Panels))
			}
			var ids []int
			taken := make(map[[2]int]string)
			for _, p := range d.Panels {
				if slices.Contains(ids, p.ID) {
					t.Errorf("two panels have the id %d", p.ID)
				}
				ids = append(ids, p.ID)
				if p.Type != "row" && len(p.Targets) == 0 {
					t.Errorf("panel %q shows nothing", p.Title)
				}
				for _, q := range p.Targets {
					if !strings.Contains(q.Expr, `instance=~"$instance"`) {
						t.Errorf("panel %q does not go by the chosen instance: %s", p.Title, q.Expr)
					}
				}
				for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
					for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
						if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
							t.Fatalf("panel %q lies over %q, or beyond the edge", p.Title, other)
						}
						taken[[2]int{x, y}] = p.Title
					}
				}
			}
		})
	}
}
