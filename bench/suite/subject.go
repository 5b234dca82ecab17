package suite

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"ringside/bench/peer"
)

// subject is a program that is measured at the receiving end.
type subject struct {
	name string
	// args is the program with its arguments. nil: the floor, which is a program
	// of the kernel alone.
	args  func(at *place) ([]string, error)
	ready string // what it says when it captures
	quiet bool   // it is not told of the calls
	// count is how many packets it says it has handled, which may be those of the
	// SIP around, too (all). nil: all that arrived.
	count func(said string) (uint64, error)
	all   bool
	// peer has no XDP program: the interface needs GRO to receive in a thread. nil:
	// ringside or the floor.
	peer  *peer.Peer
	keeps bool // it keeps records of calls
}

// place is where a subject runs.
type place struct {
	bench  *Bench
	iface  string
	dir    string // for what it writes
	queues int
}

// The subjects. Where ringside has a spool, packets count that are stored.
var (
	floor = &subject{name: "floor: reads the headers, drops", quiet: true}

	listed   = &subject{name: "pre-filter, not on the allow-list", ready: isReady, quiet: true, args: run("--allow", "192.0.2.0/24")}
	filtered = &subject{name: "pre-filter, neither SIP nor media", ready: isReady, quiet: true, args: run("--rtp-ports", "1-1")}
	// Its handled frames are those that arrived: most of them never leave the kernel.
	metering = &subject{name: "meter in the kernel", ready: isReady, args: run()}

	metered = &subject{name: "ringside, calls metered", ready: isReady, keeps: true, count: metersOf, args: run()}
	inUser  = &subject{name: "ringside, --meter user", ready: isReady, keeps: true, count: metersOf, args: run("--meter", "user")}
	headers = &subject{name: "ringside, headers to a spool", ready: isReady, keeps: true, count: storedBy, args: spooled("header")}
	whole   = &subject{name: "ringside, everything to a spool", ready: isReady, keeps: true, count: storedBy, args: spooled("full")}
	general = &subject{name: "ringside", ready: isReady, keeps: true, count: accounted, all: true, args: run()}

	dumped  = live("tcpdump", "/dev/null")
	dumped2 = func() *subject {
		s := live("tcpdump", "/dev/null", "-B", "65536")
		s.name = "tcpdump -B 65536 -w /dev/null"
		return s
	}()
)

// isReady is what ringside says when it captures.
const isReady = "workers:"

// controlName is the control socket in the folder of a subject.
const controlName = "control"

// run is a capture of ringside on a dedicated interface.
func run(more ...string) func(at *place) ([]string, error) {
	return func(at *place) ([]string, error) {
		args := []string{at.bench.Ringside, "run", "-i", at.iface, "--dedicated", "--status-interval", "0", "--control", filepath.Join(at.dir, controlName)}
		if at.queues > 1 {
			args = append(args, "--rings", strconv.Itoa(at.queues))
		}
		return append(args, more...), nil
	}
}

// spooled is a capture that stores all SIP, and of RTP what is said.
func spooled(rtp string) func(at *place) ([]string, error) {
	return func(at *place) ([]string, error) {
		rules, spool := filepath.Join(at.dir, "rules"), filepath.Join(at.dir, "spool")
		if err := os.WriteFile(rules, []byte("default -> sip full, rtp "+rtp+"\n"), 0o644); err != nil {
			return nil, fmt.Errorf("write rules: %w", err)
		}
		if err := os.MkdirAll(spool, 0o755); err != nil {
			return nil, fmt.Errorf("make spool: %w", err)
		}
		return run("--spool", spool, "--spool-root", "--spool-reserve", "1MiB", "--rules", rules)(at)
	}
}

// live is another program, which writes to a file what it captures: /dev/null, or
// one in the folder of the subject.
func live(name, out string, more ...string) *subject {
	p, err := peer.Find(name)
	if err != nil {
		panic(err) // a name of this package
	}
	s := &subject{name: name, ready: p.Ready, all: true, peer: p}
	if name == "tcpdump" || name == "dumpcap" {
		s.name += " -w " + out
	}
	if p.Counts() {
		s.count = func(said string) (uint64, error) {
			c, err := p.Count(said)
			return c.Value, err
		}
	}
	s.args = func(at *place) ([]string, error) {
		to := out
		if !filepath.IsAbs(out) {
			to = filepath.Join(at.dir, out)
		}
		args, err := p.Live(at.iface, to, at.dir)
		return append(args, more...), err
	}
	return s
}
