package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Rules that want more than the capture was set up for are written, and it is said
// wherever somebody looks that they hold after a restart.
func TestRulesThatWantMore(t *testing.T) {
	dir := t.TempDir()
	o, rings := capturingFile(t, dir)
	file := filepath.Join(dir, "rules.conf")
	if err := os.WriteFile(file, []byte("default -> sip full, rtp header\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.Live.Spool.RulesFile = file
	s := serving(t, dir, o)
	<-rings.quiet
	cookie := s.login()
	type rules struct {
		Text, Pending string
		Problems      []struct {
			Line    int
			Text    string
			Warning bool
		}
	}
	put := func(body string) (out rules) {
		t.Helper()
		status, _, b := s.web("PUT", "/api/v1/rules", cookie, body)
		if status != 200 {
			t.Fatalf("%d %s", status, b)
		}
		s.get("/api/v1/rules", cookie, &out)
		return out
	}
	for _, tc := range []struct{ name, text, why string }{
		{"less", `default -> sip full, rtp none\n`, ""},
		{"more of RTP", `rule few: number 112 -> rtp header\nrule more: number 110 -> rtp full\ndefault -> sip full, rtp none\n`, "more wants more of RTP (full) than any rule did at the start (header)"},
		{"further back", `rule back: mos < 3 -> rtp header, lookback 10s\ndefault -> sip full, rtp none\n`, "back looks back further (10s) than any rule did at the start (0s)"},
		{"as before", `default -> sip full, rtp header\n`, ""},
	} {
		got := put(`{"text":"` + tc.text + `"}`)
		if want := strings.ReplaceAll(tc.text, `\n`, "\n"); got.Text != want {
			t.Errorf("%s: the text is %q", tc.name, got.Text)
		}
		if b, err := os.ReadFile(file); err != nil || string(b) != got.Text {
			t.Errorf("%s: the file has %q, %v", tc.name, b, err)
		}
		if tc.why == "" {
			if got.Pending != "" || len(got.Problems) > 0 {
				t.Errorf("%s: %+v", tc.name, got)
			}
			eventually(t, tc.name+": nothing waits", func() bool { return len(s.Status().Pending) == 0 })
			continue
		}
		if !strings.Contains(got.Pending, tc.why) || !strings.Contains(got.Pending, "restart ringside") {
			t.Errorf("%s: pending: %q", tc.name, got.Pending)
		}
		if len(got.Problems) != 1 || !got.Problems[0].Warning || !strings.Contains(got.Problems[0].Text, tc.why) {
			t.Errorf("%s: %+v", tc.name, got.Problems)
		}
		if tc.name == "more of RTP" && got.Problems[0].Line != 2 {
			t.Errorf("line %d", got.Problems[0].Line)
		}
		eventually(t, tc.name+": the status says it", func() bool { return strings.Contains(strings.Join(s.Status().Pending, ";"), tc.why) })
	}
	s.stop()
}
