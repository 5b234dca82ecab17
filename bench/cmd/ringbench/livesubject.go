package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// The subjects. Where ringside has a spool, packets count that are stored.
var (
	floor = &subject{name: "floor: reads the headers, drops"}

	listed = &subject{name: "pre-filter, not on the allow-list", ready: "workers:", args: func(s *liveSettings, iface, _ string) []string {
		return ringside(s, iface, "--allow", "192.0.2.0/24")
	}}
	filtered = &subject{name: "pre-filter, neither SIP nor media", ready: "workers:", args: func(s *liveSettings, iface, _ string) []string {
		return ringside(s, iface, "--rtp-ports", "1-1")
	}}
	// Its handled frames are those that arrived: most of them never leave the kernel.
	metering = &subject{name: "meter in the kernel", ready: "workers:", calls: true, args: metered.args}

	metered = &subject{name: "ringside, calls metered", ready: "workers:", calls: true, count: metersOf, args: func(s *liveSettings, iface, _ string) []string {
		return ringside(s, iface)
	}}
	inUser = &subject{name: "ringside, --meter user", ready: "workers:", calls: true, count: metersOf, args: func(s *liveSettings, iface, _ string) []string {
		return ringside(s, iface, "--meter", "user")
	}}
	headers = &subject{name: "ringside, headers to a spool", ready: "workers:", calls: true, count: storedBy, args: func(s *liveSettings, iface, dir string) []string {
		rules := filepath.Join(dir, "rules")
		// What fails here fails again where the program reads it.
		_ = os.WriteFile(rules, []byte("default -> sip full, rtp header\n"), 0o644)
		spool := filepath.Join(dir, "spool")
		_ = os.Mkdir(spool, 0o755)
		return ringside(s, iface, "--spool", spool, "--spool-root", "--rules", rules)
	}}
	dumped  = tcpdump("tcpdump -w /dev/null")
	dumped2 = tcpdump("tcpdump -B 65536 -w /dev/null", "-B", "65536")
)

// ringside is the command line of a capture on a dedicated interface.
func ringside(s *liveSettings, iface string, more ...string) []string {
	program, err := filepath.Abs(s.ringside)
	if err != nil {
		program = s.ringside
	}
	return append([]string{program, "run", "-i", iface, "--dedicated", "--status-interval", "0"}, more...)
}

func tcpdump(name string, more ...string) *subject {
	return &subject{name: name, ready: "listening on", plain: true, calls: true, count: dumpedBy, args: func(_ *liveSettings, iface, _ string) []string {
		return append([]string{"tcpdump", "-n", "-i", iface, "-w", "/dev/null"}, more...)
	}}
}

var (
	reCaptured = regexp.MustCompile(`(?m)^(\d+) packets? captured`)
	reCalls    = regexp.MustCompile(`(?m)^  all +([0-9,]+)`)
	reFates    = regexp.MustCompile(`(?s)and of the RTP packets among them\n.*?\n  sum +([0-9,]+)`)
	reStored   = regexp.MustCompile(`(?m)^  spool stored-rtp +([0-9,]+)`)
)

// dumpedBy is what tcpdump has captured, without the SIP.
func dumpedBy(said string, of *calls) (uint64, error) {
	n, err := number(said, reCaptured)
	return n - min(n, uint64(len(of.begin)+len(of.end))), err
}

// metersOf is how many RTP packets ringside has met, wherever it measured them.
func metersOf(said string, of *calls) (uint64, error) {
	if err := sound(said, of); err != nil {
		return 0, err
	}
	return number(said, reFates)
}

// storedBy is how many RTP packets ringside has stored.
func storedBy(said string, of *calls) (uint64, error) {
	if err := sound(said, of); err != nil {
		return 0, err
	}
	return number(said, reStored)
}

// sound checks that ringside has seen all calls, and that its sums are right.
func sound(said string, of *calls) error {
	if strings.Contains(said, "DOES NOT BALANCE") {
		return fmt.Errorf("read summary: the ledger does not balance: %s", said)
	}
	n, err := number(said, reCalls)
	if want := uint64(len(of.media) / 2); err == nil && n != want {
		err = fmt.Errorf("read summary: %d calls, not %d: %s", n, want, said)
	}
	return err
}

// number is the first one that is found so.
func number(said string, re *regexp.Regexp) (uint64, error) {
	m := re.FindStringSubmatch(said)
	if m == nil {
		return 0, fmt.Errorf("read what the program said: no %s in %s", re, said)
	}
	return strconv.ParseUint(strings.ReplaceAll(m[1], ",", ""), 10, 64)
}
