package ringside_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestBenchmarksDoc: what docs/benchmarks.md names is there: files that it links to, and
// of its commands the scripts, the subcommands of ringbench, the targets of make, and the tests
// and benchmarks by name.
func TestBenchmarksDoc(t *testing.T) {
	const doc = "docs/benchmarks.md"
	b, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	links := regexp.MustCompile(`\]\(([^)#]+)\)`).FindAllStringSubmatch(string(b), -1)
	for _, m := range links {
		if _, err := os.Stat(filepath.Join(filepath.Dir(doc), m[1])); err != nil {
			t.Errorf("%s links to %s: %v", doc, m[1], err)
		}
	}
	commands := 0
	for _, m := range regexp.MustCompile("`((?:go test|ringbench|make|bench/)[^`]*)`").FindAllStringSubmatch(string(b), -1) {
		commands++
		if why := missing(t, strings.Fields(m[1])); why != "" {
			t.Errorf("%s names %q: %s", doc, m[1], why)
		}
	}
	if len(links) < 30 || commands < 30 {
		t.Errorf("%s has %d links and %d commands: the test does not find them", doc, len(links), commands)
	}
}

// The check of a command finds what is not there, also in one that is cut short.
func TestMissing(t *testing.T) {
	for command, want := range map[string]string{
		"make soak":                                 "",
		"make":                                      "what of it",
		"make nothing-of-this":                      "no such target",
		"ringbench soak --for 10m":                  "",
		"ringbench":                                 "what of it",
		"ringbench odd":                             "no such subcommand",
		"bench/read.sh 7":                           "",
		"bench/none.sh":                             "no such script",
		"go test":                                   "what of it",
		"go test ./bench/soak -run TestSoak -v":     "",
		"go test ./bench/soak -c -o build/leaky":    "",
		"go test ./bench/soak -run":                 "no pattern",
		"go test ./bench/soak -run TestNothing":     "no Test",
		"go test ./bench/soak -bench OfNothing":     "no Benchmark",
		"go test ./bench/soak -run TestSoak -odd 3": "no flag -odd",
	} {
		if got := missing(t, strings.Fields(command)); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", command, got, want)
		}
	}
}

// missing says what of a command is not there.
func missing(t *testing.T, words []string) string {
	t.Helper()
	has := func(path, pattern string) bool {
		files, _ := filepath.Glob(path)
		for _, name := range files {
			if b, err := os.ReadFile(name); err == nil && regexp.MustCompile(pattern).Match(b) {
				return true
			}
		}
		return false
	}
	switch {
	case len(words) < 2 && !strings.HasPrefix(words[0], "bench/"), words[0] == "go" && len(words) < 3:
		return "it does not say what of it"
	case strings.HasPrefix(words[0], "bench/"):
		if _, err := os.Stat(words[0]); err != nil {
			return "there is no such script"
		}
		return ""
	case words[0] == "make":
		if !has("Makefile", `(?m)^`+regexp.QuoteMeta(words[1])+`:`) {
			return "there is no such target"
		}
		return ""
	case words[0] == "ringbench":
		if !has("bench/cmd/ringbench/*.go", `\{"`+regexp.QuoteMeta(words[1])+`", "`) {
			return "there is no such subcommand"
		}
		return ""
	}
	// go test PACKAGE flags
	tests := filepath.Join(words[2], "*_test.go")
	for i := 3; i < len(words); i++ {
		name := strings.TrimPrefix(words[i], "-")
		switch name {
		case "run", "bench":
			if i++; i == len(words) {
				return "-" + name + " has no pattern"
			}
			// The first part of the pattern, without what it ends with, begins or ends a name.
			pattern, _, _ := strings.Cut(strings.Trim(words[i], "'$^"), "/")
			if kind := map[string]string{"run": "Test", "bench": "Benchmark"}[name]; pattern != "xxx" &&
				!has(tests, `(?m)^func `+kind+`\w*`+regexp.QuoteMeta(strings.TrimPrefix(strings.Trim(pattern, "$"), kind))) {
				return "no " + kind + " is called like " + pattern
			}
		case "benchtime", "count", "o":
			i++
		case "v", "c":
		default:
			if !has(tests, `flag\.\w+\("`+regexp.QuoteMeta(name)+`"`) {
				return "its tests have no flag -" + name
			}
			if i+1 < len(words) && !strings.HasPrefix(words[i+1], "-") {
				i++
			}
		}
	}
	return ""
}
