package meter

import (
	"math/rand/v2"
	"testing"
	"unsafe"

	"ringside/flow/quality"
)

const ms1 = int64(1_000_000) // ns

// pk is a G.711 packet at ms milliseconds, with the timestamp 160·seq.
func pk(seq uint16, ms int64) Packet {
	return Packet{Time: ms * ms1, Seq: seq, TS: 160 * uint32(seq), Len: 160, Rate: 8000}
}

func run(packets []Packet) (h Hot, c Cold) {
	for i := range packets {
		h.Packet(&c, &packets[i])
	}
	return h, c
}

// TestExamples holds the worked examples of docs/design/meter.md, by number.
func TestExamples(t *testing.T) {
	change := func(p Packet, f func(*Packet)) Packet { f(&p); return p }
	event := func(p Packet) Packet {
		return change(p, func(p *Packet) { p.Class, p.Type, p.TS = Event, 101, 480 })
	}
	at := func(p Packet, ts uint32) Packet { return change(p, func(p *Packet) { p.TS = ts }) }
	wide := func(p Packet, ts uint32) Packet {
		return change(p, func(p *Packet) { p.TS, p.Type, p.Rate = ts, 96, 16000 })
	}
	veryLate := []Packet{pk(1, 0)}
	for n := range 68 {
		veryLate = append(veryLate, pk(uint16(3+n), int64(40+20*n)))
	}
	veryLate = append(veryLate, pk(2, 1400))

	var between []Packet
	for n := range 70 {
		between = append(between, pk(uint16(1+n), int64(20*n)))
	}
	between = append(between, pk(5000, 1400), pk(71, 1401), pk(5001, 1420), pk(72, 1421))

	tests := []struct {
		name string
		in   []Packet
		want func(r *Report, h *Hot, c *Cold) bool
	}{
		{"1 clean", []Packet{pk(10, 0), pk(11, 20), pk(12, 40), pk(13, 60)}, func(r *Report, h *Hot, c *Cold) bool {
			return r.Packets == 4 && r.Expected == 4 && r.Received == 4 && r.Lost == 0 && r.Bytes == 640 &&
				h.timed == 3 && h.jitter == 0 && r.DeltaMax == 20 && r.DeltaMin == 20 && h.step == 160 &&
				r.Ptime == 20 && r.Confirmed
		}},
		{"2 reordered start", []Packet{pk(11, 0), pk(10, 5), pk(12, 20)}, func(r *Report, h *Hot, c *Cold) bool {
			return r.Expected == 3 && r.Received == 3 && r.Lost == 0 && r.Reordered == 1 && c.base == 65546 &&
				h.timed == 2 && h.jitter == 48_437_500
		}},
		{"3 loss and duplicate", []Packet{pk(1, 0), pk(2, 20), pk(2, 20), pk(5, 80), pk(6, 100), pk(8, 140)}, func(r *Report, h *Hot, c *Cold) bool {
			return r.Packets == 6 && r.Expected == 8 && r.Received == 5 && r.Duplicate == 1 && r.Lost == 3 &&
				r.LossRuns == [10]uint32{1, 1} && r.LossRunMax == 2 && h.timed == 4 && h.jitter == 0
		}},
		{"4 wrap", []Packet{pk(65534, 0), pk(65535, 20), at(pk(0, 40), 160*65536), at(pk(1, 60), 160*65537)}, func(r *Report, h *Hot, c *Cold) bool {
			return r.Expected == 4 && r.Lost == 0 && h.highest == 131073 && r.Resets == 0 && h.jitter == 0
		}},
		{"5 late", []Packet{pk(1, 0), pk(2, 20), pk(3, 130), pk(4, 131), pk(5, 132), pk(6, 133), pk(7, 134), pk(8, 140)}, func(r *Report, h *Hot, c *Cold) bool {
			return r.Delay == [8]uint32{4, 1, 1, 1} && r.LateF1 == 3 && r.LateF2 == 0 && r.LateAdapt == 1 && r.Lost == 0
		}},
		{"6 restart", []Packet{pk(100, 0), pk(101, 20), pk(5000, 40), pk(5001, 60), pk(5002, 80)}, func(r *Report, h *Hot, c *Cold) bool {
			return r.Resets == 1 && r.Expected == 5 && r.Received == 5 && r.Lost == 0 && r.Stray == 0 && h.timed == 2
		}},
		{"7 stray", []Packet{pk(100, 0), pk(101, 20), pk(5000, 40), pk(102, 41), pk(103, 60)}, func(r *Report, h *Hot, c *Cold) bool {
			return r.Packets == 5 && r.Expected == 4 && r.Received == 4 && r.Stray == 1 && r.Resets == 0 &&
				h.timed == 3 && h.jitter == 1_000_000+1_000_000-(1_000_000+8)>>4
		}},
		{"8 very late", veryLate, func(r *Report, h *Hot, c *Cold) bool {
			return r.Packets == 70 && r.Expected == 70 && r.Lost == 1 && r.Stray == 1 && c.stray == 0
		}},
		{"9 event", []Packet{pk(1, 0), pk(2, 20), event(pk(3, 40)), event(pk(4, 60)), event(pk(5, 80)), pk(6, 100)}, func(r *Report, h *Hot, c *Cold) bool {
			return r.Expected == 6 && r.Lost == 0 && r.Events == 3 && h.timed == 2 && h.jitter == 0 && r.Payload == 0
		}},
		{"10 change of rate", []Packet{pk(1, 0), pk(2, 20), wide(pk(3, 40), 0), wide(pk(4, 60), 320)}, func(r *Report, h *Hot, c *Cold) bool {
			return h.timed == 2 && h.jitter == 0 && r.Resets == 0 && r.Rate == 16000
		}},
		{"11 time base", []Packet{pk(1, 0), pk(2, 20), at(pk(3, 40), 1_000_000), at(pk(4, 60), 1_000_160)}, func(r *Report, h *Hot, c *Cold) bool {
			return h.timed == 2 && h.jitter == 0
		}},
		{"12 large gap", []Packet{pk(1, 0), pk(2, 20), pk(1002, 20020)}, func(r *Report, h *Hot, c *Cold) bool {
			return r.Expected == 1002 && r.Lost == 999 && r.LossRuns[9] == 1 && r.LossRunMax == 999 && r.Resets == 0
		}},
		{"12 larger gap", []Packet{pk(1, 0), pk(2, 20), pk(1003, 20040)}, func(r *Report, h *Hot, c *Cold) bool {
			return r.Expected == 2 && r.Stray == 1 && r.Lost == 0
		}},
		{"13 interrupted restart", between, func(r *Report, h *Hot, c *Cold) bool {
			return r.Packets == 74 && r.Expected == 72 && r.Lost == 0 && r.Stray == 2 && r.Resets == 0
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h, c := run(test.in)
			r := Finish(&h, &c)
			if !test.want(&r, &h, &c) {
				t.Errorf("got %+v\nhot %+v\ncold %+v", r, h, c)
			}
			if ref := reference(test.in); ref != r {
				t.Errorf("the reference differs:\n%+v\nmeter:\n%+v", ref, r)
			}
		})
	}
}

