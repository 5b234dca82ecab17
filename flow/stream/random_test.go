package stream

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"ringside/dataplane/frame"
	"ringside/flow/record"
)

// wire is what one side of a random flow sends.
type wire struct {
	bytes    []byte
	messages []sent
}

// sent is a message, and where it stands in the stream.
type sent struct {
	text     []byte
	from, to int
}

// segmentOf is a segment of a side, by its place in the stream.
type segmentOf struct {
	side, from, to int
	lost           bool // not captured
}

// randomWire makes a stream of messages with keep-alives between them, in
// WebSocket frames if web.
func randomWire(r *rand.Rand, side int, web bool) (w wire) {
	if web {
		w.bytes = []byte([]string{webGet, webSwitch}[side])
	}
	for i := range 1 + r.IntN(12) {
		what := []string{"INVITE", "ACK", "PRACK", "BYE", "200", "180", "486", "MESSAGE"}[r.IntN(8)]
		body := 0
		if r.IntN(2) == 0 {
			body = 2 + r.IntN(3000)
		}
		m := message(what, fmt.Sprintf("%d-%d", side, i), body, body)
		if what == "MESSAGE" { // what another message was answered with (RFC 3420)
			m = message(what, fmt.Sprintf("%d-%d", side, i), 0, 45)
			m = append(m, "SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP x;branch=1\r\n"...)
		}
		if web {
			w.frames(r, m)
			continue
		}
		for r.IntN(4) == 0 {
			w.bytes = append(w.bytes, "\r\n\r\n"[:2+2*r.IntN(2)]...)
		}
		w.messages = append(w.messages, sent{m, len(w.bytes), len(w.bytes) + len(m)})
		w.bytes = append(w.bytes, m...)
	}
	return w
}

// frames adds a message in one or more frames, with control frames around.
func (w *wire) frames(r *rand.Rand, m []byte) {
	from := len(w.bytes)
	masked := r.IntN(2) == 0
	head := byte(1 + r.IntN(2))
	for rest := m; ; {
		if r.IntN(5) == 0 {
			w.bytes = append(w.bytes, webFrame(0x89+byte(r.IntN(2)), masked, []byte("ping!")[:r.IntN(6)])...)
		}
		n := len(rest)
		if r.IntN(3) == 0 {
			n = r.IntN(n + 1)
		}
		if n == len(rest) {
			w.bytes = append(w.bytes, webFrame(head|0x80, masked, rest)...)
			break
		}
		w.bytes = append(w.bytes, webFrame(head, masked, rest[:n])...)
		rest, head = rest[n:], 0
	}
	w.messages = append(w.messages, sent{m, from, len(w.bytes)})
}

// randomSegments cuts both streams into segments, puts them out of order, sends
// some of them again with other boundaries, and loses some to the capture.
func randomSegments(r *rand.Rand, sides *[2]wire, most int, loss bool) (out []segmentOf) {
	at := [2]int{}
	for at[0] < len(sides[0].bytes) || at[1] < len(sides[1].bytes) {
		d := r.IntN(2)
		if at[d] >= len(sides[d].bytes) {
			d = 1 - d
		}
		n := min(1+r.IntN(most), len(sides[d].bytes)-at[d])
		if r.IntN(4) == 0 {
			n = 1 + r.IntN(min(n, 8))
		}
		out = append(out, segmentOf{d, at[d], at[d] + n, loss && r.IntN(6) == 0})
		at[d] += n
	}
	missing := [2][]bool{make([]bool, len(sides[0].bytes)), make([]bool, len(sides[1].bytes))}
	for _, s := range out {
		for i := s.from; i < s.to; i++ {
			missing[s.side][i] = s.lost
		}
	}
	for range len(out) / 3 { // sent again, and captured as far as nothing of it was lost
		s := out[r.IntN(len(out))]
		s.from -= r.IntN(min(s.from, 300) + 1)
		s.to += r.IntN(min(len(sides[s.side].bytes)-s.to, 300) + 1)
		s.lost = slices.Contains(missing[s.side][s.from:s.to], true)
		out = append(out, s)
	}
	for i := range out { // a few places away
		j := min(i+r.IntN(6), len(out)-1)
		if r.IntN(3) == 0 {
			out[i], out[j] = out[j], out[i]
		}
	}
	for i := range out { // some far away, but not more than a table holds
		if j := min(i+r.IntN(300), len(out)-1); r.IntN(20) == 0 {
			out[i], out[j] = out[j], out[i]
		}
	}
	return out
}

