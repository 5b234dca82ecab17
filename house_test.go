// Package ringside_test holds the rules of the house: which package may import
// which, and what every file looks like. docs/architecture.md gives the reasons.
package ringside_test

import (
	"bytes"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "ringside/"

// inside says what a package may import of the module. The rule with the
// longest matching folder counts; a package may import what lies below itself
// only if its rule says so. Test files are free, so that packages can be tested
// together.
var inside = []struct {
	in   string   // folder
	may  []string // folders it may import
	says string
}{
	{"dataplane/frame", nil, "dataplane/frame is a leaf: it imports nothing of ringside"},
	{"flow/record", nil, "flow/record is a leaf: it imports nothing of ringside"},
	{"dataplane", []string{"dataplane/frame"}, "sources and decoders know frames and nothing else: dataplane imports dataplane/frame only"},
	{"dataplane/decode", []string{"dataplane/frame", "dataplane/defrag"}, "the decoder knows frames, and how fragments are put together"},
	{"dataplane/xdp", []string{"bpf", "dataplane/frame"}, "what loads the kernel's side knows it, and frames"},
	{"dataplane/nic", nil, "what an interface is and counts is asked of the kernel alone: dataplane/nic imports nothing of ringside"},
	{"flow", []string{"dataplane/frame", "flow"}, "flow reads frames and makes records: of the other folders it imports dataplane/frame only"},
	{"flow/sip", []string{"dataplane/frame"}, "a parser knows no calls and no streams"},
	{"flow/sdp", []string{"dataplane/frame"}, "a parser knows no calls and no streams"},
	{"flow/rtp", []string{"dataplane/frame"}, "a parser knows no calls and no streams"},
	{"flow/meter", []string{"flow/quality", "flow/record", "flow/rtp"}, "the meter sees the packets of one stream and nothing else"},
	{"flow/quality", []string{"flow/record", "flow/rtp"}, "quality is computed from counters alone"},
	{"flow/call", []string{"dataplane/frame", "flow/record", "flow/rtp", "flow/sdp", "flow/sip"}, "a call table knows nothing of shards and meters"},
	{"flow/tls", nil, "decryption knows bytes and keys"},
	{"flow/sctp", []string{"dataplane/frame"}, "reassembly knows packets, not what they carry"},
	{"flow/stream", []string{"dataplane/frame", "flow/record", "flow/sctp", "flow/sip", "flow/tls"}, "streams are put together without knowing calls"},
	{"flow/register", []string{"dataplane/frame", "flow/call", "flow/record", "flow/sip"}, "registrations and exchanges know nothing of shards and media"},
	{"flow/event", []string{"flow/record"}, "events are limited by what their records say"},
	{"flow/rule", []string{"flow/record", "flow/sip"}, "rules ask what messages and records say"},
	{"flow/relate", []string{"flow/record"}, "legs are linked by what their records say"},
	{"flow/vq", []string{"flow/record"}, "a parser knows no calls and no streams"},
	{"writer", []string{"flow/record", "dataplane/frame", "writer"}, "writers take records and bytes: they import leaves and other writers only"},
	{"tuning", []string{"dataplane/nic", "tuning"}, "tuning knows the machine, not the packets: of the other folders it imports dataplane/nic, which knows what drivers count and imports nothing of ringside"},
	{"bpf", []string{"bpf"}, "bpf is the kernel's side: it imports nothing of ringside"},
	{"bench", []string{"flow/record", "dataplane/frame", "bench"}, "what ringside is measured with must not be made of it: bench imports leaves only"},
	{"bench/replay", []string{"bpf", "dataplane/frame", "bench"}, "what ringside is measured with must not be made of it: of the kernel's side senders have a program of their own"},
	{"appliance", []string{"flow/record", "writer/store", "appliance"}, "parts of the appliance read the store and ask the daemon; only appliance/daemon knows the machinery"},
	{"appliance/cli", []string{"appliance/auth", "appliance/config", "appliance/daemon", "appliance/tui", "flow/call", "flow/record", "flow/rule", "tuning", "writer/store"}, "commands ask the daemon and the store; only appliance/daemon knows the machinery"},
	{"appliance/audio", []string{"flow/record", "flow/rtp", "flow/sdp"}, "audio is made from packets that somebody hands over: it knows no daemon and no store"},
	{"appliance/auth", nil, "who may do what is decided without knowing calls"},
	{"appliance/config", nil, "a configuration is read without knowing who uses it"},
	{"appliance/metrics", []string{"flow/record"}, "metrics are told, and know nobody"},
	{"appliance/web", nil, "the web UI is a client of the API and nothing else"},
	{"appliance/cmd", []string{"appliance/cli"}, "a main package only calls the command line"},
	{"appliance/daemon", []string{"bpf", "dataplane", "flow", "writer", "tuning", "appliance"}, "the daemon wires everything, and nobody drives it from bench"},
}

// outside says where a module or a package of the standard library may be
// imported, in tests too.
var outside = []struct {
	path string   // import path, or the beginning of it
	only []string // folders
	says string
}{
	{"github.com/cilium/ebpf", []string{"bpf", "dataplane/xdp"}, "cilium/ebpf lives only in bpf and dataplane/xdp"},
	{"github.com/google/gopacket", []string{"dataplane/ring"}, "gopacket lives only in dataplane/ring"},
	{"database/sql", []string{"writer/store"}, "SQL lives only in writer/store"},
	{"modernc.org/sqlite", []string{"writer/store"}, "SQL drivers live only in writer/store"},
	{"github.com/go-sql-driver", []string{"writer/store"}, "SQL drivers live only in writer/store"},
	{"github.com/klauspost/compress", []string{"dataplane/pcapin", "writer/compress"}, "compression lives only in dataplane/pcapin and writer/compress"},
	{"github.com/pierrec/lz4", []string{"dataplane/pcapin", "writer/compress"}, "compression lives only in dataplane/pcapin and writer/compress"},
	{"github.com/nats-io", []string{"appliance/link"}, "NATS lives only in appliance/link"},
	{"github.com/prometheus", []string{"appliance/metrics"}, "the Prometheus client lives only in appliance/metrics"},
	{"golang.org/x/crypto", []string{"flow/tls", "appliance/auth"}, "cryptography lives only in flow/tls and appliance/auth"},
	{"github.com/spf13", []string{"appliance/cli"}, "the command tree lives only in appliance/cli"},
	{"golang.org/x/term", []string{"appliance/cli", "appliance/tui"}, "the terminal is the business of appliance/cli and appliance/tui"},
	{"github.com/charmbracelet", []string{"appliance/tui"}, "what draws on a terminal lives only in appliance/tui"},
	{"github.com/coreos/go-systemd", []string{"appliance/daemon"}, "only the daemon talks to systemd"},
	{"github.com/pion", []string{"appliance/audio"}, "codecs and SRTP live only in appliance/audio"},
	{"github.com/tphakala", []string{"appliance/audio"}, "codecs and SRTP live only in appliance/audio"},
	{"github.com/evanw/esbuild", []string{"appliance/web"}, "the bundler lives only in appliance/web"},
	{"net/http", []string{"appliance"}, "HTTP is the business of the appliance"},
	{"log", []string{"appliance", "bench/cmd"}, "a library does not log: it returns errors and counts"},
	{"C", []string{"dataplane/ring"}, "cgo lives only in dataplane/ring"},
}

// banned are functions that some folders must not call (tests may).
var banned = []struct {
	name string
	in   []string // folders
	but  []string // files that have a reason
	says string
}{
	// A pipe is waited for with a deadline; a replay keeps a pace; a ring that is
	// quiet says so by the clock that stamps its frames.
	{"time.Now", []string{"dataplane", "flow"}, []string{"dataplane/pcapin/input.go", "dataplane/replay/clock.go", "dataplane/ring/clock.go"}, "time is the frame's time: no system clock in dataplane and flow"},
	{"time.Since", []string{"dataplane", "flow"}, nil, "time is the frame's time: no system clock in dataplane and flow"},
	{"fmt.Print", []string{"dataplane", "flow", "writer", "tuning", "bpf"}, nil, "a library does not print: it returns errors and counts"},
	{"fmt.Printf", []string{"dataplane", "flow", "writer", "tuning", "bpf"}, nil, "a library does not print: it returns errors and counts"},
	{"fmt.Println", []string{"dataplane", "flow", "writer", "tuning", "bpf"}, nil, "a library does not print: it returns errors and counts"},
}

// lengths are the files that may be longer than maxLines, with the reason.
var lengths = map[string]string{}

const maxLines = 600

// file is one Go file of the module.
type file struct {
	path   string // from the module root, with slashes
	folder string
	test   bool
	made   bool // generated
	src    []byte
	ast    *ast.File
	fset   *token.FileSet
}

func files(t *testing.T) []file {
	t.Helper()
	var out []file
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && p != "." && (name[0] == '.' || name == "testdata" || name == "build") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(p, ".go") {
			return nil
		}
		src, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, p, src, parser.ParseComments)
		if err != nil {
			return err
		}
		p = filepath.ToSlash(p)
		out = append(out, file{p, path.Dir(p), strings.HasSuffix(p, "_test.go"), ast.IsGenerated(parsed), src, parsed, fset})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 2 {
		t.Fatalf("found %d Go files: the test does not run in the module root", len(out))
	}
	return out
}

