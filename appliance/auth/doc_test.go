package auth

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The table of the manual says what the roles are.
func TestManual(t *testing.T) {
	b, err := os.ReadFile("../../docs/auth.md")
	if err != nil {
		t.Fatal(err)
	}
	said := map[Permission]bool{}
	var head []string
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(strings.Trim(line, "| \n"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if cells[0] == "viewer" {
			head = cells
		}
		for _, p := range regexp.MustCompile("`([a-z]+:[a-z]+)`").FindAllStringSubmatch(cells[0], -1) {
			if !strings.HasPrefix(line, "|") {
				continue
			}
			perm := Permission(p[1])
			said[perm] = true
			// The corner of the head is empty, and trimmed away.
			for i, role := range head {
				marked := i+1 < len(cells) && cells[i+1] == "x"
				if can := slices.Contains(Role(role).Permissions(), perm); can != marked {
					t.Errorf("%s of %s: the manual says %v, the code %v", perm, role, marked, can)
				}
			}
		}
	}
	if len(head) != len(Roles()) || len(said) != len(Permissions()) {
		t.Errorf("the manual has roles %v and %d permissions, want %v and %d", head, len(said), Roles(), len(Permissions()))
	}
}
