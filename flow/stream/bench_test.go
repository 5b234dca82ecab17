package stream

import (
	"testing"
	"time"

	"ringside/dataplane/frame"
)

// traffic is segments of many flows, to be given again and again as the streams
// go on.
type traffic struct {
	packets []frame.Packet
	ahead   uint32 // of a round
	clock   int64
	next    int
}

// newTraffic makes a round: each flow sends b in segments of at most size bytes.
func newTraffic(flows int, b []byte, size int) *traffic {
	f := &traffic{ahead: uint32(len(b)), clock: epoch}
	for at := 0; at < len(b); at += size {
		part := b[at:min(at+size, len(b))]
		for i := range flows {
			f.packets = append(f.packets, frame.Packet{
				Proto: frame.ProtoTCP, Control: frame.TCPAck | frame.TCPPsh, SeqNo: uint32(at),
				Src:     frame.Endpoint{Addr: frame.AddrFrom4([]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), Port: uint16(20000 + i%1000)},
				Dst:     frame.Endpoint{Addr: frame.AddrFrom4([]byte{192, 0, 2, 2}), Port: 5060},
				Payload: part, Len: uint32(len(part)),
			})
		}
	}
	return f
}

// packet is the next one.
func (f *traffic) packet() *frame.Packet {
	p := &f.packets[f.next]
	if f.next++; f.next == len(f.packets) {
		f.next = 0
	}
	f.clock += 1000
	p.Time, p.Clock = f.clock, f.clock
	p.SeqNo += f.ahead
	return p
}

func kinds() map[string]*traffic {
	invite := message("INVITE", "1", 400, 400)
	binary := make([]byte, 1400)
	binary[0] = 3
	text := append([]byte("HTTP/1.1 200 OK\r\n"), message("X", "1", 1200, 1200)...)
	return map[string]*traffic{
		"sip":                    newTraffic(100, invite, 1460),
		"sip-in-two":             newTraffic(100, invite, 300),
		"four-sip":               newTraffic(100, append(append(append(invite, invite...), invite...), invite...), 1<<16),
		"keep-alive":             newTraffic(100, []byte("\r\n\r\n"), 1460),
		"websocket":              newTraffic(100, webFrame(0x81, true, invite), 1460),
		"other-binary":           newTraffic(100, binary, 1460),
		"other-text":             newTraffic(100, text, 1460),
		"other-binary-10k-flows": newTraffic(10_000, binary, 1460),
		"tls-without-keys":       newTraffic(100, append([]byte("\x17\x03\x03\x05\x00"), binary...), 1460),
		"acknowledgment":         newTraffic(100, nil, 1460),
	}
}

// start gives each flow its first bytes.
func (f *traffic) start(table *Table) {
	for i := range f.packets {
		p := f.packets[i]
		if i > 0 && p.Src == f.packets[0].Src {
			break
		}
		p.Control = frame.TCPSyn
		p.SeqNo += f.ahead - 1
		p.Payload, p.Len = nil, 0
		p.Clock = f.clock
		table.Packet(&p)
	}
}

// TestAllocs: in steady state nothing is allocated.
func TestAllocs(t *testing.T) {
	for name, f := range kinds() {
		if len(f.packets) == 0 {
			f.packets = newTraffic(100, []byte("x"), 1).packets
			for i := range f.packets {
				f.packets[i].Payload, f.packets[i].Len = nil, 0
			}
		}
		t.Run(name, func(t *testing.T) {
			table := New(Options{})
			f.start(table)
			for range 2*len(f.packets) + 100 {
				table.Packet(f.packet())
			}
			if n := testing.AllocsPerRun(len(f.packets), func() { table.Packet(f.packet()) }); n != 0 {
				t.Errorf("%v allocations for a packet", n)
			}
		})
	}
	t.Run("reordered", func(t *testing.T) {
		f := newTraffic(1, message("INVITE", "1", 4000, 4000), 1460)
		table := New(Options{ReorderTimeout: time.Hour})
		f.start(table)
		round := func() {
			a, b, c := f.packet(), f.packet(), f.packet()
			for _, p := range []*frame.Packet{c, b, a} {
				p.Clock = f.clock
				table.Packet(p)
			}
		}
		round()
		if n := testing.AllocsPerRun(1000, round); n != 0 {
			t.Errorf("%v allocations for three packets", n)
		}
		if st := table.Stats(); st.Gaps != 0 || st.OutOfOrder < 2000 || st.Messages[2] < 1000 {
			t.Errorf("%+v", st)
		}
	})
}

func BenchmarkPacket(b *testing.B) {
	for name, f := range kinds() {
		if len(f.packets) == 0 {
			continue
		}
		b.Run(name, func(b *testing.B) {
			n := 0
			table := New(Options{Emit: func(*Message) { n++ }})
			f.start(table)
			for range len(f.packets) {
				table.Packet(f.packet())
			}
			b.ReportAllocs()
			for b.Loop() {
				table.Packet(f.packet())
			}
		})
	}
}
