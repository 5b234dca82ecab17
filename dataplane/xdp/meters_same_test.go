package xdp

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ringside/bench/corpus"
	"ringside/bench/traffic"
	"ringside/dataplane/decode"
	"ringside/dataplane/frame"
	"ringside/dataplane/pcapin"
	"ringside/flow/meter"
	"ringside/flow/rtp"
)

// twins are the meters in C and in Go, fed with the same packets.
type twins struct {
	*rig
	tb      testing.TB
	hot     []meter.Hot
	cold    []meter.Cold
	n       int          // packets that only the Go meter has seen
	touched map[int]bool // their streams
	total   int
}

func newTwins(tb testing.TB, r *rig) *twins {
	clear(r.states)
	return &twins{rig: r, tb: tb, hot: make([]meter.Hot, len(r.states)), cold: make([]meter.Cold, len(r.states)), touched: map[int]bool{}}
}

// packet feeds both, the kernel's meter when enough have come together.
func (w *twins) packet(stream int, p *meter.Packet) {
	w.hot[stream].Packet(&w.cold[stream], p)
	f := &w.fed[w.n]
	*f = fed{
		time: p.Time, ts: p.TS, len: p.Len, seq: p.Seq, pt: p.Type,
		rate: p.Rate, class: uint8(p.Class), stream: uint32(stream),
	}
	if p.Marker {
		f.marker = 1
	}
	w.touched[stream] = true
	w.total++
	if w.n++; w.n == len(w.fed) {
		w.same()
	}
}

// same feeds the kernel's meter with what is left, and requires that every
// field of every stream is equal.
func (w *twins) same() {
	w.tb.Helper()
	run(w.tb, w.RunMeter, 0, w.n, 0)
	for i := range w.touched {
		// With the marks of the Go meter there is no interval to score, so all
		// that Adopt writes is the kernel's.
		h, c := w.hot[i], w.cold[i]
		meter.Adopt(&h, &c, w.states[i][:])
		if h != w.hot[i] || c != w.cold[i] {
			w.tb.Fatalf("stream %d, of %d packets in all:\nkernel %+v\n       %+v\nGo     %+v\n       %+v",
				i, w.total, h, c, w.hot[i], w.cold[i])
		}
	}
	clear(w.touched)
	w.n = 0
}

const ms = int64(1_000_000) // ns

// pk is a G.711 packet at a number of milliseconds, with the timestamp 160·seq.
func pk(seq uint16, at int64) meter.Packet {
	return meter.Packet{Time: at * ms, Seq: seq, TS: 160 * uint32(seq), Len: 160, Rate: 8000}
}

// TestSameExamples feeds the worked examples of docs/design/meter.md; what they
// must give is tested in flow/meter.
func TestSameExamples(t *testing.T) {
	at := func(p meter.Packet, ts uint32) meter.Packet { p.TS = ts; return p }
	event := func(p meter.Packet) meter.Packet { p.Class, p.Type, p.TS = meter.Event, 101, 480; return p }
	wide := func(p meter.Packet, ts uint32) meter.Packet { p.TS, p.Type, p.Rate = ts, 96, 16000; return p }
	late := []meter.Packet{pk(1, 0)}
	for n := range 68 {
		late = append(late, pk(uint16(3+n), int64(40+20*n)))
	}
	var between []meter.Packet
	for n := range 70 {
		between = append(between, pk(uint16(1+n), int64(20*n)))
	}
	w := newTwins(t, load(t, 8))
	for i, packets := range [][]meter.Packet{
		{pk(10, 0), pk(11, 20), pk(12, 40), pk(13, 60)},
		{pk(11, 0), pk(10, 5), pk(12, 20)},
		{pk(1, 0), pk(2, 20), pk(2, 20), pk(5, 80), pk(6, 100), pk(8, 140)},
		{pk(65534, 0), pk(65535, 20), at(pk(0, 40), 160*65536), at(pk(1, 60), 160*65537)},
		{pk(1, 0), pk(2, 20), pk(3, 130), pk(4, 131), pk(5, 132), pk(6, 133), pk(7, 134), pk(8, 140)},
		{pk(100, 0), pk(101, 20), pk(5000, 40), pk(5001, 60), pk(5002, 80)},
		{pk(100, 0), pk(101, 20), pk(5000, 40), pk(102, 41), pk(103, 60)},
		append(late, pk(2, 1400)),
		{pk(1, 0), pk(2, 20), event(pk(3, 40)), event(pk(4, 60)), event(pk(5, 80)), pk(6, 100)},
		{pk(1, 0), pk(2, 20), wide(pk(3, 40), 0), wide(pk(4, 60), 320)},
		{pk(1, 0), pk(2, 20), at(pk(3, 40), 1_000_000), at(pk(4, 60), 1_000_160)},
		{pk(1, 0), pk(2, 20), pk(1002, 20020)},
		{pk(1, 0), pk(2, 20), pk(1003, 20040)},
		append(between, pk(5000, 1400), pk(71, 1401), pk(5001, 1420), pk(72, 1421)),
	} {
		for n := range packets {
			w.packet(i, &packets[n])
		}
	}
	w.same()
}

