package traffic

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"ringside/flow/record"
)

// ipFrame is what a test looks at in a frame.
type ipFrame struct {
	at     int64
	vlan   int32
	ttl    uint8
	id     uint16
	frag   uint16 // flags and offset
	body   string // addresses and payload
	source string
	size   int // of the packet
}

// ipFrames reads the frames of a pcap file.
func ipFrames(t *testing.T, file []byte) []ipFrame {
	t.Helper()
	var out []ipFrame
	each(t, file, false, func(at int64, _ int, b []byte) {
		ip := ipAt(b)
		f := ipFrame{at: at, vlan: vlanOf(b), ttl: ttlOf(b, ip), size: len(b) - ip}
		if b[ip]>>4 == 4 {
			f.id, f.frag = binary.BigEndian.Uint16(b[ip+4:]), binary.BigEndian.Uint16(b[ip+6:])
			f.body, f.source = string(b[ip+12:]), string(b[ip+12:ip+16])
			if s := fold(sum(b[ip : ip+20])); s != 0xffff {
				t.Fatalf("frame %d: wrong IP checksum", len(out)+1)
			}
		} else {
			f.body, f.source = string(b[ip+8:]), string(b[ip+8:ip+24])
		}
		out = append(out, f)
	})
	return out
}

// Each packet comes twice within 2 ms, with nothing changed but what the mirror
// says; and a host's own retransmission never looks like that.
func TestMirror(t *testing.T) {
	tests := []struct {
		mirror Mirror
		vlans  []uint16
	}{{MirrorSame, nil}, {MirrorVLAN, nil}, {MirrorVLAN, []uint16{7}}, {MirrorRouted, nil}, {MirrorBoth, nil}}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.mirror, tt.vlans), func(t *testing.T) {
			o := everyScenario(1)
			o.Impairments = nil
			o.Transports, o.Streams = kinds(), rough
			o.Mirror, o.VLANs, o.ZeroID, o.FastT1, o.Noise = tt.mirror, tt.vlans, 0.5, 1, 5
			file, truth := run(t, o)
			type key struct {
				id   uint16
				frag uint16
				body string
			}
			first := map[key]ipFrame{}
			pairs := map[Duplicates]uint64{}
			for n, f := range ipFrames(t, file) {
				k := key{f.id, f.frag, f.body}
				a, open := first[k]
				if !open {
					first[k] = f
					continue
				}
				if f.at-a.at > 2*ms {
					// Not the second copy but another packet that happens to be the same.
					if f.id != 0 || f.at-a.at < 50*ms {
						t.Fatalf("frame %d repeats one of %d ns before", n+1, f.at-a.at)
					}
					first[k] = f
					continue
				}
				delete(first, k)
				pairs[Duplicates{Type: "duplicates", VLAN: a.vlan, TTL: a.ttl, VLAN2: f.vlan, TTL2: f.ttl}]++
			}
			if len(first) > 0 {
				t.Errorf("%d frames came once", len(first))
			}
			total := uint64(0)
			for _, d := range truth.Doubled {
				total += d.Frames
				n := d.Frames
				d.Frames = 0
				if pairs[d] != n {
					t.Errorf("truth says %d of %+v, the file has %d", n, d, pairs[d])
				}
				if changed := d.VLAN != d.VLAN2; changed != (tt.mirror == MirrorVLAN || tt.mirror == MirrorBoth) {
					t.Errorf("VLAN %d and %d", d.VLAN, d.VLAN2)
				}
				if changed := d.TTL != d.TTL2; changed != (tt.mirror == MirrorRouted || tt.mirror == MirrorBoth) {
					t.Errorf("TTL %d and %d", d.TTL, d.TTL2)
				}
			}
			if n := truth.Totals; total*2 != n.Frames || n.Copies != total {
				t.Errorf("%d doubles, %d copies, %d frames", total, n.Copies, n.Frames)
			}
		})
	}
}

// A mirror changes nothing in the truth about calls, only about the file.
func TestMirrorKeepsTruth(t *testing.T) {
	o := everyScenario(1)
	o.Impairments = []Weighted[Impairment]{{Impairment{Loss: 0.01, Jitter: 3 * time.Millisecond}, 1}}
	o.Transports, o.Streams = kinds(), rough
	_, once := run(t, o)
	o.Mirror = MirrorBoth
	_, twice := run(t, o)
	if len(once.Calls) != len(twice.Calls) {
		t.Fatalf("%d and %d calls", len(once.Calls), len(twice.Calls))
	}
	for i := range once.Calls {
		if a, b := fmt.Sprintf("%+v", once.Calls[i]), fmt.Sprintf("%+v", twice.Calls[i]); a != b {
			t.Errorf("call %d:\n%s\n%s", i, a, b)
		}
	}
	if a, b := once.Totals.Frames, twice.Totals.Frames; b != 2*a {
		t.Errorf("%d frames, twice %d", a, b)
	}
}

