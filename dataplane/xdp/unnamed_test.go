package xdp

import (
	"testing"

	"github.com/cilium/ebpf"

	"ringside/flow/meter"
)

// TestTableUnnamed: a stream that no SDP has named is delivered as the rules may
// want it, for its first packets; what SDP says, and user space, count at once.
func TestTableUnnamed(t *testing.T) {
	const most = 512
	for _, tc := range []struct {
		name          string
		unnamed, says uint8
		before, named int
	}{
		{"header", headerOnly, meterOnly, toHeader, toMeter},
		{"whole", wholePacket, headerOnly, toFull, toHeader},
		{"nothing", meterOnly, wholePacket, toMeter, toFull},
		{"as SDP will say", wholePacket, wholePacket, toFull, toFull},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := load(t, 64, func(spec *ebpf.CollectionSpec) {
				if err := spec.Variables["table_unknown"].Set(uint32(tc.unnamed)); err != nil {
					t.Fatal(err)
				}
			})
			seq := uint16(0)
			give := func(stream int) int {
				if seq++; seq&0xff == 0 { // of those a sample is taken
					seq++
				}
				return r.feed(t, tablePacket(stream, meter.Packet{Time: int64(seq) * 20e6, TS: 160 * uint32(seq), Seq: seq, Type: 8, Len: 160}))[0]
			}
			for i := range most {
				if got := give(1); got != tc.before {
					t.Fatalf("packet %d: %d, want %d", i+1, got, tc.before)
				}
			}
			for range 3 {
				if got := give(1); got != toMeter {
					t.Fatalf("still not named, and there have been %d: %d", most, got)
				}
			}
			if got := give(2); got != tc.before {
				t.Errorf("another stream: %d, want %d", got, tc.before)
			}
			key := flowOf(2)
			r.publish(t, key[16:32], 30000, tc.says)
			for range 3 {
				if got := give(2); got != tc.named {
					t.Errorf("named: %d, want %d", got, tc.named)
				}
			}
		})
	}
}
