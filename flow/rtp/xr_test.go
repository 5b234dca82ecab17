package rtp

import (
	"bytes"
	"testing"

	"ringside/flow/record"
)

// metrics is an XR packet of 00000001 with VoIP metrics, a reference time and
// two DLRR sub-blocks.
const metrics = `
80 cf 0014 00000001
07 00 0008 00000002 1a 0d 80 01 00f0 4e20 0078 0014 ee ba 37 10 5a 7f 2a 7f 80 00 0028 0050 0078
04 00 0002 e0000001 80000000
05 00 0006 00000003 00018000 00010000 00000004 00000000 00000000`

func TestXR(t *testing.T) {
	b := unhex(t, metrics)
	var c Control
	if rest, ok := Walk(b, &c); !ok || len(rest) != 0 || !ValidRTCP(b, len(b)) {
		t.Fatalf("% x is left of a good packet", rest)
	}
	var voip VoIPMetrics
	var ntp uint64
	var last []LastReference
	var x XR
	for rest, ok := WalkXR(c.Reports(), &x); ok; rest, ok = WalkXR(rest, &x) {
		if m, ok := x.VoIP(); ok {
			voip = m
		}
		if n, ok := x.ReferenceTime(); ok {
			ntp = n
		}
		for i := 0; ; i++ {
			r, ok := x.LastReference(i)
			if !ok {
				break
			}
			last = append(last, r)
		}
	}
	want := VoIPMetrics{
		SSRC: 2, Loss: 26, Discard: 13, BurstDensity: 128, GapDensity: 1, Burst: 240, Gap: 20000, RTT: 120, EndDelay: 20,
		Signal: -18, Noise: -70, RERL: 55, Gmin: 16, R: 90, ExternalR: 127, MOSLQ: 42, MOSCQ: 127, Config: 0x80,
		Nominal: 40, Maximum: 80, AbsMaximum: 120,
	}
	if voip != want {
		t.Errorf("got %+v\nwant %+v", voip, want)
	}
	if ntp != 0xe000000180000000 {
		t.Errorf("reference time %#x", ntp)
	}
	if len(last) != 2 || last[0] != (LastReference{3, 0x18000, 0x10000}) || last[1] != (LastReference{SSRC: 4}) {
		t.Errorf("last references %+v", last)
	}
	if got, want := record.XR(voip.Quality()), (record.XR{
		Reports: 1, Loss: 10.15625, Discard: 5.078125, BurstLoss: 50, GapLoss: 0.390625, Burst: 240, Gap: 20000,
		RTT: 120, EndDelay: 20, Signal: -18, Noise: -70, RERL: 55, R: 90, ExternalR: -1, MOSLQ: 4.2, MOSCQ: -1,
		JitterBuffer: 40, JitterMax: 80,
	}); got != want {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

// TestShortXR: a block that says it is something, but is too short for it.
func TestShortXR(t *testing.T) {
	for _, in := range []string{"07 00 0007", "04 00 0001", "05 00 0002"} {
		b := append(unhex(t, in), make([]byte, 28)...)
		var x XR
		if _, ok := WalkXR(b, &x); !ok {
			t.Fatalf("%s is no block", in)
		}
		_, voip := x.VoIP()
		_, ntp := x.ReferenceTime()
		_, last := x.LastReference(0)
		if voip || ntp || last {
			t.Errorf("%s was read", in)
		}
	}
}

func TestParseEvent(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Event
		name string
		ok   bool
	}{
		{"05 0a 00a0", Event{5, false, 10, 160}, "5", true},
		{"0b 8a 0320", Event{11, true, 10, 800}, "#", true},
		{"0f bf ffff", Event{15, true, 63, 65535}, "D", true},
		{"10 00 0000 ff", Event{16, false, 0, 0}, "flash", true},
		{"24 c0 0001", Event{36, true, 0, 1}, "36", true}, // the reserved bit is set
		{"05 0a 00", Event{}, "", false},
		{"", Event{}, "", false},
	} {
		e, ok := ParseEvent(unhex(t, c.in))
		if e != c.want || ok != c.ok || ok && EventName(e.Event) != c.name {
			t.Errorf("%s: %+v %v %s", c.in, e, ok, EventName(e.Event))
		}
	}
}

func TestPrimaryOf(t *testing.T) {
	for _, c := range []struct {
		name, in string
		pt       uint8
		primary  string
		ok       bool
	}{
		{"no redundancy", "65 01020304", 101, "01020304", true},
		{"one block", "e5 002802 65 aaaa 0102", 101, "0102", true},
		{"two blocks", "80 002801 88 001402 00 aa bbbb 01", 0, "01", true},
		{"older blocks cut off", "e5 0003ff 65 aa", 101, "", true},
		{"headers do not end", "e5 000002", 0, "", false},
		{"header cut off", "e5 000002 e5 00", 0, "", false},
		{"empty", "", 0, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			pt, primary, ok := PrimaryOf(unhex(t, c.in))
			if pt != c.pt || ok != c.ok || !bytes.Equal(primary, unhex(t, c.primary)) {
				t.Errorf("%d, % x, %v", pt, primary, ok)
			}
		})
	}
}