// under reports whether a folder is one of those, or lies in one.
func under(folder string, of []string) bool {
	return slices.ContainsFunc(of, func(o string) bool { return folder == o || strings.HasPrefix(folder, o+"/") })
}

// brokenImport is the sentence of the rule that an import breaks, or nothing.
func brokenImport(folder, imported string, test bool) string {
	for _, r := range outside {
		if (imported == r.path || strings.HasPrefix(imported, r.path+"/")) && !under(folder, r.only) {
			// Tests build what the package under test reads.
			if !test || imported == "C" || strings.HasPrefix(r.path, "database/") {
				return r.says
			}
		}
	}
	target, ours := strings.CutPrefix(imported, module)
	if !ours || test || folder == "appliance/e2e" {
		return ""
	}
	best := -1
	for i, r := range inside {
		if under(folder, []string{r.in}) && (best < 0 || len(r.in) > len(inside[best].in)) {
			best = i
		}
	}
	switch {
	case best < 0:
		return "a package lives in one of the folders of the house, and this one has no rule"
	case !under(target, inside[best].may):
		return inside[best].says
	}
	return ""
}

func TestImports(t *testing.T) {
	for _, f := range files(t) {
		for _, i := range f.ast.Imports {
			imported, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if says := brokenImport(f.folder, imported, f.test); says != "" {
				t.Errorf("%s imports %s: %s", f.path, imported, says)
			}
			if imported == "unsafe" && !f.test && !strings.HasSuffix(f.path, "_unsafe.go") && f.folder != "dataplane/ring" {
				t.Errorf("%s imports unsafe: unsafe lives in files named …_unsafe.go", f.path)
			}
		}
	}
}

