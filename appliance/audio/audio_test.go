package audio

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"ringside/flow/record"
)

// Both directions stand where their first packets arrived, each in its channel.
func TestBothDirections(t *testing.T) {
	s := &tape{}
	a, b := s.sender(alice, bob, 1), s.sender(bob, alice, 2)
	b.at += 500 * ms
	a.tone(100, 400)
	b.tone(50, 1000)
	c := Call{Packets: s.source, Streams: []record.Stream{
		{Src: alice, Dst: bob, SSRC: 1, From: record.SideCaller, Codec: "PCMU", Rate: 8000},
		{Src: bob, Dst: alice, SSRC: 2, From: record.SideCalled, Codec: "PCMU", Rate: 8000},
	}}
	r := open(t, c)
	if r.Start != start || r.Length != 2000*ms || r.Rate != 8000 || !r.Playable || len(r.Streams) != 2 {
		t.Fatalf("described as %+v", r.Description)
	}
	w := render(t, r, Options{})
	if len(w.left) != 16000 || w.channels != 2 || w.rate != 8000 {
		t.Fatalf("%d samples of %d channels at %d Hz", len(w.left), w.channels, w.rate)
	}
	spans(t, "caller", loud(w.left, w.rate), [][2]int{{0, 2000}})
	spans(t, "called", loud(w.right, w.rate), [][2]int{{500, 1500}})
	if p := pitch(w.left, w.rate); math.Abs(p-400) > 5 {
		t.Errorf("caller's tone is %.0f Hz", p)
	}
	if p := pitch(w.right[4000:12000], w.rate); math.Abs(p-1000) > 5 {
		t.Errorf("called's tone is %.0f Hz", p)
	}

	t.Run("samples as sent", func(t *testing.T) {
		for i, b := range tone(400, 0, 160) {
			if w.left[i] != mulaw[b] {
				t.Fatalf("sample %d is %v, sent was %v", i, w.left[i], mulaw[b])
			}
		}
	})
	t.Run("channels", func(t *testing.T) {
		mono := render(t, r, Options{Channels: Mono})
		for i := range mono.left {
			if mono.left[i] != w.left[i]+w.right[i] {
				t.Fatalf("sample %d of both is %v, not %v and %v", i, mono.left[i], w.left[i], w.right[i])
			}
		}
		if caller := render(t, r, Options{Channels: Caller}); caller.channels != 1 || !slices.Equal(caller.left, w.left) {
			t.Error("the caller alone is not the left channel")
		}
		if called := render(t, r, Options{Channels: Called}); called.channels != 1 || !slices.Equal(called.left, w.right) {
			t.Error("the called alone is not the right channel")
		}
	})
	t.Run("part", func(t *testing.T) {
		part := render(t, r, Options{Start: 250 * ms, Length: 1000 * ms})
		if !slices.Equal(part.left, w.left[2000:10000]) || !slices.Equal(part.right, w.right[2000:10000]) {
			t.Error("a part is not the same as in the whole")
		}
		if end := render(t, r, Options{Start: 1900 * ms, Length: 1000 * ms}); len(end.left) != 800 {
			t.Errorf("the end has %d samples, want 800", len(end.left))
		}
	})
	t.Run("rate", func(t *testing.T) {
		up := render(t, r, Options{Rate: 16000})
		if len(up.left) != 32000 || up.rate != 16000 {
			t.Fatalf("%d samples at %d Hz", len(up.left), up.rate)
		}
		spans(t, "called at 16 kHz", loud(up.right, up.rate), [][2]int{{500, 1500}})
	})
	t.Run("refused", func(t *testing.T) {
		for _, o := range []Options{{Start: -1}, {Start: 2000 * ms}, {Length: -1}, {Rate: 11025}, {Channels: 9}, {Buffer: -1}} {
			if err := r.Render(context.Background(), &bytes.Buffer{}, o); err == nil {
				t.Errorf("%+v was taken", o)
			}
		}
	})
	t.Run("waveform", func(t *testing.T) {
		v, err := r.Waveform(context.Background(), 20, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if v.Length != 2000*ms || len(v.Caller.Peak) != 20 || len(v.Called.RMS) != 20 {
			t.Fatalf("waveform of %d ns: %+v", v.Length, v)
		}
		for i := range 20 {
			sounds := i >= 5 && i < 15
			if got := v.Called.Peak[i] > 7000; got != sounds {
				t.Errorf("called peaks with %d in part %d", v.Called.Peak[i], i)
			}
			if x := v.Caller.RMS[i]; x < 5500 || x > 5800 { // 8000 / √2
				t.Errorf("caller has an effective value of %d in part %d", x, i)
			}
		}
	})
}

// A picture shows where packets are missing: lost, or too late for the buffer.
func TestWaveformLost(t *testing.T) {
	s := &tape{}
	a := s.sender(alice, bob, 1)
	a.tone(25, 400)
	for range 5 {
		a.skip()
	}
	a.tone(20, 400)
	a.late = 90 * ms
	a.tone(1, 400)
	a.late = 0
	a.tone(49, 400)
	r := open(t, Call{Packets: s.source})
	for buffer, want := range map[int64][]uint64{0: {0, 5, 0, 0}, 50 * ms: {0, 5, 1, 0}} {
		v, err := r.Waveform(context.Background(), 4, Options{Buffer: buffer})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(v.Caller.Lost, want) || !slices.Equal(v.Called.Lost, []uint64{0, 0, 0, 0}) {
			t.Errorf("with a buffer of %d ms %v are missing, want %v", buffer/ms, v.Caller.Lost, want)
		}
	}
}

// What a stream goes through, and when it is heard then, in ms.
func TestPlaces(t *testing.T) {
	for _, c := range []struct {
		name  string
		send  func(s *sender)
		want  [][2]int
		check func(t *testing.T, x Stream)
	}{
		{"loss is silence of its length", func(s *sender) {
			s.tone(10, 400)
			for range 3 {
				s.skip()
			}
			s.tone(10, 400)
		}, [][2]int{{0, 200}, {260, 460}}, func(t *testing.T, x Stream) {
			if x.Lost != 3 || x.Packets != 20 || x.Resyncs != 0 {
				t.Errorf("described as %+v", x)
			}
		}},
		{"order and copies do not matter", func(s *sender) {
			s.tone(20, 400)
			p := s.to.packets
			p[3].Time, p[4].Time = p[4].Time, p[3].Time
			p[10].Time += 90 * ms
			again := p[12]
			again.Time += 5 * ms
			s.to.packets = append(p, again)
		}, [][2]int{{0, 400}}, func(t *testing.T, x Stream) {
			if x.Lost != 0 || x.Duplicates != 1 {
				t.Errorf("described as %+v", x)
			}
		}},
		{"jitter is not heard", func(s *sender) {
			for i := range 50 {
				s.late = int64(i*37%90) * ms
				s.tone(1, 400)
			}
		}, [][2]int{{0, 1000}}, nil},
		{"a pause with running timestamps", func(s *sender) {
			s.tone(10, 400)
			s.ts, s.at = s.ts+8000*5, s.at+5000*ms
			s.tone(10, 400)
		}, [][2]int{{0, 200}, {5200, 5400}}, func(t *testing.T, x Stream) {
			if x.Lost != 0 || x.Resyncs != 0 {
				t.Errorf("described as %+v", x)
			}
		}},
		{"a pause in which the timestamps stand still", func(s *sender) {
			s.tone(10, 400)
			s.at += 5000 * ms
			s.tone(200, 400)
		}, [][2]int{{0, 200}, {5200, 9200}}, func(t *testing.T, x Stream) {
			if x.Resyncs != 1 {
				t.Errorf("put anew %d times, want once", x.Resyncs)
			}
		}},
		{"a standstill of the network that ends in a burst", func(s *sender) {
			s.tone(50, 400)
			for i := range 100 {
				s.late = int64(100-i) * 20 * ms
				s.tone(1, 400)
			}
			s.late = 0
			s.tone(50, 400)
		}, [][2]int{{0, 4000}}, func(t *testing.T, x Stream) {
			if x.Resyncs != 0 {
				t.Errorf("put anew %d times, want never", x.Resyncs)
			}
		}},
		{"timestamps that jump", func(s *sender) {
			s.tone(10, 400)
			s.ts += 1 << 30
			s.tone(10, 400)
			s.ts -= 1 << 29
			s.tone(10, 400)
		}, [][2]int{{0, 600}}, func(t *testing.T, x Stream) {
			if x.Resyncs != 2 {
				t.Errorf("put anew %d times, want twice", x.Resyncs)
			}
		}},
		{"numbers that begin anew", func(s *sender) {
			s.tone(10, 400)
			s.seq += 20000
			s.ts += 99999999
			s.tone(10, 400)
		}, [][2]int{{0, 400}}, func(t *testing.T, x Stream) {
			if x.Lost != 0 {
				t.Errorf("described as %+v", x)
			}
		}},
		{"one number out of all order", func(s *sender) {
			s.tone(10, 400)
			s.seq += 30000
			s.tone(1, 400)
			s.seq -= 30000
			s.tone(10, 400)
		}, [][2]int{{0, 200}, {220, 420}}, nil},
		{"another SSRC", func(s *sender) {
			s.tone(10, 400)
			s.ssrc, s.seq, s.ts = 77, 5, 5
			s.tone(10, 400)
		}, [][2]int{{0, 400}}, nil},
		{"a first packet that came late", func(s *sender) {
			s.late = 900 * ms
			s.tone(1, 400)
			s.late = 0
			s.tone(99, 400)
		}, [][2]int{{0, 1980}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &tape{}
			c.send(s.sender(alice, bob, 1))
			r := open(t, Call{Packets: s.source})
			w := render(t, r, Options{})
			spans(t, "caller", loud(w.left, w.rate), c.want)
			if c.check != nil {
				c.check(t, r.Streams[0])
			}
		})
	}
}

// A clock that is 1 % slow or fast is half a minute's 300 ms: it is followed, and
// set right when 200 ms are together.
func TestSkew(t *testing.T) {
	for name, step := range map[string]int64{"slow": 20_200_000, "fast": 19_800_000} {
		t.Run(name, func(t *testing.T) {
			s := &tape{}
			a := s.sender(alice, bob, 1)
			a.step = step
			a.tone(3000, 437)
			r := open(t, Call{Packets: s.source})
			if got := r.Streams[0].Resyncs; got < 2 || got > 3 {
				t.Errorf("put anew %d times in a minute, want twice or three times", got)
			}
			if want := 3000 * step; r.Length < want-210*ms || r.Length > want+210*ms {
				t.Errorf("lasts %d ms, sent was for %d", r.Length/ms, want/ms)
			}
			w := render(t, r, Options{})
			silent := 0
			for _, x := range w.left {
				if x == 0 {
					silent++
				}
			}
			// A slow sender leaves 1 % to silence, and a tone meets zero now and then.
			if silent > len(w.left)*3/100 {
				t.Errorf("%d of %d samples are zero", silent, len(w.left))
			}
		})
	}
}

// A fixed buffer leaves out what comes later than it waits.
func TestAsHeard(t *testing.T) {
	s := &tape{}
	a := s.sender(alice, bob, 1)
	for i := range 200 {
		a.late = 0
		switch i % 20 {
		case 5:
			a.late = 60 * ms
		case 15:
			a.late = 250 * ms
		}
		a.tone(1, 400)
	}
	r := open(t, Call{Packets: s.source})
	for _, c := range []struct {
		buffer int64
		want   int // spans
	}{{0, 1}, {50 * ms, 21}, {200 * ms, 11}, {400 * ms, 1}} {
		w := render(t, r, Options{Buffer: c.buffer})
		if got := len(loud(w.left, w.rate)); got != c.want {
			t.Errorf("with a buffer of %d ms it is heard in %d parts, want %d", c.buffer/ms, got, c.want)
		}
	}
}

func TestComfortNoise(t *testing.T) {
	s := &tape{}
	a := s.sender(alice, bob, 1)
	a.tone(10, 400)
	a.pt = 13
	a.send([]byte{50})
	a.ts, a.at = a.ts+160*99, a.at+99*20*ms
	a.pt = 0
	a.tone(10, 400)
	w := render(t, open(t, Call{Packets: s.source}), Options{})
	noise := w.left[1600:17600]
	sum := 0.0
	for _, x := range noise {
		sum += float64(x) * float64(x)
	}
	level := 20 * math.Log10(math.Sqrt(sum/float64(len(noise)))/32768)
	if math.Abs(level+50) > 1 {
		t.Errorf("comfort noise has %.1f dBov, want -50", level)
	}
	if x := slices.Max(w.left[17600:19200]); x < 7000 {
		t.Errorf("speech after it peaks at %v", x)
	}
}

// Keys are not heard, unless they are wanted.
func TestKeys(t *testing.T) {
	s := &tape{}
	a := s.sender(alice, bob, 1)
	a.tone(10, 400)
	a.pt = 101
	key := a.ts
	for i := range 11 {
		a.ts = key
		end := byte(10)
		if i >= 8 {
			end |= 0x80
		}
		d := 160 * min(i+1, 8)
		a.send([]byte{5, end, byte(d >> 8), byte(d)})
	}
	a.ts = key + 11*160
	a.pt = 0
	a.tone(10, 400)
	sdp := "v=0\r\no=- 0 0 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\nm=audio 5000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"
	r := open(t, Call{Packets: s.source, SDP: [][]byte{[]byte(sdp)}})
	if x := r.Streams[0]; x.Codec != "PCMU telephone-event" || !x.Playable || x.Why != "" {
		t.Fatalf("described as %+v", x)
	}
	w := render(t, r, Options{})
	spans(t, "without keys", loud(w.left, w.rate), [][2]int{{0, 200}, {420, 620}})
	w = render(t, r, Options{Tones: true})
	spans(t, "with keys", loud(w.left, w.rate), [][2]int{{0, 360}, {420, 620}})

	// Where nobody says what they are, they do not disturb.
	r = open(t, Call{Packets: s.source})
	if x := r.Streams[0]; x.Codec != "PCMU type-101" || !x.Playable || x.Resyncs != 0 {
		t.Fatalf("described as %+v", x)
	}
	w = render(t, r, Options{})
	spans(t, "with unknown keys", loud(w.left, w.rate), [][2]int{{0, 200}, {420, 620}})
}

// A stream that changes its codec goes on in its place, at the better rate.
func TestCodecChange(t *testing.T) {
	s := &tape{}
	a := s.sender(alice, bob, 1)
	a.tone(50, 400)
	a.pt = 9
	for range 50 {
		a.send(bytes.Repeat([]byte{0x35, 0xb2, 0x11, 0xff}, 40))
	}
	a.pt = 11 // L16 at 44,100 Hz: another clock
	a.ticks = 882
	for n := range 50 {
		var b []byte
		for i := range 882 {
			b = binary.BigEndian.AppendUint16(b, uint16(int16(9000*math.Sin(2*math.Pi*500*float64(n*882+i)/44100))))
		}
		a.send(b)
	}
	r := open(t, Call{Packets: s.source})
	if r.Rate != 48000 || r.Length != 3000*ms {
		t.Fatalf("described as %+v", r.Description)
	}
	w := render(t, r, Options{})
	if p := pitch(w.left[:48000], 48000); math.Abs(p-400) > 10 {
		t.Errorf("PCMU has %.0f Hz", p)
	}
	if p := pitch(w.left[2*48000+480:], 48000); math.Abs(p-500) > 10 {
		t.Errorf("L16 has %.0f Hz", p)
	}
	quiet := 0
	for _, x := range w.left {
		if x == 0 {
			quiet++
		}
	}
	if quiet > 1000 {
		t.Errorf("%d of %d samples are silent", quiet, len(w.left))
	}
}

// What cannot be heard is said, with the reason.
func TestWhyNot(t *testing.T) {
	media := []record.Media{
		{Side: record.SideCalled, Kind: "audio", Addr: bob, SRTP: true},
		{Side: record.SideCaller, Kind: "audio", Addr: alice, SRTP: true},
	}
	for _, c := range []struct {
		name string
		send func(s *sender)
		call Call
		want string
	}{
		{"no packets", func(*sender) {}, Call{}, "no RTP of this call is stored"},
		{"a codec", func(s *sender) {
			s.pt = 18
			for range 10 {
				s.send(make([]byte, 20))
			}
		}, Call{}, "codec G729: there is no decoder for it here"},
		{"an unknown payload type", func(s *sender) {
			s.pt = 111
			for range 10 {
				s.send(make([]byte, 60))
			}
		}, Call{}, "payload type 111 is not known"},
		{"headers alone", func(s *sender) {
			s.tone(10, 400)
			for i := range s.to.packets {
				s.to.packets[i].Data = s.to.packets[i].Data[:12]
			}
		}, Call{}, "only the headers"},
		{"encrypted", func(s *sender) {
			for range 10 {
				s.send(make([]byte, 170))
			}
		}, Call{Media: media}, "encrypted (SRTP), no key"},
		{"RTCP and other datagrams", func(s *sender) {
			s.tone(10, 400)
			for i := range s.to.packets {
				s.to.packets[i].Data[1] = 200
			}
		}, Call{}, "no RTP of this call is stored"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &tape{}
			c.send(s.sender(alice, bob, 1))
			c.call.Packets = s.source
			r := open(t, c.call)
			if r.Playable || !strings.Contains(r.Why, c.want) {
				t.Errorf("playable %v, since %q; want %q", r.Playable, r.Why, c.want)
			}
			if err := r.Render(context.Background(), &bytes.Buffer{}, Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("rendering says %v", err)
			}
		})
	}

	t.Run("announced as SRTP, and is not", func(t *testing.T) {
		s := &tape{}
		s.sender(alice, bob, 1).tone(10, 400)
		r := open(t, Call{Packets: s.source, Media: media})
		w := render(t, r, Options{})
		spans(t, "caller", loud(w.left, w.rate), [][2]int{{0, 200}})
		if r.Streams[0].Encrypted {
			t.Error("still called encrypted")
		}
	})
}

