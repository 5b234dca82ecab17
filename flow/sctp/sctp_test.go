package sctp

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"ringside/dataplane/frame"
)

const ms = int64(time.Millisecond)

func endpoint(host, port int) frame.Endpoint {
	return frame.Endpoint{Addr: frame.AddrFrom4([]byte{10, 0, byte(host >> 8), byte(host)}), Port: uint16(port)}
}

// chunk is a chunk of any type with its padding.
func chunk(kind, flags int, value []byte) []byte {
	b := []byte{byte(kind), byte(flags)}
	b = binary.BigEndian.AppendUint16(b, uint16(4+len(value)))
	b = append(b, value...)
	return append(b, make([]byte, -len(b)&3)...)
}

func words(v ...uint32) []byte {
	var b []byte
	for _, w := range v {
		b = binary.BigEndian.AppendUint32(b, w)
	}
	return b
}

// data is a DATA chunk: flags are U=4, B=2, E=1.
func data(tsn uint32, flags, stream int, text string) []byte {
	return chunk(typeData, flags, append(words(tsn, uint32(stream)<<16, 7), text...))
}

func iData(tsn uint32, flags, stream int, message, number uint32, text string) []byte {
	return chunk(typeIData, flags, append(words(tsn, uint32(stream)<<16, message, number), text...))
}

func sack(tsn uint32) []byte     { return chunk(typeSack, 0, words(tsn, 1<<16, 0)) }
func start(tag, t uint32) []byte { return chunk(typeInit, 0, words(tag, 1<<16, 1<<16|1, t)) }
func abort() []byte              { return chunk(typeAbort, 0, nil) }
func over() []byte               { return chunk(typeShutdownComplete, 0, nil) }
func forward(tsn uint32) []byte  { return chunk(typeForwardTSN, 0, words(tsn)) }

const (
	all    = 3 // B and E
	first  = 2
	middle = 0
	last   = 1
)

// packetOf is a packet of chunks from host a to b, or back, at a millisecond.
func packetOf(at int64, back bool, chunks ...[]byte) *frame.Packet {
	p := &frame.Packet{Clock: at * ms, Src: endpoint(1, 5060), Dst: endpoint(2, 5060), Payload: slices.Concat(chunks...), Proto: frame.ProtoSCTP}
	if back {
		p.Src, p.Dst = p.Dst, p.Src
	}
	p.Len = uint32(len(p.Payload))
	return p
}

func there(at int64, chunks ...[]byte) *frame.Packet { return packetOf(at, false, chunks...) }
func back(at int64, chunks ...[]byte) *frame.Packet  { return packetOf(at, true, chunks...) }

// cutTo is a packet of which the capture has n bytes of payload.
func cutTo(p *frame.Packet, n int) *frame.Packet {
	p.Payload, p.Flags = p.Payload[:n], frame.FlagCut
	return p
}

// check compares everything that a table counts with what it holds.
func check(tb testing.TB, t *Table) {
	tb.Helper()
	s := t.Stats()
	sum := s.Delivered + s.Retransmitted + s.Waiting + s.Short + s.HeaderCut + s.Empty
	for _, n := range s.GivenUp {
		sum += n
	}
	if sum != s.Chunks[Data]+s.Chunks[IData] {
		tb.Fatalf("%d chunks of data, %d counted: %+v", s.Chunks[Data]+s.Chunks[IData], sum, s)
	}
	if s.Begun != s.Directions+s.Forgotten+s.Displaced {
		tb.Fatalf("directions: %+v", s)
	}
	if t.cells.used > t.maxCells || t.directions.used > t.limits.MaxDirections {
		tb.Fatalf("%d cells of %d, %d directions of %d", t.cells.used, t.maxCells, t.directions.used, t.limits.MaxDirections)
	}
	var pieces, cells, directions int
	for l := range t.lists {
		older, clock := none, int64(-1<<62)
		for i := t.lists[l].oldest; i != none; i = t.directions.at(i).newer {
			d := t.directions.at(i)
			if d.older != older || int(d.list) != l || d.last < clock || t.find(&d.key, d.bucket) != i {
				tb.Fatalf("direction %d is not where it belongs", i)
			}
			older, clock = i, d.last
			directions++
			n, own := checkPieces(tb, t, i)
			if n != int(d.pieces) || own != int(d.cells) || n > t.limits.MaxChunks || own > t.maxOwn || l == listOver && n != 0 {
				tb.Fatalf("direction %d: %d pieces and %d cells, counted %d and %d", i, n, own, d.pieces, d.cells)
			}
			pieces += n
			cells += own
		}
		if t.lists[l].newest != older {
			tb.Fatalf("list %d does not end with its newest", l)
		}
	}
	aged, clock := 0, int64(-1<<62)
	for i := t.oldest; i != none; i = t.cells.at(i).newer {
		if t.cells.at(i).clock < clock {
			tb.Fatal("pieces are not in the order of their clocks")
		}
		clock = t.cells.at(i).clock
		aged++
	}
	if pieces != aged || pieces != int(s.Waiting) || cells != t.cells.used || directions != t.directions.used {
		tb.Fatalf("%d pieces, %d by age, %d cells, %d directions: %+v", pieces, aged, cells, directions, s)
	}
}

