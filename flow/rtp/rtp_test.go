package rtp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ringside/bench/corpus"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", "\n", "").Replace(s))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseHeader(t *testing.T) {
	tests := []struct {
		name string
		in   string
		wire int // 0: as long as in
		want *Header
	}{
		{"plain", "80 00 1234 00000140 deadbeef aabbcc", 0,
			&Header{Seq: 0x1234, TS: 0x140, SSRC: 0xdeadbeef, Offset: 12, Len: 3}},
		{"marker, type 101", "80 e5 0001 00000000 00000001 01", 0,
			&Header{Marker: true, Type: 101, Seq: 1, SSRC: 1, Offset: 12, Len: 1}},
		{"no payload", "80 00 0001 00000000 00000001", 0,
			&Header{Seq: 1, SSRC: 1, Offset: 12}},
		{"two contributing sources", "82 00 0001 00000000 00000001 0000000a 0000000b ff", 0,
			&Header{Seq: 1, SSRC: 1, CSRCs: 2, Offset: 20, Len: 1}},
		{"extension", "90 00 0001 00000000 00000001 bede 0001 11223344 ff", 0,
			&Header{Seq: 1, SSRC: 1, Ext: 0xbede, Offset: 20, Len: 1}},
		{"padding", "a0 00 0001 00000000 00000001 ff ff 00 02", 0,
			&Header{Seq: 1, SSRC: 1, Offset: 12, Len: 2, Padding: 2}},
		{"nothing but padding", "a0 00 0001 00000000 00000001 00 02", 0,
			&Header{Seq: 1, SSRC: 1, Offset: 12, Len: 0, Padding: 2}},
		{"padding beyond the payload", "a0 00 0001 00000000 00000001 ff 09", 0,
			&Header{Seq: 1, SSRC: 1, Offset: 12, Len: 2, BadPad: true}},
		{"padding of 0", "a0 00 0001 00000000 00000001 ff 00", 0,
			&Header{Seq: 1, SSRC: 1, Offset: 12, Len: 2, BadPad: true}},
		{"padding cut off", "a0 00 0001 00000000 00000001 ff", 172,
			&Header{Seq: 1, SSRC: 1, Offset: 12, Len: 160}},
		{"cut behind the header", "80 00 0001 00000000 00000001", 172,
			&Header{Seq: 1, SSRC: 1, Offset: 12, Len: 160}},
		{"extension cut off", "90 00 0001 00000000 00000001 be", 172,
			&Header{Seq: 1, SSRC: 1, Offset: 16, Len: 156}},
		{"sources cut off", "81 00 0001 00000000 00000001", 172,
			&Header{Seq: 1, SSRC: 1, CSRCs: 1, Offset: 16, Len: 156}},
		{"short", "80 00 0001 00000000 000000", 0, nil},
		{"empty", "", 0, nil},
		{"version 1", "40 00 0001 00000000 00000001", 0, nil},
		{"sources do not fit", "8f 00 0001 00000000 00000001 00", 0, nil},
		{"extension does not fit", "90 00 0001 00000000 00000001 bede 0009 00000000", 0, nil},
		{"wire length below what is there", "80 00 0001 00000000 00000001", 11, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := unhex(t, test.in)
			if test.wire == 0 {
				test.wire = len(b)
			}
			var h Header
			ok := ParseHeader(b, test.wire, &h)
			if ok != (test.want != nil) {
				t.Fatalf("ok %v, header %+v", ok, h)
			}
			if ok && h != *test.want {
				t.Errorf("got %+v, want %+v", h, *test.want)
			}
		})
	}
}

func TestPayload(t *testing.T) {
	b := unhex(t, "a0 00 0001 00000000 00000001 aa bb 00 02")
	var h Header
	if !ParseHeader(b, len(b), &h) || !bytes.Equal(h.Payload(b), []byte{0xaa, 0xbb}) {
		t.Errorf("payload % x of %+v", h.Payload(b), h)
	}
	if !ParseHeader(b[:13], 172, &h) || !bytes.Equal(h.Payload(b[:13]), []byte{0xaa}) {
		t.Errorf("captured payload % x of %+v", h.Payload(b[:13]), h)
	}
}

