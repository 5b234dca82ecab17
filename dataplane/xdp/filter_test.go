package xdp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/cilium/ebpf"

	"ringside/bench/encap"
	"ringside/bpf"
	"ringside/dataplane/frame"
)

// XDP actions, as a program returns them.
const (
	xdpDrop     = 1
	xdpPass     = 2
	xdpRedirect = 4
)

// needBPF skips a test where programs cannot be loaded.
func needBPF(tb testing.TB) {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("loads programs into the kernel: needs root")
	}
}

// loaded is a filter whose XDP program is loaded and attached to nothing.
func loaded(tb testing.TB, s Settings, slots int) *Filter {
	tb.Helper()
	needBPF(tb)
	if err := s.check(); err != nil {
		tb.Fatal(err)
	}
	f := &Filter{options: Options{Settings: s, MeterSlots: slots}, mode: Native}
	if err := f.load(bpf.LoadPrefilter); err != nil {
		tb.Fatalf("%+v", err)
	}
	f.start()
	tb.Cleanup(func() {
		if err := f.Close(); err != nil {
			tb.Error(err)
		}
	})
	return f
}

// judge sends a frame through the program, and returns the row that has counted
// it, the action, and the frame as it comes out.
func judge(tb testing.TB, f *Filter, data []byte) (row string, action uint32, out []byte) {
	tb.Helper()
	before := mustStats(tb, f)
	o := ebpf.RunOptions{Data: data, DataOut: make([]byte, len(data)+64), Repeat: 1}
	action, err := f.program.Run(&o)
	if err != nil {
		tb.Fatal(err)
	}
	after := mustStats(tb, f)
	for i, r := range after.Rows {
		if n := r.Packets - before.Rows[i].Packets; n != 0 {
			if row != "" || n != 1 {
				tb.Fatalf("counted more than once: %s, and %d under %s", row, n, r.Reason)
			}
			if b := r.Bytes - before.Rows[i].Bytes; b != uint64(len(data)) {
				tb.Errorf("counted %d bytes of %d", b, len(data))
			}
			row = r.Verdict + ": " + r.Reason
		}
	}
	if row == "" {
		tb.Fatal("not counted")
	}
	return row, action, o.DataOut
}