// The rules themselves: what they must refuse, and what they must let pass.
func TestImportRules(t *testing.T) {
	for _, tc := range []struct {
		folder, imported string
		test, broken     bool
	}{
		{"flow/record", "ringside/dataplane/frame", false, true},
		{"dataplane/decode", "ringside/dataplane/frame", false, false},
		{"dataplane/decode", "ringside/dataplane/pcapin", false, true},
		{"dataplane/decode", "ringside/dataplane/pcapin", true, false},
		{"dataplane/pcapin", "ringside/flow/record", false, true},
		{"flow", "ringside/flow/call", false, false},
		{"flow", "ringside/dataplane/decode", false, true},
		{"flow/call", "ringside/flow", false, true},
		{"flow/call", "ringside/flow/meter", false, true},
		{"flow/call", "ringside/writer/store", false, true},
		{"writer/store", "ringside/flow/record", false, false},
		{"writer/store", "ringside/flow/call", false, true},
		{"bench/traffic", "ringside/flow/meter", false, true},
		{"tuning/gauge", "ringside/dataplane/nic", false, false},
		{"tuning/gauge", "ringside/dataplane/ring", false, true},
		{"dataplane/nic", "ringside/dataplane/frame", false, true},
		{"appliance/api", "ringside/flow", false, true},
		{"appliance/daemon", "ringside/flow", false, false},
		{"appliance/daemon", "ringside/bench/traffic", false, true},
		{"appliance/cli", "ringside/dataplane/pcapin", false, true},
		{"misc", "ringside/flow/record", false, true},
		{"flow/call", "log/slog", false, true},
		{"flow/call", "time", false, false},
		{"appliance/api", "database/sql", true, true},
		{"writer/store", "modernc.org/sqlite", false, false},
		{"appliance/daemon", "github.com/spf13/cobra", false, true},
		{"flow/meter", "C", true, true},
	} {
		if says := brokenImport(tc.folder, tc.imported, tc.test); (says != "") != tc.broken {
			t.Errorf("%s importing %s (test file: %v): rule %q, want broken: %v", tc.folder, tc.imported, tc.test, says, tc.broken)
		}
	}
}

