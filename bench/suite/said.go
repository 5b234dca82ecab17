package suite

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// What ringside says at its end is read here: the summary of the records, and the
// ledger of the packets.

var (
	reCalls  = regexp.MustCompile(`(?m)^  all +([0-9,]+)`)
	reMedia  = regexp.MustCompile(`(?m)^  packets of calls +([0-9,]+)`)
	reFates  = regexp.MustCompile(`(?s)and of the RTP packets among them\n.*?\n  sum +([0-9,]+)`)
	reStored = regexp.MustCompile(`(?m)^  spool stored-rtp +([0-9,]+)`)
	reLedger = regexp.MustCompile(`(?m)^  (nic|filter|ring|decode|host|feed) (.+?) {2,}([0-9,]+)`)
	reFilter = regexp.MustCompile(`(?m)^\S+: filter: ([^;\n]+)`)
)

// number is the first one that is found so.
func number(said string, re *regexp.Regexp) (uint64, error) {
	m := re.FindStringSubmatch(said)
	if m == nil {
		return 0, fmt.Errorf("read what the program said: no %s in %s", re, said)
	}
	return parseCount(m[1])
}

func parseCount(text string) (uint64, error) {
	return strconv.ParseUint(strings.ReplaceAll(text, ",", ""), 10, 64)
}

// sound checks that the sums of ringside are right.
func sound(said string) error {
	if strings.Contains(said, "DOES NOT BALANCE") {
		return fmt.Errorf("read summary: the ledger does not balance: %s", said)
	}
	return nil
}

// records is how many calls and RTP packets of calls there are in the records. A
// summary without calls has no such lines.
func records(said string) (calls, packets uint64) {
	calls, _ = number(said, reCalls)
	packets, _ = number(said, reMedia)
	return calls, packets
}

// metersOf is how many RTP packets ringside has met, wherever it measured them.
func metersOf(said string) (uint64, error) { return number(said, reFates) }

// storedBy is how many RTP packets ringside has stored.
func storedBy(said string) (uint64, error) { return number(said, reStored) }

// accounted is how many packets have come to an end that was meant: they were
// dropped by a rule or sampled away by a limit that counts them, measured in the
// kernel, or they came to the decoders. What a ring or a feed had no room for is not
// among them.
func accounted(said string) (total uint64, err error) {
	found := false
	for _, m := range reLedger.FindAllStringSubmatch(said, -1) {
		stage, reason := m[1], m[2]
		n, err := parseCount(m[3])
		if err != nil {
			return 0, err
		}
		switch {
		case stage == "decode" && reason == "frames",
			stage == "filter" && reason == "meter RTP",
			stage == "filter" && strings.HasPrefix(reason, "drop ") && reason != "drop no headroom" && reason != "drop feed full":
			total, found = total+n, true
		}
	}
	if !found {
		return 0, fmt.Errorf("read what the program said: there is no ledger in %s", said)
	}
	return total, nil
}
