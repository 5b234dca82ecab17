package e2e

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"ringside/bench/replay"
)

// TestLiveFeedFull: while the process stands still, its feeds fill, and the program
// drops what they have no room for. Each packet is accounted for all the same, those
// that were dropped in the feed are in the figures of their calls, and what was not is
// recorded.
func TestLiveFeedFull(t *testing.T) {
	path, _ := generate(t, everyScenario(8))
	frames := framesOf(t, path)
	for _, tc := range []struct{ name, rules string }{
		{"whole", "default -> sip full, rtp full\n"},
		{"headers", "default -> sip full, rtp header\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			rules, spool := filepath.Join(dir, "rules.conf"), filepath.Join(dir, "spool")
			if err := os.WriteFile(rules, []byte(tc.rules), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(spool, 0o700); err != nil {
				t.Fatal(err)
			}
			l := wire(t, 1)
			v := listen(t, l, "--spool", spool, "--spool-root", "--rules", rules, "--dedicated", "--rings", "1", "--ringbuffer", "1MiB")
			if err := v.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			sent := send(t, l, frames, replay.Options{PPS: 20_000, Loops: 1 + 30_000/len(frames), Rewrite: true})
			if err := v.cmd.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			v.end()
			rows := v.ledger()
			passed := sent - rows["feed taken"] - rows["feed full"] - rows["filter drop other"] - rows["filter meter RTP"]
			if rows["nic received"] != sent || rows["feed full"] == 0 || rows["feed taken"] == 0 ||
				rows["feed full"] != rows["filter drop feed full"] ||
				rows["feed taken"] != rows["filter meter+feed RTP whole"]+rows["filter meter+feed RTP header"]+rows["filter meter+feed RTP sample"] ||
				rows["ring taken"]+rows["ring full"] != passed || rows["decode frames"] != rows["ring taken"]+rows["feed taken"] {
				t.Errorf("of %d frames: %v", sent, rows)
			}
		})
	}
}