// play gives the segments to a table, with the acknowledgments of receivers that
// get everything, and returns what came out, by side.
func play(t *testing.T, r *rand.Rand, sides *[2]wire, segments []segmentOf, web, acks bool) (out [2][]Message) {
	table := New(Options{MaxFlowBytes: 1 << 20, Emit: func(m *Message) {
		side := 0
		if m.Src.Port == 5060 {
			side = 1
		}
		c := *m
		c.Data = bytes.Clone(m.Data)
		out[side] = append(out[side], c)
	}})
	first := [2]uint32{r.Uint32(), r.Uint32()}
	got := [2][]bool{make([]bool, len(sides[0].bytes)), make([]bool, len(sides[1].bytes))}
	have := [2]int{}
	clock := epoch
	ends := [2]frame.Endpoint{
		{Addr: frame.AddrFrom4([]byte{192, 0, 2, byte(r.IntN(4))}), Port: 4000},
		{Addr: frame.AddrFrom4([]byte{192, 0, 2, 2}), Port: 5060},
	}
	packets := uint64(0)
	give := func(d int, control uint8, seq uint32, b []byte) {
		clock += 1 + r.Int64N(20e6)
		p := frame.Packet{
			Time: clock, Clock: clock, Seq: packets, Proto: frame.ProtoTCP, Control: control, SeqNo: seq,
			Src: ends[d], Dst: ends[1-d], Payload: bytes.Clone(b), Len: uint32(len(b)),
		}
		if acks && control&frame.TCPSyn == 0 {
			p.Control |= frame.TCPAck
			p.AckNo = first[1-d] + uint32(have[1-d])
		}
		packets++
		table.Packet(&p)
		for i := range p.Payload {
			p.Payload[i] = 0xee
		}
		checkTable(t, table, packets)
	}
	for d := range first {
		give(d, frame.TCPSyn, first[d]-1, nil)
	}
	for _, s := range segments {
		if !s.lost {
			give(s.side, frame.TCPPsh, first[s.side]+uint32(s.from), sides[s.side].bytes[s.from:s.to])
		}
		for i := s.from; i < s.to; i++ {
			got[s.side][i] = true
		}
		for have[s.side] < len(got[s.side]) && got[s.side][have[s.side]] {
			have[s.side]++
		}
	}
	for d := range first {
		give(d, 0, first[d]+uint32(len(sides[d].bytes)), nil)
	}
	table.Close(clock)
	checkTable(t, table, packets)
	want := record.TCP
	if web {
		want = record.WS
	}
	for d := range out {
		for _, m := range out[d] {
			if m.Transport != want || m.Src != ends[d] || m.Dst != ends[1-d] {
				t.Fatalf("message of side %d: %v > %v over %v", d, m.Src, m.Dst, m.Transport)
			}
		}
	}
	return out
}

// TestRandom: what comes out is what went in, whatever order segments come in.
func TestRandom(t *testing.T) {
	for seed := range uint64(240) {
		r := rand.New(rand.NewPCG(seed, 1))
		web := seed%3 == 0
		sides := [2]wire{randomWire(r, 0, web), randomWire(r, 1, web)}
		segments := randomSegments(r, &sides, []int{4, 100, 1460, 9000}[seed%4], false)
		for d, got := range play(t, r, &sides, segments, web, seed%2 == 0) {
			want := sides[d].messages
			if len(got) != len(want) {
				t.Fatalf("seed %d: side %d sent %d messages, %d came out", seed, d, len(want), len(got))
			}
			for i := range got {
				if got[i].Cut || !bytes.Equal(got[i].Data, want[i].text) {
					t.Fatalf("seed %d: message %d of side %d, cut %v:\n%q\nwant\n%q", seed, i, d, got[i].Cut, got[i].Data, want[i].text)
				}
			}
		}
	}
}

