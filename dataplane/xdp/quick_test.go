package xdp

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"ringside/dataplane/frame"
)

// pick is one of a few.
func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// someSettings are settings in which about everything is there now and then.
func someSettings(r *rand.Rand) Settings {
	prefixes := func() (out []netip.Prefix) {
		for range r.IntN(3) {
			a := netip.AddrFrom4([4]byte{10, byte(r.IntN(2)), byte(r.IntN(2)), byte(r.IntN(2))})
			out = append(out, netip.PrefixFrom(a, pick(r, 0, 7, 8, 15, 16, 17, 24, 31, 32)))
		}
		if r.IntN(4) == 0 {
			out = append(out, netip.MustParsePrefix("2001:db8::/32"))
		}
		return out
	}
	s := DefaultSettings()
	s.PassOther = r.IntN(3) == 0
	s.RTP.Rule = RTPRule(r.IntN(5))
	s.RTP.Ranges = pick(r, []PortRange{{1, 1}}, []PortRange{{20000, 20002}}, []PortRange{{1, 65535}}, []PortRange{{2152, 2152}, {30000, 30001}})
	if r.IntN(2) == 0 {
		s.Allow = prefixes()
	}
	if r.IntN(2) == 0 {
		s.Deny = prefixes()
	}
	if r.IntN(3) == 0 {
		own := Tuple{Proto: pick(r, uint8(0), 17), A: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), pick(r, uint16(0), 20001))}
		if r.IntN(2) == 0 {
			own.B = netip.AddrPortFrom(netip.AddrFrom4([4]byte{}), 20002)
		}
		s.Own = append(s.Own, own)
	}
	return s
}

// somePayload is RTP, or nearly.
func somePayload(r *rand.Rand) []byte {
	b := rtpPacket(r.IntN(1<<16), pick(r, 0, 8, 101, 0x80|8, 72, 200), uint32(r.IntN(2)), make([]byte, pick(r, 0, 1, 20, 160)))
	b[0] = pick(r, b[0], b[0], b[0], 0xa0, 0x90, 0x81, 0x00, 0x40, 1)
	return b[:pick(r, len(b), len(b), len(b), 0, 1, 7, 8, 11)]
}

// someFrame is a plain frame, or one with a length that is not right.
func someFrame(r *rand.Rand) []byte {
	address := func() netip.Addr {
		return netip.AddrFrom4([4]byte{10, byte(r.IntN(3)), byte(r.IntN(2)), byte(r.IntN(2))})
	}
	port := func() int {
		return pick(r, 1, 53, 1023, 2152, 4500, 4789, 5060, 19999, 20000, 20001, 20002, 20003, 30000, 40000)
	}
	datagram := udp(port(), port(), somePayload(r))
	switch r.IntN(12) {
	case 0:
		binary.BigEndian.PutUint16(datagram[4:], uint16(r.IntN(len(datagram)+20)))
	case 1:
		datagram[4], datagram[5] = 0, 0
	}
	packet := ipv4Of(address(), address(), 17, nil, pick(r, 0, 0, 0, 0x4000), datagram)
	switch r.IntN(16) {
	case 0:
		binary.BigEndian.PutUint16(packet[2:], uint16(r.IntN(len(packet)+20)))
	case 1:
		packet = packet[:r.IntN(len(packet))]
	}
	return packet
}

// meteredBy is what a filter has metered, by stream.
func meteredBy(t *testing.T, f *Filter) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, a := range f.Meters().Poll(make([]frame.Metered, 0, 1<<12)) {
		var state [StateSize]byte
		packets, ok := f.Meters().Read(a.Slot, &state)
		if !ok {
			t.Fatalf("stream %v is not readable", a)
		}
		out[fmt.Sprint(a.Src, a.Dst, a.SSRC)] = fmt.Sprint(packets, binary.LittleEndian.Uint64(state[80:]), a.TTL, a.DSCP, a.Type)
	}
	return out
}

// TestQuickIsGeneral: a plain frame, which may have its verdict the quick way, has that of
// the same frame with a VLAN tag, which goes the general way; and they are metered the same.
func TestQuickIsGeneral(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(24) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := someSettings(r)
		slots := pick(r, 0, 1024)
		quick, general := loaded(t, s, slots), loaded(t, s, slots)
		for range r.IntN(3) {
			at := frame.Endpoint{Addr: frame.AddrFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(2))})), Port: pick(r, uint16(20000), 20001, 40000)}
			m := Media{Policy: pick(r, Meter, HeaderOnly)}
			for _, f := range []*Filter{quick, general} {
				if err := f.Publish(at, m); err != nil {
					t.Fatal(err)
				}
			}
		}
		for range 100 {
			packet := someFrame(r)
			got, action, _ := judge(t, quick, ether(0x0800, packet))
			want, wanted, _ := judge(t, general, ether(0x8100, tagged(5, 0x0800, packet)))
			if got != want || action != wanted {
				t.Fatalf("seed %d: %s, action %d, and with a tag %s, action %d: % x\n%+v", seed, got, action, want, wanted, packet, s)
			}
			seen[got]++
		}
		if slots == 0 {
			continue
		}
		got, want := meteredBy(t, quick), meteredBy(t, general)
		for key, w := range want {
			if got[key] != w {
				t.Errorf("seed %d: %s is metered as %s, and with tags as %s", seed, key, got[key], w)
			}
		}
		if len(got) != len(want) {
			t.Errorf("seed %d: %d streams, with tags %d", seed, len(got), len(want))
		}
	}
	for _, row := range []string{"drop: not allowed", "drop: other", "drop: denied", "drop: own traffic", "meter: RTP", "pass: RTP", "pass: SIP", "pass: other", "pass: RTCP"} {
		if seen[row] == 0 {
			t.Errorf("no frame was counted as %q, of %v", row, seen)
		}
	}
}
