package sctp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"ringside/bench/corpus"
	"ringside/dataplane/decode"
	"ringside/dataplane/frame"
	"ringside/dataplane/pcapin"
)

// association is what one direction says, and the truth about it.
type association struct {
	packets  []*frame.Packet
	messages map[string]bool // by text; whether all of its chunks are in packets
}

// randomAssociation has messages in chunks in packets: bundled, lost for good,
// sent again, swapped, and copied.
func randomAssociation(r *rand.Rand, host int, interleaved bool) association {
	a := association{messages: map[string]bool{}}
	tsn := r.Uint32()
	if r.IntN(2) == 0 {
		tsn = ^uint32(0) - uint32(r.IntN(100)) // the numbers begin anew on the way
	}
	type part struct {
		bytes   []byte
		message string
		there   *bool // in packets
	}
	var parts []part
	for n := range 60 {
		text := fmt.Sprintf("%d/%d ", host, n)
		text += string(make([]byte, r.IntN(3000)))
		stream := 1 + r.IntN(3)
		size := 40 + r.IntN(1460)
		for off, number := 0, uint32(0); off < len(text); off, number, tsn = off+size, number+1, tsn+1 {
			end := min(off+size, len(text))
			flags := 0
			if off == 0 {
				flags |= first
			}
			if end == len(text) {
				flags |= last
			}
			b := data(tsn, flags, stream, text[off:end])
			if interleaved {
				b = iData(tsn, flags, stream, uint32(n), number, text[off:end])
			}
			parts = append(parts, part{b, text, new(bool)})
		}
	}
	sent := slices.Clone(parts)
	var late []part
	for len(parts) > 0 || len(late) > 0 {
		var chunks [][]byte
		var held []part
		for n := 1 + r.IntN(4); n > 0 && len(parts) > 0; n-- {
			held = append(held, parts[0])
			parts = parts[1:]
		}
		if len(late) > 0 && (r.IntN(3) == 0 || len(held) == 0) {
			held = append(held, late[0])
			late = late[1:]
		}
		for _, p := range held {
			chunks = append(chunks, p.bytes)
		}
		switch r.IntN(10) {
		case 0: // lost, each chunk comes later
			late = append(late, held...)
			continue
		case 1: // lost on the way to the mirror
			if r.IntN(4) == 0 {
				continue
			}
		case 2: // sent again without need
			late = append(late, held...)
		}
		for _, p := range held {
			*p.there = true
		}
		p := there(0, chunks...)
		p.Src = endpoint(host, 5060)
		a.packets = append(a.packets, p)
		if r.IntN(5) == 0 {
			a.packets = append(a.packets, new(*p))
		}
		if n := len(a.packets); n > 2 && r.IntN(5) == 0 {
			a.packets[n-1], a.packets[n-2] = a.packets[n-2], a.packets[n-1]
		}
	}
	for _, p := range sent {
		all, known := a.messages[p.message]
		a.messages[p.message] = *p.there && (all || !known)
	}
	return a
}

// TestRandom wants each message whose chunks all come exactly once, and no other.
func TestRandom(t *testing.T) {
	var total Stats
	whole, lost := 0, 0
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		var packets []*frame.Packet
		want := map[string]bool{}
		for host := range 3 {
			a := randomAssociation(r, 10+host, host == 2)
			maps.Copy(want, a.messages)
			rest := packets
			packets = nil
			for len(rest) > 0 || len(a.packets) > 0 {
				from := &rest
				if len(rest) == 0 || len(a.packets) > 0 && r.IntN(host+1) == 0 {
					from = &a.packets
				}
				packets = append(packets, (*from)[0])
				*from = (*from)[1:]
			}
		}
		table := New(Limits{})
		got := map[string]int{}
		for i, p := range packets {
			p.Clock = int64(i) * ms
			table.Packet(p, func(m *Message) { got[string(m.Data)]++ })
			check(t, table)
		}
		for text, n := range got {
			if n != 1 || !want[text] {
				t.Fatalf("seed %d: message %.8q came %d times, all there: %v", seed, text, n, want[text])
			}
		}
		for text, all := range want {
			if all && got[text] == 0 {
				t.Fatalf("seed %d: message %.8q did not come", seed, text)
			}
			if all {
				whole++
			} else {
				lost++
			}
		}
		s := table.Stats()
		total.Add(&s)
	}
	if whole == 0 || lost == 0 || total.Retransmitted == 0 || total.Waiting == 0 {
		t.Errorf("not everything happened: %d whole, %d lost: %s", whole, lost, outcome(&total))
	}
	t.Logf("%d messages, %d without all chunks: %s", whole+lost, lost, outcome(&total))
}

