package xdp

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/cilium/ebpf"

	"ringside/dataplane/frame"
	"ringside/flow/meter"
	"ringside/flow/rtp"
)

// What table_count answers, and policies, as in bpf/include.
const (
	toMeter = iota
	toHeader
	toFull
	toSample
	noRoom

	unknown     = 0
	meterOnly   = 1
	headerOnly  = 2
	wholePacket = 3
)

// testIface is the interface that the tests' meters say packets came from.
const testIface = 3

func (r *rig) tables() map[string]*ebpf.Map {
	return map[string]*ebpf.Map{"streams": r.Streams, "stream_rests": r.StreamRests, "table_counters": r.TableCounters}
}

func (r *rig) variables() map[string]*ebpf.Variable {
	return map[string]*ebpf.Variable{"table_used": r.TableUsed}
}

func openMeters(tb testing.TB, r *rig) *Meters {
	tb.Helper()
	m, err := OpenMeters(r.tables(), r.variables(), testIface)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := m.Close(); err != nil {
			tb.Error(err)
		}
	})
	return m
}

// flowOf is the key of a stream by number: from 10.0.x.x:20000 to 192.0.2.1:30000.
func flowOf(stream int) (k [40]byte) {
	v4 := func(to []byte, a, b, c, d byte) { copy(to, []byte{10: 0xff, 11: 0xff, 12: a, b, c, d}) }
	v4(k[:], 10, 0, byte(stream>>8), byte(stream))
	v4(k[16:], 192, 0, 2, 1)
	binary.BigEndian.PutUint16(k[32:], 20000)
	binary.BigEndian.PutUint16(k[34:], 30000)
	binary.LittleEndian.PutUint32(k[36:], 0xabcd0000+uint32(stream))
	return k
}

// tablePacket is p as the table is fed with it.
func tablePacket(stream int, p meter.Packet) fed {
	f := fed{
		flow: flowOf(stream), time: p.Time, ts: p.TS, len: p.Len, seq: p.Seq, pt: p.Type,
		ttl: 60, dscp: 46, vlan: -1,
	}
	if p.Marker {
		f.marker = 1
	}
	return f
}

// feed has the table take packets, and gives its answers.
func (r *rig) feed(tb testing.TB, packets ...fed) []int {
	tb.Helper()
	copy(r.fed, packets)
	run(tb, r.RunTable, 0, len(packets), 0)
	out := make([]int, len(packets))
	for i := range out {
		out[i] = int(r.fed[i].result)
	}
	return out
}

// poll is all that Poll has to say.
func poll(m *Meters) []frame.Metered { return m.Poll(make([]frame.Metered, 0, len(m.told)+slots)) }

// publish says that SDP has named an address.
func (r *rig) publish(tb testing.TB, addr []byte, port uint16, policy uint8, payloads ...rtp.Payload) {
	tb.Helper()
	var key [24]byte
	copy(key[:], addr)
	binary.BigEndian.PutUint16(key[16:], port)
	value := make([]byte, 68)
	value[0], value[1] = policy, uint8(len(payloads))
	for i, p := range payloads {
		binary.LittleEndian.PutUint32(value[4+8*i:], p.Rate)
		value[8+8*i] = p.Type
		switch p.Codec {
		case rtp.TelephoneEvent:
			value[9+8*i] = 1
		case rtp.CN:
			value[9+8*i] = 2
		}
	}
	var generation uint32
	if err := errors.Join(r.Media.Put(key[:], value), r.MediaGeneration.Get(&generation), r.MediaGeneration.Set(generation+1)); err != nil {
		tb.Fatal(err)
	}
}

// mustRead adopts what the kernel has counted in a slot.
func mustRead(tb testing.TB, m *Meters, slot uint32) (h meter.Hot, c meter.Cold) {
	tb.Helper()
	var s [StateSize]byte
	packets, ok := m.Read(slot, &s)
	if !ok {
		tb.Fatalf("read slot %d: the kernel does not stop writing", slot)
	}
	meter.Adopt(&h, &c, s[:])
	if h.Packets() != packets {
		tb.Fatalf("slot %d has %d packets in its state, Read says %d", slot, h.Packets(), packets)
	}
	return h, c
}