// hostile makes packets from a script of three bytes per packet: an operation
// and two operands. Operation 0 is the next packet in time.
func hostile(script []byte) []meter.Packet {
	if len(script) < 3 {
		return nil
	}
	rates := [...]uint32{8000, 16000, 48000, 90000, 44100, 999, 1000, 384000, 384001, 0}
	now, seq, ts := 1_700_000_000_000*ms, uint16(script[1])<<8-30, uint32(script[2])<<24-5000
	pt, rate := uint8(0), uint32(8000)
	out := make([]meter.Packet, 0, len(script)/3)
	for ; len(script) >= 3; script = script[3:] {
		op, a, b := script[0], int64(script[1]), int64(script[2])
		steps, late, back := int64(1), int64(0), uint16(0)
		p := meter.Packet{Len: uint32(a)}
		switch {
		case op < 90: // up to 2.5 ms of jitter
			late = a * 10_000
		case op < 125: // up to 650 ms
			late = a * b * int64(op-89) * 300
		case op < 145: // loss
			steps = 1 + a%80*(b%3)
		case op < 150: // a long one, about the limit
			steps = 900 + a
		case op < 175: // reordered, up to a little beyond the window
			steps, back = 0, uint16(a%70)
		case op < 185: // duplicate
			steps, back = 0, uint16(b%3)
		case op < 195:
			p.Class = meter.Class(1 + a&1)
		case op < 205:
			pt, rate = uint8(a&127), rates[b%10]
		case op < 215: // a jump of the sequence, for good or of one packet
			if back = uint16(a<<8 | b); a&1 == 0 {
				seq, back = seq-back, 0
			}
		case op < 225: // of the timestamp
			ts += uint32(a<<24|b<<8) >> (op & 15)
		case op < 235: // of the time, in both directions
			now += (a - 100) * (b + 1) * 4 * ms
		case op < 240: // silence
			now += a * 200 * ms
		default: // a talkspurt, its timestamp true or not
			p.Marker = true
			now += a * 4 * ms
			ts += uint32(a*4*(b&1)) * (rate / 1000)
		}
		seq += uint16(steps)
		ts += uint32(steps) * (rate / 50)
		now += steps * 20 * ms
		p.Time, p.Seq, p.TS, p.Type, p.Rate = now+late, seq-back, ts-uint32(back)*(rate/50), pt, rate
		out = append(out, p)
	}
	return out
}

// script is a random one of n packets, calm ones with many packets in time.
func script(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 5))
	calm := rng.IntN(256)
	b := make([]byte, 3*n)
	for i := range b {
		if i%3 != 0 || rng.IntN(256) >= calm {
			b[i] = byte(rng.Uint32())
		}
	}
	return b
}

// TestSameHostile feeds streams in which everything happens, many at the same
// time.
func TestSameHostile(t *testing.T) {
	streams := 300
	if testing.Short() {
		streams = 30
	}
	w := newTwins(t, load(t, 8))
	for i := range streams {
		for _, p := range hostile(script(uint64(i), 10_000)) {
			w.packet(i, &p)
		}
	}
	w.same()
	t.Logf("%d packets", w.total)
}

// TestSameRandom feeds packets whose fields have nothing to do with each other.
func TestSameRandom(t *testing.T) {
	rounds := 1_000_000
	if testing.Short() {
		rounds = 100_000
	}
	w := newTwins(t, load(t, 8))
	rng := rand.New(rand.NewPCG(3, 3))
	for range rounds {
		stream := rng.IntN(100)
		// Each stream has its own measure of chaos, in bits.
		bits := func(n int) uint64 { return rng.Uint64() >> (64 - n*(1+stream%20)/20) }
		p := meter.Packet{
			Time: int64(bits(64)), Seq: uint16(bits(16)), TS: uint32(bits(32)), Len: uint32(bits(32)),
			Type: uint8(bits(7)), Rate: uint32(bits(21)), Class: meter.Class(rng.Uint32() >> 30 % 3), Marker: bits(8) == 1,
		}
		w.packet(stream, &p)
	}
	w.same()
}

// capture feeds the RTP of a capture file.
func (w *twins) capture(path string) {
	w.tb.Helper()
	in, err := pcapin.Open(pcapin.Options{Inputs: []string{path}})
	if err != nil {
		w.tb.Fatal(err)
	}
	defer in.Close()
	type key struct {
		src, dst frame.Endpoint
		ssrc     uint32
	}
	streams := map[key]int{}
	d := decode.New(decode.Options{})
	for {
		b, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			w.tb.Fatal(err)
		}
		if b == nil {
			continue
		}
		d.Decode(b)
		for i := range b.Packets {
			p := &b.Packets[i]
			var h rtp.Header
			if p.Proto != frame.ProtoUDP || rtp.Demux(p.Payload) != rtp.RTP || !rtp.ParseHeader(p.Payload, int(p.Len), &h) {
				continue
			}
			k := key{p.Src, p.Dst, h.SSRC}
			stream, ok := streams[k]
			if !ok {
				stream = len(streams)
				streams[k] = stream
			}
			if stream < len(w.hot) {
				w.packet(stream, assume(p, &h))
			}
		}
		b.Release()
	}
	w.same()
}