func checkPieces(tb testing.TB, t *Table, direction uint32) (pieces, cells int) {
	tb.Helper()
	prev := none
	for i := t.directions.at(direction).head; i != none; i = t.cells.at(i).next {
		c := t.cells.at(i)
		if c.direction != direction || c.prev != prev || prev != none && !t.cells.at(prev).before(&c.piece) {
			tb.Fatalf("piece %d is not where it belongs", i)
		}
		prev = i
		pieces++
		for j := i; j != none; j = t.cells.at(j).rest {
			cells++
		}
	}
	return pieces, cells
}

// outcome says what became of the chunks.
func outcome(s *Stats) string {
	var out []string
	say := func(name string, n uint64) {
		if n != 0 {
			out = append(out, fmt.Sprint(name, " ", n))
		}
	}
	say("delivered", s.Delivered)
	say("waiting", s.Waiting)
	say("retransmitted", s.Retransmitted)
	for l, n := range s.GivenUp {
		say(Loss(l).String(), n)
	}
	say("short", s.Short)
	say("header-cut", s.HeaderCut)
	say("empty", s.Empty)
	say("unread", s.Unread)
	say("malformed", s.Malformed)
	say("truncated", s.Truncated)
	say("cut", s.Cut)
	say("restarts", s.Restarts)
	return strings.Join(out, ", ")
}

