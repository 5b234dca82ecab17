package traffic

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// tshark runs tshark on file; the test is skipped where it is not installed.
func tshark(t *testing.T, file []byte, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("tshark is not installed")
	}
	name := filepath.Join(t.TempDir(), "traffic")
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	all := append([]string{"-r", name, "-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE"}, args...)
	cmd := exec.CommandContext(t.Context(), "tshark", all...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v: %s", err, stderr.String())
	}
	return string(out)
}

// Every frame of every scenario and link is well formed, for each format.
func TestTsharkFindsNothingWrong(t *testing.T) {
	tests := []struct {
		name string
		edit func(*Options)
	}{
		{"pcap", func(*Options) {}},
		{"pcapng-vlan", func(o *Options) { o.Format, o.VLANs = PcapngNano, []uint16{42} }},
		{"pcap-ns-qinq", func(o *Options) { o.Format, o.VLANs = PcapNano, []uint16{42, 43} }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := everyScenario(1)
			o.Noise = 20
			o.Codecs = allCodecs(1)
			tt.edit(&o)
			file, truth := run(t, o)
			// One line per frame: what is wrong with it, and what it is.
			out := tshark(t, file, "-T", "fields", "-E", "separator=|", "-e", "frame.number",
				"-e", "_ws.malformed", "-e", "ip.checksum.status", "-e", "udp.checksum.status", "-e", "tcp.checksum.status",
				"-e", "sip.Call-ID", "-e", "frame.protocols")
			calls := map[string]bool{}
			frames := uint64(0)
			for line := range strings.Lines(out) {
				frames++
				f := strings.Split(strings.TrimSpace(line), "|")
				if f[1] != "" || f[2] == "0" || f[3] == "0" || f[4] == "0" {
					t.Errorf("frame %s: malformed %q, checksums ip %q udp %q tcp %q: %s", f[0], f[1], f[2], f[3], f[4], f[6])
				}
				if f[5] != "" && !strings.HasPrefix(f[5], "bg-") {
					calls[f[5]] = true
				}
			}
			if frames != truth.Totals.Frames {
				t.Errorf("tshark reads %d frames, truth says %d", frames, truth.Totals.Frames)
			}
			if len(calls) != len(truth.Calls) {
				t.Errorf("tshark reads %d Call-IDs, truth says %d", len(calls), len(truth.Calls))
			}
			for _, c := range truth.Calls {
				if !calls[c.CallID] {
					t.Errorf("tshark does not see call %s", c.CallID)
				}
			}
		})
	}
}

// tshark's own reading of the RTP streams agrees with the truth on packets and
// lost ones. Left out are resets (a loss for tshark), duplicates (which make up
// for lost packets there) and reordering (a stream never grows downwards there).
func TestTsharkAgreesOnStreams(t *testing.T) {
	o := everyScenario(1)
	o.Codecs = []Weighted[Codec]{{codecs[0], 1}, {codecs[1], 1}, {*codecNamed("GSM"), 1}}
	o.Impairments = []Weighted[Impairment]{
		{Impairment{}, 1},
		{Impairment{Loss: 0.02, Jitter: 10 * time.Millisecond, Shape: Normal}, 1},
		{Impairment{BurstIn: 0.01, BurstOut: 0.3, Wrap: 1}, 1},
	}
	o.Noise, o.Background, o.IPv6 = 0, 0, 0.3
	file, truth := run(t, o)
	want := map[string]string{}
	add := func(s *Stream) {
		key := fmt.Sprintf("%s %d %s %d 0x%08X", s.Src.Addr(), s.Src.Port(), s.Dst.Addr(), s.Dst.Port(), s.SSRC)
		want[key] = fmt.Sprintf("packets %d lost %d", s.Packets, s.Lost)
	}
	for _, c := range truth.Calls {
		for i := range c.Streams {
			add(&c.Streams[i])
		}
	}
	for i := range truth.Orphans {
		add(&truth.Orphans[i])
	}
	got := map[string]string{}
	out := tshark(t, file, "-q", "-z", "rtp,streams", "-o", "rtp.heuristic_rtp:TRUE", "--enable-heuristic", "rtp_udp")
	sc := bufio.NewScanner(strings.NewReader(out))
	for sc.Scan() {
		f := strings.Fields(sc.Text())
		at := slices.IndexFunc(f, func(s string) bool { return strings.HasPrefix(s, "0x") })
		if at != 6 {
			continue
		}
		// The payload column may hold several names; two numbers and a share follow it.
		share := slices.IndexFunc(f, func(s string) bool { return strings.HasPrefix(s, "(") })
		lost, err := strconv.Atoi(f[share-1])
		if err != nil {
			t.Fatalf("read %q: %v", sc.Text(), err)
		}
		got[strings.Join(f[2:7], " ")] = fmt.Sprintf("packets %s lost %d", f[share-2], lost)
	}
	if len(got) != len(want) {
		t.Errorf("tshark sees %d streams, truth says %d", len(got), len(want))
	}
	for key, w := range want {
		if got[key] != w {
			t.Errorf("%s: tshark says %q, truth %q", key, got[key], w)
		}
	}
}
