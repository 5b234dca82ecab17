//go:build afpacket && cgo

package ring

import (
	"testing"

	"github.com/google/gopacket/afpacket"

	"ringside/dataplane/frame"
)

// gopacket/afpacket needs cgo, which ringside does not
// otherwise; docs/adr/0012-own-block-walker.md says how to run this.
//
// Bare is what it gives: one frame, valid until the next is asked for. Batched
// is what a frame.Source has to give, so that frames must be copied.
func init() {
	readers = append(readers,
		reader{"gopacket", func(b *testing.B) func(int) uint64 {
			h := openGopacket(b)
			return func(n int) (sum uint64) {
				for range n {
					data, info, err := h.ZeroCopyReadPacketData()
					if err != nil {
						b.Fatal(err)
					}
					sum += uint64(info.Length) + uint64(data[23])
				}
				return sum
			}
		}},
		reader{"gopacket-batched", func(b *testing.B) func(int) uint64 {
			h := openGopacket(b)
			frames, bytes := make([]frame.Frame, 0, maxFrames), make([]byte, 0, maxFrames*1518)
			return func(n int) (sum uint64) {
				for n > 0 {
					frames, bytes = frames[:0], bytes[:0]
					for range min(n, maxFrames) {
						data, info, err := h.ZeroCopyReadPacketData()
						if err != nil {
							b.Fatal(err)
						}
						at := len(bytes)
						bytes = append(bytes, data...)
						frames = append(frames, frame.Frame{Time: info.Timestamp.UnixNano(), Data: bytes[at:], Len: uint32(info.Length), Link: frame.LinkEthernet})
					}
					for i := range frames {
						f := &frames[i]
						sum += uint64(f.Len) + uint64(f.Data[23])
					}
					n -= len(frames)
				}
				return sum
			}
		}})
}

func openGopacket(b *testing.B) *afpacket.TPacket {
	h, err := afpacket.NewTPacket(afpacket.OptInterface("vrx"), afpacket.TPacketVersion3, afpacket.SocketRaw,
		afpacket.OptFrameSize(4096), afpacket.OptBlockSize(largestBlock), afpacket.OptNumBlocks(benchMemory/largestBlock),
		afpacket.OptBlockTimeout(defaultTimeout))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(h.Close)
	return h
}
