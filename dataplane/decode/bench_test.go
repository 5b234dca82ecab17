package decode

import (
	"testing"

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
	memory := make([]byte, 0, benchFrames*300)
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

func BenchmarkBatch(b *testing.B) {
	for _, path := range benchPaths {
		b.Run(path.name, func(b *testing.B) {
			b.ReportAllocs()
			batch := benchBatch(path.build)
			var d Decoder
			d.Batch(batch) // takes the memory of the packets
			for b.Loop() {
				d.Batch(batch)
			}
			perFrame(b)
		})
	}
}
