package api

import (
	"os"
	"strings"
	"testing"
)

// docs/api.md lists every code.
func TestCodesAreDocumented(t *testing.T) {
	manual, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, c := range codes {
		if !strings.Contains(string(manual), "`"+c.name+"`") {
			t.Errorf("docs/api.md does not say what %s is", c.name)
		}
		if seen[c.name] || c.status < 400 || c.title == "" {
			t.Errorf("%+v", c)
		}
		seen[c.name] = true
	}
}
