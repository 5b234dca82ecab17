// Package corpus gives tests the captures and torture messages that stand
// beside the checkout, in ../shared/corpus of the module's root. They are test
// data made by others: read in place, never copied into the project. Where they
// are absent, the tests that need them skip. Only tests import this package.
package corpus

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Find is the folder of the corpus, or false where it is absent.
func Find(tb testing.TB) (string, bool) {
	tb.Helper()
	root, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for !exists(filepath.Join(root, "go.mod")) {
		if root == filepath.Dir(root) {
			tb.Fatal("no go.mod above the test")
		}
		root = filepath.Dir(root)
	}
	dir := filepath.Join(root, "..", "shared", "corpus")
	return dir, exists(dir)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Dir is the folder of the corpus; where it is absent, the test is skipped.
func Dir(tb testing.TB) string {
	tb.Helper()
	dir, ok := Find(tb)
	if !ok {
		tb.Skipf("no corpus at %s: its captures and messages are not read", dir)
	}
	return dir
}

// Index is a row by column for each capture of calls; "file" names it.
func Index(tb testing.TB) []map[string]string {
	tb.Helper()
	return table(tb, filepath.Join(Dir(tb), "INDEX.tsv"))
}

// Capture is the path of a capture that Index names.
func Capture(tb testing.TB, file string) string {
	tb.Helper()
	return filepath.Join(Dir(tb), "captures", file)
}

// Reference is what tshark reads in a capture that Index names: a row by column
// for each SIP message (kind "sip") or RTP stream (kind "rtp").
func Reference(tb testing.TB, file, kind string) []map[string]string {
	tb.Helper()
	return table(tb, filepath.Join(Dir(tb), "ref", strings.ReplaceAll(file, "/", "__")+"."+kind+".tsv"))
}

// table reads a file of tab-separated columns under a line of their names. A
// row that ends early lacks its last columns.
func table(tb testing.TB, path string) (rows []map[string]string) {
	tb.Helper()
	var head []string
	for line := range strings.Lines(string(read(tb, path))) {
		cells := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if head == nil {
			head = cells
			continue
		}
		if len(cells) > len(head) {
			tb.Fatalf("%s has %d columns, and a row of %d: %q", path, len(head), len(cells), line)
		}
		row := make(map[string]string, len(cells))
		for i, cell := range cells {
			row[head[i]] = cell
		}
		rows = append(rows, row)
	}
	if head == nil {
		tb.Fatalf("%s is empty", path)
	}
	return rows
}

// Torture is one file of messages that are meant to break parsers, by set and
// name.
func Torture(tb testing.TB, set, name string) []byte {
	tb.Helper()
	return read(tb, filepath.Join(Dir(tb), "torture", set, name))
}

// EachTorture calls f, in a subtest, with each file of torture messages whose
// set and name match pattern. There must be one.
func EachTorture(t *testing.T, pattern string, f func(t *testing.T, name string, b []byte)) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(Dir(t), "torture", pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("find %s: %v, %d files", pattern, err, len(paths))
	}
	for _, p := range paths {
		b, name := read(t, p), filepath.Base(p)
		t.Run(name, func(t *testing.T) { f(t, name, b) })
	}
}

func read(tb testing.TB, path string) []byte {
	tb.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}
