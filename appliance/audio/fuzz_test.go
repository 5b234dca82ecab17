package audio

import (
	"bytes"
	"context"
	"encoding/binary"
	"net/netip"
	"runtime"
	"testing"

	"ringside/flow/record"
)

// FuzzPackets takes bytes as packets: a length, a step of time, and the datagram.
// Whatever they are, a WAV file comes out that has the size it was said to have,
// or a reason.
func FuzzPackets(f *testing.F) {
	seed := func(packets ...[]byte) {
		var b []byte
		for i, p := range packets {
			b = append(b, byte(len(p)), byte(i), 20)
			b = append(b, p...)
		}
		f.Add(b)
	}
	seed(rtpPacket(0, 1, 0, 1, make([]byte, 160)), rtpPacket(0, 2, 160, 1, make([]byte, 160)), rtpPacket(13, 3, 320, 1, []byte{40}), rtpPacket(8, 4, 480, 1, make([]byte, 80)))
	seed(rtpPacket(9, 1, 0, 1, make([]byte, 160)), rtpPacket(9, 9, 160, 1, make([]byte, 160)), rtpPacket(9, 40000, 1<<31, 1, make([]byte, 160)), rtpPacket(9, 40001, 5, 1, make([]byte, 160)))
	seed(rtpPacket(111, 1, 0, 1, []byte{0xf8, 1, 2, 3}), rtpPacket(111, 2, 960, 1, []byte{3, 0x46, 1}), rtpPacket(101, 3, 1920, 1, []byte{5, 10, 0, 80}), rtpPacket(121, 4, 1920, 1, []byte{0, 1, 2}))
	seed([]byte("INVITE sip:b SIP/2.0\r\n\r\nv=0\r\nc=IN IP4 10.0.0.2\r\nm=audio 5000 RTP/SAVP 96\r\na=rtpmap:96 L16/44100/2\r\n"), rtpPacket(96, 1, 0, 1, make([]byte, 200)))
	types := []byte("v=0\r\nc=IN IP4 10.0.0.2\r\nm=audio 5000 RTP/AVP 111 101 121\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\na=rtpmap:121 red/8000\r\n")
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &tape{}
		at := int64(start)
		for len(b) > 3 {
			n := min(int(b[0]), len(b)-3)
			at += int64(b[2]) * ms
			p := Packet{Time: at, Src: alice, Dst: bob, Data: b[3 : 3+n], Len: n}
			if b[1]&1 != 0 {
				p.Src, p.Dst = bob, alice
			}
			if b[1]&0x80 != 0 {
				p.Len += 10
			}
			if b[1]&0x40 != 0 {
				at += int64(b[2]) * 1000 * ms
			}
			s.packets = append(s.packets, p)
			b = b[3+n:]
		}
		media := []record.Media{{Side: record.SideCaller, Addr: alice, Crypto: "1 AES_CM_128_HMAC_SHA1_80 " + inline(30, 3)}}
		r, err := Open(context.Background(), Call{Packets: s.source, SDP: [][]byte{types}, Media: media})
		if err != nil {
			t.Fatal(err)
		}
		var w bytes.Buffer
		o := Options{Tones: true, Buffer: 50 * ms, Length: 20_000 * ms}
		size, refused := r.Size(o)
		if err := r.Render(context.Background(), &w, o); (err == nil) != (refused == nil) || err == nil && int64(w.Len()) != size {
			t.Fatalf("wrote %d bytes of %d: %v, %v", w.Len(), size, err, refused)
		}
	})
}

// Times and timestamps that no machine could write out are refused, and soon.
func TestHostileTimes(t *testing.T) {
	s := &tape{}
	a := s.sender(alice, bob, 1)
	a.tone(10, 400)
	a.at += 10 * 365 * 24 * 3600 * 1_000_000_000
	a.tone(10, 400)
	r := open(t, Call{Packets: s.source})
	if err := r.Render(context.Background(), &bytes.Buffer{}, Options{}); err == nil {
		t.Error("ten years were written")
	}
	if _, err := r.Waveform(context.Background(), 100, Options{}); err == nil {
		t.Error("ten years were drawn")
	}
	w := render(t, r, Options{Length: 500 * ms})
	spans(t, "the beginning", loud(w.left, w.rate), [][2]int{{0, 200}})
}

// A call may have any number of streams; some are looked at.
func TestManyStreams(t *testing.T) {
	s := &tape{}
	for i := range 300 {
		a := s.sender(netip.AddrPortFrom(alice.Addr(), uint16(4000+2*i)), bob, uint32(i))
		a.at += int64(i) * ms
		a.tone(8, 400)
	}
	r := open(t, Call{Packets: s.source})
	if len(r.Streams) != maxTracks || len(r.Notes) != 1 {
		t.Errorf("%d streams, and notes %q", len(r.Streams), r.Notes)
	}
	render(t, r, Options{})
}

// hour is a source of G.711 in both directions, made as it is read.
func hour(packets int) Source {
	return func(_ context.Context, emit func(*Packet) error) error {
		a := rtpPacket(0, 0, 0, 1, tone(400, 0, 160))
		b := rtpPacket(8, 0, 0, 2, tone(500, 0, 160))
		var p Packet
		for i := range packets {
			for n, x := range [][]byte{a, b} {
				binary.BigEndian.PutUint16(x[2:], uint16(i))
				binary.BigEndian.PutUint32(x[4:], uint32(i*160))
				p = Packet{Time: start + int64(i)*20*ms, Src: alice, Dst: bob, Data: x, Len: len(x)}
				if n == 1 {
					p.Src, p.Dst = bob, alice
				}
				if err := emit(&p); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

// counter counts what is written.
type counter int64

func (c *counter) Write(b []byte) (int, error) { *c += counter(len(b)); return len(b), nil }

// Memory does not follow the length of a call: an hour takes what a minute does.
func TestMemory(t *testing.T) {
	measure := func(packets int) (allocated uint64) {
		r := open(t, Call{Packets: hour(packets)})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var n counter
		if err := r.Render(context.Background(), &n, Options{}); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if want := counter(44 + packets*160*4); n != want {
			t.Fatalf("wrote %d bytes, want %d", n, want)
		}
		return after.TotalAlloc - before.TotalAlloc
	}
	minute, hour := measure(3000), measure(180000)
	if hour > minute+2<<20 {
		t.Errorf("an hour allocates %d KiB, a minute %d", hour>>10, minute>>10)
	}
}

func BenchmarkRenderG711(b *testing.B) {
	r, err := Open(context.Background(), Call{Packets: hour(3000)})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		var n counter
		if err := r.Render(context.Background(), &n, Options{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(60/(b.Elapsed().Seconds()/float64(b.N)), "s/s")
}

func BenchmarkDecode(b *testing.B) {
	for name, d := range map[string]decoder{"G722": newG722(), "PCMU": companded{&mulaw}} {
		b.Run(name, func(b *testing.B) {
			in, out := noiseOctets(160), make([]float32, 0, 320)
			for b.Loop() {
				out, _ = d.decode(in, out[:0])
			}
		})
	}
}
