// Package inventorytest makes machines out of text files, for tests only.
package inventorytest

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"ringside/tuning/inventory"
)

// Asked is a Caller that says what a test has written down.
type Asked struct {
	State *struct {
		Synced   bool  `json:"synced"`
		MaxError int64 `json:"max_error_us"`
	} `json:"clock"`
	NICs map[string]inventory.Ethtool `json:"ethtool"`
	Dirs map[string]inventory.Volume  `json:"volumes"`
	IPs  map[string][]string          `json:"addresses"`
}

var errSilent = errors.New("the test says nothing about it")

// Clock implements inventory.Caller.
func (a Asked) Clock() (bool, int64, error) {
	if a.State == nil {
		return false, 0, errSilent
	}
	return a.State.Synced, a.State.MaxError, nil
}

// Ethtool implements inventory.Caller.
func (a Asked) Ethtool(name string) inventory.Ethtool {
	e := a.NICs[name]
	e.Settings = maps.Clone(e.Settings) // the test may change its own
	e.Summarise()
	return e
}

// Addresses implements inventory.Caller.
func (a Asked) Addresses(name string) []string { return a.IPs[name] }

// Volume implements inventory.Caller.
func (a Asked) Volume(dir string) (inventory.Volume, error) {
	v, ok := a.Dirs[dir]
	if !ok {
		return v, errSilent
	}
	return v, nil
}

// Tree writes the files of a machine below a directory. In the file, "== PATH"
// begins a file, "-> PATH TARGET" is a link, and asked.json is what is asked by
// calls. Lines before the first file say what it is. A path with {0-7} is eight
// files, and a line that begins with {0-7} is eight lines; in them $n is the number,
// and $i how many there were before. systemd runs on all of them.
func Tree(t *testing.T, path string) (root string, asked inventory.Caller) {
	t.Helper()
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	root = t.TempDir()
	must(t, os.MkdirAll(filepath.Join(root, "run/systemd/system"), 0o755))
	var to []string
	files := map[string]string{}
	for line := range strings.Lines(string(src)) {
		if name, ok := strings.CutPrefix(line, "== "); ok {
			to = expand(strings.TrimSpace(name))
		} else if link, ok := strings.CutPrefix(line, "-> "); ok {
			from, target, _ := strings.Cut(strings.TrimSpace(link), " ")
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(root, from)), 0o755))
			must(t, os.Symlink(target, filepath.Join(root, from)))
			to = nil
		} else {
			lines := []string{line}
			if len(to) == 1 && strings.HasPrefix(line, "{") && !strings.HasPrefix(line, "{\"") {
				lines = expand(line)
			}
			for i, name := range to {
				for _, l := range lines {
					files[name] += strings.NewReplacer("$i", strconv.Itoa(i)).Replace(l)
				}
			}
		}
	}
	var a Asked
	must(t, json.Unmarshal([]byte(files["asked.json"]), &a))
	for name, text := range files {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(root, name), []byte(text), 0o644))
	}
	return root, a
}

// expand writes out what has a range of numbers in braces, once for each.
func expand(s string) []string {
	before, rest, ok := strings.Cut(s, "{")
	within, after, closed := strings.Cut(rest, "}")
	if !ok || !closed {
		return []string{s}
	}
	var out []string
	for i, n := range inventory.Set(within) {
		number := strconv.Itoa(n)
		text := before + number + after
		if before == "" { // a line of text: the number is where $n is
			text = strings.TrimPrefix(after, " ")
		}
		out = append(out, strings.NewReplacer("$n", number, "$i", strconv.Itoa(i)).Replace(text))
	}
	return out
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Volumes are directories to ask about: a spool, then a store.
func Volumes(dirs ...string) []inventory.Volume {
	out := make([]inventory.Volume, len(dirs))
	for i, d := range dirs {
		out[i] = inventory.Volume{Name: []string{"spool", "store"}[i], Dir: d}
	}
	return out
}

// Golden compares a text with a file.
func Golden(t *testing.T, path, got string, update bool) {
	t.Helper()
	if update {
		must(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if got != string(want) {
		t.Errorf("%s differs (run with -update and look at the diff); got:\n%s", path, got)
	}
}