func mustStats(tb testing.TB, f *Filter) Stats {
	tb.Helper()
	s, err := f.Stats()
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// TestVerdicts sends one frame of each kind.
func TestVerdicts(t *testing.T) {
	f := loaded(t, DefaultSettings(), 1024)
	sip4, sip6 := ipv4(17, udp(5060, 5060, invite())), ipv6(17, udp(5060, 5060, invite()))
	stun := append([]byte{0, 1, 0, 8}, make([]byte, 24)...)
	rtcp := []byte{0x80, 201, 0, 1, 1, 2, 3, 4}
	for _, tc := range []struct {
		name  string
		frame []byte
		row   string
	}{
		{"SIP", ether(0x0800, sip4), "pass: SIP"},
		{"SIP over IPv6", ether(0x86dd, sip6), "pass: SIP"},
		{"SIP to the port alone", over4(40000, 5060, invite()), "pass: SIP"},
		{"SIP from the port alone", over4(5060, 40000, invite()), "pass: SIP"},
		{"VLAN", ether(0x8100, tagged(7, 0x0800, sip4)), "pass: SIP"},
		{"QinQ", ether(0x88a8, tagged(7, 0x8100, tagged(8, 0x0800, sip4))), "pass: SIP"},
		{"four tags", ether(0x9100, tagged(7, 0x8100, tagged(8, 0x8100, tagged(9, 0x8100, tagged(10, 0x0800, sip4))))), "pass: SIP"},
		{"five tags", ether(0x9100, tagged(7, 0x8100, tagged(8, 0x8100, tagged(9, 0x8100, tagged(10, 0x8100, tagged(11, 0x0800, sip4)))))), "pass: link layer"},
		{"IP options", ether(0x0800, ipv4Of(src4, dst4, 17, make([]byte, 40), 0, udp(5060, 5060, invite()))), "pass: SIP"},
		{"IPv6 options", ether(0x86dd, ipv6(0, options(60, 1, options(43, 3, options(17, 2, udp(5060, 5060, invite())))))), "pass: SIP"},
		{"IPv6 atomic fragment", ether(0x86dd, ipv6(44, fragment6(17, 0, false, udp(5060, 5060, invite())))), "pass: SIP"},
		{"AH", ether(0x0800, ipv4(51, slices.Concat([]byte{17, 4}, make([]byte, 22), udp(5060, 5060, invite())))), "pass: SIP"},
		{"nine extensions", ether(0x86dd, ipv6(60, bytes.Repeat(options(60, 1, nil), 9))), "pass: extension headers"},
		{"SIP over TCP", ether(0x0800, ipv4(6, tcp(5060, 40000, invite()))), "pass: SIP"},
		{"SIP over TLS", ether(0x0800, ipv4(6, tcp(40000, 5061, nil))), "pass: SIP"},
		{"SIP over SCTP", ether(0x0800, ipv4(132, sctp(5060, 5060, nil))), "pass: SIP"},
		{"web", ether(0x0800, ipv4(6, tcp(443, 40000, nil))), "drop: other"},
		{"other SCTP", ether(0x0800, ipv4(132, sctp(2905, 2905, nil))), "drop: other"},
		{"DNS", over4(53, 40000, voice), "drop: other"},
		{"ping", ether(0x0800, ipv4(1, make([]byte, 64))), "drop: other"},
		{"QUIC", over4(443, 40000, append([]byte{0xc0}, make([]byte, 1199)...)), "drop: other"},
		{"empty", over4(20000, 20002, nil), "drop: other"},
		{"RTP", over4(20000, 20002, voice), "meter: RTP"},
		{"RTP over IPv6", ether(0x86dd, ipv6(17, udp(20000, 20002, voice))), "meter: RTP"},
		{"RTP of the census", over4(20000, 20002, rtpPacket(256, 8, 1, make([]byte, 160))), "meter+pass: RTP sample"},
		{"RTCP", over4(20001, 20003, rtcp), "pass: RTCP"},
		{"STUN", over4(20000, 20002, stun), "pass: STUN"},
		{"short RTP", over4(20000, 20002, voice[:11]), "pass: bad UDP or RTP header"},
		{"RTP of too many sources", over4(20000, 20002, append([]byte{0x8f}, voice[1:40]...)), "pass: bad UDP or RTP header"},
		{"ARP", ether(0x0806, make([]byte, 46)), "pass: link layer"},
		{"MPLS", ether(0x8847, make([]byte, 46)), "pass: link layer"},
		{"spanning tree", ether(38, make([]byte, 46)), "pass: link layer"},
		{"ESP", ether(0x0800, ipv4(50, make([]byte, 46))), "pass: tunnel"},
		{"OSPF", ether(0x0800, ipv4(89, make([]byte, 46))), "pass: protocol"},
		{"L2TP", over4(1701, 1701, make([]byte, 46)), "pass: tunnel"},
		{"no IP header", ether(0x0800, make([]byte, 46)), "pass: bad IP header"},
		{"UDP without a length", over4(5060, 5060, invite())[:14+20+4], "pass: truncated"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			row, action, out := judge(t, f, tc.frame)
			if row != tc.row {
				t.Fatalf("counted as %q, want %q", row, tc.row)
			}
			passes := row[:4] == "pass" || row[:6] == "meter+"
			if want := map[bool]uint32{false: xdpDrop, true: xdpPass}[passes]; action != want {
				t.Errorf("action %d, want %d", action, want)
			}
			if row[:4] == "pass" && !bytes.Equal(out, tc.frame) {
				t.Errorf("the frame was changed")
			}
		})
	}
}

// TestRows wants a name for every reason of the program.
func TestRows(t *testing.T) {
	f := loaded(t, DefaultSettings(), 0)
	if n := f.objects.Maps[bpf.PrefilterMapRsCounts].MaxEntries(); int(n) != len(rows) {
		t.Fatalf("the program has %d reasons, and %d have names", n, len(rows))
	}
	seen := map[string]bool{}
	for _, r := range rows {
		if key := r.Verdict + r.Reason; seen[key] || r.Reason == "" || r.Verdict == "" {
			t.Errorf("%q does not tell its reason", key)
		} else {
			seen[key] = true
		}
	}
}

