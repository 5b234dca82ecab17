package stream

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"testing"
	"time"
	"unsafe"

	"ringside/dataplane/frame"
	"ringside/flow/record"
	"ringside/flow/tls"
)

// sender gives segments of many flows to a table.
type sender struct {
	table *Table
	clock int64
	given uint64
}

// give sends b from port to 5060 of another host, or back.
func (s *sender) give(t testing.TB, port int, back bool, control uint8, seq uint32, b []byte) {
	t.Helper()
	s.packet(port, back, control, seq, b)
	checkTable(t, s.table, s.given)
}

func (s *sender) packet(port int, back bool, control uint8, seq uint32, b []byte) {
	s.clock += 1e3
	p := frame.Packet{
		Time: epoch + s.clock, Clock: epoch + s.clock, Seq: s.given, Proto: frame.ProtoTCP, Control: control, SeqNo: seq,
		Src:     frame.Endpoint{Addr: frame.AddrFrom4([]byte{10, byte(port >> 24), byte(port >> 16), 1}), Port: uint16(port)},
		Dst:     frame.Endpoint{Addr: frame.AddrFrom4([]byte{192, 0, 2, 2}), Port: 5060},
		Payload: b, Len: uint32(len(b)),
	}
	if back {
		p.Src, p.Dst = p.Dst, p.Src
	}
	s.given++
	s.table.Packet(&p)
}

// TestFlowSize: a flow fills a cache line, and holds no pointer.
func TestFlowSize(t *testing.T) {
	if n := unsafe.Sizeof(flow{}); n != 64 {
		t.Errorf("a flow takes %d bytes", n)
	}
	if n := unsafe.Sizeof(piece{}); n != pieceSize {
		t.Errorf("a piece takes %d bytes", n)
	}
	for f := range reflect.TypeFor[flow]().Fields() {
		if k := f.Type.Kind(); k == reflect.Pointer || k == reflect.Slice || k == reflect.Map {
			t.Errorf("%s is a pointer", f.Name)
		}
	}
}

// TestStatsAdd fills every counter, so that none is forgotten in Add.
func TestStatsAdd(t *testing.T) {
	var a, want Stats
	n := uint64(1)
	fill := func(v, w reflect.Value) {
		if v.CanSet() && v.CanUint() {
			v.SetUint(n)
			w.SetUint(2 * n)
			n++
		}
	}
	va, vw := reflect.ValueOf(&a).Elem(), reflect.ValueOf(&want).Elem()
	for i := range va.NumField() {
		if f := va.Field(i); f.Kind() == reflect.Array {
			for j := range f.Len() {
				fill(f.Index(j), vw.Field(i).Index(j))
			}
		} else {
			fill(f, vw.Field(i))
		}
	}
	for k := range a.packets {
		a.packets[k], want.packets[k] = 7, 14
	}
	b := a
	if a.Add(&b); a != want {
		t.Errorf("got %+v, want %+v", a, want)
	}
	seen := map[string]bool{}
	for _, k := range append(a.Kinds(), a.Notes()...) {
		if seen[k.Name] || k.Name == "" || k.Count == 0 {
			t.Errorf("counter %+v", k)
		}
		seen[k.Name] = true
	}
}