// Fragments are never longer than the MTU, and tshark puts them together to the
// same RTP streams.
func TestFragments(t *testing.T) {
	o := everyScenario(1)
	o.Impairments = []Weighted[Impairment]{{Impairment{}, 1}, {Impairment{Loss: 0.02}, 1}}
	o.Codecs = []Weighted[Codec]{{codecs[0], 1}, {large[0], 1}}
	o.Talk = Length{Kind: Uniform, Min: time.Second, Max: 3 * time.Second}
	o.MTU, o.Disorder, o.Background, o.Large = 1280, 0.5, 0, 0.5
	file, truth := run(t, o)
	pieces, disordered := uint64(0), 0
	at := map[string]int{}
	for n, f := range ipFrames(t, file) {
		if f.size > o.MTU {
			t.Fatalf("frame %d is too long for an MTU of %d", n+1, o.MTU)
		}
		if f.frag&0x3fff == 0 {
			continue
		}
		pieces++
		k := fmt.Sprint(f.source, f.id)
		if offset := int(f.frag & 0x1fff); offset < at[k] {
			disordered++
		} else {
			at[k] = offset
		}
	}
	if pieces == 0 || pieces > truth.Totals.Fragments || disordered == 0 {
		t.Errorf("%d fragments of IPv4, %d out of order; truth says %d with IPv6", pieces, disordered, truth.Totals.Fragments)
	}
	out := tshark(t, file, "-o", "rtp.heuristic_rtp:TRUE", "--enable-heuristic", "rtp_udp", "-Y", "rtp", "-T", "fields", "-e", "frame.time_epoch", "-e", "rtp.ssrc", "-e", "rtp.seq")
	lines := 0
	last := map[string]string{}
	for line := range strings.Lines(out) {
		lines++
		f := strings.Fields(line)
		last[f[1]] = f[0]
	}
	if uint64(lines) != truth.Totals.RTP {
		t.Errorf("tshark reads %d RTP packets, truth says %d", lines, truth.Totals.RTP)
	}
	for _, c := range truth.Calls {
		for _, s := range c.Streams {
			if got := last[fmt.Sprintf("0x%08x", s.SSRC)]; got != epoch(s.Last) {
				t.Errorf("%08x: tshark sees the last packet at %s, truth says %s", s.SSRC, got, epoch(s.Last))
			}
		}
	}
}

// Attacks are in the file, and nowhere in the truth about calls.
func TestHostile(t *testing.T) {
	o := everyScenario(1)
	o.Transports = []Weighted[record.Transport]{{record.UDP, 1}, {record.TCP, 1}}
	_, calm := run(t, o)
	o.Hostile = 200
	_, truth := run(t, o)
	for i := range truth.Calls {
		if a, b := fmt.Sprintf("%+v", calm.Calls[i]), fmt.Sprintf("%+v", truth.Calls[i]); a != b {
			t.Errorf("call %d:\n%s\n%s", i, a, b)
		}
	}
	h := truth.Totals.Hostile
	if h.Fragments == 0 || h.Overlaps == 0 || h.Gaps == 0 || h.SYNs == 0 || h.Tunnels == 0 || h.Endless == 0 {
		t.Errorf("an attack is missing: %+v", h)
	}
	if got := calm.Totals.Frames + h.Fragments + h.Overlaps + h.Gaps + h.SYNs + h.Tunnels + h.Endless; got != truth.Totals.Frames {
		t.Errorf("kinds sum up to %d of %d frames", got, truth.Totals.Frames)
	}
}

// The tunnels are as deep as tshark can count.
func TestHostileTunnels(t *testing.T) {
	file, truth := run(t, Options{Seed: 3, Calls: 1, Talk: Length{Mean: 2 * time.Second}, Hostile: 20})
	if truth.Totals.Hostile.Tunnels == 0 {
		t.Fatal("there is no tunnel")
	}
	deepest := 0
	out := tshark(t, file, "-Y", "ip.src == 45.0.0.0/8 && udp.dstport == 9", "-T", "fields", "-e", "ip.version")
	for line := range strings.Lines(out) {
		deepest = max(deepest, strings.Count(line, "4"))
	}
	if deepest != nested+1 {
		t.Errorf("tshark counts %d headers in a tunnel of %d", deepest, nested)
	}
}