func TestBannedCalls(t *testing.T) {
	for _, f := range files(t) {
		if f.test {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, ok := sel.X.(*ast.Ident)
			if !ok {
				return true
			}
			for _, b := range banned {
				if pkg.Name+"."+sel.Sel.Name == b.name && under(f.folder, b.in) && !slices.Contains(b.but, f.path) {
					t.Errorf("%s uses %s: %s", f.fset.Position(sel.Pos()), b.name, b.says)
				}
			}
			return true
		})
	}
}

// Every package says in a comment what it is.
func TestPackageComments(t *testing.T) {
	documented := map[string]bool{}
	for _, f := range files(t) {
		// A folder of tests alone says it in a test file.
		documented[f.folder] = documented[f.folder] || f.ast.Doc != nil && !f.made
	}
	for folder, ok := range documented {
		if !ok {
			t.Errorf("%s has no package comment", folder)
		}
	}
}

func TestFiles(t *testing.T) {
	for _, f := range files(t) {
		if f.made {
			continue
		}
		if n := bytes.Count(f.src, []byte("\n")); n > maxLines && lengths[f.path] == "" {
			t.Errorf("%s has %d lines, more than %d: split it by idea, or give the reason in house_test.go", f.path, n, maxLines)
		}
		if want, err := format.Source(f.src); err != nil || !bytes.Equal(want, f.src) {
			t.Errorf("%s is not formatted: run gofmt -w", f.path)
		}
	}
	for name, why := range lengths {
		if _, err := os.Stat(name); err != nil {
			t.Errorf("house_test.go excuses %s (%s): %v", name, why, err)
		}
	}
}

// The project must make sense anywhere: no file names a folder of the machine
// that it was written on, and none announces work that is not done.
func TestWords(t *testing.T) {
	words := []string{"/" + "root/", "/" + "work/", "/" + "tmp/p/", "TO" + "DO", "FIX" + "ME", "X" + "XX:"}
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if p != "." && (d.Name() == ".git" || d.Name() == "build") {
				return fs.SkipDir
			}
			return nil
		}
		switch path.Ext(p) {
		case ".go", ".md", ".sql", ".sh", ".awk", ".yaml", ".c", ".h", "":
		default:
			return nil
		}
		src, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		for _, w := range words {
			if at := bytes.Index(src, []byte(w)); at >= 0 {
				t.Errorf("%s:%d says %q", p, 1+bytes.Count(src[:at], []byte("\n")), w)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