func TestPacket(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []*frame.Packet
		out  string // messages by a space
		want string
	}{
		{"whole", []*frame.Packet{there(0, data(5, all, 1, "one"))}, "one", "delivered 1"},
		{"bundled", []*frame.Packet{there(0, sack(1), data(5, all, 1, "one"), data(6, all, 2, "two-"))}, "one two-", "delivered 2"},
		{"both directions", []*frame.Packet{there(0, data(5, all, 1, "one")), back(1, data(5, all, 1, "eno"))}, "one eno", "delivered 2"},
		{"retransmitted", []*frame.Packet{there(0, data(5, all, 1, "one")), there(1, data(6, all, 1, "two")), there(2, data(5, all, 1, "one"))}, "one two", "delivered 2, retransmitted 1"},
		{"before the first", []*frame.Packet{there(0, data(5, all, 1, "one")), there(1, data(4, all, 1, "two")), there(2, data(4, all, 1, "two"))}, "one two", "delivered 2, retransmitted 1"},
		{"in three chunks", []*frame.Packet{there(0, data(5, first, 1, "a")), there(1, data(6, middle, 1, "b")), there(2, data(7, last, 1, "c"))}, "abc", "delivered 3"},
		{"in three chunks of a packet", []*frame.Packet{there(0, data(5, first, 1, "a"), data(6, middle, 1, "b"), data(7, last, 1, "c"))}, "abc", "delivered 3"},
		{"last first", []*frame.Packet{there(0, data(7, last, 1, "c")), there(1, data(6, middle, 1, "b")), there(2, data(5, first, 1, "a"))}, "abc", "delivered 3"},
		{"middle last", []*frame.Packet{there(0, data(7, last, 1, "c")), there(1, data(5, first, 1, "a")), there(2, data(6, middle, 1, "b"))}, "abc", "delivered 3"},
		{"over the end of the numbers", []*frame.Packet{there(0, data(0xffffffff, first, 1, "a")), there(1, data(0, middle, 1, "b")), there(2, data(1, last, 1, "c"))}, "abc", "delivered 3"},
		{"two at a time", []*frame.Packet{there(0, data(5, first, 1, "a"), data(7, first, 2, "c")), there(1, data(8, last, 2, "d"), data(6, last, 1, "b"))}, "cd ab", "delivered 4"},
		{"chunks twice", []*frame.Packet{there(0, data(5, first, 1, "a")), there(1, data(5, first, 1, "a")), there(2, data(6, last, 1, "b")), there(3, data(6, last, 1, "b"))}, "ab", "delivered 2, retransmitted 2"},
		{"hole", []*frame.Packet{there(0, data(5, first, 1, "a"), data(7, last, 1, "c")), there(1, data(8, all, 1, "d"))}, "d", "delivered 1, waiting 2"},
		{"hole, too late", []*frame.Packet{there(0, data(5, first, 1, "a"), data(7, last, 1, "c")), there(60_000, data(6, middle, 1, "b"))}, "", "waiting 1, timed-out 2"},
		{"hole, just in time", []*frame.Packet{there(0, data(5, first, 1, "a"), data(7, last, 1, "c")), there(59_999, data(6, middle, 1, "b"))}, "abc", "delivered 3"},
		{"hole, acknowledged", []*frame.Packet{there(0, data(5, first, 1, "a"), data(7, last, 1, "c")), back(1500, sack(7))}, "", "acknowledged 2"},
		{"hole, acknowledged just now", []*frame.Packet{there(0, data(5, first, 1, "a"), data(7, last, 1, "c")), back(10, sack(7)), there(11, data(6, middle, 1, "b"))}, "abc", "delivered 3"},
		{"hole, acknowledged before it", []*frame.Packet{there(0, data(5, first, 1, "a"), data(7, last, 1, "c")), back(1500, sack(5)), there(1600, data(6, middle, 1, "b"))}, "abc", "delivered 3"},
		{"hole, abandoned", []*frame.Packet{there(0, data(5, first, 1, "a"), data(7, last, 1, "c"), data(8, first, 1, "d")), there(1, forward(7)), there(2, data(9, last, 1, "e"))}, "de", "delivered 2, abandoned 2"},
		{"streams of neighbours differ", []*frame.Packet{there(0, data(5, first, 1, "a"), data(6, last, 2, "b"))}, "", "waiting 2"},
		{"two beginnings", []*frame.Packet{there(0, data(5, first, 1, "a"), data(6, first, 1, "b"), data(7, last, 1, "c"))}, "bc", "delivered 2, waiting 1"},
		{"INIT", []*frame.Packet{there(0, start(1, 100)), there(1, data(100, all, 1, "one")), there(2, data(99, all, 1, "old"))}, "one", "delivered 1, retransmitted 1"},
		{"INIT twice", []*frame.Packet{there(0, start(1, 100)), there(1, data(100, all, 1, "one")), there(2, start(1, 100)), there(3, data(100, all, 1, "one"))}, "one", "delivered 1, retransmitted 1"},
		{"INIT again", []*frame.Packet{there(0, start(1, 100)), there(1, data(100, first, 1, "a")), there(2, start(2, 100)), there(3, data(100, all, 1, "one"))}, "one", "delivered 1, ended 1, restarts 1"},
		{"jump", []*frame.Packet{there(0, data(5, first, 1, "a")), there(1, data(99_999, all, 1, "one")), there(2, data(5, all, 1, "two"))}, "one two", "delivered 2, ended 1, restarts 2"},
		{"jump in the window", []*frame.Packet{there(0, data(5, all, 1, "a")), there(1, data(2053, all, 1, "b")), there(2, data(2053, all, 1, "b")), there(3, data(6, all, 1, "c"))}, "a b c", "delivered 3, retransmitted 1"},
		{"abort", []*frame.Packet{there(0, data(5, first, 1, "a")), back(1, data(9, first, 1, "a")), back(2, abort()), there(3, data(5, first, 1, "a"))}, "", "retransmitted 1, ended 2"},
		{"shut down, and again", []*frame.Packet{there(0, start(1, 5), data(5, all, 1, "a")), there(1, over()), there(2, data(5, all, 1, "a")), there(3, start(1, 5), data(5, all, 1, "b"))}, "a b", "delivered 2, retransmitted 1, restarts 1"},
		{"goes on after its end", []*frame.Packet{there(0, data(5, all, 1, "a")), there(1, abort()), there(2, data(6, first, 1, "b")), there(3, data(7, last, 1, "c"))}, "a bc", "delivered 3"},
		{"idle", []*frame.Packet{there(0, data(5, all, 1, "a")), there(3_600_000, data(5, all, 1, "a"))}, "a a", "delivered 2"},
		{"interleaved", []*frame.Packet{there(0, iData(5, first, 1, 0, 7, "a"), iData(6, first, 2, 0, 7, "x"), iData(7, middle, 1, 0, 1, "b")), there(1, iData(8, last, 2, 0, 1, "y"), iData(9, last, 1, 0, 2, "c"))}, "xy abc", "delivered 5"},
		{"interleaved, unordered apart", []*frame.Packet{there(0, iData(5, first, 1, 0, 7, "a"), iData(6, 4|last, 1, 0, 1, "y"), iData(7, last, 1, 0, 1, "b"), iData(8, 4|first, 1, 0, 7, "x"))}, "ab xy", "delivered 4"},
		{"interleaved, whole", []*frame.Packet{there(0, iData(5, all, 1, 0, 7, "a"), iData(5, all, 1, 0, 7, "a"))}, "a", "delivered 1, retransmitted 1"},
		{"interleaved, number twice", []*frame.Packet{there(0, iData(5, first, 1, 0, 7, "a"), iData(6, middle, 1, 0, 1, "b"), iData(7, middle, 1, 0, 1, "z"), iData(8, last, 1, 0, 2, "c"))}, "abc", "delivered 3, retransmitted 1"},
		{"cut in the data", []*frame.Packet{cutTo(there(0, data(5, all, 1, "one-two-")), 20)}, "one-", "delivered 1, cut 1"},
		{"cut in a middle one", []*frame.Packet{there(0, data(5, first, 1, "one")), cutTo(there(1, data(6, middle, 1, "two")), 17), there(2, data(7, last, 1, "six"))}, "onet", "delivered 3, cut 1"},
		{"cut in the chunk header", []*frame.Packet{cutTo(there(0, data(5, all, 1, "one")), 15)}, "", "header-cut 1"},
		{"cut before a chunk", []*frame.Packet{cutTo(there(0, data(5, all, 1, "one-"), data(6, all, 1, "two")), 20)}, "one-", "delivered 1, truncated 1"},
		{"short", []*frame.Packet{there(0, chunk(typeData, 3, words(5, 1)))}, "", "short 1"},
		{"empty", []*frame.Packet{there(0, data(5, all, 1, ""))}, "", "empty 1"},
		{"short SACK", []*frame.Packet{there(0, chunk(typeSack, 0, words(5)))}, "", "unread 1"},
		{"chunk too long", []*frame.Packet{there(0, data(5, all, 1, "one-"), []byte{0, 3, 0, 99, 1, 2, 3, 4})}, "one-", "delivered 1, malformed 1"},
		{"chunk of nothing", []*frame.Packet{there(0, data(5, all, 1, "one-"), []byte{0, 3, 0, 3, 1, 2, 3, 4})}, "one-", "delivered 1, malformed 1"},
		{"no padding at the end", []*frame.Packet{there(0, data(5, all, 1, "one")[:19])}, "one", "delivered 1"},
		{"another pass", []*frame.Packet{there(0, data(5, first, 1, "a")), func() *frame.Packet {
			p := there(1, data(6, last, 1, "b"))
			p.Loop = 1
			return p
		}()}, "", "waiting 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := New(Limits{})
			var out []string
			for _, p := range c.in {
				table.Packet(p, func(m *Message) {
					out = append(out, string(m.Data))
					if m.Src != p.Src || m.Dst != p.Dst || m.PPID != 7 || m.Stream == 0 || m.Cut != (int(m.Len) > len(m.Data)) || m.First > p.Clock {
						t.Errorf("message %+v", m)
					}
				})
				check(t, table)
			}
			if got := strings.Join(out, " "); got != c.out {
				t.Errorf("messages %q, want %q", got, c.out)
			}
			s := table.Stats()
			if got := outcome(&s); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			table.Expire(1 << 60)
			check(t, table)
			if s := table.Stats(); s.Bytes != 0 || s.Waiting != 0 || s.Directions != 0 {
				t.Errorf("at the end: %+v", s)
			}
		})
	}
}