// TestEviction: with the table full, flows that carry something else go first,
// in the order in which they fell silent.
func TestEviction(t *testing.T) {
	var got [][]byte
	s := sender{table: New(Options{MaxFlows: 100, ReorderTimeout: time.Hour, Emit: func(m *Message) { got = append(got, bytes.Clone(m.Data)) }})}
	invite := message("INVITE", "1", 100, 100)
	for port := range 10 {
		s.give(t, 1000+port, false, 0, 1, invite[:200])
	}
	for port := range 10_000 {
		if port%50 == 0 {
			s.clock += 2e9
			s.give(t, 999, false, 0, 1, []byte("\x03binary"))
		}
		s.give(t, 2000+port, false, frame.TCPSyn, 1, nil)
	}
	st := s.table.Stats()
	if st.Evicted != 10_011-100 || st.EvictedSIP != 0 || st.SIP != 10 {
		t.Errorf("%d flows evicted, %d with SIP; %d flows with SIP are left", st.Evicted, st.EvictedSIP, st.SIP)
	}
	if n := kindsOf(s.table)["tcp-other"]; n != 200 {
		t.Errorf("%d segments of the other flow", n)
	}
	if s.table.Stats().Opened != 10_011 {
		t.Errorf("%d flows, so the one that was seen again and again was evicted", s.table.Stats().Opened)
	}
	for port := range 10 {
		s.give(t, 1000+port, false, 0, 201, invite[200:])
	}
	if len(got) != 10 || !bytes.Equal(got[9], invite) {
		t.Errorf("%d messages: %q", len(got), got)
	}

	// Now flows with SIP alone: the one that was silent for longest goes, and
	// what it had comes out.
	got = nil
	for port := range 101 {
		s.clock += 2e9
		s.give(t, 3000+port, false, 0, 1, invite[:250])
	}
	if st := s.table.Stats(); st.EvictedSIP != 11 || len(got) != 1 || !bytes.Equal(got[0], invite[:250]) {
		t.Errorf("%d flows with SIP evicted, %q", st.EvictedSIP, got)
	}
}

// TestIdle: flows are forgotten one by one when they were silent for long.
func TestIdle(t *testing.T) {
	s := sender{table: New(Options{IdleTimeout: 100 * time.Second})}
	for port := range 100 {
		s.give(t, port, false, 0, 1, []byte("\x03binary"))
		s.clock += 2e9
	}
	// A flow is forgotten up to a tick and a half later than it might be.
	for _, wait := range []int64{0, 20, 50} {
		s.table.Advance(epoch + s.clock + wait*1e9)
		if n, want := s.table.used, 50-int(wait)/2; n < want-1 || n > want+1 {
			t.Errorf("%d s later %d flows are known, want about %d", wait, n, want)
		}
	}
	s.table.Advance(epoch + s.clock + 200e9)
	checkTable(t, s.table, s.given)
	if s.table.used != 0 {
		t.Errorf("%d flows are left", s.table.used)
	}
}

