package e2e

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"ringside/bench/corpus"
	"ringside/bench/encap"
	"ringside/dataplane/frame"
	"ringside/dataplane/pcapin"
	"ringside/flow/record"
)

// plainCapture is a capture of Ethernet frames, all whole, that needs no tunnel.
type plainCapture struct {
	file   string
	frames []frame.Frame
}

// plainCaptures are those of the corpus with SIP or RTP.
func plainCaptures(t *testing.T) []plainCapture {
	t.Helper()
	var out []plainCapture
	for _, row := range corpus.Index(t) {
		plain := row["encapsulations"] == "" || row["encapsulations"] == "IPv6" || row["encapsulations"] == "VLAN" ||
			row["encapsulations"] == "TCP-SIP"
		if row["linktype"] != "ether" || !plain || row["sip_messages"] == "0" && row["rtp_streams_heuristic_ge20pkt"] == "0" {
			continue
		}
		if c, whole := wholeFrames(t, row["file"]); whole {
			out = append(out, c)
		}
	}
	return out
}

// wholeFrames reads a capture. whole is false if a frame was cut, is none of IP,
// or is none of Ethernet.
func wholeFrames(t *testing.T, file string) (c plainCapture, whole bool) {
	t.Helper()
	r, err := pcapin.Open(pcapin.Options{Inputs: []string{corpus.Capture(t, file)}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c.file = file
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return c, len(c.frames) > 0
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range b.Frames {
			if f.Link != frame.LinkEthernet || int(f.Len) > len(f.Data) {
				return c, false
			}
			f.Data = append([]byte(nil), f.Data...)
			c.frames = append(c.frames, f)
		}
		b.Release()
	}
}

// isWholeIP reports whether a frame can be wrapped: IPv4 or IPv6, behind tags
// or not, with all that its header says.
func isWholeIP(b []byte) bool {
	off := 12
	for len(b) >= off+2 {
		switch binary.BigEndian.Uint16(b[off:]) {
		case 0x8100, 0x88a8:
			off += 4
			continue
		case 0x0800:
			length := 0
			if len(b) >= off+22 {
				length = int(binary.BigEndian.Uint16(b[off+4:]))
			}
			return length > 20 && len(b) >= off+2+length
		case 0x86dd:
			return len(b) >= off+42 && len(b) >= off+42+int(binary.BigEndian.Uint16(b[off+6:]))
		}
		return false
	}
	return false
}

// write writes a capture in which each frame of IP has become what change makes
// of it, all at the time of the frame.
func (c *plainCapture) write(t *testing.T, change func([]byte) [][]byte) string {
	t.Helper()
	order := binary.LittleEndian
	file := order.AppendUint32(nil, 0xa1b23c4d) // pcap with nanoseconds
	for _, v := range []uint32{4<<16 | 2, 0, 0, 256 << 10, uint32(frame.LinkEthernet)} {
		file = order.AppendUint32(file, v)
	}
	for _, f := range c.frames {
		made := [][]byte{f.Data}
		if isWholeIP(f.Data) {
			made = change(f.Data)
		}
		for _, b := range made {
			for _, v := range []int64{f.Time / 1e9, f.Time % 1e9, int64(len(b)), int64(len(b))} {
				file = order.AppendUint32(file, uint32(v))
			}
			file = append(file, b...)
		}
	}
	path := filepath.Join(t.TempDir(), "changed.pcap")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// inner is what records say, but for what the encapsulation changes: the
// tunnel, the outermost VLAN tag.
func inner(t *testing.T, r *reading) string {
	t.Helper()
	stream := func(s *record.Stream) { s.VLAN = 0 }
	for _, c := range r.calls {
		c.VLAN, c.Tunnel = 0, record.Tunnel{}
		for i := range c.Streams {
			stream(&c.Streams[i])
		}
	}
	for _, s := range r.orphans {
		stream(s)
	}
	for _, g := range r.registrations {
		g.VLAN = 0
	}
	for _, x := range r.exchanges {
		x.VLAN = 0
	}
	return dump(t, r)
}

// TestWrapped: calls in each encapsulation give the records that they give
// without.
func TestWrapped(t *testing.T) {
	captures := plainCaptures(t)
	if len(captures) < 40 {
		t.Errorf("%d plain captures", len(captures))
	}
	same := func(b []byte) [][]byte { return [][]byte{b} }
	want := make([]string, len(captures))
	for i := range captures {
		r := readDedup(t, "off", 1, captures[i].write(t, same))
		want[i] = inner(t, &r)
	}
	check := func(t *testing.T, tunnel frame.TunnelKind, change func([]byte) [][]byte) {
		calls := 0
		for i := range captures {
			if testing.Short() && i%8 != 0 {
				continue
			}
			r := readDedup(t, "off", 1+i%3, captures[i].write(t, change))
			for _, c := range r.calls {
				calls++
				if c.Tunnel.Kind != tunnel.String() {
					t.Errorf("%s: tunnel %q, want %q", captures[i].file, c.Tunnel.Kind, tunnel)
				}
			}
			if !r.report.Balanced {
				t.Errorf("%s: the ledger does not balance: %+v", captures[i].file, r.report)
			}
			if got := inner(t, &r); got != want[i] {
				t.Errorf("%s: other records:\n%.1500s\nwant\n%.1500s", captures[i].file, got, want[i])
			}
		}
		if calls == 0 {
			t.Error("no calls")
		}
	}
	for _, k := range encap.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			check(t, k.Tunnel.Kind, func(b []byte) [][]byte { return [][]byte{encap.Wrap(k, b)} })
		})
		if k.Tunnel.Src == (frame.Addr{}) {
			continue // nothing that could be cut
		}
		t.Run(k.Name+" in fragments", func(t *testing.T) {
			check(t, k.Tunnel.Kind, func(b []byte) [][]byte { return encap.Fragment(encap.Wrap(k, b), 580) })
		})
		t.Run("fragments in "+k.Name, func(t *testing.T) {
			check(t, k.Tunnel.Kind, func(b []byte) (out [][]byte) {
				for _, f := range encap.Fragment(b, 580) {
					out = append(out, encap.Wrap(k, f))
				}
				return out
			})
		})
	}
	t.Run("fragments", func(t *testing.T) {
		check(t, frame.NoTunnel, func(b []byte) [][]byte { return encap.Fragment(b, 580) })
	})
}