// A stream that a relay passes on is heard once.
func TestRelayed(t *testing.T) {
	relay := netip.MustParseAddrPort("10.0.0.9:7000")
	s := &tape{}
	s.sender(alice, netip.AddrPortFrom(relay.Addr(), 7002), 1).tone(50, 400)
	on := s.sender(relay, bob, 2)
	on.late = 15 * ms
	on.tone(50, 400)
	r := open(t, Call{Packets: s.source, Media: []record.Media{
		{Side: record.SideCalled, Addr: bob}, {Side: record.SideCalled, Addr: netip.AddrPortFrom(relay.Addr(), 7002)},
	}})
	if len(r.Streams) != 2 || !r.Streams[0].Playable || r.Streams[1].Playable || !strings.Contains(r.Streams[1].Why, "passed on") {
		t.Fatalf("described as %+v", r.Streams)
	}
	if w := render(t, r, Options{}); slices.Max(w.left) > 8100 {
		t.Errorf("it is heard twice: %v of 8000", slices.Max(w.left))
	}
}

// Signalling among the packets tells what payload types stand for.
func TestSDPAmongPackets(t *testing.T) {
	s := &tape{}
	invite := "INVITE sip:b SIP/2.0\r\nContent-Type: application/sdp\r\n\r\nv=0\r\nc=IN IP4 10.0.0.2\r\nm=audio 5000 RTP/AVP 96\r\na=rtpmap:96 PCMU/8000\r\n"
	s.packets = append(s.packets, Packet{Time: start - 1, Src: alice, Dst: bob, Data: []byte(invite), Len: len(invite)})
	a := s.sender(alice, bob, 1)
	a.pt = 96
	a.tone(10, 400)
	w := render(t, open(t, Call{Packets: s.source}), Options{})
	spans(t, "caller", loud(w.left, w.rate), [][2]int{{0, 200}})
}