// TestSmall runs the same through tables that are always full.
func TestSmall(t *testing.T) {
	var total Stats
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 2))
		table := New(Limits{
			MaxDirections: 1 + r.IntN(4), MaxBytes: cellSize * (1 + r.IntN(30)),
			MaxDirectionBytes: cellSize * (1 + r.IntN(20)), MaxChunks: 1 + r.IntN(10),
		})
		var packets []*frame.Packet
		for host := range 4 {
			packets = append(packets, randomAssociation(r, host, host == 0).packets...)
		}
		r.Shuffle(len(packets), func(i, j int) { packets[i], packets[j] = packets[j], packets[i] })
		for i, p := range packets {
			p.Clock = int64(i) * ms
			table.Packet(p, func(*Message) {})
			check(t, table)
		}
		s := table.Stats()
		total.Add(&s)
	}
	if total.Displaced == 0 || total.GivenUp[Evicted] == 0 {
		t.Errorf("nothing gave way: %+v", total)
	}
}

// TestFlood wants the messages of one association whole while others flood.
func TestFlood(t *testing.T) {
	text := string(make([]byte, 1200))
	for _, flood := range []struct {
		name string
		next func(i int) *frame.Packet
	}{
		{"sources with a chunk each", func(i int) *frame.Packet { return floodPacket(i, data(1, first, 1, text)) }},
		{"INIT of a source each", func(i int) *frame.Packet { return floodPacket(i, start(1, 1)) }},
		{"one source, chunks without end", func(i int) *frame.Packet { return floodPacket(0, data(uint32(i), middle, 1, text)) }},
		{"one source, tiny chunks", func(i int) *frame.Packet {
			return floodPacket(0, data(uint32(3*i), first, 1, "x"), data(uint32(3*i+1), first, 1, "x"))
		}},
		{"one source, jumps", func(i int) *frame.Packet { return floodPacket(0, data(uint32(i)<<16, first, 1, text)) }},
		{"one source, interleaved messages", func(i int) *frame.Packet {
			return floodPacket(0, iData(uint32(i), first, i&1023, uint32(i), 7, text))
		}},
	} {
		t.Run(flood.name, func(t *testing.T) {
			limits := Limits{MaxBytes: 1 << 20, MaxDirections: 500}
			table := New(limits)
			clock, n, messages := int64(0), 0, 0
			add := func(p *frame.Packet) {
				clock += ms / 10
				p.Clock = clock
				table.Packet(p, func(m *Message) {
					if m.Src == endpoint(1, 5060) {
						messages++
					}
				})
			}
			add(back(0, data(1, all, 1, "hello")))
			for tsn := range uint32(600) {
				for range 20 {
					add(flood.next(n))
					n++
				}
				flags := []int{first, middle, last}[tsn%3]
				add(there(0, data(tsn, flags, 1, text)))
				if tsn%50 == 0 {
					check(t, table)
				}
			}
			check(t, table)
			s := table.Stats()
			if messages != 200 {
				t.Errorf("%d messages of 200: %+v", messages, s)
			}
			if most := (limits.MaxBytes/cellSize + slabChunk) * cellSize; len(table.cells.chunks)*slabChunk*cellSize > most {
				t.Errorf("%d chunks of cells", len(table.cells.chunks))
			}
		})
	}
}

func floodPacket(i int, chunks ...[]byte) *frame.Packet {
	p := there(0, chunks...)
	p.Src = endpoint(1000+i, 9)
	return p
}

func TestCorpus(t *testing.T) {
	for _, c := range []struct {
		file, begins string
		want         []int // lengths of the messages
	}{
		// tshark reads the same five chunks, and reassembles the first two.
		{"negbie+heplify/sip_sctp.pcap", "INVITE sip:9275890000@VMSSM;user=phone SIP/2.0\r\n", []int{1764, 365, 457, 440}},
	} {
		r, err := pcapin.Open(pcapin.Options{Inputs: []string{corpus.Capture(t, c.file)}})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		table := New(Limits{})
		var got []int
		text := ""
		var d decode.Decoder
		for {
			b, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if b == nil {
				continue
			}
			d.Decode(b)
			for i := range b.Packets {
				table.Packet(&b.Packets[i], func(m *Message) {
					got = append(got, int(m.Len))
					text += string(m.Data)
				})
			}
			b.Release()
		}
		check(t, table)
		if !slices.Equal(got, c.want) || text[:min(len(text), len(c.begins))] != c.begins {
			s := table.Stats()
			t.Errorf("%s: messages of %d bytes, want %d; %s; begin %.60q", c.file, got, c.want, outcome(&s), text)
		}
	}
}