func TestKinds(t *testing.T) {
	table := New(Limits{})
	table.Packet(there(0, chunk(0, 3, append(words(1, 1<<16, 0), 'x')), start(1, 2), chunk(2, 0, words(1, 1, 1, 2)), sack(1),
		chunk(4, 0, nil), chunk(5, 0, nil), abort(), chunk(7, 0, words(1)), chunk(8, 0, nil), chunk(9, 0, nil),
		chunk(10, 0, nil), chunk(11, 0, nil), over(), forward(1), chunk(64, 3, append(words(1, 1<<16, 0, 0), 'x')), chunk(130, 0, nil)), func(*Message) {})
	want := [numKinds]uint64{1, 1, 2, 1, 2, 1, 3, 1, 2, 1, 1}
	if s := table.Stats(); s.Chunks != want {
		t.Errorf("%v, want %v", s.Chunks, want)
	}
	seen := map[string]bool{}
	for k := range numKinds {
		seen[k.String()] = true
	}
	for l := range numLosses {
		seen[l.String()] = true
	}
	if len(seen) != int(numKinds)+int(numLosses) || seen[""] {
		t.Errorf("names: %v", seen)
	}
	if n := reflect.TypeFor[cell]().Size(); n != cellSize {
		t.Errorf("a cell is %d bytes, counted as %d", n, cellSize)
	}
}