// failing is a writer that takes so many bytes.
type failing int

var errFull = errors.New("disk full")

func (f *failing) Write(b []byte) (int, error) {
	if *f -= failing(len(b)); *f < 0 {
		return 0, errFull
	}
	return len(b), nil
}

// Who stops listening stops the work, and what fails is said.
func TestStops(t *testing.T) {
	r := open(t, Call{Packets: hour(30000)})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var n counter
	if err := r.Render(ctx, &n, Options{}); !errors.Is(err, context.Canceled) || n > 100_000 {
		t.Errorf("cancelled, it wrote %d bytes: %v", n, err)
	}
	if _, err := Open(ctx, Call{Packets: hour(30000)}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled, opening says %v", err)
	}
	if _, err := r.Waveform(ctx, 10, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled, drawing says %v", err)
	}
	full := failing(1 << 20)
	if err := r.Render(context.Background(), &full, Options{}); !errors.Is(err, errFull) {
		t.Errorf("a full disk: %v", err)
	}
	broken := Call{Packets: func(context.Context, func(*Packet) error) error { return errFull }}
	if _, err := Open(context.Background(), broken); !errors.Is(err, errFull) {
		t.Errorf("a source that fails: %v", err)
	}
	if _, err := Open(context.Background(), Call{}); err == nil {
		t.Error("a call without a source was opened")
	}

	// A part needs no packets behind it.
	read := 0
	counted, err := Open(context.Background(), Call{Packets: func(ctx context.Context, emit func(*Packet) error) error {
		return hour(30000)(ctx, func(p *Packet) error { read++; return emit(p) })
	}})
	if err != nil {
		t.Fatal(err)
	}
	read = 0
	if err := counted.Render(context.Background(), &n, Options{Start: 5000 * ms, Length: 5000 * ms}); err != nil || read > 2000 {
		t.Errorf("five seconds of ten minutes took %d packets: %v", read, err)
	}
}

// A recording may be listened to by several at once.
func TestTogether(t *testing.T) {
	r := open(t, Call{Packets: hour(500)})
	want := render(t, r, Options{})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			var b bytes.Buffer
			if err := r.Render(context.Background(), &b, Options{}); err != nil {
				t.Error(err)
				return
			}
			if got := int16s(b.Bytes()[headerSize:]); got[0] != want.left[0] || len(got) != 2*len(want.left) {
				t.Error("it is another sound")
			}
		})
	}
	all.Wait()
}
