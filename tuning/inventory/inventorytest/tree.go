// Package inventorytest makes machines out of text files, for tests only.
package inventorytest

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
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
func (a Asked) Ethtool(name string) inventory.Ethtool { return a.NICs[name] }

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
// calls. Lines before the first file say what it is.
func Tree(t *testing.T, path string) (root string, asked inventory.Caller) {
	t.Helper()
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	root = t.TempDir()
	var to string
	files := map[string]string{}
	for line := range strings.Lines(string(src)) {
		if name, ok := strings.CutPrefix(line, "== "); ok {
			to = strings.TrimSpace(name)
		} else if link, ok := strings.CutPrefix(line, "-> "); ok {
			from, target, _ := strings.Cut(strings.TrimSpace(link), " ")
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(root, from)), 0o755))
			must(t, os.Symlink(target, filepath.Join(root, from)))
			to = ""
		} else if to != "" {
			files[to] += line
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
