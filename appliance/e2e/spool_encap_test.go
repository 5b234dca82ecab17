package e2e

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ringside/bench/encap"
	"ringside/bench/traffic"
)

// TestSpoolEncap: the export of a call that came through a tunnel is its frames as
// they were captured: those that tshark cuts from the capture without the tunnel,
// each in its wrapping, whole or in fragments.
func TestSpoolEncap(t *testing.T) {
	t.Parallel()
	need(t, "tshark", "editcap")
	path, _ := generate(t, traffic.Options{
		Seed: 21, Calls: 6, Rate: 2, Format: traffic.PcapNano, RTCP: true, IPv6: 0.5,
		Talk: traffic.Length{Mean: 2 * time.Second},
	})
	plain := cutCapture(t, path)
	records := spoolRead(t, "1", path)
	for i, k := range encap.Kinds() {
		if testing.Short() && i%8 != 0 {
			continue
		}
		t.Run(k.Name, func(t *testing.T) {
			equalWrapped(t, plain, records, func(b []byte) [][]byte { return [][]byte{encap.Wrap(k, b)} })
		})
		if strings.Contains(k.Name, "transport") || !isWholeIP(encap.Wrap(k, []byte(plain.packets[0].data))) {
			continue // there is no IP header outside that could be cut
		}
		t.Run(k.Name+" in fragments", func(t *testing.T) {
			equalWrapped(t, plain, records, func(b []byte) [][]byte { return encap.Fragment(encap.Wrap(k, b), 180) })
		})
	}
}

// equalWrapped wraps the frames of a capture, and compares the exports of its calls.
func equalWrapped(t *testing.T, plain *cut, records *spooled, wrap func([]byte) [][]byte) {
	t.Helper()
	c := &cut{}
	var became [][]int
	for i, p := range plain.packets {
		b := []byte(p.data)
		identify(b, i+1)
		became = append(became, nil)
		for _, w := range wrap(b) {
			became[i] = append(became[i], len(c.packets))
			c.packets = append(c.packets, stored{p.time, uint32(len(w)), string(w)})
		}
	}
	path := filepath.Join(t.TempDir(), "wrapped.pcap")
	if err := os.WriteFile(path, classic(c.packets), 0o600); err != nil {
		t.Fatal(err)
	}
	s := spoolRead(t, "2", path, "--dedup", "off")
	wrapped := func(frames map[int]bool) map[int]bool {
		out := map[int]bool{}
		for f := range frames {
			for _, n := range became[f] {
				out[n] = true
			}
		}
		return out
	}
	for id := range plain.calls {
		must, may := plain.wanted(id, records.calls[id])
		if diff := c.compareCall(s.export(t, id), wrapped(must), wrapped(may)); diff != "" {
			t.Errorf("%s: %s", id, diff)
		}
	}
}

// classic is a pcap of Ethernet with nanoseconds.
func classic(packets []stored) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, 0xa1b23c4d)
	for _, v := range []uint32{4<<16 | 2, 0, 0, 256 << 10, 1} {
		b = le.AppendUint32(b, v)
	}
	for _, p := range packets {
		for _, v := range []uint32{uint32(p.time / 1e9), uint32(p.time % 1e9), uint32(len(p.data)), p.wire} {
			b = le.AppendUint32(b, v)
		}
		b = append(b, p.data...)
	}
	return b
}
