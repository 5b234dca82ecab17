// Package peer knows other programs that look at SIP, RTP or packets: how each
// is started on an interface or on a file so that it does what can be compared,
// and how to read what it says it has counted.
//
// A program is described by a value of Peer and nothing else: to add one is to
// add it to the list. None of them is needed: what is not installed is left out.
package peer

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Peer is one program.
type Peer struct {
	Name   string // of the program, as it is found in the path
	Remedy string // where it is had from

	// Live is its command line for an interface; out is a file for what it
	// captures, where it writes captures, dir a folder for everything else. nil:
	// it does not capture.
	Live func(iface, out, dir string) ([]string, error)
	// Ready is what it says when it captures; empty: it says nothing.
	Ready string
	// Read is its command line for a file. nil: it reads none.
	Read func(file, dir string) ([]string, error)

	// Holds is for how long the kernel may keep packets for it in a block that is not
	// full (libpcap's timeout). What it has not seen when it is interrupted, it never counts.
	Holds time.Duration

	// Slow says that it takes minutes for what others read in seconds.
	Slow bool

	version []string
	said    *regexp.Regexp // what it says it has counted
	counts  string         // what that is
}

// Count is what a program says of itself.
type Count struct {
	Value uint64
	What  string // "packets" or "dialogs"; empty: it says nothing
}

// All are the programs in the order in which they are reported: those that only
// copy packets first.
func All() []*Peer { return peers }

// libpcap is what most programs set as its timeout, at most.
const libpcap = 250 * time.Millisecond

var peers = []*Peer{
	{
		Name: "tcpdump", Remedy: "apt-get install tcpdump", Ready: "listening on", Holds: time.Second,
		version: []string{"--version"}, counts: "packets",
		said: regexp.MustCompile(`(?m)^(\d+) packets? captured`),
		Live: func(iface, out, _ string) ([]string, error) {
			return []string{"tcpdump", "-n", "-i", iface, "-w", out}, nil
		},
		Read: func(file, _ string) ([]string, error) {
			return []string{"tcpdump", "-n", "-r", file, "-w", "/dev/null"}, nil
		},
	},
	{
		Name: "dumpcap", Remedy: "apt-get install wireshark-common", Ready: "File:", Holds: libpcap,
		version: []string{"--version"}, counts: "packets",
		said: regexp.MustCompile(`(?m)Packets captured: (\d+)`),
		Live: func(iface, out, _ string) ([]string, error) {
			return []string{"dumpcap", "-q", "-i", iface, "-w", out}, nil
		},
	},
	{
		Name: "tshark", Remedy: "apt-get install tshark", Ready: "Capture started", Holds: libpcap,
		version: []string{"--version"}, counts: "packets", Slow: true,
		said: regexp.MustCompile(`(?m)^(\d+) packets? captured`),
		Live: func(iface, _, _ string) ([]string, error) {
			return []string{"tshark", "-n", "-q", "-i", iface, "-z", "rtp,streams"}, nil
		},
		Read: func(file, _ string) ([]string, error) {
			return []string{"tshark", "-n", "-q", "-r", file, "-z", "rtp,streams"}, nil
		},
	},
	{
		Name: "sngrep", Remedy: "apt-get install sngrep", Holds: libpcap, Slow: true,
		version: []string{"-V"}, counts: "dialogs",
		said: regexp.MustCompile(`Dialog count: (\d+)`),
		Live: func(iface, _, _ string) ([]string, error) { return []string{"sngrep", "-N", "-d", iface}, nil },
		Read: func(file, _ string) ([]string, error) { return []string{"sngrep", "-N", "-I", file}, nil },
	},
	{
		Name: "voipmonitor", Remedy: "github.com/voipmonitor/sniffer", Slow: true,
		version: []string{"--version"},
		Live: func(iface, _, dir string) ([]string, error) {
			conf, err := voipmonitorConf(dir, "interface = "+iface)
			return []string{"voipmonitor", "-k", "-v", "1", "--config-file", conf}, err
		},
		Read: func(file, dir string) ([]string, error) {
			conf, err := voipmonitorConf(dir, "")
			return []string{"voipmonitor", "-k", "-v", "1", "--config-file", conf, "-r", file}, err
		},
	},
	{
		Name: "sipcm", Remedy: "github.com/intuitivelabs/sipcallmon (cmd/sipcm)",
		version: []string{"-version"},
		Live: func(iface, _, _ string) ([]string, error) {
			return []string{"sipcm", "-iface", iface, "-bpf", "port 5060", "-http_port", "0"}, nil
		},
		Read: func(file, _ string) ([]string, error) {
			return []string{"sipcm", "-pcap", file, "-bpf", "port 5060", "-http_port", "0"}, nil
		},
	},
	{
		Name: "heplify", Remedy: "github.com/sipcapture/heplify",
		version: []string{"-version"},
		Live: func(iface, _, dir string) ([]string, error) {
			return []string{"heplify", "-i", iface, "-t", "af_packet", "-e", "-l", "warning", "-hs", "127.0.0.1:9", "-p", dir}, nil
		},
		Read: func(file, dir string) ([]string, error) {
			return []string{"heplify", "-rf", file, "-rs", "-e", "-l", "warning", "-hs", "127.0.0.1:9", "-p", dir}, nil
		},
	},
}

// voipmonitorConf writes a configuration in which nothing is saved, and no
// database is asked for: calls are followed, their RTP is measured.
func voipmonitorConf(dir, more string) (string, error) {
	path := filepath.Join(dir, "voipmonitor.conf")
	lines := []string{"[general]", "nocdr = yes", "savesip = no", "savertp = no", "saveaudio = no", "savegraph = no", "spooldir = " + dir, more, ""}
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		return "", fmt.Errorf("write configuration of voipmonitor: %w", err)
	}
	return path, nil
}

// Find gives the peer of a name.
func Find(name string) (*Peer, error) {
	var known []string
	for _, p := range peers {
		if p.Name == name {
			return p, nil
		}
		known = append(known, p.Name)
	}
	return nil, fmt.Errorf("find program %q: known are %s", name, strings.Join(known, ", "))
}

// Installed reports whether the program is there, and the first line of what it
// says its version is.
func (p *Peer) Installed() (version string, ok bool) {
	path, err := exec.LookPath(p.Name)
	if err != nil {
		return "", false
	}
	out, _ := exec.Command(path, p.version...).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "Running as user") {
			return strings.TrimSuffix(line, "."), true
		}
	}
	return "of an unknown version", true
}

// Counts reports whether the program says how many packets it has had: only then
// can one tell which rate it holds.
func (p *Peer) Counts() bool { return p.counts == "packets" }

// Count reads what the program has said.
func (p *Peer) Count(said string) (Count, error) {
	if p.said == nil {
		return Count{}, nil
	}
	c := Count{What: p.counts}
	all := p.said.FindAllStringSubmatch(said, -1)
	if all == nil {
		return Count{}, fmt.Errorf("read what %s has counted: no %q in what it said: %s", p.Name, p.said, shortened(said))
	}
	var err error
	if c.Value, err = strconv.ParseUint(all[len(all)-1][1], 10, 64); err != nil {
		return Count{}, fmt.Errorf("read what %s has counted: %w", p.Name, err)
	}
	return c, nil
}

// shortened is the end of what a program has said.
func shortened(said string) string {
	const most = 400
	if said = strings.TrimSpace(said); len(said) > most {
		said = "…" + said[len(said)-most:]
	}
	return said
}
