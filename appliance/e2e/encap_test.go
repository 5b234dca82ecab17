package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
			identify(f.Data, len(c.frames)+1)
			c.frames = append(c.frames, f)
		}
		b.Release()
	}
}

// identify gives an IPv4 packet an identification of its own. Some that were made
// by programs have the same in all, and fragments of two that are equal but for
// their time would be copies of each other.
func identify(b []byte, n int) {
	off := 12
	for len(b) >= off+2 && (binary.BigEndian.Uint16(b[off:]) == 0x8100 || binary.BigEndian.Uint16(b[off:]) == 0x88a8) {
		off += 4
	}
	if len(b) >= off+22 && binary.BigEndian.Uint16(b[off:]) == 0x0800 {
		binary.BigEndian.PutUint16(b[off+6:], uint16(n))
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
	// A frame of nothing a second later: what the end of the capture closes is
	// closed at the same time, however many fragments the last one has become.
	last := slices.MaxFunc(c.frames, func(a, b frame.Frame) int { return int(a.Clock - b.Clock) })
	nothing := frame.Frame{Time: last.Clock + 1e9, Data: append(make([]byte, 12, 60), make([]byte, 48)...)}
	for _, f := range append(slices.Clip(c.frames), nothing) {
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

// notInESP are captures whose packets cannot be recognised in ESP, which does
// not say that it is not encrypted: there the header must agree to the byte with
// what is around it.
var notInESP = map[string]string{
	"OISF+suricata-verify/sip-tcp.pcap":                                           sumLeft,
	"negbie+heplify/sip_ipv4_tcp_fragmented.pcap":                                 sumLeft,
	"slytechs-repos+jnetpcap-legacy/tc_TC_IDPRE_EXT0140.pcap":                     sumLeft,
	"cisco-system-traffic-generator+trex-core/delay_10_sip_video_call_full.pcap":  shortUDP,
	"cisco-system-traffic-generator+trex-core/delay_10_sip_video_call_short.pcap": shortUDP,
	"cisco-system-traffic-generator+trex-core/sip_short1_v6-0-ex.pcap":            shortUDP,
}

const (
	sumLeft  = "the check sums of TCP were left to the network card, and are wrong"
	shortUDP = "bytes follow the UDP datagram in its IP packet"
)

// TestWrapped: calls in each encapsulation give the records that they give
// without.
func TestWrapped(t *testing.T) {
	withoutRace(t)
	t.Parallel()
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
	tried := 0
	check := func(t *testing.T, tunnel frame.TunnelKind, transport bool, change func([]byte) [][]byte) {
		calls := 0
		tried++ // so that others are tried of each kind
		for i := tried % every(4); i < len(captures); i += every(4) {
			if tunnel == frame.ESPNull && transport && notInESP[captures[i].file] != "" {
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
				t.Errorf("%s: other records:\n%s", captures[i].file, firstDifference(got, want[i]))
			}
		}
		if calls == 0 {
			t.Error("no calls")
		}
	}
	for _, k := range encap.Kinds() {
		transport := strings.Contains(k.Name, "transport") // no inner IP header
		t.Run(k.Name, func(t *testing.T) {
			check(t, k.Tunnel.Kind, transport, func(b []byte) [][]byte { return [][]byte{encap.Wrap(k, b)} })
		})
		if !slices.ContainsFunc(captures, func(c plainCapture) bool {
			return slices.ContainsFunc(c.frames, func(f frame.Frame) bool { return isWholeIP(f.Data) && isWholeIP(encap.Wrap(k, f.Data)) })
		}) {
			continue // there is no IP header outside that could be cut
		}
		t.Run(k.Name+" in fragments", func(t *testing.T) {
			check(t, k.Tunnel.Kind, transport, func(b []byte) [][]byte { return encap.Fragment(encap.Wrap(k, b), 580) })
		})
		if transport || k.Name == "ah" {
			continue // only whole datagrams go into these (RFC 4303 section 3.3.4)
		}
		t.Run("fragments in "+k.Name, func(t *testing.T) {
			check(t, k.Tunnel.Kind, transport, func(b []byte) (out [][]byte) {
				for _, f := range encap.Fragment(b, 580) {
					out = append(out, encap.Wrap(k, f))
				}
				return out
			})
		})
	}
	t.Run("fragments", func(t *testing.T) {
		check(t, frame.NoTunnel, false, func(b []byte) [][]byte { return encap.Fragment(b, 580) })
	})
}

// firstDifference shows two texts from shortly before where they part.
func firstDifference(got, want string) string {
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	from := max(0, i-300)
	return fmt.Sprintf("…%s\nwant\n…%s", got[from:min(len(got), i+300)], want[from:min(len(want), i+300)])
}
