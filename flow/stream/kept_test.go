package stream

import (
	"fmt"
	"slices"
	"testing"

	"ringside/dataplane/frame"
)

// TestKept: a message names the frames that it came in, and no others, whatever
// lies before and behind it in them.
func TestKept(t *testing.T) {
	one := "OPTIONS sip:b SIP/2.0\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nFrom: <sip:a>;tag=1\r\nTo: <sip:b>\r\nVia: SIP/2.0/TCP a;branch=z9hG4bK1\r\nContent-Length: 0\r\n\r\n"
	n := len(one)
	text := one + one + one
	type piece struct{ from, to int }
	for _, tt := range []struct {
		name   string
		pieces []piece
		want   string // references of each message: the number of the piece
	}{
		{"one each", []piece{{0, n}, {n, 2 * n}, {2 * n, 3 * n}}, "[1] [2] [3]"},
		{"in one", []piece{{0, 3 * n}}, "[1] [1] [1]"},
		{"across", []piece{{0, n + 10}, {n + 10, 2*n + 10}, {2*n + 10, 3 * n}}, "[1] [1 2] [2 3]"},
		{"two in several", []piece{{0, 20}, {20, n + 5}, {n + 5, 3 * n}}, "[1 2] [2 3] [3]"},
		{"a hole that is filled", []piece{{0, n}, {2 * n, 3 * n}, {n, 2 * n}}, "[1] [3] [2]"},
		{"a hole in a message", []piece{{0, n}, {n + 30, 2 * n}, {n, n + 30}, {2 * n, 3 * n}}, "[1] [2 3] [4]"},
		{"sent again", []piece{{0, n}, {0, n}, {n, 2*n - 9}, {n, 2*n - 9}, {2*n - 9, 3 * n}}, "[1] [3 5] [5]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			table := New(Options{Emit: func(m *Message) {
				var refs []uint32
				for _, k := range m.Kept {
					if k.Clock != int64(k.At)*1000 {
						t.Errorf("frame %d with clock %d", k.At, k.Clock)
					}
					refs = append(refs, k.At)
				}
				slices.Sort(refs)
				got += fmt.Sprint(refs, " ")
			}})
			for i, p := range tt.pieces {
				table.Packet(segmentAt(i+1, 1000+uint32(p.from), text[p.from:p.to]))
			}
			if got != tt.want+" " {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

// TestKeptMany: of a message in very many segments the last ones are named, and it
// shows that there were more.
func TestKeptMany(t *testing.T) {
	text := "OPTIONS sip:b SIP/2.0\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nFrom: <sip:a>;tag=1\r\nTo: <sip:b>\r\nVia: SIP/2.0/TCP a;branch=z9hG4bK1\r\nContent-Length: 0\r\n\r\n"
	messages := 0
	table := New(Options{Emit: func(m *Message) {
		messages++
		if n := len(m.Kept); n != maxKept || m.Kept[0].At != 0 || m.Kept[n-1].At != uint32(len(text)) {
			t.Errorf("%d frames, the last one %v", n, m.Kept[n-1])
		}
	}})
	for i := range text {
		table.Packet(segmentAt(i+1, 1000+uint32(i), text[i:i+1]))
	}
	if messages != 1 {
		t.Errorf("%d messages", messages)
	}
}

func segmentAt(n int, seq uint32, payload string) *frame.Packet {
	return &frame.Packet{
		Time: int64(n) * 1000, Clock: int64(n) * 1000, Seq: uint64(n), Kept: uint32(n), SeqNo: seq,
		Src: frame.Endpoint{Addr: frame.AddrFrom4([]byte{10, 0, 0, 1}), Port: 5060}, Dst: frame.Endpoint{Addr: frame.AddrFrom4([]byte{10, 0, 0, 2}), Port: 5060},
		Proto: frame.ProtoTCP, Payload: []byte(payload), Len: uint32(len(payload)), Control: frame.TCPAck,
	}
}