// opened are the kinds of encapsulation that the filter sees through, in the order of encap.
var opened = []string{
	"vlan", "qinq", "qinq-9100", "gre", "gre-key", "gre-checksum-key-sequence", "gre-ipv6", "gre-ethernet", "nvgre",
	"erspan-1", "erspan-2", "erspan-3", "erspan-3-platform", "ip-in-ip", "ip-in-ipv6", "ah",
	"vxlan", "vxlan-8472", "vxlan-ipv6", "vxlan-gpe", "geneve", "geneve-options",
	"gtp-u", "gtp-u-sequence", "gtp-u-extension", "gtp-u in vlan",
}

// TestEncapsulations wants what is wanted out of every encapsulation, and what is not
// wanted dropped from those that the filter opens.
func TestEncapsulations(t *testing.T) {
	f := loaded(t, DefaultSettings(), 0)
	dropped := map[string]bool{}
	for _, k := range encap.Kinds() {
		for _, six := range []bool{false, true} {
			inner := func(src, dst int, payload []byte) []byte {
				if six {
					return encap.Wrap(k, ether(0x86dd, ipv6(17, udp(src, dst, payload))))
				}
				return encap.Wrap(k, over4(src, dst, payload))
			}
			t.Run(fmt.Sprintf("%s/six=%v", k, six), func(t *testing.T) {
				if row, action, _ := judge(t, f, inner(5060, 5060, invite())); action != xdpPass {
					t.Errorf("SIP: %s", row)
				}
				if row, action, _ := judge(t, f, inner(20000, 20002, voice)); action != xdpPass {
					t.Errorf("RTP: %s", row)
				}
				row, action, _ := judge(t, f, inner(53, 53, voice))
				if action == xdpDrop {
					dropped[k.Name] = true
				} else if row != "pass: tunnel" && row != "pass: tunnel in tunnel" && row != "pass: link layer" &&
					row != "pass: protocol" && row != "pass: truncated" {
					t.Errorf("DNS: %s", row)
				}
			})
		}
	}
	var names []string
	for _, k := range encap.Kinds() {
		if dropped[k.Name] {
			names = append(names, k.Name)
		}
	}
	if !slices.Equal(names, opened) {
		t.Errorf("opened %q", names)
	}
}

// TestTruncated cuts frames at every byte: what is cut in its headers passes.
func TestTruncated(t *testing.T) {
	f := loaded(t, DefaultSettings(), 0)
	for _, k := range encap.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			whole := encap.Wrap(k, over4(5060, 5060, invite()))
			for n := 14; n < len(whole); n++ {
				if row, action, _ := judge(t, f, whole[:n]); action != xdpPass {
					t.Fatalf("cut at %d of %d: %s", n, len(whole), row)
				}
			}
		})
	}
}

// TestNotes wants metered packets to come behind a note, cut and whole.
func TestNotes(t *testing.T) {
	at := frame.Endpoint{Addr: frame.AddrFrom(dst4), Port: 20002}
	for _, tc := range []struct {
		name   string
		policy Policy
		row    string
		keep   int // bytes of the frame; -1: none
	}{
		{"meter", Meter, "meter: RTP", -1},
		{"header", HeaderOnly, "meter+pass: RTP header", 14 + 20 + 8 + 12},
		{"full", Full, "meter+pass: RTP whole", 14 + 20 + 8 + 172},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := loaded(t, DefaultSettings(), 64)
			if err := f.Publish(at, Media{Policy: tc.policy, Payloads: []Payload{{8000, 8, Voice}}}); err != nil {
				t.Fatal(err)
			}
			whole := over4(20000, 20002, voice)
			row, _, out := judge(t, f, whole)
			if row != tc.row {
				t.Fatalf("counted as %q, want %q", row, tc.row)
			}
			if tc.keep < 0 {
				return
			}
			if len(out) != 32+tc.keep || !bytes.Equal(out[32:], whole[:tc.keep]) {
				t.Fatalf("%d bytes came out, want a note and %d bytes of the frame", len(out), tc.keep)
			}
			flags := uint16(1)
			if tc.keep < len(whole) {
				flags |= 2
			}
			offset, err := clockOffset()
			if err != nil {
				t.Fatal(err)
			}
			if binary.BigEndian.Uint16(out[12:]) != 0x88b5 || binary.LittleEndian.Uint16(out[14:]) != flags ||
				string(out[16:20]) != "1VSR" || int(binary.LittleEndian.Uint32(out[20:])) != len(whole) {
				t.Errorf("note % x", out[:32])
			}
			if time := int64(binary.LittleEndian.Uint64(out[24:])); time < offset {
				t.Errorf("time %d is before the machine was started", time)
			}
			if err := f.Withdraw(at); err != nil {
				t.Fatal(err)
			}
			if err := f.Withdraw(at); err != nil {
				t.Errorf("withdraw again: %v", err)
			}
		})
	}
}