func TestStateSize(t *testing.T) {
	if StateSize != meter.StateSize {
		t.Errorf("Read gives %d bytes, Adopt takes %d", StateSize, meter.StateSize)
	}
}

// TestTable meters several hundred streams, and requires of each what a Go
// meter of its own says.
func TestTable(t *testing.T) {
	r := load(t, 8*1024)
	m := openMeters(t, r)
	const streams, packets = 400, 100
	hot, cold := make([]meter.Hot, streams), make([]meter.Cold, streams)
	var in []fed
	for stream := range streams {
		for _, p := range hostile(script(uint64(stream), packets)) {
			codec, rate := rtp.StaticPayload(p.Type)
			if p.Rate, p.Class = rate, meter.Media; codec == rtp.CN {
				p.Class = meter.Comfort
			}
			hot[stream].Packet(&cold[stream], &p)
			in = append(in, tablePacket(stream, p))
		}
	}
	// In turn, so that streams of one bucket alternate.
	var mixed []fed
	for i := range packets {
		for stream := range streams {
			mixed = append(mixed, in[stream*packets+i])
		}
	}
	for i, result := range r.feed(t, mixed...) {
		want := toMeter
		if mixed[i].seq&0xff == 0 {
			want = toSample
		}
		if result != want {
			t.Fatalf("packet %d with number %d: result %d, want %d", i, mixed[i].seq, result, want)
		}
	}
	found := poll(m)
	if len(found) != streams {
		t.Fatalf("%d streams, want %d", len(found), streams)
	}
	for _, f := range found {
		stream := int(f.SSRC - 0xabcd0000)
		h, c := mustRead(t, m, f.Slot)
		want := hot[stream]
		if got, want := meter.Finish(&h, &c), meter.Finish(&want, &cold[stream]); got.Counters != want.Counters {
			t.Errorf("stream %d:\nkernel %+v\nGo     %+v", stream, got, want)
		}
		if h != want {
			t.Errorf("stream %d:\nkernel %+v\nGo     %+v", stream, h, want)
		}
	}
	s, err := m.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if want := (MeterStats{Slots: 8 * 1024, Used: streams, Begun: streams}); s != want {
		t.Errorf("%+v, want %+v", s, want)
	}
}

// TestStaticPayloads checks every payload type that no SDP has named.
func TestStaticPayloads(t *testing.T) {
	r := load(t, 8*1024)
	m := openMeters(t, r)
	var hot [128]meter.Hot
	var cold [128]meter.Cold
	var in []fed
	for pt := range 128 {
		for n := range 3 {
			p := pk(uint16(1+n), int64(20*n))
			codec, rate := rtp.StaticPayload(uint8(pt))
			p.Type, p.Rate = uint8(pt), rate
			if codec == rtp.CN {
				p.Class = meter.Comfort
			}
			hot[pt].Packet(&cold[pt], &p)
			in = append(in, tablePacket(pt, p))
		}
	}
	r.feed(t, in...)
	for _, f := range poll(m) {
		pt := f.SSRC - 0xabcd0000
		if h, c := mustRead(t, m, f.Slot); h != hot[pt] || c != cold[pt] {
			t.Errorf("payload type %d:\nkernel %+v\n       %+v\nGo     %+v\n       %+v", pt, h, c, hot[pt], cold[pt])
		}
	}
}