func TestSize(t *testing.T) {
	if n := unsafe.Sizeof(Hot{}); n != 152 {
		t.Errorf("Hot is %d bytes; with a 40-byte key it must fill 3 cache lines, 152", n)
	}
}

// TestReference compares the meter with the reference on random streams.
func TestReference(t *testing.T) {
	rounds := uint64(1000)
	if testing.Short() {
		rounds = 200
	}
	for seed := range rounds {
		rng := rand.New(rand.NewPCG(seed, 1))
		script := make([]byte, 3*(1+rng.IntN(1200)))
		calm := rng.IntN(256)
		for i := 0; i < len(script); i += 3 {
			if rng.IntN(256) >= calm {
				script[i] = byte(rng.IntN(256))
			}
			script[i+1], script[i+2] = byte(rng.IntN(256)), byte(rng.IntN(256))
		}
		compare(t, stream(script), seed)
		if t.Failed() {
			return
		}
	}
}

func FuzzMeter(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 1, 2, 200, 3, 4, 210, 5, 6, 220, 7, 8, 230, 9, 10, 240, 11, 12, 250, 13, 14})
	f.Add(make([]byte, 3*300))
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 6000 {
			return // the reference is slow on purpose
		}
		compare(t, stream(script), 0)
	})
}

// compare feeds packets to the meter, reads it once on the way and at the end,
// and requires what the reference says, and the sums of the page.
func compare(t *testing.T, packets []Packet, seed uint64) {
	t.Helper()
	var h Hot
	var c Cold
	half := len(packets) / 2
	for i := range packets {
		if i == half {
			check(t, packets[:half], Finish(&h, &c), seed)
		}
		h.Packet(&c, &packets[i])
	}
	check(t, packets, Finish(&h, &c), seed)
}

