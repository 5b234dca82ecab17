package decode

import (
	"testing"

	"ringside/bench/encap"
	"ringside/dataplane/frame"
)

const benchFrames = 1000

// benchPaths build frame i of a flow of its own: RTP with 20 ms of G.711, which
// makes 214 bytes of a plain frame.
var benchPaths = []struct {
	name  string
	build func(rtp []byte) []byte
}{
	{"ipv4", func(rtp []byte) []byte { return eth(etherIPv4, ip4(17, rtp)) }},
	{"vlan", func(rtp []byte) []byte { return eth(etherVLAN, tag(100, etherIPv4, ip4(17, rtp))) }},
	{"ipv6", func(rtp []byte) []byte { return eth(etherIPv6, ip6(17, rtp)) }},
}

// benchBatch holds its frames side by side, as a block of a capture does.
func benchBatch(build func(rtp []byte) []byte) *frame.Batch {
	b := &frame.Batch{}
	memory := make([]byte, 0, benchFrames*400)
	for i := range benchFrames {
		start := len(memory)
		memory = append(memory, build(udp(10000+i, 20000+i, make([]byte, 172)))...)
		b.Frames = append(b.Frames, frame.Frame{
			Time: int64(i), Clock: int64(i), Seq: uint64(i), Link: frame.LinkEthernet,
			Data: memory[start:], Len: uint32(len(memory) - start),
		})
	}
	return b
}

func perFrame(b *testing.B) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchFrames), "ns/frame")
}

// decodeOf measures Decode of a batch.
func decodeOf(b *testing.B, build func(rtp []byte) []byte) {
	b.ReportAllocs()
	batch := benchBatch(build)
	var d Decoder
	d.Decode(batch) // takes the memory of the packets
	for b.Loop() {
		d.Decode(batch)
	}
	perFrame(b)
}

func BenchmarkDecode(b *testing.B) {
	for _, path := range benchPaths {
		b.Run(path.name, func(b *testing.B) { decodeOf(b, path.build) })
	}
	for _, name := range []string{"vxlan", "gre", "erspan-2", "mpls", "gtp-u", "geneve", "pppoe", "gre-ethernet"} {
		k := kind(b, name)
		b.Run(name, func(b *testing.B) {
			decodeOf(b, func(rtp []byte) []byte { return encap.Wrap(k, eth(etherIPv4, ip4(17, rtp))) })
		})
	}
}

// BenchmarkDecodeMany measures frames of more tunnels than are remembered, in no
// order, and of one tunnel among plain frames.
func BenchmarkDecodeMany(b *testing.B) {
	mix := []string{"vxlan", "gre", "erspan-2", "mpls", "gtp-u", "geneve", "pppoe", "gre-ethernet"}
	for _, c := range []struct {
		name  string
		kinds []string
		ends  int // tunnels of each kind
		plain int // every so many frames; 0: none
	}{
		{"16-vxlan", mix[:1], 16, 0},
		{"8-kinds", mix, 1, 0},
		{"128", mix, 16, 0},
		{"half-plain", mix[:1], 1, 2},
	} {
		b.Run(c.name, func(b *testing.B) {
			i := 0
			decodeOf(b, func(rtp []byte) []byte {
				const outer = 29 // the last byte of the IPv4 source of most
				i++
				f := eth(etherIPv4, ip4(17, rtp))
				if c.plain > 0 && i%c.plain == 0 {
					return f
				}
				x := i * 2654435761 >> 8
				f = encap.Wrap(kind(b, c.kinds[x%len(c.kinds)]), f)
				f[outer] += byte(x / 8 % c.ends)
				return f
			})
		})
	}
}

// BenchmarkJoin measures datagrams of three fragments, from the frames on.
func BenchmarkJoin(b *testing.B) {
	b.ReportAllocs()
	batch := &frame.Batch{}
	for i := range 100 {
		whole := eth(etherIPv4, with(ip4(17, udp(5060, 5060, make([]byte, 4000))), set16(4, i+1)))
		for _, f := range encap.Fragment(whole, 1500) {
			batch.Frames = append(batch.Frames, frame.Frame{Link: ether, Data: f, Len: uint32(len(f))})
		}
	}
	var d Decoder
	into := &frame.Batch{}
	clock := int64(0)
	for b.Loop() {
		d.Decode(batch)
		for i := range batch.Fragments {
			clock += 100_000_000 // so that no identification comes again too soon
			batch.Fragments[i].Clock = clock
			into.Packets = into.Packets[:0]
			d.Join(&batch.Fragments[i], &frame.Tunnel{}, into)
		}
	}
	if s := d.Stats(); s.JoinedPackets != uint64(b.N*100) {
		b.Fatalf("%d packets of %d datagrams: %+v", s.JoinedPackets, b.N*100, s.Joined)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch.Frames)), "ns/fragment")
}
