package xdp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"ringside/bench/netns"
	"ringside/bpf"
	"ringside/dataplane/frame"
)

// feeding is a filter that is attached to nothing and puts into n feeds what it
// meters of the endpoint that voiceFrame goes to.
func feeding(tb testing.TB, memory int64, n int, p Policy) *Filter {
	tb.Helper()
	f := loose(tb, Options{Index: 3, MeterSlots: 1024, Feeds: n, FeedMemory: memory})
	if err := f.Publish(frame.Endpoint{Addr: frame.AddrFrom(dst4), Port: 20002}, Media{Policy: p}); err != nil {
		tb.Fatal(err)
	}
	return f
}

// loose is a filter that is attached to nothing, and has feeds.
func loose(tb testing.TB, o Options) *Filter {
	tb.Helper()
	needBPF(tb)
	o.Settings = DefaultSettings()
	f := &Filter{options: o, mode: Native}
	if err := f.load(bpf.LoadPrefilter); err != nil {
		tb.Fatalf("%+v", err)
	}
	f.start()
	tb.Cleanup(func() {
		if err := f.Close(); err != nil {
			tb.Error(err)
		}
	})
	if err := f.startFeeding(true); err != nil {
		tb.Fatal(err)
	}
	return f
}

// voiceFrame is a frame of a stream, of some length.
func voiceFrame(stream, seq, payload int) []byte {
	data := bytes.Repeat([]byte{byte(seq)}, payload)
	return over4(20000, 20002, rtpPacket(seq, 8, uint32(stream), data))
}

// gives has the program take a frame, on a CPU if it is not negative.
func gives(tb testing.TB, f *Filter, cpu int, data []byte) uint32 {
	tb.Helper()
	if cpu >= 0 {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		var before, set unix.CPUSet
		if err := unix.SchedGetaffinity(0, &before); err != nil {
			tb.Fatal(err)
		}
		set.Set(cpu)
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			tb.Skipf("CPU %d is not ours: %v", cpu, err)
		}
		defer unix.SchedSetaffinity(0, &before)
	}
	action, err := f.program.Run(&ebpf.RunOptions{Data: data, Repeat: 1})
	if err != nil {
		tb.Fatal(err)
	}
	return action
}

// taken are all batches that a feed has.
func taken(tb testing.TB, f *Feed) (out []*frame.Batch) {
	tb.Helper()
	for {
		b, err := f.Next()
		if err != nil {
			tb.Fatal(err)
		}
		if b == nil {
			return out
		}
		out = append(out, b)
	}
}

// TestFeedIsTheFrame: frames come as they were, whole or up to the end of the RTP header.
func TestFeedIsTheFrame(t *testing.T) {
	for _, tc := range []struct {
		name   string
		policy Policy
		frame  []byte
		keep   int // bytes; 0: none
		row    string
	}{
		{"header", HeaderOnly, voiceFrame(1, 7, 160), 54, "meter+feed: RTP header"},
		{"header with two sources", HeaderOnly, over4(20000, 20002, append([]byte{0x82}, rtpPacket(7, 8, 1, make([]byte, 160))[1:]...)), 62, "meter+feed: RTP header"},
		{"whole", Full, voiceFrame(1, 7, 160), 214, "meter+feed: RTP whole"},
		{"whole, odd length", Full, voiceFrame(1, 7, 161), 215, "meter+feed: RTP whole"},
		{"whole, as long as there is room", Full, voiceFrame(1, 7, 2048-54), 2048, "meter+feed: RTP whole"},
		{"whole, longer", Full, voiceFrame(1, 7, 2049-54), 0, "meter+pass: RTP whole"},
		{"sample", Meter, voiceFrame(1, 256, 160), 214, "meter+feed: RTP sample"},
		{"nothing", Meter, voiceFrame(1, 7, 160), 0, "meter: RTP"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := feeding(t, 1<<20, 1, tc.policy)
			offset, err := clockOffset()
			if err != nil {
				t.Fatal(err)
			}
			row, action, _ := judge(t, f, tc.frame)
			if row != tc.row || (action == xdpDrop) != (row != "meter+pass: RTP whole") {
				t.Fatalf("%s, action %d, want %s", row, action, tc.row)
			}
			all := taken(t, f.Feeds()[0])
			if tc.keep == 0 {
				if len(all) > 0 {
					t.Errorf("%d batches", len(all))
				}
				return
			}
			if len(all) != 1 || len(all[0].Frames) != 1 {
				t.Fatalf("%d batches", len(all))
			}
			got := all[0].Frames[0]
			if !bytes.Equal(got.Data, tc.frame[:tc.keep]) {
				t.Errorf("% x\nwant % x", got.Data, tc.frame[:tc.keep])
			}
			if got.Time < offset || got.Time > time.Now().UnixNano() || got.Clock != got.Time {
				t.Errorf("time %d, clock %d", got.Time, got.Clock)
			}
			got.Time, got.Clock, got.Data = 0, 0, nil
			if want := (frame.Frame{Seq: 3<<8 | 0x80, Len: uint32(len(tc.frame)), Link: frame.LinkEthernet, Iface: 3, Metered: true}); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%+v, want %+v", got, want)
			}
			all[0].Release()
		})
	}
}

