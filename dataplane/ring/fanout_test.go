package ring

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringside/dataplane/frame"
)

// packet is a frame from port to port between two hosts of a network: UDP, or a
// fragment of UDP.
type packet struct {
	v6, fragment, reply bool
	id                  uint64
	src, dst            byte
	sport, dport        uint16
	offset              uint16 // of a fragment, units of 8 bytes
	more                bool
}

func (p packet) bytes() []byte {
	if p.reply {
		p.src, p.dst, p.sport, p.dport = p.dst, p.src, p.dport, p.sport
	}
	b := []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00}
	if p.v6 {
		b[12], b[13] = 0x86, 0xdd
		b = append(b, 0x60, 0, 0, 0, 0, 48, unix.IPPROTO_UDP, 64)
		if p.fragment {
			b[len(b)-2] = unix.IPPROTO_FRAGMENT
		}
		for _, host := range []byte{p.src, p.dst} {
			b = append(b, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host, host^0x5a)
		}
		if p.fragment {
			word := p.offset << 3
			if p.more {
				word |= 1
			}
			b = append(b, unix.IPPROTO_UDP, 0)
			b = binary.BigEndian.AppendUint16(b, word)
			b = append(b, 0, 0, 0, 77)
		}
	} else {
		word := p.offset
		if p.more {
			word |= 0x2000
		}
		b = append(b, 0x45, 0, 0, 68, 0, 77)
		b = binary.BigEndian.AppendUint16(b, word)
		b = append(b, 64, unix.IPPROTO_UDP, 0, 0, 10, 0, p.src, p.src^0x5a, 10, 0, p.dst, p.dst^0x5a)
	}
	b = binary.BigEndian.AppendUint16(b, p.sport)
	b = binary.BigEndian.AppendUint16(b, p.dport)
	b = append(b, 0, 48, 0, 0)
	b = binary.BigEndian.AppendUint64(b, p.id)
	return append(b, make([]byte, 32)...)
}

// where sends frames and finds out to which ring each went. A frame is known by
// the length that it is given.
func where(t *testing.T, s *Set, tx *sender, frames [][]byte) []int {
	t.Helper()
	out := make([]int, len(frames))
	for i, b := range frames {
		out[i] = -1
		tx.send(b)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	index := map[string]int{}
	for i, b := range frames {
		if binary.BigEndian.Uint16(b[12:]) == noteEthertype {
			b = b[noteSize:]
		}
		index[string(b)] = i
	}
	for i := range s.Rings() {
		read(t, s.Ring(i), -1, func(f *frame.Frame) {
			k, ok := index[string(f.Data)]
			if !ok || out[k] >= 0 {
				t.Fatalf("frame of %d bytes came twice, or was not sent: % x", len(f.Data), f.Data)
			}
			out[k] = i
		})
	}
	for i, r := range out {
		if r < 0 {
			t.Fatalf("frame %d of %d went to no ring", i, len(frames))
		}
	}
	return out
}

// Both directions of a flow go to one ring, and so do all fragments of a
// datagram; flows are spread.
func TestFanoutByFlow(t *testing.T) {
	const rings, flows = 4, 200
	wrap := map[string]func([]byte) []byte{
		"plain":        func(b []byte) []byte { return b },
		"tagged":       func(b []byte) []byte { return tagged(b, 0x8100, 5) },
		"tagged twice": func(b []byte) []byte { return tagged(tagged(b, 0x8100, 5), 0x88a8, 6) },
		"noted":        func(b []byte) []byte { return noted(b, 1, uint32(len(b)), time.Now().UnixNano()) },
		"tagged behind note": func(b []byte) []byte {
			b = tagged(b, 0x8100, 5)
			return noted(b, 1, uint32(len(b)), time.Now().UnixNano())
		},
	}
	for _, tc := range []struct {
		mode FanoutMode
		way  string
		v6   bool
	}{
		{FanoutFlow, "plain", false}, {FanoutFlow, "plain", true},
		{FanoutFlow, "tagged", false}, {FanoutFlow, "tagged", true},
		{FanoutFlow, "tagged twice", false}, {FanoutFlow, "tagged twice", true},
		{FanoutFlow, "noted", false}, {FanoutFlow, "noted", true},
		{FanoutFlow, "tagged behind note", false}, {FanoutFlow, "tagged behind note", true},
		{FanoutHash, "plain", false}, {FanoutHash, "plain", true},
	} {
		t.Run(fmt.Sprintf("%v, %s, IPv6 %v", tc.mode, tc.way, tc.v6), func(t *testing.T) {
			space(t)
			s := open(t, Options{Rings: rings, Fanout: tc.mode})
			var frames [][]byte
			add := func(p packet) {
				p.id, p.v6 = uint64(len(frames)), tc.v6
				frames = append(frames, wrap[tc.way](p.bytes()))
			}
			for i := range flows {
				p := packet{src: byte(i), dst: byte(i * 7), sport: uint16(10000 + 2*i), dport: uint16(20000 + 6*i)}
				add(p)
				p.reply = true
				add(p)
				p = packet{src: p.src, dst: p.dst, sport: p.sport, dport: p.dport, fragment: true, more: true}
				add(p)
				p.offset, p.sport, p.dport = 6, 0x1234, uint16(i)*999 // what is there is no port
				add(p)
				p.offset, p.more = 12, false
				add(p)
			}
			to := where(t, s, newSender(t, "vtx"), frames)
			var spread, spreadFragments [rings]int
			for i := 0; i < len(to); i += 5 {
				if to[i] != to[i+1] {
					t.Errorf("flow %d: one direction in ring %d, the other in %d", i/5, to[i], to[i+1])
				}
				if to[i+2] != to[i+3] || to[i+2] != to[i+4] {
					t.Errorf("flow %d: fragments in rings %d, %d and %d", i/5, to[i+2], to[i+3], to[i+4])
				}
				spread[to[i]]++
				spreadFragments[to[i+2]]++
			}
			t.Log("flows", spread, "fragments", spreadFragments)
			for i := range rings {
				if spread[i] < flows/rings/3 || spreadFragments[i] < flows/rings/3 {
					t.Errorf("ring %d has %d flows and the fragments of %d, of %d", i, spread[i], spreadFragments[i], flows)
				}
			}
		})
	}
}

// What is no IP goes somewhere, too, and so does what is cut short.
func TestFanoutFlowOfOthers(t *testing.T) {
	space(t)
	s := open(t, Options{Rings: 4, Fanout: FanoutFlow})
	tx, n := newSender(t, "vtx"), 0
	for _, ethertype := range []uint16{0x0806, 0x8847, 0x8863, 0x0800, 0x86dd, 0x8100, 0x88a8, noteEthertype} {
		for _, size := range []int{20, 40, 60} {
			b := make([]byte, size)
			binary.BigEndian.PutUint16(b[12:], ethertype)
			tx.send(b)
			n++
		}
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	got := 0
	for i := range s.Rings() {
		got += read(t, s.Ring(i), -1, func(*frame.Frame) {})
	}
	if got != n {
		t.Errorf("%d frames of %d", got, n)
	}
}

// The kernel's hash does not look behind a note. Whoever lets the filter write
// notes should know.
func TestFanoutHashOfNotes(t *testing.T) {
	space(t)
	s := open(t, Options{Rings: 4, Fanout: FanoutHash})
	var frames [][]byte
	for i := range 40 {
		b := packet{id: uint64(i), src: 1, dst: 2, sport: uint16(i), dport: 9}.bytes()
		frames = append(frames, noted(b, 1, uint32(len(b)), time.Now().UnixNano()))
	}
	to := where(t, s, newSender(t, "vtx"), frames)
	for i, r := range to {
		if r != to[0] {
			t.Errorf("frame %d went to ring %d, the first to ring %d", i, r, to[0])
		}
	}
}

func TestFanoutByProgram(t *testing.T) {
	space(t)
	s := open(t, Options{Rings: 4, Fanout: FanoutEBPF, FanoutProgram: program(t, []uint64{
		0x00000000_0000_16_bf, // r6 = r1
		0xfff00015_0000_00_30, // r0 = byte 21 of the network layer: source port, lower half (ld_abs)
		0x00000000_0000_00_95, // exit
	})})
	var frames [][]byte
	for i := range 40 {
		frames = append(frames, packet{id: uint64(i), src: 1, dst: 2, sport: uint16(i), dport: 9}.bytes())
	}
	for i, r := range where(t, s, newSender(t, "vtx"), frames) {
		if r != i%4 {
			t.Errorf("source port %d went to ring %d", i, r)
		}
	}
}

// pin keeps the thread of the test to one processor.
func pin(t *testing.T, processor int) {
	t.Helper()
	var only unix.CPUSet
	only.Set(processor)
	if err := unix.SchedSetaffinity(0, &only); err != nil {
		t.Fatal(err)
	}
}

// processors are those that the test may use. The thread has them back in the end.
func processors(t *testing.T) (out []int) {
	t.Helper()
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.SchedSetaffinity(0, &all); err != nil {
			t.Error(err)
		}
	})
	for i := 0; len(out) < all.Count(); i++ {
		if all.IsSet(i) {
			out = append(out, i)
		}
	}
	return out
}

