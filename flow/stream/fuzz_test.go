package stream

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"ringside/dataplane/frame"
	"ringside/flow/sip"
	"ringside/flow/tls"
)

// FuzzSegments gives any segments of a few flows. Each one is 8 bytes: flow and
// direction, control bits, sequence number, length, cut, acknowledgment, time;
// then its payload. The ledger balances and the bounds hold after each, what
// comes out begins as SIP and comes in the order of the clocks, and nothing is
// left at the end.
func FuzzSegments(f *testing.F) {
	seed := func(parts ...[]byte) {
		var b []byte
		seq := byte(0)
		for _, p := range parts {
			for len(p) > 0 {
				n := min(len(p), 250)
				b = append(b, 0, 16, seq, 0, byte(n), 0, 0, 1)
				b = append(b, p[:n]...)
				p = p[n:]
				seq += byte(n)
			}
		}
		f.Add(b)
	}
	seed(message("INVITE", "1", 100, 100), message("BYE", "1", 0, 0))
	seed(message("INVITE", "1", 30, 9), []byte("\r\n\r\n"), message("BYE", "1", 0, -1))
	seed([]byte(webGet), webFrame(0x81, true, message("INVITE", "1", 10, 10)), webFrame(0x89, false, nil))
	seed([]byte("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03"), []byte("\x17\x03\x03\x00\x01x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var clock int64
		var seq uint64
		emitted := func(m *Message) {
			if len(m.Data) == 0 || m.Data[0] <= ' ' || !sip.Looks(m.Data) {
				t.Fatalf("%q came out", m.Data)
			}
			if p := m.Packet; p.Clock < clock || p.Clock == clock && p.Seq < seq {
				t.Fatalf("a message of %d, %d after one of %d, %d", p.Clock, p.Seq, clock, seq)
			}
			clock, seq = m.Packet.Clock, m.Packet.Seq
		}
		table := New(Options{
			MaxFlows: 3, MaxBytes: 16 << 10, MaxFlowBytes: 4 << 10, MaxMessage: 4 << 10,
			IdleTimeout: 100 * time.Second, Keys: tls.NewKeys(), Emit: emitted,
		})
		p := frame.Packet{Clock: epoch}
		n := uint64(0)
		for len(b) >= 8 && n < 1000 {
			head := b[:8]
			b = b[8:]
			size := min(int(head[4]), len(b))
			p.Proto = frame.ProtoTCP
			if head[0]&0x40 != 0 {
				p.Proto = frame.ProtoSCTP
			}
			p.Src, p.Dst = frame.Endpoint{Port: uint16(head[0] & 7)}, frame.Endpoint{Port: 5060}
			if head[0]&0x80 != 0 {
				p.Src, p.Dst = p.Dst, p.Src
			}
			p.Control, p.Seq = head[1], n
			p.SeqNo = uint32(int32(int8(head[3]))<<14) + uint32(head[2])
			p.AckNo = uint32(int32(int8(head[6])) << 5)
			p.Clock += int64(head[7]) * int64(head[7]) * 1e6
			p.Time = p.Clock
			p.Payload = bytes.Clone(b[:size])
			p.Len = uint32(size) + uint32(head[5])
			b = b[size:]
			table.Packet(&p)
			n++
			checkTable(t, table, n)
		}
		table.Close(p.Clock)
		checkTable(t, table, n)
		if table.used != 0 {
			t.Fatalf("%d flows are left", table.used)
		}
	})
}

// FuzzFrames gives any bytes as WebSocket frames, once in one piece and once byte
// by byte: the same comes out.
func FuzzFrames(f *testing.F) {
	invite := message("INVITE", "1", 10, 10)
	f.Add(webFrame(0x81, true, invite))
	f.Add(append(webFrame(0x01, false, invite[:50]), webFrame(0x80, true, invite[50:])...))
	f.Add(binary.BigEndian.AppendUint64([]byte("\x81\xff"), 1<<63))
	f.Fuzz(func(t *testing.T, b []byte) {
		var out [2][]byte
		for i := range out {
			table := New(Options{Emit: func(m *Message) { out[i] = append(append(out[i], m.Data...), 0) }})
			size := len(b) + 1
			if i == 1 {
				size = 1
			}
			stream := append([]byte(webGet), b...)
			seq := uint32(0)
			give := func(b []byte) {
				p := frame.Packet{Proto: frame.ProtoTCP, Clock: epoch, SeqNo: seq, Payload: b, Len: uint32(len(b))}
				seq += uint32(len(b))
				table.Packet(&p)
			}
			give(stream[:len(webGet)])
			for rest := stream[len(webGet):]; len(rest) > 0; {
				n := min(size, len(rest))
				give(rest[:n])
				rest = rest[n:]
			}
			if table.stats.Resyncs > 0 {
				return // how it goes on depends on the segments
			}
		}
		if !bytes.Equal(out[0], out[1]) {
			t.Errorf("in one piece %q, byte by byte %q", out[0], out[1])
		}
	})
}