// TestMedia follows one stream from before its SDP to the end of its call.
func TestMedia(t *testing.T) {
	r := load(t, 8*1024)
	m := openMeters(t, r)
	var h meter.Hot
	var c meter.Cold
	key := flowOf(0)
	src, dst := key[:16], key[16:32]
	amr := rtp.Payload{Type: 97, Codec: rtp.AMR, Rate: 8000}
	wide := rtp.Payload{Type: 97, Codec: rtp.AMRWB, Rate: 16000}
	dtmf := rtp.Payload{Type: 101, Codec: rtp.TelephoneEvent, Rate: 8000}
	noise := rtp.Payload{Type: 98, Codec: rtp.CN, Rate: 8000}
	slot := func() uint32 { return poll(m)[0].Slot }

	seq := uint16(1)
	steps := []struct {
		name  string
		do    func()
		pt    uint8
		rate  uint32 // that the kernel should know
		class meter.Class
		want  int
	}{
		{"dynamic type, no SDP", nil, 97, 0, meter.Media, toMeter},
		{"sender named", func() { r.publish(t, src, 20000, headerOnly, amr) }, 97, 8000, meter.Media, toHeader},
		{"receiver named later, same type", func() { r.publish(t, dst, 30000, wholePacket, wide, dtmf) }, 97, 8000, meter.Media, toHeader},
		{"another type: the receiver's word goes first", nil, 101, 8000, meter.Event, toFull},
		{"back", nil, 97, 16000, meter.Media, toFull},
		{"only the sender names this type", func() { r.publish(t, src, 20000, headerOnly, amr, noise) }, 98, 8000, meter.Comfort, toFull},
		{"static type that nobody names", nil, 8, 8000, meter.Media, toFull},
		{"the rules think again", func() { m.SetPolicy(slot(), meterOnly) }, 8, 8000, meter.Media, toMeter},
		{"event of a stream that is not recorded", nil, 101, 8000, meter.Event, toSample},
		{"header only", func() { m.SetPolicy(slot(), headerOnly) }, 8, 8000, meter.Media, toHeader},
		{"event of one whose headers are recorded", nil, 101, 8000, meter.Event, toSample},
		{"as SDP says", func() { m.SetPolicy(slot(), unknown) }, 8, 8000, meter.Media, toFull},
	}
	for _, s := range steps {
		if s.do != nil {
			s.do()
		}
		p := pk(seq, int64(seq)*20)
		p.Type, p.Rate, p.Class = s.pt, s.rate, s.class
		h.Packet(&c, &p)
		if got := r.feed(t, tablePacket(0, p)); got[0] != s.want {
			t.Errorf("%s: result %d, want %d", s.name, got[0], s.want)
		}
		found := m.Poll(make([]frame.Metered, 0, 64))
		if len(found) != 1 {
			t.Fatalf("%s: %d streams", s.name, len(found))
		}
		if kh, kc := mustRead(t, m, found[0].Slot); kh != h || kc != c {
			t.Fatalf("%s:\nkernel %+v\n       %+v\nGo     %+v\n       %+v", s.name, kh, kc, h, c)
		}
		clear(m.told) // tell again, for the next step
		clear(m.seen)
		seq++
	}
}