func check(t *testing.T, packets []Packet, got Report, seed uint64) {
	t.Helper()
	if want := reference(packets); got != want {
		t.Fatalf("seed %d, %d packets:\nmeter     %+v\nreference %+v", seed, len(packets), got, want)
	}
	if got.Expected != got.Received+got.Lost || got.Packets != got.Received+got.Duplicate+got.Stray {
		t.Fatalf("seed %d: the sums do not hold: %+v", seed, got)
	}
	if got.LateAdapt > got.LateF1 || got.LateF2 > got.LateF1 || got.LateF2 < got.Lost {
		t.Fatalf("seed %d: buffers out of order: %+v", seed, got)
	}
}

// stream makes packets from a script of three bytes per packet: an operation
// and two operands. Operation 0 to 159 is the next packet in time.
func stream(script []byte) []Packet {
	if len(script) < 3 {
		return nil
	}
	rates := [...]uint32{8000, 16000, 48000, 90000, 44100, 1000, 0, 8000}
	now, seq, ts := int64(1_700_000_000_000_000_000), uint16(script[1])<<8-20, uint32(script[2])<<24-3000
	pt, rate := uint8(0), uint32(8000)
	var out []Packet
	for ; len(script) >= 3; script = script[3:] {
		op, a, b := script[0], int64(script[1]), int64(script[2])
		p := Packet{Len: uint32(a), Class: Media}
		step := func(n int64) {
			seq += uint16(n)
			ts += uint32(n) * (rate / 50)
			now += n * 20 * ms1
		}
		late := int64(0)
		back := uint16(0)
		switch {
		case op < 100: // in time, up to 2.5 ms of jitter
			step(1)
			late = a * 10_000
		case op < 130: // up to 130 ms of jitter
			step(1)
			late = a * b * 2_000
		case op < 140: // up to 650 ms late
			step(1)
			late = a * b * 10_000
		case op < 150: // a marker after silence
			step(1)
			now += a * 10 * ms1
			ts += uint32(a*10) * (rate / 1000)
			p.Marker = true
		case op < 170: // loss
			step(1 + a%12)
		case op < 172: // a long loss, or a jump
			step(1 + a*b%1300)
		case op < 185: // a packet from the window or a little beyond it
			back = uint16(a % 70)
		case op < 200: // duplicate of the highest, or a neighbour
			back = uint16(a % 4)
		case op < 215: // event
			step(1)
			p.Class = Event
		case op < 222: // comfort noise
			step(1)
			p.Class = Comfort
		case op < 228: // another payload type and perhaps rate
			step(1)
			pt, rate = uint8(a), rates[b%8]
		case op < 232: // the sequence restarts, or one stray
			if a < 128 {
				seq += uint16(a<<8 + b)
			} else {
				back = uint16(a<<8 + b)
			}
		case op < 236: // the timestamp jumps
			step(1)
			ts += uint32(a<<8+b) * (rate/2000 + 1)
		case op < 240: // the timestamp jumps far
			step(1)
			ts += uint32(a<<24 + b<<16)
		case op < 246: // time stands still, jumps, or goes backwards
			step(1)
			now += (a - 30) * b * 4 * ms1
		case op < 250: // clock drift
			step(1)
			now += a * 100_000
		default: // marker with a step in time that the timestamp does not show
			step(1)
			p.Marker = true
			now += a * 3 * ms1
		}
		p.Time, p.Seq, p.TS, p.Type, p.Rate = now+late, seq-back, ts-uint32(back)*(rate/50), pt, rate
		out = append(out, p)
	}
	return out
}

// TestDrift checks that a clock 200 ppm fast is seen, and makes nobody late.
func TestDrift(t *testing.T) {
	var h Hot
	var c Cold
	for i := range int64(15_000) { // 5 minutes
		p := pk(uint16(i), 0)
		p.TS = uint32(160 * i)
		p.Time = i*20*ms1 - i*4_000 + i%7*ms1 // 4 µs of 20 ms, and jitter of 6 ms
		h.Packet(&c, &p)
	}
	r := Finish(&h, &c)
	if r.SkewPPM < 199 || r.SkewPPM > 201 {
		t.Errorf("skew %v ppm, want 200", r.SkewPPM)
	}
	if r.LateF1 != 0 || r.LateAdapt != 0 || r.Delay[0] != 14_999 {
		t.Errorf("drift made packets late: %+v", r.Counters)
	}
	if r.Compat.MosF1 != 4.5 || r.Compat.MosF1Min != 4.5 {
		t.Errorf("scores of a flawless stream: %+v", r.Compat)
	}
}

