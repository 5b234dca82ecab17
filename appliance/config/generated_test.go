package config

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// golden compares a text with a file, or writes the file anew.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		at := 0
		for at < min(len(got), len(want)) && got[at] == want[at] {
			at++
		}
		t.Errorf("%s is not what the tables say (from byte %d on): run go test ./appliance/config -update\ngot:  %.200q\nwant: %.200q", path, at, got[at:], want[at:])
	}
}

// written is what a function writes.
func written(t *testing.T, write func(io.Writer) error) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := write(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestManuals(t *testing.T) {
	golden(t, "../../docs/config.md", written(t, WriteManual))
	golden(t, "../../docs/voipmonitor.md", written(t, WriteCompatibility))
}

// The manual page has every key, and man finds nothing wrong with it.
func TestManPage(t *testing.T) {
	page := written(t, WriteMan)
	for _, k := range Keys() {
		if !bytes.Contains(page, []byte("\n.B "+roff(k.Name)+"\n")) {
			t.Errorf("%s is missing", k.Name)
		}
	}
	for n, l := range strings.Split(string(page), "\n") {
		if known := regexp.MustCompile(`^\.(TH|SH|SS|TP|PP|B|I|BR|RI)\b`); strings.HasPrefix(l, ".") && !known.MatchString(l) || strings.HasPrefix(l, "'") {
			t.Errorf("line %d would be taken for a request: %q", n+1, l)
		}
	}
	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Skip("groff is not there: the page is not set")
	}
	c := exec.Command(groff, "-man", "-Tutf8", "-ww", "-z")
	c.Stdin = bytes.NewReader(page)
	if out, err := c.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("groff: %v: %s", err, out)
	}
}

// machine is what a first configuration is for in tests.
var machine = Probe{
	Host: "box", CPUs: 8, Memory: 16 << 30,
	Interfaces: []Interface{
		{Name: "eth0", Driver: "igb", Mbit: 1000, Up: true, DefaultRoute: true, Addresses: 2},
		{Name: "eth1", Driver: "ixgbe", Mbit: 10_000, Up: true},
		{Name: "eth2", Driver: "ixgbe"},
	},
	Volumes: []Volume{{Key: "spooldir", Dir: "/var/spool/ringside", Bytes: 500 << 30, Free: 400 << 30, Root: true}},
}

func TestDefaultFile(t *testing.T) {
	text := written(t, func(w io.Writer) error { return WriteDefault(w, machine) })
	golden(t, "testdata/default.conf", text)
	for n, l := range strings.Split(string(text), "\n") {
		if len(l) > width && strings.HasPrefix(l, "# ") {
			t.Errorf("line %d has %d bytes: %s", n+1, len(l), l)
		}
	}
	same := func(name, text string) {
		t.Helper()
		c := mustLoad(t, text)
		c.origins = map[string]origin{}
		if !reflect.DeepEqual(c, Default()) {
			t.Errorf("%s is not the default: %v", name, Diff(Default(), c))
		}
	}
	same("the file as it is", string(text))
	// Keys that somebody else chooses, and that contradict each other once they are said.
	told := map[string]bool{"meter": true, "mysqldb": true, "mysqlusername": true}
	for _, k := range Keys() {
		l := "\n#" + k.Name + " = " + k.Default
		l = strings.TrimRight(l, " ") + "\n"
		switch {
		case !bytes.Contains(text, []byte(l)):
			t.Errorf("no line %q", l)
		case !told[k.Name] && k.Group != groupCold && k.Name != "maxpoolregistersize":
			same(k.Name, strings.Replace(string(text), l, strings.Replace(l, "#", "", 1), 1))
		}
	}
}

// A chosen interface is set, and is dedicated if it is not the machine's own.
func TestDefaultFileWithInterface(t *testing.T) {
	for name, want := range map[string]bool{"eth1": true, "eth0": false} {
		p := machine
		p.Chosen = []string{name}
		c := mustLoad(t, string(written(t, func(w io.Writer) error { return WriteDefault(w, p) })))
		if !slices.Equal(c.Capture.Interfaces, p.Chosen) || c.Capture.Dedicated != want {
			t.Errorf("%s: %q, dedicated %v", name, c.Capture.Interfaces, c.Capture.Dedicated)
		}
		if changes := Diff(Default(), c); len(changes) > 2 {
			t.Errorf("it changes more: %v", changes)
		}
	}
}

// What is found on a machine stays in its comment.
func TestHostileProbe(t *testing.T) {
	p := Probe{Host: "a\nrings = 5", Interfaces: []Interface{{Name: "x\nxdp = none", Driver: "\x1b[2J"}}}
	text := written(t, func(w io.Writer) error { return WriteDefault(w, p) })
	c := mustLoad(t, string(text))
	if changes := Diff(Default(), c); len(changes) > 0 || bytes.Contains(text, []byte{0x1b}) {
		t.Errorf("it got out: %v", changes)
	}
}