// assume makes a packet of the meter, with a guess at dynamic payload types.
func assume(p *frame.Packet, h *rtp.Header) *meter.Packet {
	codec, rate := rtp.StaticPayload(h.Type)
	m := &meter.Packet{Time: p.Time, TS: h.TS, Len: h.Len, Rate: rate, Seq: h.Seq, Type: h.Type, Marker: h.Marker}
	switch {
	case codec == rtp.CN:
		m.Class = meter.Comfort
	case h.Type == 101:
		m.Class, m.Rate = meter.Event, 8000
	case h.Type >= 96:
		m.Rate = 48000
	}
	return m
}

// TestSameTraffic feeds generated calls with impairments of every kind.
func TestSameTraffic(t *testing.T) {
	kinds := []struct{ name, impairment string }{
		{"clean", "none"},
		{"loss", "loss=0.02"},
		{"bursts", "burst=0.005/0.2"},
		{"jitter", "jitter=30ms"},
		{"normal", "jitter=25ms/normal,drift=200"},
		{"spikes", "jitter=300ms/spikes"},
		{"reorder", "reorder=0.05/8,jitter=5ms"},
		{"duplicates", "dup=0.05"},
		{"wrap and reset", "wrap=1,reset=1,loss=0.01"},
		{"all", "loss=0.03,burst=0.002/0.3,jitter=60ms/normal,reorder=0.02/20,dup=0.02,drift=300,wrap=0.5,reset=0.5"},
	}
	r := load(t, 8)
	for i, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			impairment, err := traffic.ParseImpairment(k.impairment)
			if err != nil {
				t.Fatal(err)
			}
			o := traffic.Options{
				Seed: uint64(i), Calls: 60, Rate: 10, Talk: traffic.Length{Mean: time.Minute}, DTX: 0.2, Digits: 0.3,
				Impairments: []traffic.Weighted[traffic.Impairment]{{Value: impairment, Weight: 1}},
			}
			if testing.Short() {
				o.Calls = 5
			}
			for _, name := range []string{"PCMU", "G729", "opus"} {
				codec, err := traffic.ParseCodec(name)
				if err != nil {
					t.Fatal(err)
				}
				o.Codecs = append(o.Codecs, traffic.Weighted[traffic.Codec]{Value: codec, Weight: 1})
			}
			path := filepath.Join(t.TempDir(), "traffic.pcap")
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			g, err := traffic.New(o)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := g.Run(context.Background(), f, nil); err != nil {
				t.Fatal(err)
			}
			w := newTwins(t, r)
			w.capture(path)
			if w.total < 10_000 {
				t.Errorf("only %d packets of RTP", w.total)
			}
			t.Logf("%d packets", w.total)
		})
	}
}

// TestSameCorpus feeds the RTP of real captures.
func TestSameCorpus(t *testing.T) {
	files := corpus.Index(t)
	r := load(t, 8)
	total := 0
	for _, row := range files {
		w := newTwins(t, r)
		w.capture(corpus.Capture(t, row["file"]))
		total += w.total
	}
	if total < 10_000 {
		t.Errorf("only %d packets of RTP in %d captures", total, len(files))
	}
	t.Logf("%d packets in %d captures", total, len(files))
}

// TestAdopt reads the kernel's meter after every packet, and requires what the
// Go meter has, scores included; and at the end only, which may change the
// scores but nothing else.
func TestAdopt(t *testing.T) {
	r := load(t, 8)
	w := newTwins(t, r)
	for seed := range 4 {
		var h meter.Hot
		var c meter.Cold
		for _, p := range hostile(script(uint64(seed), 3000)) {
			w.packet(seed, &p)
			w.same()
			meter.Adopt(&h, &c, r.states[seed][:])
			if h != w.hot[seed] || c != w.cold[seed] {
				t.Fatalf("seed %d, after %d packets:\nadopted %+v\n        %+v\nGo      %+v\n        %+v",
					seed, h.Packets(), h, c, w.hot[seed], w.cold[seed])
			}
		}
		var lateHot meter.Hot
		var lateCold meter.Cold
		meter.Adopt(&lateHot, &lateCold, r.states[seed][:])
		want, got := meter.Finish(&h, &c), meter.Finish(&lateHot, &lateCold)
		got.Compat, got.Worst = want.Compat, want.Worst
		if got != want {
			t.Errorf("seed %d, read once:\n%+v\nwant %+v", seed, got, want)
		}
	}
}

func FuzzKernel(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 1, 2, 130, 3, 4, 160, 5, 6, 200, 7, 8, 210, 9, 10, 230, 11, 12, 250, 13, 14})
	f.Add(script(1, 300))
	r := load(f, 8)
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 6000 {
			return
		}
		clear(r.states[:1])
		w := twins{rig: r, tb: t, hot: make([]meter.Hot, 1), cold: make([]meter.Cold, 1), touched: map[int]bool{}}
		for _, p := range hostile(script) {
			w.packet(0, &p)
		}
		w.same()
	})
}
