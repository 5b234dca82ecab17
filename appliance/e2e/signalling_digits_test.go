package e2e

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"ringside/appliance/daemon"
	"ringside/flow/record"
)

// speaker sends RTP: voice, and telephone events in between.
type speaker struct {
	w        *tape
	at       time.Duration
	from, to string
	ssrc     uint32
	seq      uint16
	ts       uint32
}

func (s *speaker) packet(pt uint8, ts uint32, payload []byte) {
	s.w.rtp(s.at, s.from, s.to, s.ssrc, pt, s.seq, ts, payload)
	s.at += 20 * msec
	s.seq++
}

// talk speaks until a time.
func (s *speaker) talk(until time.Duration) {
	for s.at < until {
		s.packet(0, s.ts, make([]byte, 160))
		s.ts += 160
	}
}

// press sends an event (RFC 4733): so many packets that grow by 20 ms, of which
// the first lost ones do not arrive, and its last one three times.
func (s *speaker) press(event uint8, packets, lost int) {
	for i := 1; i <= packets+2; i++ {
		end, duration := uint8(0), min(i, packets)*160
		if i >= packets {
			end = 0x80
		}
		if i <= lost {
			s.at += 20 * msec
			s.seq++
			continue
		}
		s.packet(101, s.ts, binary.BigEndian.AppendUint16([]byte{event, end | 10}, uint16(duration)))
	}
	s.ts += uint32(packets+2) * 160
}

func TestDigits(t *testing.T) {
	digit := func(at time.Duration, from record.Side, key string, ms uint32) record.Digit {
		d := record.Digit{Time: tapeAt(at), From: from, Digit: key, Method: record.DigitRTP, Duration: ms, Volume: 10, SSRC: 0xa}
		if from == record.SideCalled {
			d.SSRC = 0xb
		}
		return d
	}
	dialled := func(at time.Duration, from record.Side, key string, ms uint32) record.Digit {
		return record.Digit{Time: tapeAt(at), From: from, Digit: key, Method: record.DigitINFO, Duration: ms}
	}
	for _, tc := range []struct {
		name string
		play func(a, b *speaker, d *talk)
		want []record.Digit
	}{
		{"three end packets", func(a, _ *speaker, _ *talk) {
			a.talk(3 * sec)
			a.press(5, 5, 0)
			a.talk(6 * sec)
		}, []record.Digit{digit(3*sec, record.SideCaller, "5", 100)}},
		{"the start lost", func(a, _ *speaker, _ *talk) {
			a.talk(3 * sec)
			a.press(11, 5, 3)
			a.talk(6 * sec)
		}, []record.Digit{digit(3*sec+60*msec, record.SideCaller, "#", 100)}},
		{"one end packet of three", func(a, _ *speaker, _ *talk) {
			a.talk(3 * sec)
			a.press(10, 5, 6)
			a.talk(6 * sec)
		}, []record.Digit{digit(3*sec+120*msec, record.SideCaller, "*", 100)}},
		{"a long press", func(a, _ *speaker, _ *talk) {
			a.talk(3 * sec)
			a.press(0, 300, 0)
			a.talk(12 * sec)
		}, []record.Digit{digit(3*sec, record.SideCaller, "0", 6000)}},
		{"two digits on the same key", func(a, _ *speaker, _ *talk) {
			a.talk(3 * sec)
			a.press(7, 4, 0)
			a.talk(3*sec + 200*msec)
			a.press(7, 4, 0)
			a.talk(6 * sec)
		}, []record.Digit{digit(3*sec, record.SideCaller, "7", 80), digit(3*sec+200*msec, record.SideCaller, "7", 80)}},
		{"of both sides, and by INFO", func(a, b *speaker, d *talk) {
			a.talk(3 * sec)
			a.press(1, 4, 0)
			a.talk(5 * sec)
			a.press(15, 4, 0)
			a.talk(8 * sec)
			b.talk(4 * sec)
			b.press(2, 4, 0)
			b.talk(8 * sec)
			i := *d
			i.ask(3500*msec, "INFO", body("application/dtmf-relay", "Signal=9\r\nDuration=160\r\n"))
			i.answer(3520*msec, "200 OK")
			n := d.turned()
			n.ask(4500*msec, "INFO", body("application/dtmf", "#"))
			n.answer(4520*msec, "200 OK")
		}, []record.Digit{
			digit(3*sec, record.SideCaller, "1", 80), dialled(3500*msec, record.SideCaller, "9", 160),
			digit(4*sec, record.SideCalled, "2", 80), dialled(4500*msec, record.SideCalled, "#", 0),
			digit(5*sec, record.SideCaller, "D", 80),
		}},
		{"INFO that is no digit", func(_, _ *speaker, d *talk) {
			i := *d
			i.ask(3500*msec, "INFO", body("application/media_control+xml", "<media_control/>"))
			i.answer(3520*msec, "200 OK")
		}, nil},
		{"INFO sent again", func(_, _ *speaker, d *talk) {
			i := *d
			relay := body("application/dtmf-relay", "Signal=9\r\nDuration=160\r\n")
			i.ask(3500*msec, "INFO", relay)
			i.again(4*sec, relay)
			i.answer(4020*msec, "200 OK")
		}, []record.Digit{dialled(3500*msec, record.SideCaller, "9", 160)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newTape(t)
			d := w.call(plainScene("dtmf"))
			tc.play(&speaker{w: w, at: 2 * sec, from: callerMedia, to: calledMedia, ssrc: 0xa},
				&speaker{w: w, at: 2 * sec, from: calledMedia, to: callerMedia, ssrc: 0xb}, d)
			c := hear(t, w.path(), daemon.ReadOptions{}).onlyCall(t)
			digitLines := func(list []record.Digit) (out []string) {
				for _, x := range list {
					out = append(out, fmt.Sprintf("%v %v %s %v %d ms, volume %d, 0x%x", when(x.Time), x.From, x.Digit, x.Method, x.Duration, x.Volume, x.SSRC))
				}
				return out
			}
			sameLines(t, "digits", digitLines(c.Digits), digitLines(tc.want))
		})
	}
}