// TestFeedFull: a ring takes what it has room for, and counts the rest; it takes
// more when bytes are given back, from the oldest on, in whatever order; frames stay as they
// were until then, and what was left out is told by the frame behind it.
func TestFeedFull(t *testing.T) {
	f := feeding(t, leastFeed, 1, Full)
	feed := f.Feeds()[0]
	seq, sent, full := 0, 0, 0
	var want []int // sequence numbers
	fill := func() (n int) {
		for {
			if seq++; seq&0xff == 0 {
				seq++
			}
			sent++
			row, action, _ := judge(t, f, voiceFrame(1, seq, 100+seq%300))
			switch {
			case action != xdpDrop:
				t.Fatalf("%s, action %d", row, action)
			case row == "meter+feed: RTP whole":
				want = append(want, seq)
				n++
				continue
			case row != "drop: feed full":
				t.Fatal(row)
			}
			if full++; full%3 == 0 {
				return n
			}
		}
	}
	onCPU(t, 0)
	if n := fill(); n < 100 {
		t.Fatalf("room for %d frames", n)
	}
	lost, got := uint64(0), 0
	check := func(all []*frame.Batch) {
		t.Helper()
		for _, b := range all {
			for i := range b.Frames {
				fr := &b.Frames[i]
				lost += uint64(fr.Lost)
				if !bytes.Equal(fr.Data, voiceFrame(1, want[got], 100+want[got]%300)) {
					t.Fatalf("frame %d is not the one with number %d: % x", got, want[got], fr.Data)
				}
				got++
			}
		}
	}
	var held []*frame.Batch
	for round := range 20 {
		b, err := feed.Next()
		if err != nil || b == nil {
			t.Fatalf("%v, %v", b, err)
		}
		check([]*frame.Batch{b})
		if round%2 == 0 { // not given back: nothing has room
			held = append(held, b)
			if n := fill(); n > 3 {
				t.Fatalf("%d frames, and nothing was given back", n)
			}
			if b, err = feed.Next(); err != nil {
				t.Fatal(err)
			}
			if b != nil {
				check([]*frame.Batch{b})
				b.Release() // the one before it is still in use
				if n := fill(); n > 3 {
					t.Fatalf("%d frames, and the oldest was not given back", n)
				}
			}
			for _, h := range held {
				h.Release()
			}
			held = held[:0]
		} else {
			b.Release()
		}
		if n := fill(); n < 10 {
			t.Fatalf("only %d frames after all was given back", n)
		}
	}
	feed.Stop()
	for {
		b, err := feed.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || b == nil {
			t.Fatalf("%v, %v", b, err)
		}
		check([]*frame.Batch{b})
		b.Release()
	}
	s := feed.Stats()
	if got != len(want) || s.Taken != uint64(got) || s.Packets != uint64(got) || s.Full != uint64(full) || got+full != sent || s.Held != 0 {
		t.Errorf("of %d frames %d arrived and %d had no room; it says %+v", sent, got, full, s)
	}
	if lost != uint64(full)-3 { // nothing came behind the last three
		t.Errorf("%d are told by frames, %d had no room", lost, full)
	}
	if _, err := feed.Next(); !errors.Is(err, io.EOF) || feed.Mark() <= feed.clock {
		t.Errorf("behind the end: %v, mark %d, clock %d", err, feed.Mark(), feed.clock)
	}
}