// TestRandomLoss: whatever the capture loses, messages that it has whole come
// out whole and in order, and what is cut is the begin of a message that is not.
func TestRandomLoss(t *testing.T) {
	whole, cut, hit := 0, 0, 0
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 2))
		sides := [2]wire{randomWire(r, 0, false), randomWire(r, 1, false)}
		segments := randomSegments(r, &sides, []int{60, 300, 1460, 9000}[seed%4], true)
		// A byte is captured if a segment with it was, before the receiver had it:
		// what is sent again after its acknowledgment comes too late.
		captured := [2][]bool{make([]bool, len(sides[0].bytes)), make([]bool, len(sides[1].bytes))}
		seen := [2][]bool{make([]bool, len(sides[0].bytes)), make([]bool, len(sides[1].bytes))}
		for _, s := range segments {
			for i := s.from; i < s.to; i++ {
				captured[s.side][i] = captured[s.side][i] || !s.lost && !seen[s.side][i]
				seen[s.side][i] = true
			}
		}
		for d, got := range play(t, r, &sides, segments, false, seed%3 != 0) {
			for _, want := range sides[d].messages {
				lost := slices.Contains(captured[d][want.from:want.to], false)
				if lost {
					hit++
				}
				switch {
				case len(got) > 0 && !got[0].Cut && bytes.Equal(got[0].Data, want.text):
					whole++
					got = got[1:]
				case len(got) > 0 && got[0].Cut && bytes.HasPrefix(want.text, got[0].Data) && lost:
					cut++
					got = got[1:]
				case !lost:
					t.Fatalf("seed %d, side %d: %d..%d is missing, the next are %d:\n%q", seed, d, want.from, want.to, len(got), want.text)
				}
			}
			if len(got) > 0 {
				t.Fatalf("seed %d, side %d: nobody sent this, cut %v:\n%q", seed, d, got[0].Cut, got[0].Data)
			}
		}
	}
	t.Logf("%d messages came out whole, %d cut; %d were hit by loss", whole, cut, hit)
	if whole < 1000 || cut < 100 {
		t.Error("that is too few for the test to say anything")
	}
}

// TestShards: the same comes out with the same clocks, whether one table has all
// flows or each of several tables has some, and however often timers are looked
// at.
func TestShards(t *testing.T) {
	for seed := range uint64(30) {
		packets := randomPackets(rand.New(rand.NewPCG(seed, 3)), 20)
		var want []string
		for _, shards := range []int{1, 2, 5} {
			r := rand.New(rand.NewPCG(seed, uint64(shards)))
			var got []string
			var tables []*Table
			for range shards {
				last := frame.Packet{}
				tables = append(tables, New(Options{ReorderTimeout: 300 * time.Millisecond, IdleTimeout: 2 * time.Second, Emit: func(m *Message) {
					if p := m.Packet; p.Clock < last.Clock || p.Clock == last.Clock && p.Seq < last.Seq {
						t.Fatalf("a message of %d, %d after one of %d, %d", p.Clock, p.Seq, last.Clock, last.Seq)
					}
					last = *m.Packet
					got = append(got, fmt.Sprintf("%020d %08d %d %v>%v cut %v %q", m.Packet.Clock, m.Packet.Seq, m.Packet.Time, m.Src, m.Dst, m.Cut, m.Data))
				}}))
			}
			end := int64(0)
			for _, p := range packets {
				tables[frame.FlowHash(p.Src, p.Dst)>>32*uint64(shards)>>32].Packet(&p)
				for _, table := range tables {
					if r.IntN(10) == 0 {
						table.Advance(p.Clock)
					}
				}
				end = p.Clock
			}
			for _, table := range tables {
				table.Close(end)
			}
			slices.SortStableFunc(got, func(a, b string) int { return strings.Compare(a[:29], b[:29]) })
			if want == nil {
				want = got
			}
			if !slices.Equal(got, want) {
				for i := range got {
					if i >= len(want) || got[i] != want[i] {
						t.Fatalf("seed %d, %d tables, message %d of %d, with one table %d:\n%s", seed, shards, i, len(got), len(want), got[i])
					}
				}
				t.Fatalf("seed %d: %d tables give %d messages, one gives %d", seed, shards, len(got), len(want))
			}
		}
		if len(want) < 20 {
			t.Errorf("seed %d: only %d messages", seed, len(want))
		}
	}
}

