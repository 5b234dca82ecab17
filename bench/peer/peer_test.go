package peer

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What programs have said in real runs; figures of drops, which must not be taken for
// those of packets, were put in by hand, and sngrep's lines are after its source.
func TestCount(t *testing.T) {
	for _, tc := range []struct {
		peer, file string
		want       Count
	}{
		{"tcpdump", "tcpdump-live", Count{2186, "packets"}},
		{"tcpdump", "tcpdump-drops", Count{61234, "packets"}},
		{"dumpcap", "dumpcap-live", Count{2182, "packets"}},
		{"dumpcap", "dumpcap-drops", Count{90412, "packets"}},
		{"tshark", "tshark-live", Count{2182, "packets"}},
		{"sngrep", "sngrep-read", Count{20, "dialogs"}},
	} {
		t.Run(tc.file, func(t *testing.T) {
			said, err := os.ReadFile(filepath.Join("testdata", tc.file+".txt"))
			if err != nil {
				t.Fatal(err)
			}
			p, err := Find(tc.peer)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := p.Count(string(said)); err != nil || got != tc.want {
				t.Errorf("got %+v, %v; want %+v", got, err, tc.want)
			}
			if p.Ready != "" && strings.HasSuffix(tc.file, "-live") && !strings.Contains(string(said), p.Ready) {
				t.Errorf("it never says %q", p.Ready)
			}
		})
	}
}

func TestCountOfNothing(t *testing.T) {
	p, err := Find("tcpdump")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Count("tcpdump: vb: No such device exists"); err == nil || !strings.Contains(err.Error(), "No such device") {
		t.Errorf("got %v, want an error with what it said", err)
	}
	if _, err := p.Count("99999999999999999999999 packets captured"); err == nil {
		t.Error("a number beyond 64 bits is taken")
	}
	if _, err := Find("wireshark"); err == nil || !strings.Contains(err.Error(), "heplify") {
		t.Errorf("got %v, want an error with the known ones", err)
	}
	if p, _ = Find("voipmonitor"); p.Counts() {
		t.Error("voipmonitor counts packets, but nothing says how")
	}
}

// Every peer can be started, and its command line begins with its name.
func TestCommands(t *testing.T) {
	for _, p := range All() {
		dir := t.TempDir()
		args, err := p.Live("eth9", "/dev/null", dir)
		if err != nil || args[0] != p.Name {
			t.Errorf("%s: live: %v, %v", p.Name, args, err)
		}
		if text := strings.Join(args, " "); p.Name != "voipmonitor" && !strings.Contains(text, "eth9") {
			t.Errorf("%s: %s: not on the interface", p.Name, text)
		}
		if p.Read == nil {
			continue
		}
		if args, err = p.Read("a.pcap", dir); err != nil || args[0] != p.Name || !strings.Contains(strings.Join(args, " "), "a.pcap") {
			t.Errorf("%s: read: %v, %v", p.Name, args, err)
		}
	}
	conf, err := voipmonitorConf(t.TempDir(), "interface = eth9")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(conf); err != nil || !strings.Contains(string(b), "interface = eth9\n") || !strings.Contains(string(b), "nocdr = yes\n") {
		t.Errorf("%v: %s", err, b)
	}
}

// What is installed here says its version.
func TestInstalled(t *testing.T) {
	for _, name := range []string{"tcpdump", "dumpcap"} {
		p, err := Find(name)
		if err != nil {
			t.Fatal(err)
		}
		version, ok := p.Installed()
		if _, err := exec.LookPath(name); ok != (err == nil) || ok && !strings.ContainsAny(version, "0123456789") {
			t.Errorf("%s: found %v, version %q", name, ok, version)
		}
	}
	if _, ok := (&Peer{Name: "no-such-program-at-all"}).Installed(); ok {
		t.Error("what is not there is installed")
	}
}