// TestDigitsOnTwoHops: of a call that is captured on both sides of a proxy and a
// relay of media each digit is told once.
func TestDigitsOnTwoHops(t *testing.T) {
	const proxy, relayA, relayB = "198.51.100.5:5060", "198.51.100.9:7000", "198.51.100.9:7002"
	// hops puts the call on the tape as the caller's side and the called's side see
	// it, and gives the dialog on both.
	hops := func(w *tape) [2]*talk {
		in, out := plainScene("hops"), plainScene("hops")
		in.b, in.mediaB = proxy, relayA
		out.a, out.mediaA, out.hops, out.at, out.end = proxy, relayB, 1, 5*msec, in.end+5*msec
		return [2]*talk{w.call(in), w.call(out)}
	}
	t.Run("INFO", func(t *testing.T) {
		w := newTape(t)
		for i, d := range hops(w) {
			d.ask(3*sec+time.Duration(i)*5*msec, "INFO", body("application/dtmf-relay", "Signal=9\r\nDuration=160\r\n"))
			d.answer(3*sec+20*msec-time.Duration(i)*5*msec, "200 OK")
		}
		c := hear(t, w.path(), daemon.ReadOptions{}).onlyCall(t)
		if len(c.Digits) != 1 || c.Infos != 1 {
			t.Errorf("%d INFO, digits %+v, want one", c.Infos, c.Digits)
		}
	})
	t.Run("RTP", func(t *testing.T) {
		w := newTape(t)
		hops(w)
		for i, way := range [][2]string{{callerMedia, relayA}, {relayB, calledMedia}} {
			s := &speaker{w: w, at: 2*sec + time.Duration(i)*msec, from: way[0], to: way[1], ssrc: 0xa}
			s.talk(3 * sec)
			s.press(5, 5, 0)
			s.talk(5 * sec)
		}
		c := hear(t, w.path(), daemon.ReadOptions{}).onlyCall(t)
		if len(c.Streams) != 2 || len(c.Digits) != 1 || c.Digits[0].Time != tapeAt(3*sec) {
			t.Errorf("%d streams, digits %+v, want one 5", len(c.Streams), c.Digits)
		}
	})
}

// TestDigitClocks: how long a digit lasts goes by the clock of telephone-event in
// the SDP.
func TestDigitClocks(t *testing.T) {
	opus := func(at string) string {
		return strings.NewReplacer("RTP/AVP 0 101", "RTP/AVP 111 101").Replace(sdpOf(at, "a=rtpmap:111 opus/48000/2"))
	}
	for _, tc := range []struct {
		name         string
		offer, reply string
		voice        uint8 // payload type; 255: none
	}{
		{"beside PCMU", sdpOf(callerMedia), sdpOf(calledMedia), 0},
		{"from a source of its own", sdpOf(callerMedia), sdpOf(calledMedia), 255},
		{"beside Opus", opus(callerMedia), opus(calledMedia), 111},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newTape(t)
			s := plainScene("dtmf")
			s.offer, s.reply = tc.offer, tc.reply
			w.call(s)
			a := &speaker{w: w, at: 2 * sec, from: callerMedia, to: calledMedia, ssrc: 0xa}
			for range 50 {
				if tc.voice == 255 {
					a.at += 20 * msec
					continue
				}
				a.packet(tc.voice, a.ts, make([]byte, 100))
				a.ts += map[uint8]uint32{0: 160, 111: 960}[tc.voice]
			}
			a.press(5, 5, 0)
			c := hear(t, w.path(), daemon.ReadOptions{}).onlyCall(t)
			if len(c.Digits) != 1 || c.Digits[0].Digit != "5" || c.Digits[0].Duration != 100 || c.Digits[0].From != record.SideCaller {
				t.Errorf("digits %+v, want one 5 of 100 ms", c.Digits)
			}
		})
	}
}

// TestLongestDigit: an event longer than its duration can say goes on as another
// segment, which begins where the one before ends (RFC 4733 section 2.5.1.3).
func TestLongestDigit(t *testing.T) {
	w := newTape(t)
	w.call(plainScene("dtmf"))
	s := &speaker{w: w, at: 2 * sec, from: callerMedia, to: calledMedia, ssrc: 0xa}
	s.talk(3 * sec)
	packets := 500 // 10 s
	for i := 1; i <= packets; i++ {
		duration, ts, end := i*160, s.ts, uint8(0)
		if duration > 0xffff {
			duration, ts = duration-0xffff, ts+0xffff
		}
		if i == packets {
			end = 0x80
		}
		s.packet(101, ts, binary.BigEndian.AppendUint16([]byte{5, end | 10}, uint16(duration)))
	}
	c := hear(t, w.path(), daemon.ReadOptions{}).onlyCall(t)
	if len(c.Digits) != 1 || c.Digits[0].Digit != "5" || c.Digits[0].Duration != 10000 || c.Digits[0].Time != tapeAt(3*sec) {
		t.Errorf("digits %+v, want one 5 of 10,000 ms", c.Digits)
	}
}