// By processor: on a veth the one that sends is the one that receives. It stays
// so when the interface was down in between.
func TestFanoutByProcessor(t *testing.T) {
	space(t)
	const rings, each = 4, 20
	s := open(t, Options{Rings: rings, Fanout: FanoutCPU})
	tx, all := newSender(t, "vtx"), processors(t)
	for round := range 2 {
		for _, p := range all {
			pin(t, p)
			for i := range each {
				tx.send(datagram(uint64(i), i, 100))
			}
			read(t, s.Ring(p%rings), each, func(*frame.Frame) {})
		}
		if round == 0 {
			ip(t, "link", "set", "vrx", "down")
			ip(t, "link", "set", "vrx", "up")
			carriers(t, "vtx", "vrx")
		}
	}
	if st := s.Stats(); st.Received != uint64(2*each*len(all)) {
		t.Errorf("%+v", st)
	}
}

// By queue. A veth without XDP does not say which one it was, so all that is
// seen here is that every frame comes once.
func TestFanoutByQueue(t *testing.T) {
	space(t)
	s := open(t, Options{Rings: 3, Fanout: FanoutQM})
	var frames [][]byte
	for i := range 40 {
		frames = append(frames, packet{id: uint64(i), src: 1, dst: 2, sport: uint16(i), dport: 9}.bytes())
	}
	where(t, s, newSender(t, "vtx"), frames)
}

// Two captures on one interface are two groups: each has every frame.
func TestTwoGroups(t *testing.T) {
	space(t)
	a := open(t, Options{Rings: 2, Fanout: FanoutFlow})
	b := open(t, Options{Rings: 3, Fanout: FanoutFlow, Index: 1})
	var frames [][]byte
	for i := range 50 {
		frames = append(frames, packet{id: uint64(i), src: 1, dst: 2, sport: uint16(i), dport: 9}.bytes())
	}
	where(t, a, newSender(t, "vtx"), frames)
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for i := range 3 {
		n += read(t, b.Ring(i), -1, func(*frame.Frame) {})
	}
	if n != len(frames) {
		t.Errorf("the second capture had %d frames of %d", n, len(frames))
	}
}