// randomPackets is the packets of many flows one among the other, with loss, and
// with acknowledgments of half of them.
func randomPackets(r *rand.Rand, flows int) (out []frame.Packet) {
	var queues [][]frame.Packet
	for i := range flows {
		web := r.IntN(4) == 0
		sides := [2]wire{randomWire(r, 0, web), randomWire(r, 1, web)}
		ends := [2]frame.Endpoint{{Addr: frame.AddrFrom4([]byte{10, 0, 0, byte(i)}), Port: 4000}, {Addr: frame.AddrFrom4([]byte{10, 9, 0, 2}), Port: 5060}}
		have := [2]int{}
		var queue []frame.Packet
		for _, s := range randomSegments(r, &sides, 1460, true) {
			b := sides[s.side].bytes[s.from:s.to]
			have[s.side] = max(have[s.side], s.to)
			p := frame.Packet{
				Proto: frame.ProtoTCP, SeqNo: uint32(s.from), AckNo: uint32(have[1-s.side]),
				Src: ends[s.side], Dst: ends[1-s.side], Payload: b, Len: uint32(len(b)),
			}
			if i%2 == 0 {
				p.Control = frame.TCPAck
			}
			if !s.lost {
				queue = append(queue, p)
			}
		}
		queues = append(queues, queue)
	}
	clock := epoch
	for len(queues) > 0 {
		i := r.IntN(len(queues))
		if len(queues[i]) == 0 {
			queues = slices.Delete(queues, i, i+1)
			continue
		}
		p := queues[i][0]
		queues[i] = queues[i][1:]
		clock += 1 + r.Int64N(20e6)
		p.Time, p.Clock, p.Seq = clock-r.Int64N(1e6), clock, uint64(len(out))
		out = append(out, p)
	}
	return out
}

// TestSkew: a mirror port shows one direction a little earlier than the other.
// Acknowledgments of what is still to come, and out of order at that, lose
// nothing.
func TestSkew(t *testing.T) {
	reordered := uint64(0)
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 4))
		side := randomWire(r, 0, seed%3 == 0)
		type shown struct {
			at  int64
			ack bool
			seq int
			b   []byte
		}
		var all []shown
		clock := int64(0)
		for from := 0; from < len(side.bytes); {
			to := min(from+1+r.IntN(600), len(side.bytes))
			clock += r.Int64N(ackGrace / 5)
			all = append(all,
				shown{clock + ackGrace/2 + r.Int64N(ackGrace*2/5), false, 1 + from, side.bytes[from:to]},
				shown{clock, true, 1 + to, nil})
			from = to
		}
		slices.SortStableFunc(all, func(a, b shown) int { return cmp.Compare(a.at, b.at) })
		var got [][]byte
		s := sender{table: New(Options{Emit: func(m *Message) {
			if m.Cut {
				t.Errorf("seed %d: cut: %q", seed, m.Data)
			}
			got = append(got, bytes.Clone(m.Data))
		}})}
		s.give(t, 1, false, frame.TCPSyn, 0, nil)
		for _, p := range all {
			q := frame.Packet{Time: epoch + p.at, Clock: max(epoch+p.at, epoch+s.clock+1), Proto: frame.ProtoTCP, Seq: s.given, Payload: p.b, Len: uint32(len(p.b))}
			q.Src = frame.Endpoint{Addr: frame.AddrFrom4([]byte{10, 0, 0, 1}), Port: 1}
			q.Dst = frame.Endpoint{Addr: frame.AddrFrom4([]byte{192, 0, 2, 2}), Port: 5060}
			if q.SeqNo = uint32(p.seq); p.ack {
				q.Src, q.Dst, q.SeqNo, q.AckNo, q.Control = q.Dst, q.Src, 9, uint32(p.seq), frame.TCPAck
			}
			s.clock = q.Clock - epoch
			s.given++
			s.table.Packet(&q)
			checkTable(t, s.table, s.given)
		}
		st := s.table.Stats()
		reordered += st.OutOfOrder
		if len(got) != len(side.messages) || st.Gaps > 0 {
			t.Fatalf("seed %d: %d messages of %d, %d gaps", seed, len(got), len(side.messages), st.Gaps)
		}
		for i, m := range side.messages {
			if !bytes.Equal(got[i], m.text) {
				t.Fatalf("seed %d: message %d is %q, want %q", seed, i, got[i], m.text)
			}
		}
	}
	if reordered < 100 {
		t.Errorf("only %d segments were out of order", reordered)
	}
}
