package meter

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"strconv"
	"testing"

	"ringside/bench/corpus"
	"ringside/flow/rtp"
)

// TestCorpus compares the meter with tshark's reading of real captures of
// streams with static payload types.
func TestCorpus(t *testing.T) {
	corpus.Dir(t) // or skip
	const (
		marker    = "tshark takes no time and no mean jitter of packets with a marker"
		duplicate = "tshark takes a duplicate for a received packet, and for a sample of jitter"
	)
	tests := []struct {
		file    string
		differs map[string]string // column to reason
	}{
		{"signalwire+freeswitch/milliwatt.pcmu.rtp.pcap", map[string]string{"max_delta_ms": marker, "mean_jitter_ms": marker}},
		{"signalwire+freeswitch/milliwatt.long.pcmu.rtp.pcap", map[string]string{"max_delta_ms": marker, "mean_jitter_ms": marker}},
		{"sippy+rtpproxy/G723_1.a.rtp", nil},
		{"sippy+rtpproxy/G723_1.o.rtp", nil},
		{"sippy+rtpproxy/c1.a.rtp", nil},
		{"sippy+rtpproxy/call1_g722_srtp.a.rtp", nil},
		{"sippy+rtpproxy/call1_g722_srtp.o.rtp", nil},
		{"sippy+rtpproxy/bob_srtp.pcap", nil},
		{"sippy+rtpproxy/dups.a.rtp", map[string]string{
			"lost": duplicate, "max_jitter_ms": duplicate, "mean_jitter_ms": duplicate,
		}},
		{"sippy+rtpproxy/lost.a.rtp", nil},
		{"sippy+rtpproxy/srtp1.a.rtp", nil},
		{"sippy+rtpproxy/srtp1.o.rtp", nil},
	}
	for _, test := range tests {
		t.Run(test.file, func(t *testing.T) {
			streams := readPcap(t, corpus.Capture(t, test.file))
			rows := corpus.Reference(t, test.file, "rtp")
			if len(rows) == 0 {
				t.Fatal("the reference has no streams")
			}
			for _, want := range rows {
				packets := streams[want["src"]+" "+want["dst"]+" "+want["ssrc"]]
				h, c := run(packets)
				r := Finish(&h, &c)
				for _, f := range []struct {
					column string
					got    float64
				}{
					{"packets", float64(r.Packets)},
					{"lost", float64(r.Lost)},
					{"max_jitter_ms", r.JitterMax},
					{"mean_jitter_ms", r.JitterAvg},
					{"max_delta_ms", r.DeltaMax},
				} {
					v, err := strconv.ParseFloat(want[f.column], 64)
					if err != nil {
						t.Fatalf("read %s %q: %v", f.column, want[f.column], err)
					}
					// The table has three decimals.
					same := math.Abs(f.got-v) <= 0.0011
					if reason := test.differs[f.column]; same == (reason != "") {
						t.Errorf("%s %.4f, tshark %v; known to differ: %q", f.column, f.got, v, reason)
					}
				}
				if ref := reference(packets); ref != r {
					t.Errorf("the reference differs:\n%+v\nmeter:\n%+v", ref, r)
				}
			}
		})
	}
}

// readPcap is the RTP packets over UDP and IPv4 of a little-endian pcap file,
// by "src dst ssrc" as in the reference: as little as this test needs.
func readPcap(t *testing.T, path string) map[string][]Packet {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	le, be := binary.LittleEndian, binary.BigEndian
	if len(b) < 24 || le.Uint32(b) != 0xa1b2c3d4 {
		t.Fatalf("%s is not a little-endian pcap file of microseconds", path)
	}
	link := map[uint32]int{0: 4, 1: 14, 113: 16}[le.Uint32(b[20:])]
	streams := map[string][]Packet{}
	for b = b[24:]; len(b) >= 16; {
		now := int64(le.Uint32(b))*1e9 + int64(le.Uint32(b[4:]))*1e3
		n, wire := le.Uint32(b[8:]), le.Uint32(b[12:])
		ip := b[16+link : 16+n]
		b = b[16+n:]
		if len(ip) < 28 || ip[0]>>4 != 4 || ip[9] != 17 {
			continue
		}
		udp := ip[4*(ip[0]&15):]
		size := int(be.Uint16(udp[4:])) - 8
		payload := udp[8:]
		if wire == n && size <= len(payload) {
			payload = payload[:size]
		}
		var h rtp.Header
		if rtp.Demux(payload) != rtp.RTP || !rtp.ParseHeader(payload, size, &h) {
			continue
		}
		codec, rate := rtp.StaticPayload(h.Type)
		p := Packet{Time: now, Seq: h.Seq, TS: h.TS, Type: h.Type, Rate: rate, Len: h.Len, Marker: h.Marker}
		if codec == rtp.CN {
			p.Class = Comfort
		}
		key := fmt.Sprintf("%d.%d.%d.%d:%d %d.%d.%d.%d:%d 0x%08X", ip[12], ip[13], ip[14], ip[15], be.Uint16(udp),
			ip[16], ip[17], ip[18], ip[19], be.Uint16(udp[2:]), h.SSRC)
		streams[key] = append(streams[key], p)
	}
	return streams
}