// TestMetered wants the meter to see what flow/rtp would: length without padding
// and extension, and the addresses inside the tunnel.
func TestMetered(t *testing.T) {
	f := loaded(t, DefaultSettings(), 64)
	padded := slices.Concat([]byte{0xb1, 8}, voice[2:12], []byte{9, 9, 9, 9}, // one contributing source
		[]byte{0xbe, 0xde, 0, 2}, make([]byte, 8), make([]byte, 100), []byte{0, 0, 0, 4})
	for i, data := range [][]byte{over4(20000, 20002, padded), encapsulated(t, "vxlan", over4(20004, 20006, padded))} {
		if row, _, _ := judge(t, f, data); row != "meter: RTP" {
			t.Fatalf("counted as %q", row)
		}
		got := f.Meters().Poll(make([]frame.Metered, 0, 64))
		if len(got) != 1 {
			t.Fatalf("%d streams announced, want the new one", len(got))
		}
		m := got[0]
		if want := (frame.Endpoint{Addr: frame.AddrFrom(src4), Port: uint16(20000 + 4*i)}); m.Src != want || m.SSRC != 0x11223344 || m.TTL != [2]uint8{63, 63} || m.DSCP != 46 {
			t.Errorf("announced %+v", m)
		}
		var state [StateSize]byte
		if packets, ok := f.Meters().Read(m.Slot, &state); !ok || packets != 1 {
			t.Fatalf("%d packets, %v", packets, ok)
		}
		// bytes of struct rs_hot
		if n := binary.LittleEndian.Uint64(state[80:]); n != 100 {
			t.Errorf("%d octets of payload, want 100", n)
		}
	}
}

// TestJumbo sends frames of several buffers: headers in the first, the octet that counts
// the padding in the last.
func TestJumbo(t *testing.T) {
	f := loaded(t, DefaultSettings(), 64)
	wants{
		{"SIP", over4(5060, 5060, append(invite(), make([]byte, 8000)...)), "pass: SIP"},
		{"other", over4(53, 53, make([]byte, 8000)), "drop: other"},
	}.run(t, f)
	padded := append(slices.Concat([]byte{0xa0}, voice[1:12], make([]byte, 7999)), 9)
	if row, _, _ := judge(t, f, over4(20000, 20002, padded)); row != "meter: RTP" {
		t.Fatalf("counted as %q", row)
	}
	announced := f.Meters().Poll(make([]frame.Metered, 0, 64))
	if len(announced) != 1 {
		t.Fatalf("%d streams announced", len(announced))
	}
	var state [StateSize]byte
	if _, ok := f.Meters().Read(announced[0].Slot, &state); !ok || binary.LittleEndian.Uint64(state[80:]) != 8000-9 {
		t.Errorf("%d octets of payload, want %d", binary.LittleEndian.Uint64(state[80:]), 8000-9)
	}
	if err := f.Publish(frame.Endpoint{Addr: frame.AddrFrom(dst4), Port: 20004}, Media{Policy: HeaderOnly}); err != nil {
		t.Fatal(err)
	}
	whole := over4(20000, 20004, append(slices.Clone(voice[:12]), make([]byte, 8000)...))
	row, _, out := judge(t, f, whole)
	if row != "meter+pass: RTP header" || len(out) != 32+54 || !bytes.Equal(out[32:], whole[:54]) ||
		int(binary.LittleEndian.Uint32(out[20:])) != len(whole) {
		t.Errorf("%s, %d bytes", row, len(out))
	}
}

func encapsulated(t *testing.T, name string, inner []byte) []byte {
	t.Helper()
	for _, k := range encap.Kinds() {
		if k.Name == name {
			return encap.Wrap(k, inner)
		}
	}
	t.Fatalf("no encapsulation %q", name)
	return nil
}
