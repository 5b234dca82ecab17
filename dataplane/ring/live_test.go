package ring

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringside/dataplane/frame"
)

func TestBytesAsSent(t *testing.T) {
	space(t)
	var sent [][]byte
	for i, size := range []int{60, 64, 214, 590, 1514} {
		b := datagram(uint64(i), i, size)
		sent = append(sent, b, tagged(b[:min(len(b), 1500)], 0x8100, 0x0123), tagged(b[:min(len(b), 1500)], 0x88a8, 0xe00f),
			tagged(tagged(b[:min(len(b), 1496)], 0x8100, 7), 0x88a8, 9))
	}
	s := open(t, Options{Index: 3})
	tx := newSender(t, "vtx")
	before := time.Now().UnixNano()
	for _, b := range sent {
		tx.send(b)
	}
	i := 0
	read(t, s.Ring(0), len(sent), func(f *frame.Frame) {
		if !bytes.Equal(f.Data, sent[i]) || int(f.Len) != len(sent[i]) {
			t.Errorf("frame %d: %d bytes of %d\n% x, sent\n% x", i, len(f.Data), f.Len, f.Data[:32], sent[i][:32])
		}
		if f.Iface != 3 || f.Seq != uint64(i)<<16|3<<8 || f.Link != frame.LinkEthernet || f.Lost != 0 || f.Metered {
			t.Errorf("frame %d: interface %d, seq %x, link %d, lost %d, metered %v", i, f.Iface, f.Seq, f.Link, f.Lost, f.Metered)
		}
		if f.Time < before || f.Time > time.Now().UnixNano() {
			t.Errorf("frame %d: time %d is not between %d and now", i, f.Time, before)
		}
		i++
	})
	// The time is that of reception, not of the copy into the ring.
	first := s.Ring(0).socket.block(0)
	if status := host.Uint32(first[host.Uint32(first[blockFirst:])+headStatus:]); status&unix.TP_STATUS_TS_SOFTWARE == 0 {
		t.Errorf("status %#x of the first frame: no stamp of reception", status)
	}
	if st := s.Stats(); st.Received != uint64(len(sent)) || st.Packets != st.Received || st.Drops != 0 {
		t.Errorf("%+v, sent %d", st, len(sent))
	}
}

// What the filter puts in front comes through the kernel, and is taken off.
func TestNotesLive(t *testing.T) {
	space(t)
	s := open(t, Options{})
	tx := newSender(t, "vtx")
	b := datagram(1, 2, 200)
	at := time.Now().UnixNano()
	tx.send(noted(b, 1, 200, at))
	tx.send(tagged(noted(b[:54], 2, 200, at+5), 0x8100, 9))
	want := []frame.Frame{
		{Data: b, Len: 200, Time: at, Metered: true},
		{Data: tagged(b[:54], 0x8100, 9), Len: 204, Time: at + 5},
	}
	i := 0
	read(t, s.Ring(0), 2, func(f *frame.Frame) {
		if w := want[i]; !bytes.Equal(f.Data, w.Data) || f.Len != w.Len || f.Time-f.Clock > 0 || f.Metered != w.Metered {
			t.Errorf("frame %d: %+v, want %+v", i, f, w)
		}
		i++
	})
	if n := s.Stats().Notes; n != 2 {
		t.Errorf("%d notes", n)
	}
}

