package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"ringside/bench/replay"
)

// TestLiveFirstPackets: a call is stored from its first packet, also if that comes
// a millisecond after the SDP which names it, long before the kernel has heard
// of the address (INVITE and answer are some ten milliseconds apart here); through the feeds, and through the rings where there are none.
func TestLiveFirstPackets(t *testing.T) {
	path, _ := generate(t, everyScenario(12))
	frames := framesOf(t, path)
	for _, tc := range []struct {
		name, rules, xdp, rings string
		row                     string // of the ledger, that is not 0
	}{
		{"whole, feed", "default -> sip full, rtp full\n", "native", "1", "feed taken"},
		{"whole, two feeds", "default -> sip full, rtp full\n", "native", "2", "feed taken"},
		{"headers, feed", "default -> sip full, rtp header\n", "native", "1", "feed taken"},
		{"whole, rings", "default -> sip full, rtp full\n", "generic", "1", "filter meter+pass RTP whole"},
		{"headers, rings", "default -> sip full, rtp header\n", "generic", "1", "filter meter+pass RTP header"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			rules, file, spool := filepath.Join(dir, "rules.conf"), filepath.Join(dir, "file"), filepath.Join(dir, "live")
			if err := os.WriteFile(rules, []byte(tc.rules), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, d := range []string{file, spool} {
				if err := os.Mkdir(d, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			ringside(t, 0, "read", "-q", "--dedup", "off", path, "--spool", file, "--spool-root", "--rules", rules)
			l := wire(t, 2)
			v := listen(t, l, "--spool", spool, "--spool-root", "--rules", rules, "--dedicated", "--xdp", tc.xdp, "--rings", tc.rings)
			send(t, l, frames, replay.Options{Speed: 200, Retry: true})
			v.end()
			if rows := v.ledger(); rows[tc.row] == 0 {
				t.Errorf("no packet is %q: %v", tc.row, rows)
			}
			got, want := packetsIn(t, spool), packetsIn(t, file)
			missing, more := 0, 0
			for p, n := range want {
				missing += max(0, n-got[p])
			}
			for p, n := range got {
				more += max(0, n-want[p])
			}
			if missing > 0 || more > 0 {
				t.Errorf("of %d packets %d are missing, and there are %d more", len(want), missing, more)
			}
		})
	}
}