// onCPU keeps a test on a CPU, so that one ring takes all.
func onCPU(t *testing.T, cpu int) {
	t.Helper()
	runtime.LockOSThread()
	var before, set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		t.Skipf("CPU %d is not ours: %v", cpu, err)
	}
	t.Cleanup(func() {
		_ = unix.SchedSetaffinity(0, &before)
		runtime.UnlockOSThread()
	})
}

// TestFeedMerges: one feed sorts the rings of all CPUs by time; two feeds have
// rings of their own. Marks keep what they promise.
func TestFeedMerges(t *testing.T) {
	cpus, err := ebpf.PossibleCPU()
	if err != nil || cpus < 2 {
		t.Skip("one CPU")
	}
	for _, n := range []int{1, 2} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			f := feeding(t, 1<<20, n, Full)
			const frames = 3000 // more than a batch
			for i := range frames {
				seq := i<<1 | 1
				gives(t, f, (i/5)%2, voiceFrame(1, seq, 20))
			}
			got := 0
			for _, feed := range f.Feeds() {
				last := int64(-1)
				for {
					mark := feed.Mark()
					b, err := feed.Next()
					if err != nil {
						t.Fatal(err)
					}
					if b == nil {
						break
					}
					if len(b.Frames) > feedFrames {
						t.Fatalf("%d frames", len(b.Frames))
					}
					for _, fr := range b.Frames {
						if fr.Clock <= last || fr.Clock < mark || fr.Clock < fr.Time {
							t.Fatalf("clock %d of time %d after %d, mark %d", fr.Clock, fr.Time, last, mark)
						}
						if seq := int(binary.BigEndian.Uint16(fr.Data[44:])); n == 1 && seq != got<<1|1 {
							t.Fatalf("frame %d has number %d", got, seq)
						}
						last = fr.Clock
						got++
					}
					b.Release()
				}
			}
			if got != frames {
				t.Errorf("%d of %d frames", got, frames)
			}
		})
	}
}

// TestFeedQuiet: the mark of a quiet feed follows the clock, and what comes later
// than it promised has the mark for its clock.
func TestFeedQuiet(t *testing.T) {
	f := feeding(t, 1<<20, 1, Full)
	feed := f.Feeds()[0]
	if b, err := feed.Next(); b != nil || err != nil {
		t.Fatal(b, err)
	}
	mark := feed.Mark()
	if ahead := time.Now().UnixNano() - mark; ahead < int64(feedHold) {
		t.Errorf("the mark is %d ns behind the clock", ahead)
	}
	feed.mark.Store(time.Now().UnixNano() + 1e9)
	feed.promised = feed.Mark()
	mark = feed.Mark()
	gives(t, f, -1, voiceFrame(1, 7, 160))
	b, err := feed.Next()
	if b == nil || err != nil {
		t.Fatal(b, err)
	}
	if fr := b.Frames[0]; fr.Clock != mark || fr.Time >= mark || feed.Mark() != mark+1 || feed.Stats().Late != 1 {
		t.Errorf("time %d, clock %d, mark was %d, is %d, %d late", fr.Time, fr.Clock, mark, feed.Mark(), feed.Stats().Late)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	b.Release() // too late, and harmless
	if _, err := feed.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after Close: %v", err)
	}
}

// TestFeedAllocates nothing for a frame, nor for a batch.
func TestFeedAllocates(t *testing.T) {
	f := feeding(t, 1<<20, 1, HeaderOnly)
	feed, data := f.Feeds()[0], voiceFrame(1, 7, 160)
	n := 0
	take := func() {
		b, err := feed.Take()
		if err != nil || b == nil {
			t.Fatal(b, err)
		}
		n += len(b.Frames)
		b.Release()
	}
	if _, err := f.program.Run(&ebpf.RunOptions{Data: data, Repeat: 4 * feedFrames}); err != nil {
		t.Fatal(err)
	}
	if allocs := testing.AllocsPerRun(2, take); allocs != 0 || n != 3*feedFrames {
		t.Errorf("%v allocations for a batch of %d frames", allocs, n)
	}
}