func TestDemux(t *testing.T) {
	tests := []struct {
		in   string
		want Kind
	}{
		{"80 00 0001 00000000 00000001", RTP},
		{"80 c8 0006 00000001", RTCP},
		{"81 c9 0007 00000001", RTCP},
		{"80 48 0001 00000000 00000001", RTP}, // type 72, no marker
		{"80 c8 0006", Other},
		{"80 00 0001 00000000 000000", Other},
		{"0001 0000 2112a442 000000000000000000000000", STUN},
		{"0001 0003 2112a442 000000000000000000000000", Other},
		{"16 fe fd 00", DTLS},
		{"40 00 00 04 00000000", TURN},
		{"10 00 00 00 5a525450", ZRTP},
		{"00 00", Other},
		{"", Other},
		{"ff ff ff ff", Other},
	}
	for _, test := range tests {
		if got := Demux(unhex(t, test.in)); got != test.want {
			t.Errorf("%s: %v, want %v", test.in, got, test.want)
		}
	}
}

// compound is SR with a report block, SDES with a CNAME, XR with VoIP metrics
// and BYE.
const compound = `
81 c8 000c 00000001 e0000001 80000000 000003e8 00000064 00003e80
  00000002 40 ffffff 00010010 00000020 00018000 00008000
81 ca 0003 00000001 01 05 6140622e63 00
80 cf 000a 00000001 07 00 0008
  00000002 1a 0d 00 00 0000 0000 0078 0014 7f 00 00 10 5a 7f 2a 29 00 00 0000 0000 0000
81 cb 0001 00000001`

func TestCompound(t *testing.T) {
	b := unhex(t, compound)
	if !ValidRTCP(b, len(b)) {
		t.Fatal("a good compound packet is not valid")
	}
	var types []uint8
	var c Control
	for rest, ok := Walk(b, &c); ok; rest, ok = Walk(rest, &c) {
		types = append(types, c.Type)
		switch c.Type {
		case TypeSR:
			s, ok := c.Sender()
			if !ok || s != (SenderInfo{0xe000000180000000, 1000, 100, 16000}) || s.MiddleNTP() != 0x00018000 {
				t.Errorf("sender %+v %v", s, ok)
			}
			r, ok := c.Block(0)
			if !ok || r != (Block{2, 64, -1, 0x10010, 32, 0x18000, 0x8000}) {
				t.Errorf("block %+v %v", r, ok)
			}
			if _, ok = c.Block(1); ok {
				t.Error("a block beyond the last one")
			}
		case TypeSDES:
			if string(c.CNAME()) != "a@b.c" {
				t.Errorf("CNAME %q", c.CNAME())
			}
		case TypeBYE:
			if ssrc, ok := c.Left(0); !ok || ssrc != 1 {
				t.Errorf("BYE of %v %v", ssrc, ok)
			}
			if _, ok := c.Left(1); ok {
				t.Error("a source beyond the last one")
			}
		case TypeXR:
			var x XR
			_, ok := WalkXR(c.Reports(), &x)
			m, is := x.VoIP()
			if !ok || !is || m.SSRC != 2 || m.Loss != 26 || m.RTT != 120 || m.R != 90 || m.MOSCQ != 41 {
				t.Errorf("VoIP metrics %+v %v %v", m, ok, is)
			}
		}
	}
	if want := []uint8{TypeSR, TypeSDES, TypeXR, TypeBYE}; !bytes.Equal(types, want) {
		t.Errorf("types %v, want %v", types, want)
	}
}