func TestFilters(t *testing.T) {
	ethertypeIs := func(ethertype, yes uint32) []unix.SockFilter {
		return []unix.SockFilter{
			{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 12},
			{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: ethertype},
			{Code: unix.BPF_RET | unix.BPF_K, K: yes},
			{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		}
	}
	for _, tc := range []struct {
		name    string
		options func(t *testing.T) Options
		arrive  int // bytes of the UDP frames; the others are not to come
	}{
		{"snap length", func(*testing.T) Options { return Options{SnapLen: 70, ClassicFilter: ethertypeIs(0x800, 1<<18)} }, 70},
		{"classic", func(*testing.T) Options { return Options{ClassicFilter: ethertypeIs(0x800, 64)} }, 64},
		{"eBPF", func(t *testing.T) Options {
			return Options{SocketFilter: program(t, []uint64{
				0x00000000_0000_16_bf, // r6 = r1
				0x0000000c_0000_00_28, // r0 = ethertype (ld_abs, half word)
				0x00000800_0002_00_55, // if r0 != 0x800 skip 2
				0x00000050_0000_00_b7, // r0 = 80
				0x00000000_0000_00_95, // exit
				0x00000000_0000_00_b7, // r0 = 0
				0x00000000_0000_00_95,
			})}
		}, 80},
	} {
		t.Run(tc.name, func(t *testing.T) {
			space(t)
			tx := newSender(t, "vtx")
			s := open(t, tc.options(t))
			other := datagram(1, 1, 200)
			binary.BigEndian.PutUint16(other[12:], 0x9999)
			for i := range 20 {
				tx.send(other)
				tx.send(datagram(uint64(i), i, 200))
			}
			if err := s.Stop(); err != nil {
				t.Fatal(err)
			}
			n := read(t, s.Ring(0), -1, func(f *frame.Frame) {
				if len(f.Data) != tc.arrive || f.Len != 200 || f.Data[12] != 8 {
					t.Errorf("frame of %d bytes, %d on the wire, ethertype % x", len(f.Data), f.Len, f.Data[12:14])
				}
			})
			if n != 20 {
				t.Errorf("%d frames, want 20", n)
			}
		})
	}
	t.Run("snap length alone", func(t *testing.T) {
		space(t)
		tx := newSender(t, "vtx")
		s := open(t, Options{SnapLen: 100})
		tx.send(datagram(1, 1, 99))
		tx.send(datagram(1, 1, 300))
		tx.send(noted(datagram(1, 1, 300), 0, 300, time.Now().UnixNano()))
		var got []string
		read(t, s.Ring(0), 3, func(f *frame.Frame) { got = append(got, fmt.Sprint(len(f.Data), " of ", f.Len)) })
		if want := "99 of 99, 100 of 300, 100 of 300"; strings.Join(got, ", ") != want {
			t.Errorf("%v, want %s", got, want)
		}
	})
}

// What the host sends itself is not captured, unless asked for.
func TestOutgoing(t *testing.T) {
	for _, rings := range []int{1, 2} {
		for _, outgoing := range []bool{false, true} {
			t.Run(fmt.Sprint(rings, " rings, outgoing ", outgoing), func(t *testing.T) {
				space(t)
				s := open(t, Options{Rings: rings, Fanout: FanoutCPU * min(1, FanoutMode(rings-1)), Outgoing: outgoing})
				own, others := newSender(t, "vrx"), newSender(t, "vtx")
				for i := range 10 {
					own.send(datagram(uint64(i), 1, 100))
					others.send(datagram(uint64(i), 1, 200))
				}
				if err := s.Stop(); err != nil {
					t.Fatal(err)
				}
				got := map[uint32]int{}
				for i := range rings {
					read(t, s.Ring(i), -1, func(f *frame.Frame) { got[f.Len]++ })
				}
				if want := map[bool]int{true: 10}[outgoing]; got[200] != 10 || got[100] != want {
					t.Errorf("%d frames from others, want 10, and %d own, want %d", got[200], got[100], want)
				}
			})
		}
	}
}

// The kernel counts what a full ring drops, and nothing gets lost in between.
func TestDropsAreCounted(t *testing.T) {
	space(t)
	s := open(t, Options{Memory: 4 * smallestBlock, BlockSize: smallestBlock})
	tx := newSender(t, "vtx")
	before := counter(t, "vrx", "RX packets")
	const rounds, each = 6, 3000 // a round is more than the ring holds
	var delivered, told, sent uint64
	gaps := 0
	take := func(f *frame.Frame) {
		delivered++
		told += uint64(f.Lost)
		if f.Lost > 0 {
			gaps++
		}
	}
	for round := range rounds {
		for i := range each { // meanwhile nobody reads
			tx.send(datagram(uint64(i), i, 214))
			sent++
		}
		if round%2 == 0 {
			if st := s.Stats(); st.Drops == 0 || st.Received != sent {
				t.Errorf("round %d: %+v: drops are not seen while the worker stands still; sent %d", round, st, sent)
			}
		}
		for r := s.Ring(0); ; { // the worker is back, until the ring is empty
			b, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			if b == nil && r.socket.drained() {
				break
			}
			if b != nil {
				for i := range b.Frames {
					take(&b.Frames[i])
				}
				b.Release()
			}
		}
	}
	tx.send(datagram(0, 0, 100)) // whose frame tells the last gap
	sent++
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	read(t, s.Ring(0), -1, take)
	st := s.Stats()
	arrived := counter(t, "vrx", "RX packets") - before
	t.Logf("sent %d, arrived %d, delivered %d, dropped %d, told %d in %d gaps, ring full %d times", sent, arrived, delivered, st.Drops, told, gaps, st.Freezes)
	if arrived != sent || st.Received != sent || delivered+st.Drops != sent || st.Packets != delivered {
		t.Errorf("sent %d, arrived %d, received %d, delivered %d, dropped %d", sent, arrived, st.Received, delivered, st.Drops)
	}
	if told != st.Drops || gaps < rounds {
		t.Errorf("%d drops told in %d gaps, want %d in at least %d", told, gaps, st.Drops, rounds)
	}
	if st.Freezes < rounds {
		t.Errorf("%d freezes in %d rounds", st.Freezes, rounds)
	}
}

// A worker that is slower than the link: drops all the time.
func TestOverload(t *testing.T) {
	space(t)
	s := open(t, Options{Memory: 8 * smallestBlock, BlockSize: smallestBlock})
	const all = 60000
	tx := newSender(t, "vtx")
	done := make(chan [2]uint64)
	go func() {
		var got [2]uint64
		for r := s.Ring(0); ; {
			b, err := r.Next()
			if errors.Is(err, io.EOF) {
				done <- got
				return
			}
			if b != nil {
				for i := range b.Frames {
					got[0]++
					got[1] += uint64(b.Frames[i].Lost)
				}
				time.Sleep(5 * time.Millisecond)
				b.Release()
			}
		}
	}()
	for i := range all {
		tx.send(datagram(uint64(i), i, 214))
	}
	eventually(t, "the ring is empty", func() bool {
		st := s.Stats()
		return st.Packets+st.Drops == all
	})
	tx.send(datagram(0, 0, 100))
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	got := <-done
	st := s.Stats()
	if st.Drops == 0 || got[0]+st.Drops != all+1 || st.Received != all+1 || got[1] != st.Drops {
		t.Errorf("sent %d, delivered %d, told %d: %+v", all+1, got[0], got[1], st)
	}
}

// Stop ends a capture under traffic: what arrived before is delivered, each
// frame once, and in order.
func TestStopDrains(t *testing.T) {
	space(t)
	s := open(t, Options{Rings: 3, Fanout: FanoutFlow, Memory: 48 << 20})
	tx := newSender(t, "vtx")
	const before = 20000
	for i := range before {
		tx.send(datagram(uint64(i), i%16, 214))
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		tx.send(datagram(uint64(before+i), i%16, 214))
	}
	seen, last := make([]bool, before), map[uint16]uint64{}
	for i := range s.Rings() {
		read(t, s.Ring(i), -1, func(f *frame.Frame) {
			n, flow := binary.BigEndian.Uint64(f.Data[42:]), binary.BigEndian.Uint16(f.Data[34:])
			if n >= before || seen[n] {
				t.Fatalf("frame %d came after the stop, or twice", n)
			}
			seen[n] = true
			if l, ok := last[flow]; ok && n <= l {
				t.Fatalf("flow %d: frame %d after %d", flow, n, l)
			}
			last[flow] = n
		})
	}
	if st := s.Stats(); st.Packets != before || st.Received != before {
		t.Errorf("%+v, want %d frames", st, before)
	}
}

// Many rings under one worker each, filled from several processors at once.
func TestManyRings(t *testing.T) {
	space(t)
	const rings, flows, each = 16, 64, 500
	s := open(t, Options{Rings: rings, Fanout: FanoutHash, Memory: 64 << 20})
	tx := newSender(t, "vtx")
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := range flows * each {
			tx.send(datagram(uint64(i), i%flows, 120))
		}
	}()
	type part struct {
		frames int
		seqs   map[uint64]bool
		flows  map[uint16]uint64
	}
	parts := make(chan part)
	for i := range rings {
		go func(r *Ring) {
			p := part{seqs: map[uint64]bool{}, flows: map[uint16]uint64{}}
			defer func() { parts <- p }()
			for {
				b, err := r.Next()
				if err != nil {
					return
				}
				if b == nil {
					continue
				}
				for k := range b.Frames {
					f := &b.Frames[k]
					n, flow := binary.BigEndian.Uint64(f.Data[42:]), binary.BigEndian.Uint16(f.Data[34:])
					if before, ok := p.flows[flow]; ok && n <= before {
						t.Errorf("flow %d: frame %d after %d", flow, n, before)
					}
					p.flows[flow] = n
					p.seqs[f.Seq] = true
					p.frames++
				}
				b.Release()
			}
		}(s.Ring(i))
	}
	<-sent
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	frames, used, seqs, where := 0, 0, map[uint64]bool{}, map[uint16]int{}
	for i := range rings {
		p := <-parts
		frames += p.frames
		used += min(1, p.frames)
		for q := range p.seqs {
			seqs[q] = true
		}
		for flow := range p.flows {
			if _, ok := where[flow]; ok {
				t.Errorf("flow %d came to two rings", flow)
			}
			where[flow] = i
		}
	}
	if frames != flows*each || len(seqs) != frames || used < rings/2 {
		t.Errorf("%d frames, %d numbers, %d rings used; sent %d", frames, len(seqs), used, flows*each)
	}
}