func TestFeedSize(t *testing.T) {
	for _, tc := range []struct {
		memory int64
		n      int
		want   uint32
	}{
		{0, 2, 64 << 10}, {1 << 20, 2, 512 << 10}, {1<<20 + 5, 2, 512 << 10}, {1 << 20, 3, 256 << 10},
		{1 << 20, 64, 64 << 10}, {1 << 40, 2, 64 << 20},
	} {
		if got := feedSize(tc.memory, tc.n); got != tc.want {
			t.Errorf("%d bytes for %d: %d, want %d", tc.memory, tc.n, got, tc.want)
		}
	}
}

// TestFeedLive: what comes over an interface faster than it is read is in the feed
// or counted, to the frame, and in the order of its stream; the host sees none of it. In front of
// the host's stack the feed is not used.
func TestFeedLive(t *testing.T) {
	l := linked(t)
	out := listens(t, l, netns.A, -1)
	const frames = 5000
	for _, mode := range []Mode{Native, Generic} {
		t.Run(mode.String(), func(t *testing.T) {
			f := opens(t, l, Options{Dedicated: true, Mode: mode, Settings: DefaultSettings(), MeterSlots: 64, Feeds: 1, FeedMemory: 1, Unnamed: HeaderOnly})
			if err := f.Publish(frame.Endpoint{Addr: frame.AddrFrom(dst4), Port: 20002}, Media{Policy: Full}); err != nil {
				t.Fatal(err)
			}
			in := listens(t, l, netns.B, -1)
			if mode == Generic {
				send(t, out, voiceFrame(1, 1, 160))
				if note := receive(t, in); len(f.Feeds()) != 0 || len(note) != 32+214 {
					t.Fatalf("%d feeds, note % x", len(f.Feeds()), note)
				}
				return
			}
			feed, done := f.Feeds()[0], make(chan error, 1)
			seen, lost, last := 0, 0, -1
			go func() {
				for {
					b, err := feed.Next()
					if err != nil {
						done <- err
						return
					}
					if b == nil {
						continue
					}
					for _, fr := range b.Frames {
						seq := int(binary.BigEndian.Uint16(fr.Data[44:]))
						if seq <= last || !bytes.Equal(fr.Data, voiceFrame(1, seq, 160)) {
							t.Errorf("number %d after %d: % x", seq, last, fr.Data)
						}
						last = seq
						lost += int(fr.Lost)
						seen++
					}
					runtime.Gosched()
					b.Release()
				}
			}()
			burst := make([][]byte, frames)
			for i := range burst {
				burst[i] = voiceFrame(1, i+1, 160)
			}
			send(t, out, burst...)
			until(t, "all frames", func() bool {
				s := mustStats(t, f)
				return s.Received().Packets >= frames
			})
			feed.Stop()
			if err := <-done; !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			s := feed.Stats()
			fed := packets(t, f, Fed, "RTP whole") + packets(t, f, Fed, "RTP sample")
			if uint64(seen) != fed || s.Taken != fed || s.Full != packets(t, f, Drop, feedFull) || fed+s.Full != frames {
				t.Errorf("%d of %d frames arrived, %d are counted as fed; it says %+v", seen, frames, fed, s)
			}
			untold, used := uint64(0), 0 // of the last of a CPU nothing came behind
			for _, r := range feed.rings {
				untold += *r.full - uint64(r.refused)
				if *r.full+*r.sum > 0 {
					used++
				}
			}
			if uint64(lost)+untold != s.Full || last == frames && used == 1 && untold != 0 {
				t.Errorf("%d are told by frames and %d not, %d had no room", lost, untold, s.Full)
			}
			if got := receive(t, in); got != nil {
				t.Errorf("the host sees % x", got)
			}
		})
	}
}