// TestHostile: whatever comes, memory stays in its bounds, and a flow that does
// nothing wrong is read as if it were alone.
func TestHostile(t *testing.T) {
	const maxBytes = 256 << 10
	giga := fmt.Appendf(nil, "INVITE sip:a SIP/2.0\r\nContent-Length: %d\r\n", 1<<30)
	endless := binary.BigEndian.AppendUint64([]byte("\x81\xff"), 1<<63-1)
	r := rand.New(rand.NewPCG(1, 1))
	hello := append([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), bytes.Repeat([]byte{7}, 500)...)
	for name, attack := range map[string]func(s *sender, i int){
		"syn-flood": func(s *sender, i int) { s.packet(1000+i, false, frame.TCPSyn, r.Uint32(), nil) },
		"endless-gaps": func(s *sender, i int) {
			s.packet(1000+i%7, false, 0, uint32(i)*3000, bytes.Repeat([]byte("BYE sip:a "), 100))
		},
		"one-byte-out-of-order": func(s *sender, i int) {
			if i < 7 {
				s.packet(1000+i, false, 0, 0, []byte("INVITE sip:"))
			}
			s.packet(1000+i%7, false, 0, uint32(1_000_000-2*(i/7)), []byte("x"))
		},
		"headers-without-end": func(s *sender, i int) {
			s.packet(1000+i%500, false, 0, uint32(i/500)*1000, append([]byte("INVITE sip:a SIP/2.0\r\n"), bytes.Repeat([]byte("X: y\r\n"), 163)...))
		},
		"begins-without-end": func(s *sender, i int) { s.packet(1000+i, false, 0, 1, []byte("INVITE sip:a")) },
		"gigabyte":           func(s *sender, i int) { s.packet(1000+i%50, false, 0, uint32(i/50*len(giga)), giga) },
		"endless-frames": func(s *sender, i int) {
			if i < 50 {
				s.packet(1000+i, false, 0, 5000-uint32(len(webGet)), []byte(webGet))
			}
			s.packet(1000+i%50, false, 0, 5000+uint32(i/50*len(endless)), endless)
		},
		"fragments-without-end": func(s *sender, i int) {
			if i < 50 {
				s.packet(1000+i, false, 0, 5000-uint32(len(webGet)), []byte(webGet))
			}
			b := webFrame(0x00, true, make([]byte, 1000))
			if i < 50 {
				b = webFrame(0x01, true, make([]byte, 1000))
			}
			s.packet(1000+i%50, false, 0, 5000+uint32(i/50*len(b)), b)
		},
		"hellos-without-answer": func(s *sender, i int) { s.packet(1000+i, false, 0, 1, hello) },
		"resets":                func(s *sender, i int) { s.packet(999, i&1 == 0, frame.TCPRst, r.Uint32()|1<<29, nil) },
		"noise": func(s *sender, i int) {
			b := make([]byte, r.IntN(100))
			for i := range b {
				b[i] = "INVITE sip:SP/2.0\r\n\x81\x16\x03"[r.IntN(22)]
			}
			s.packet(1000+i%5, i&1 == 0, uint8(r.IntN(64)), uint32(r.IntN(1000)), b)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got [][]byte
			s := sender{table: New(Options{MaxFlows: 1000, MaxBytes: maxBytes, Keys: tls.NewKeys(), Emit: func(m *Message) {
				if m.Src.Port == 999 {
					got = append(got, bytes.Clone(m.Data))
				}
			}})}
			seq := uint32(100)
			var want [][]byte
			for i := range 4000 {
				attack(&s, i)
				checkTable(t, s.table, s.given)
				if i%100 == 0 {
					m := message("MESSAGE", fmt.Sprint(i), 500, 500)
					want = append(want, m)
					s.give(t, 999, false, frame.TCPAck, seq, m[:300])
					s.give(t, 999, false, frame.TCPAck, seq+300, m[300:])
					seq += uint32(len(m))
				}
			}
			if !slices.EqualFunc(got, want, bytes.Equal) {
				t.Errorf("of the good flow %d messages came out, want %d", len(got), len(want))
			}
			if n := s.table.opening.len; n > 16 {
				t.Errorf("%d TLS connections are being opened", n)
			}
			s.table.Close(epoch + s.clock)
			checkTable(t, s.table, s.given)
		})
	}
}