// FuzzPacket reads packets from the input: a byte of flags, a byte of time, two
// of length, then the payload.
func FuzzPacket(f *testing.F) {
	for seed := range uint64(10) {
		var in []byte
		a := randomAssociation(rand.New(rand.NewPCG(seed, 3)), 1, seed%2 == 0)
		for _, p := range a.packets[:5] {
			in = append(in, byte(seed&1), 10)
			in = binary.BigEndian.AppendUint16(in, uint16(len(p.Payload)))
			in = append(in, p.Payload...)
		}
		f.Add(in)
	}
	for _, b := range [][]byte{start(1, 2), sack(9), forward(9), abort(), over(), data(9, all, 1, "x")} {
		f.Add(slices.Concat([]byte{0, 1, 0, byte(len(b))}, b, []byte{1, 200, 0, byte(len(b))}, b))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		small := New(Limits{MaxDirections: 3, MaxBytes: 12 * cellSize, MaxDirectionBytes: 8 * cellSize, MaxChunks: 4})
		large := New(Limits{})
		small.seed, large.seed = 1, 1 // the same way through the code every time
		clock := int64(0)
		for range 100 {
			if len(in) < 4 {
				break
			}
			flags, wait, n := in[0], int64(in[1]), int(binary.BigEndian.Uint16(in[2:]))
			in = in[4:]
			n = min(n, len(in))
			clock += wait * wait * ms
			p := packetOf(0, flags&1 != 0, in[:n:n])
			p.Clock = clock
			p.Src.Port += uint16(flags >> 6)
			p.Len += uint32(flags & 2 * 10)
			in = in[n:]
			for _, table := range []*Table{small, large} {
				table.Packet(p, func(m *Message) {
					if len(m.Data) > int(m.Len) || m.Cut != (len(m.Data) < int(m.Len)) || m.First > clock || m.Chunks == 0 || m.Src != p.Src {
						t.Fatalf("message %+v", m)
					}
				})
				check(t, table)
			}
		}
	})
}

// steady is packets of an association that goes on and on: whole messages, and
// messages in three chunks, the middle one last, each packet twice.
func steady() (*Table, []*frame.Packet, func(m *Message)) {
	text := string(make([]byte, 1300))
	var packets []*frame.Packet
	for i := range uint32(20) {
		for _, p := range []*frame.Packet{
			there(0, data(4*i, all, 1, text)), back(0, sack(4*i)),
			there(0, data(4*i+1, first, 1, text)), there(0, data(4*i+3, last, 1, text)), there(0, data(4*i+2, middle, 1, text)),
		} {
			packets = append(packets, p, p)
		}
	}
	table := New(Limits{})
	emit := func(*Message) {}
	clock := int64(0)
	for range 3 {
		again(table, packets, &clock, emit)
	}
	return table, packets, emit
}

// again gives the packets once more, with the TSNs that follow.
func again(table *Table, packets []*frame.Packet, clock *int64, emit func(*Message)) {
	for i := 0; i < len(packets); i += 2 {
		p := packets[i]
		tsn := binary.BigEndian.Uint32(p.Payload[4:])
		binary.BigEndian.PutUint32(p.Payload[4:], tsn+80)
		for range 2 {
			*clock += 1000
			p.Clock = *clock
			table.Packet(p, emit)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	table, packets, emit := steady()
	clock := int64(1000 * ms)
	before := table.Stats()
	if n := testing.AllocsPerRun(20, func() { again(table, packets, &clock, emit) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	check(t, table)
	s := table.Stats()
	if s.Messages-before.Messages != 21*40 || s.Retransmitted-before.Retransmitted != 21*80 {
		t.Errorf("%s", outcome(&s))
	}
}

func BenchmarkPacket(b *testing.B) {
	b.ReportAllocs()
	table, packets, emit := steady()
	clock := int64(1000 * ms)
	for b.Loop() {
		again(table, packets, &clock, emit)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(packets)), "ns/packet")
}

// BenchmarkHostile is packets of 70 tiny chunks in reverse order, which is the
// worst that a direction can do to itself.
func BenchmarkHostile(b *testing.B) {
	b.ReportAllocs()
	var chunks [][]byte
	for i := range 70 {
		chunks = append(chunks, data(uint32(900-2*i), middle, 1, "x"))
	}
	p := there(0, chunks...)
	table := New(Limits{})
	emit := func(*Message) {}
	for b.Loop() {
		for at := 0; at < len(p.Payload); at += 20 {
			tsn := binary.BigEndian.Uint32(p.Payload[at+4:])
			binary.BigEndian.PutUint32(p.Payload[at+4:], tsn-140)
		}
		p.Clock += 1000
		table.Packet(p, emit)
	}
}