func TestValidRTCP(t *testing.T) {
	tests := []struct {
		name string
		in   string
		wire int
		want bool
	}{
		{"empty RR", "80 c9 0001 00000001", 0, true},
		{"reduced size: feedback alone", "81 cd 0002 00000001 00000002", 0, true},
		{"length beyond the datagram", "80 c9 0002 00000001", 0, false},
		{"cut by the snap length", "80 c9 0002 00000001", 12, true},
		{"SRTCP: index and tag behind", "80 c9 0001 00000001 80000001 00112233445566778899", 0, false},
		{"padding before the last", "a0 c9 0001 00000001 80 c9 0001 00000001", 0, false},
		{"version 1 behind", "80 c9 0001 00000001 40 c9 0001 00000001", 0, false},
		{"RTP behind", "80 c9 0001 00000001 80 00 0001 00000001", 0, false},
		{"three octets left over", "80 c9 0001 00000001 000000", 0, false},
		{"short", "80 c9 0000", 0, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := unhex(t, test.in)
			if test.wire == 0 {
				test.wire = len(b)
			}
			if got := ValidRTCP(b, test.wire); got != test.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestCodecs(t *testing.T) {
	for c := Unknown + 1; c < codecCount; c++ {
		name := c.String()
		if name == "" {
			t.Errorf("codec %d has no name", c)
		}
		for _, spelling := range []string{name, strings.ToUpper(name), strings.ToLower(name)} {
			if got := CodecByName([]byte(spelling)); got != c {
				t.Errorf("%s is %v, want %v", spelling, got, c)
			}
		}
	}
	for _, a := range aliases {
		if got := CodecByName([]byte(a.name)); got != a.codec {
			t.Errorf("%s is %v, want %v", a.name, got, a.codec)
		}
	}
	for _, name := range []string{"", "PCM", "PCMUX", "no-such-codec"} {
		if got := CodecByName([]byte(name)); got != Unknown {
			t.Errorf("%q is %v", name, got)
		}
	}
	if Unknown.String() != "" || Codec(255).String() != "" {
		t.Error("an unknown codec has a name")
	}
	if !H264.Video() || !MP2T.Video() || PCMU.Video() || RTX.Video() || TelephoneEvent.Video() {
		t.Error("video codecs are mixed up")
	}
}

func TestStaticPayload(t *testing.T) {
	tests := []struct {
		pt    uint8
		codec Codec
		rate  uint32
	}{
		{0, PCMU, 8000},
		{8, PCMA, 8000},
		{9, G722, 8000},
		{11, L16, 44100},
		{13, CN, 8000},
		{18, G729, 8000},
		{28, Unknown, 90000},
		{34, H263, 90000},
		{1, Unknown, 0},
		{35, Unknown, 0},
		{96, Unknown, 0},
		{127, Unknown, 0},
	}
	for _, test := range tests {
		if c, r := StaticPayload(test.pt); c != test.codec || r != test.rate {
			t.Errorf("%d is %v %d", test.pt, c, r)
		}
	}
}

func TestAllocations(t *testing.T) {
	packet := unhex(t, "90 00 0001 00000000 00000001 bede 0001 11223344 ff")
	control := unhex(t, compound)
	name := []byte("TELEPHONE-EVENT")
	if n := testing.AllocsPerRun(100, func() {
		var h Header
		if Demux(packet) != RTP || !ParseHeader(packet, len(packet), &h) {
			t.Fatal("not RTP")
		}
		exercise(control)
		if CodecByName(name) != TelephoneEvent {
			t.Fatal("wrong codec")
		}
		if e, ok := ParseEvent(packet[2:]); !ok || EventName(e.Event) == "" {
			t.Fatal("no event")
		}
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// exercise reads all that can be read of an RTCP datagram, and counts it.
func exercise(b []byte) (n int) {
	var c Control
	for rest, ok := Walk(b, &c); ok; rest, ok = Walk(rest, &c) {
		n += len(c.Body) + len(c.CNAME())
		if s, ok := c.Sender(); ok {
			n += int(s.Packets & 1)
		}
		for i := 0; ; i++ {
			r, isBlock := c.Block(i)
			ssrc, isSource := c.Left(i)
			if !isBlock && !isSource {
				break
			}
			n += int(r.Fraction) + int(ssrc&1)
		}
		var x XR
		for blocks, ok := WalkXR(c.Reports(), &x); ok; blocks, ok = WalkXR(blocks, &x) {
			m, _ := x.VoIP()
			q := m.Quality()
			ntp, _ := x.ReferenceTime()
			for i := 0; ; i++ {
				r, ok := x.LastReference(i)
				if !ok {
					break
				}
				n += int(r.LRR & 1)
			}
			n += len(x.Body) + int(m.Loss) + int(q.Reports) + int(ntp&1)
		}
	}
	return n
}

// TestTorture feeds the RTP and RTCP files of the corpus, which are meant to
// break parsers, to everything here.
func TestTorture(t *testing.T) {
	files := 0
	err := filepath.WalkDir(filepath.Join(corpus.Dir(t), "torture"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(path, "rtp") && !strings.Contains(path, "rtcp") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		checkRTP(t, b, len(b))
		checkRTCP(t, b, len(b))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Error("the corpus has no RTP or RTCP torture files")
	}
	t.Logf("%d files", files)
}

// checkRTP parses b and requires that lengths add up.
func checkRTP(t *testing.T, b []byte, wire int) {
	t.Helper()
	Demux(b)
	var h Header
	if !ParseHeader(b, wire, &h) {
		return
	}
	if int(h.Offset)+int(h.Len)+int(h.Padding) != wire {
		t.Fatalf("offset %d, payload %d and padding %d are not %d", h.Offset, h.Len, h.Padding, wire)
	}
	payload := h.Payload(b)
	if h.Seq != binary.BigEndian.Uint16(b[2:]) || len(payload) > int(h.Len) {
		t.Fatalf("header %+v of % x", h, b[:12])
	}
	if e, ok := ParseEvent(payload); ok != (len(payload) >= 4) || e.Volume > 63 || EventName(e.Event) == "" {
		t.Fatalf("event %+v %v of % x", e, ok, payload)
	}
	if pt, primary, ok := PrimaryOf(payload); pt > 127 || len(primary) >= len(payload) && ok {
		t.Fatalf("primary encoding %d, % x of % x", pt, primary, payload)
	}
}

// checkRTCP walks b; what is valid and not cut must be walked to its end.
func checkRTCP(t *testing.T, b []byte, wire int) {
	t.Helper()
	exercise(b)
	if !ValidRTCP(b, wire) || len(b) != wire {
		return
	}
	var c Control
	rest := b
	for len(rest) > 0 {
		next, ok := Walk(rest, &c)
		if !ok {
			if binary.BigEndian.Uint16(rest[2:]) == 0 {
				return // a packet of nothing but its header
			}
			t.Fatalf("valid, but the walk stops at % x", rest)
		}
		if len(next) >= len(rest) || len(c.Body) < 4 {
			t.Fatalf("no progress, or a body without its first word: % x", rest)
		}
		rest = next
	}
}

func FuzzRTP(f *testing.F) {
	f.Add(unhex(f, "b1 00 0001 00000000 00000001 0000000a bede 0001 11223344 ff 00 02"), uint16(0))
	f.Add(unhex(f, "90 00 0001 00000000 00000001 be"), uint16(160))
	f.Add(unhex(f, "80 e5 0001 00000000 00000001 e5 000404 65 058a00a0 0b0a0140"), uint16(0))
	f.Fuzz(func(t *testing.T, b []byte, more uint16) { checkRTP(t, b, len(b)+int(more)) })
}

func FuzzRTCP(f *testing.F) {
	f.Add(unhex(f, compound), uint16(0))
	f.Add(unhex(f, metrics), uint16(0))
	f.Add(unhex(f, "80 c9 0002 00000001"), uint16(4))
	f.Fuzz(func(t *testing.T, b []byte, more uint16) { checkRTCP(t, b, len(b)+int(more)) })
}

func BenchmarkParseHeader(b *testing.B) {
	packet := make([]byte, 172)
	packet[0] = 0x80
	b.ReportAllocs()
	var h Header
	for b.Loop() {
		if Demux(packet) != RTP || !ParseHeader(packet, len(packet), &h) {
			b.Fatal("not RTP")
		}
	}
}

func BenchmarkCodecByName(b *testing.B) {
	name := []byte("telephone-event")
	b.ReportAllocs()
	for b.Loop() {
		if CodecByName(name) != TelephoneEvent {
			b.Fatal("wrong codec")
		}
	}
}

func BenchmarkRTCP(b *testing.B) {
	packet := unhex(b, compound)
	b.ReportAllocs()
	for b.Loop() {
		exercise(packet)
	}
}