// TestPoll checks what is announced, how often, and that no call says more
// than there is room for.
func TestPoll(t *testing.T) {
	r := load(t, 8*64)
	m := openMeters(t, r)
	const streams = 100
	in := make([]fed, streams)
	for i := range in {
		in[i] = tablePacket(i, pk(1, int64(100+i)))
		in[i].vlan, in[i].pt = 42, 8
	}
	r.feed(t, in...)
	again := in[7]
	again.time, again.ttl, again.seq, again.pt = 500*ms, 58, 2, 0
	again.vlan, again.dscp = 43, 0
	r.feed(t, again)

	found := map[uint32]frame.Metered{}
	for range streams { // rounds enough
		out := m.Poll(make([]frame.Metered, 0, 10))
		if len(out) > 10 {
			t.Fatalf("%d streams with room for 10", len(out))
		}
		for _, f := range out {
			if _, twice := found[f.SSRC]; twice {
				t.Errorf("told twice of %x", f.SSRC)
			}
			found[f.SSRC] = f
		}
	}
	if len(found) != streams {
		t.Fatalf("told of %d streams, want %d", len(found), streams)
	}
	v4 := func(a uint64) frame.Addr { return frame.Addr{Lo: 0xffff<<32 | a} }
	want := frame.Metered{
		Time: 500 * ms, First: 107 * ms, SSRC: 0xabcd0007, Slot: found[0xabcd0007].Slot, Iface: testIface,
		Src:  frame.Endpoint{Addr: v4(0x0a000007), Port: 20000},
		Dst:  frame.Endpoint{Addr: v4(0xc0000201), Port: 30000},
		VLAN: 42, TTL: [2]uint8{58, 60}, DSCP: 46, Type: 0,
	}
	if got := found[0xabcd0007]; got != want {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	if out := poll(m); len(out) != 0 {
		t.Errorf("told of %d streams without packets", len(out))
	}
	if out := m.Poll(make([]frame.Metered, 0, slots-1)); len(out) != 0 {
		t.Errorf("told of %d streams without room", len(out))
	}
	r.feed(t, tablePacket(9, pk(2, 700)))
	if out := poll(m); len(out) != 1 || out[0].SSRC != 0xabcd0009 || out[0].VLAN != 42 {
		t.Errorf("one stream goes on, told of %+v", out)
	}
}

// TestTableGrows begins streams in a table that starts small: all get a place, each
// one only, and packets find it whatever the level is by then.
func TestTableGrows(t *testing.T) {
	const buckets, streams = 8 * firstBuckets, 8000
	r := load(t, 8*buckets)
	m := openMeters(t, r)
	home := func() (level uint32) {
		if err := r.TableHome.Get(&level); err != nil {
			t.Fatal(err)
		}
		return level
	}
	first := home()
	if n := bucketsAt(buckets, first); n != firstBuckets {
		t.Fatalf("begins with %d buckets, want %d", n, firstBuckets)
	}
	for begun := 0; begun < streams; begun += 500 {
		for round := range 2 {
			var some []fed
			for i := begun; i < begun+500; i++ {
				some = append(some, tablePacket(i, pk(uint16(round), int64(round)*20)))
			}
			for i, got := range r.feed(t, some...) {
				if got != toMeter && !(round == 0 && got == toSample) {
					t.Fatalf("stream %d, round %d: result %d", begun+i, round, got)
				}
			}
		}
	}
	if level := home(); level >= first || level < wholeLevel {
		t.Errorf("level %d, first %d, with %d streams: want more buckets than that, and no fewer levels than %d", level, first, streams, wholeLevel)
	}
	var again []fed
	for i := range streams {
		again = append(again, tablePacket(i, pk(2, 40)))
	}
	r.feed(t, again...)
	seen := map[uint32]bool{}
	for _, f := range poll(m) {
		if h, _ := mustRead(t, m, f.Slot); seen[f.SSRC] || h.Packets() != 3 {
			t.Fatalf("SSRC %#x: twice: %v, %d packets, want 3", f.SSRC, seen[f.SSRC], h.Packets())
		}
		seen[f.SSRC] = true
	}
	if s, err := m.Stats(); err != nil || len(seen) != streams || s.Used != streams || s.Refused != 0 {
		t.Errorf("%d streams told of, %+v, %v, want %d and none refused", len(seen), s, err, streams)
	}
}

func TestRelease(t *testing.T) {
	r := load(t, 8) // one bucket
	m := openMeters(t, r)
	used := func(want, refused uint64) {
		t.Helper()
		s, err := m.Stats()
		if err != nil {
			t.Fatal(err)
		}
		if s.Used != want || s.Refused != refused {
			t.Errorf("%+v, want %d used, %d refused", s, want, refused)
		}
	}
	one := func(stream int, seq uint16) int {
		t.Helper()
		return r.feed(t, tablePacket(stream, pk(seq, int64(seq)*20)))[0]
	}
	for i := range 8 {
		if got := one(i, 1); got != toMeter {
			t.Fatalf("stream %d: result %d", i, got)
		}
	}
	if got := one(8, 1); got != noRoom {
		t.Fatalf("ninth stream: result %d, want %d", got, noRoom)
	}
	used(8, 1)
	var slot uint32
	for _, f := range poll(m) {
		if f.SSRC == 0xabcd0003 {
			slot = f.Slot
		}
	}

	one(3, 2)
	if m.Release(slot, 1) {
		t.Error("released, with a packet that nobody has read")
	}
	if got := one(8, 1); got != noRoom {
		t.Errorf("a release that was void made room: result %d", got)
	}
	if out := poll(m); len(out) != 1 || out[0].Slot != slot {
		t.Errorf("the stream goes on, told of %+v", out)
	}
	one(3, 3)
	if h, _ := mustRead(t, m, slot); h.Packets() != 3 {
		t.Errorf("%d packets after a release that was void, want 3", h.Packets())
	}

	m.SetPolicy(slot, wholePacket)
	for range 2 { // the second time is no other release
		if !m.Release(slot, 3) {
			t.Error("not released, though all was read")
		}
	}
	if out := poll(m); len(out) != 0 {
		t.Errorf("told of a stream that is released: %+v", out)
	}
	if _, ok := m.Read(slot, new([StateSize]byte)); ok {
		t.Error("read a stream that is released")
	}
	used(7, 2)
	if got := one(8, 9); got != toMeter {
		t.Errorf("new stream in a slot that was released: result %d", got)
	}
	out := poll(m)
	if len(out) != 1 || out[0].Slot != slot || out[0].SSRC != 0xabcd0008 || out[0].First != 180*ms {
		t.Fatalf("told of %+v", out)
	}
	var want meter.Hot
	var cold meter.Cold
	p := pk(9, 180)
	want.Packet(&cold, &p)
	if h, c := mustRead(t, m, slot); h != want || c != cold {
		t.Errorf("not from zero:\n%+v\n%+v", h, c)
	}
	used(8, 2)

	// The same stream anew, even with the same count.
	if !m.Release(slot, 1) || one(8, 20) != toMeter {
		t.Fatal("the stream did not begin anew")
	}
	if out := poll(m); len(out) != 1 || out[0].First != 400*ms {
		t.Errorf("begun anew, told of %+v", out)
	}
	used(8, 2)
}

// TestNoTable loads a program that is to meter nothing.
func TestNoTable(t *testing.T) {
	r := load(t, 0)
	if got := r.feed(t, tablePacket(0, pk(1, 0)))[0]; got != noRoom {
		t.Errorf("result %d, want %d", got, noRoom)
	}
}

// TestTableOfAnother refuses programs that have been built with another table.
func TestTableOfAnother(t *testing.T) {
	if err := SizeTable(&ebpf.CollectionSpec{}, 8); err == nil {
		t.Error("sized a table that is not there")
	}
	r := load(t, 800)
	other := r.tables()
	other["stream_rests"] = r.States
	if m, err := OpenMeters(other, r.variables(), 0); err == nil {
		m.Close()
		t.Error("mapped something else for the table")
	}
}

// TestMetersAllocateNothing for streams: a round asks for the levels once.
func TestMetersAllocateNothing(t *testing.T) {
	r := load(t, 8*64)
	m := openMeters(t, r)
	out := make([]frame.Metered, 0, 128)
	var s [StateSize]byte
	round := func(streams int) float64 {
		for i := range streams {
			r.feed(t, tablePacket(i, pk(1, 0)))
		}
		n := testing.AllocsPerRun(100, func() {
			clear(m.told)
			clear(m.seen)
			out = m.Poll(out[:0])
			for _, f := range out {
				m.SetPolicy(f.Slot, meterOnly)
				packets, _ := m.Read(f.Slot, &s)
				m.Release(f.Slot, packets+1)
			}
		})
		if len(out) != streams {
			t.Errorf("%d streams, want %d", len(out), streams)
		}
		return n
	}
	if one, many := round(1), round(50); one > 2 || many != one {
		t.Errorf("%v allocations for one stream, %v for 50: want few, and as many", one, many)
	}
}