// A grown voipmonitor.conf is accepted, with the right word for each line.
func TestVoipmonitorConf(t *testing.T) {
	text, err := os.ReadFile("testdata/voipmonitor.conf")
	if err != nil {
		t.Fatal(err)
	}
	_, r, err := load(t, string(text), LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	keys := map[string]bool{}
	for _, f := range r.Findings {
		fmt.Fprintf(&out, "%d\t%s\t%s\t%s\n", f.Line, f.Key, f.Verdict, f.Text)
		keys[f.Key] = true
	}
	if len(keys) < 150 {
		t.Errorf("it has %d keys", len(keys))
	}
	if strings.Contains(out.String(), "not-a-real-one") {
		t.Error("the report tells a password")
	}
	golden(t, "testdata/voipmonitor.report", out.Bytes())
	said := map[int]bool{}
	for _, f := range r.Findings {
		said[f.Line] = true
	}
	for n, l := range strings.Split(string(text), "\n") {
		if l != "" && !strings.ContainsRune("#;[", rune(l[0])) && !said[n+1] {
			t.Errorf("nothing is said of line %d: %s", n+1, l)
		}
	}
}

// What VoIPmonitor does by itself and ringside does not, or the other way round,
// is said of a file that was written for it, where the file does not say it.
func TestOtherDefaults(t *testing.T) {
	for text, want := range map[string]int{
		"tar = yes\n":                        4,
		"interface = eth1\nsipport = 5060\n": 0, // may be of either
		"tar = yes\nsavesip = yes\nsavertp = no\ncleandatabase = 0\nmysqlhost = db": 0,
		"tar = yes\nrules = /etc/rules\ncleandatabase_cdr = 5\nsqldriver = none":    0,
	} {
		_, r, err := load(t, text, LoadOptions{})
		if err != nil || r.Count(Warning) != want {
			t.Errorf("%q: %v: %+v", text, err, r.Noteworthy())
		}
	}
}

// The table of VoIPmonitor's keys is well formed: no key twice, and what is
// mapped is mapped to something.
func TestForeignTable(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range sections() {
		if len(s.keys) == 0 || s.text == "" {
			t.Errorf("a section says nothing: %+v", s)
		}
		for _, key := range s.keys {
			own := names()[name(key)]
			switch {
			case seen[name(key)]:
				t.Errorf("%s is there twice", key)
			case s.to != "" && (Find(s.to) == nil || converted[name(key)] == nil):
				t.Errorf("%s: nobody makes a value of %s of it", key, s.to)
			case s.verdict == Mapped && s.to == "" && own == nil:
				t.Errorf("%s is mapped, and no key here has this name", key)
			case s.verdict != Mapped && own != nil:
				t.Errorf("%s is %s, and a key here has this name", key, s.verdict)
			}
			seen[name(key)] = true
		}
	}
	for key := range converted {
		if !seen[key] {
			t.Errorf("%s is converted, and no key of VoIPmonitor", key)
		}
	}
}

// Every key of VoIPmonitor is classified, and nothing else.
func TestEveryForeignKey(t *testing.T) {
	list, err := os.ReadFile("../../../shared/spec/voipmonitor-keys.txt")
	if err != nil {
		t.Skip("the list of VoIPmonitor's keys is not beside the checkout")
	}
	want := map[string]bool{}
	for l := range strings.Lines(string(list)) {
		l = strings.TrimSpace(l)
		key, _, ok := strings.Cut(l, "\t")
		if from, to, alias := strings.Cut(l, " -> "); alias {
			want[name(from)], want[name(to)] = true, true
		} else if ok && !strings.HasPrefix(l, "#") {
			want[name(key)] = true
		}
	}
	if len(want) < 1000 {
		t.Fatalf("the list has %d keys: its form has changed", len(want))
	}
	for key := range want {
		if _, ok := foreign()[key]; !ok {
			t.Errorf("%s is not classified", key)
		}
	}
	for key := range foreign() {
		if !want[key] {
			t.Errorf("%s is no key of VoIPmonitor", key)
		}
	}
}

// What would store what it was to protect is refused when it is on, and only then.
func TestRefusedWhenOn(t *testing.T) {
	for _, s := range sections() {
		for _, key := range s.keys {
			if !s.strict {
				continue
			}
			if _, _, err := load(t, key+" = yes\n", LoadOptions{}); len(wrong(err)) != 1 {
				t.Errorf("%s = yes is not refused", key)
			}
			if _, r, err := load(t, key+" = no\n", LoadOptions{}); err != nil || r.Findings[0].Key != key || r.Findings[0].Verdict != NotNeeded {
				t.Errorf("%s = no: %v, %+v", key, err, r.Findings[0])
			}
		}
	}
}