// Nothing stays behind: no descriptor, no goroutine, no mapping, no membership,
// neither after errors.
func TestNothingLeft(t *testing.T) {
	space(t)
	tx := newSender(t, "vtx")
	mappings := func() int {
		maps, err := os.ReadFile("/proc/self/maps")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(maps), "socket:")
	}
	promiscuity := func() string {
		out, err := exec.Command("ip", "-d", "link", "show", "dev", "vrx").Output()
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(out), "promiscuity ")
		return strings.Fields(rest)[0]
	}
	fds, goroutines := len(descriptors(t)), runtime.NumGoroutine()
	for range 3 {
		s := open(t, Options{Rings: 4, Fanout: FanoutFlow, Promiscuous: true})
		if promiscuity() == "0" {
			t.Error("not promiscuous")
		}
		for i := range 100 {
			tx.send(datagram(uint64(i), i, 200))
		}
		var out []*frame.Batch
		for i := range s.Rings() {
			for s.Ring(i).Stats().Received > s.Ring(i).Stats().Packets {
				b, err := s.Ring(i).Next()
				if err != nil {
					t.Fatal(err)
				}
				if b != nil {
					out = append(out, b)
				}
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, b := range out { // still there
			for i := range b.Frames {
				if f := &b.Frames[i]; binary.BigEndian.Uint16(f.Data[36:]) != 20000 {
					t.Errorf("after Close a frame is % x", f.Data)
				}
				n++
			}
			b.Release()
		}
		if n != 100 {
			t.Errorf("%d frames were out, want 100", n)
		}
		if _, err := s.Ring(0).Next(); !errors.Is(err, io.EOF) {
			t.Errorf("after Close: %v", err)
		}
	}
	for _, o := range []Options{
		{Iface: "nobody"},
		{Iface: "vrx", Rings: 2, Fanout: FanoutEBPF, FanoutProgram: 1 << 20},
		{Iface: "vrx", SocketFilter: 1 << 20},
		{Iface: "vrx", Memory: 1 << 50},
	} {
		if s, err := Open(o); err == nil {
			_ = s.Close()
			t.Errorf("%+v: no error", o)
		} else {
			t.Log(err)
		}
	}
	eventually(t, "all is given back", func() bool {
		return len(descriptors(t)) <= fds && runtime.NumGoroutine() <= goroutines && mappings() == 0 && promiscuity() == "0"
	})
}

func TestOptions(t *testing.T) {
	for _, tc := range []struct {
		name string
		o    Options
		says string // part of the error; empty: none
	}{
		{"defaults", Options{Iface: "x"}, ""},
		{"no name", Options{}, "not the name"},
		{"long name", Options{Iface: "a-very-long-name"}, "not the name"},
		{"rings", Options{Iface: "x", Rings: 257, Fanout: FanoutHash}, "257 rings"},
		{"no fanout", Options{Iface: "x", Rings: 2}, "no fanout"},
		{"unknown fanout", Options{Iface: "x", Rings: 2, Fanout: 99}, "unknown fanout"},
		{"block", Options{Iface: "x", BlockSize: 5000}, "multiple"},
		{"memory", Options{Iface: "x", Rings: 4, Fanout: FanoutCPU, Memory: 1 << 19}, "at least"},
		{"timeout", Options{Iface: "x", BlockTimeout: time.Microsecond}, "timeout"},
		{"snap", Options{Iface: "x", SnapLen: 13}, "snap length"},
		{"two filters", Options{Iface: "x", SocketFilter: 3, ClassicFilter: make([]unix.SockFilter, 1)}, "two"},
		{"index", Options{Iface: "x", Index: 256}, "index"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.o.check()
			if tc.says == "" && err != nil || tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)) {
				t.Errorf("%v, want %q", err, tc.says)
			}
		})
	}
}