// TestMemory: a table full of flows takes what it says it does.
func TestMemory(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const flows = 100_000
	s := sender{table: New(Options{MaxFlows: flows})}
	for port := range flows {
		s.packet(port, false, 0, 1, []byte("\x03binary"))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	per := float64(after.HeapAlloc-before.HeapAlloc) / flows
	t.Logf("%.0f bytes for a flow that carries something else", per)
	if per > 100 {
		t.Error("that is more than 100")
	}
	if s.table.used != flows {
		t.Errorf("%d flows", s.table.used)
	}
	runtime.KeepAlive(s.table)
}

// TestSCTP: user messages that are SIP come out.
func TestSCTP(t *testing.T) {
	data := func(tsn uint32, b []byte) []byte {
		c := []byte{0, 3, 0, 0}
		binary.BigEndian.PutUint16(c[2:], uint16(16+len(b)))
		c = binary.BigEndian.AppendUint32(c, tsn)
		c = append(c, 0, 1, 0, byte(tsn), 0, 0, 0, 0)
		c = append(c, b...)
		return append(c, make([]byte, -len(c)&3)...)
	}
	var got []Message
	table := New(Options{Emit: func(m *Message) {
		c := *m
		c.Data = bytes.Clone(m.Data)
		got = append(got, c)
	}})
	a, b := message("INVITE", "1", 100, 100), message("BYE", "1", 0, 0)
	p := frame.Packet{
		Time: epoch, Clock: epoch, Proto: frame.ProtoSCTP,
		Src: frame.Endpoint{Addr: frame.AddrFrom4([]byte{192, 0, 2, 1}), Port: 4000},
		Dst: frame.Endpoint{Addr: frame.AddrFrom4([]byte{192, 0, 2, 2}), Port: 5060},
	}
	for i, payload := range [][]byte{append(data(1, a), data(2, b)...), data(3, []byte("something else")), {4, 0, 0, 4}} {
		p.Payload, p.Len, p.Seq, p.Clock = payload, uint32(len(payload)), uint64(i), p.Clock+1
		table.Packet(&p)
		checkTable(t, table, uint64(i+1))
	}
	if len(got) != 2 || !bytes.Equal(got[0].Data, a) || !bytes.Equal(got[1].Data, b) || got[0].Transport != record.SCTP || got[0].Src != p.Src || got[0].Dst != p.Dst {
		t.Errorf("got %+v", got)
	}
	if k := kindsOf(table); k["sctp-sip"] != 1 || k["sctp-other"] != 2 || table.Stats().NotSIP != 1 {
		t.Errorf("the packets are %v", k)
	}
}

// TestLoops: each pass of a capture that is replayed has flows of its own.
func TestLoops(t *testing.T) {
	n := 0
	table := New(Options{Emit: func(m *Message) {
		if m.Packet.Loop != uint16(n) {
			t.Errorf("message %d is of pass %d", n, m.Packet.Loop)
		}
		n++
	}})
	b := message("BYE", "1", 0, 0)
	for loop := range uint16(3) {
		table.Packet(&frame.Packet{Clock: int64(loop), Proto: frame.ProtoTCP, SeqNo: 5, Payload: b, Len: uint32(len(b)), Loop: loop})
	}
	if n != 3 || table.used != 3 {
		t.Errorf("%d messages of %d flows", n, table.used)
	}
}

// TestEndlessHoles: pieces of which the snap length left nothing do not fill the
// list of what waits, however long there is a hole.
func TestEndlessHoles(t *testing.T) {
	s := sender{table: New(Options{})}
	s.give(t, 1, false, frame.TCPSyn, 0, nil)
	s.give(t, 1, false, 0, 1, message("INVITE", "1", 100_000, 100_000)[:250])
	p := frame.Packet{Clock: epoch, Proto: frame.ProtoTCP, Len: 10}
	p.Src = frame.Endpoint{Addr: frame.AddrFrom4([]byte{10, 0, 0, 1}), Port: 1}
	p.Dst = frame.Endpoint{Addr: frame.AddrFrom4([]byte{192, 0, 2, 2}), Port: 5060}
	for i := range uint32(10_000) { // a hole is filled when there is the next one
		for _, n := range []uint32{2*i + 3, 2 * i} {
			p.SeqNo = 251 + 10*n
			s.table.Packet(&p)
		}
	}
	if n := s.table.Stats().Bytes; n > 128<<10 {
		t.Errorf("%d bytes are held", n)
	}
}

// TestMessageInMessage: a body that begins a segment and is a message is no
// message of its own, if its type says so.
func TestMessageInMessage(t *testing.T) {
	inner, next := message("INVITE", "in", 80, 80), message("BYE", "next", 0, 0)
	head := fmt.Sprintf("\r\nContent-Length: %d\r\n", len(inner))
	for kind, whole := range map[string]bool{"message/sip": true, "Multipart/mixed;boundary=x": true, "application/sdp": false} {
		outer := message("MESSAGE", "out", 0, 0)
		outer = bytes.Replace(outer, []byte("\r\nContent-Length: 0\r\n"), []byte("\r\nContent-Type: "+kind+head), 1)
		var got []string
		s := sender{table: New(Options{Emit: func(m *Message) { got = append(got, fmt.Sprint(m.Cut, " ", string(m.Data))) }})}
		seq := uint32(1)
		for _, b := range [][]byte{outer, inner, next} {
			s.give(t, 1, false, 0, seq, b)
			seq += uint32(len(b))
		}
		want := []string{"false " + string(outer) + string(inner), "false " + string(next)}
		if !whole {
			want = []string{"true " + string(outer), "false " + string(inner), "false " + string(next)}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q", kind, got)
		}
	}
}