// TestIntervals checks that one bad interval of 10 s shows in the minimum and,
// by its weight, in the average.
func TestIntervals(t *testing.T) {
	var h Hot
	var c Cold
	for i := range 3000 { // 60 s
		if i >= 1000 && i < 1500 && i%10 == 0 {
			continue // 10 % in the third interval, which judges numbers 936 to 1435
		}
		p := pk(uint16(i), int64(20*i))
		h.Packet(&c, &p)
	}
	r := Finish(&h, &c)
	third := quality.Reference(quality.Loss{Expected: 500, Received: 456, Bad: 44, Bursts: 44})
	fourth := quality.Reference(quality.Loss{Expected: 500, Received: 494, Bad: 6, Bursts: 6})
	const last = 59_981 // ms: the last packet comes at 59.98 s
	mean := (4.5*(last-20_000) + (third+fourth)*10_000) / last
	if d := r.Compat.MosF2 - mean; d > 1e-4 || d < -1e-4 {
		t.Errorf("average %v, want %v", r.Compat.MosF2, mean)
	}
	if d := r.Compat.MosF2Min - third; d > 1e-4 || d < -1e-4 {
		t.Errorf("minimum %v, want %v", r.Compat.MosF2Min, third)
	}
	if r.Worst.Bad != 44 || r.Worst.Expected != 500 || r.Total.Bad != 50 {
		t.Errorf("worst %+v, total %+v", r.Worst, r.Total)
	}
}

func TestNoPackets(t *testing.T) {
	var h Hot
	var c Cold
	if r := Finish(&h, &c); r != (Report{}) || h.Started() {
		t.Errorf("a stream without packets: %+v", r)
	}
}

func TestAllocations(t *testing.T) {
	packets := stream(script(1000))
	var h Hot
	var c Cold
	n := testing.AllocsPerRun(10, func() {
		for i := range packets {
			h.Packet(&c, &packets[i])
		}
		r := Finish(&h, &c)
		sink += r.Packets
	})
	if n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

var sink uint64

// script is a stormy one of n packets.
func script(n int) []byte {
	rng := rand.New(rand.NewPCG(7, 7))
	b := make([]byte, 3*n)
	for i := range b {
		b[i] = byte(rng.IntN(256))
	}
	return b
}

func BenchmarkPacket(b *testing.B) {
	cases := []struct {
		name string
		keep func(i int, p *Packet) bool // changes p; false loses it
	}{
		{"clean", func(int, *Packet) bool { return true }},
		{"jitter 10 ms", func(i int, p *Packet) bool { p.Time += int64(i*7919%1000) * 10_000; return true }},
		{"loss 2%", func(i int, _ *Packet) bool { return i*7919%50 != 0 }},
		{"late 67%", func(i int, p *Packet) bool { p.Time += int64(i*7919%100) * 1_500_000; return true }},
	}
	for _, bc := range cases {
		const n = 65536 // one turn of the sequence numbers
		var packets []Packet
		for i := range n {
			p := pk(uint16(i), int64(20*i))
			if bc.keep(i, &p) {
				packets = append(packets, p)
			}
		}
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			var h Hot
			var c Cold
			i := 0
			for b.Loop() {
				p := &packets[i]
				h.Packet(&c, p)
				p.Time += n * 20 * ms1 // for the next turn
				p.TS += n * 160 & (1<<32 - 1)
				if i++; i == len(packets) {
					i = 0
				}
			}
			sink += h.bytes
		})
	}
}

// BenchmarkStreams feeds 20,000 streams in turn, laid out as in a table: the
// cost is that of cache misses.
func BenchmarkStreams(b *testing.B) {
	const n = 20_000
	type entry struct {
		_   [40]byte // the key
		hot Hot
	}
	hot, cold := make([]entry, n), make([]Cold, n)
	order := rand.New(rand.NewPCG(1, 1)).Perm(n)
	i, turn := 0, 0
	next := func() {
		at := order[i]
		p := Packet{Time: int64(turn)*20*ms1 + int64(i)*1000, Seq: uint16(turn), TS: uint32(160 * turn), Len: 160, Rate: 8000}
		hot[at].hot.Packet(&cold[at], &p)
		if i++; i == n {
			i, turn = 0, turn+1
		}
	}
	for turn <= window { // until the windows are full
		next()
	}
	b.ReportAllocs()
	for b.Loop() {
		next()
	}
}

func BenchmarkFinish(b *testing.B) {
	packets := stream(script(1000))
	h, c := run(packets)
	b.ReportAllocs()
	for b.Loop() {
		r := Finish(&h, &c)
		sink += r.Packets
	}
}
