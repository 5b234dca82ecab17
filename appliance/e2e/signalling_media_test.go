package e2e

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"ringside/appliance/daemon"
	"ringside/flow/record"
)

// The two ends of the calls of this file.
const (
	callerSIP, calledSIP     = "192.0.2.10:5060", "192.0.2.20:5060"
	callerMedia, calledMedia = "192.0.2.10:10000", "192.0.2.20:20000"
)

// plainScene is a call of a minute between the two.
func plainScene(id string) scene {
	return scene{id: id, end: 60 * sec, a: callerSIP, b: calledSIP, from: "1001", to: "1002", mediaA: callerMedia, mediaB: calledMedia}
}

func TestFax(t *testing.T) {
	t38 := func(at string) string {
		host, port, _ := strings.Cut(at, ":")
		return body("application/sdp", "v=0\r\no=- 1 2 IN IP4 "+host+"\r\ns=-\r\nc=IN IP4 "+host+"\r\nt=0 0\r\nm=image "+port+" udptl t38\r\na=T38FaxVersion:0\r\n")
	}
	for _, tc := range []struct {
		name, status, reply string
		fax                 bool
	}{
		{"accepted", "200 OK", t38("192.0.2.10:10002"), true},
		{"declined", "488 Not Acceptable Here", "", false},
		{"answered without", "200 OK", sdpOf(callerMedia), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newTape(t)
			d := w.call(plainScene("fax")).turned()
			w.voice(sec, 10*sec, callerMedia, calledMedia, 0xa)
			w.voice(sec, 10*sec, calledMedia, callerMedia, 0xb)
			d.ask(10*sec, "INVITE", t38("192.0.2.20:20002"))
			if tc.reply != "" {
				d.answer(10*sec+100*msec, tc.status, tc.reply)
			} else {
				d.answer(10*sec+100*msec, tc.status)
			}
			d.ask(10*sec+120*msec, "ACK")
			c := hear(t, w.path(), daemon.ReadOptions{}).onlyCall(t)
			if got := c.Flags&record.Fax != 0; got != tc.fax || c.Reinvites != 1 {
				t.Errorf("flags %v, %d re-INVITEs, fax wanted: %v", c.Flags.Names(), c.Reinvites, tc.fax)
			}
			images := 0
			for _, m := range c.Media {
				if m.Kind == "image" && m.Codecs == "t38" && m.Epoch == 1 {
					images++
				}
			}
			if want := map[bool]int{true: 2, false: 1}[tc.fax]; images != want {
				t.Errorf("%d media of T.38 in %+v, want %d", images, c.Media, want)
			}
		})
	}
}

// metrics is an RTCP packet: an empty receiver's report and the VoIP metrics of
// a stream (RFC 3611 section 4.7).
func metrics(sender, ssrc uint32, loss, mosLQ uint8) []byte {
	be := binary.BigEndian
	b := be.AppendUint32([]byte{0x80, 201, 0, 1}, sender)
	b = be.AppendUint32(append(b, 0x80, 207, 0, 10), sender)
	b = be.AppendUint32(append(b, 7, 0, 0, 8), ssrc)
	b = append(b, loss, 32, 64, 16)
	for _, v := range []uint16{120, 3000, 45, 80} { // burst, gap, round trip, end system
		b = be.AppendUint16(b, v)
	}
	b = append(b, 0xec, 0xba, 127, 16, 88, 127, mosLQ, 40, 0x80, 0)
	for _, v := range []uint16{40, 80, 200} { // jitter buffer
		b = be.AppendUint16(b, v)
	}
	return b
}

func TestExtendedReports(t *testing.T) {
	want := record.XR{
		Reports: 2, Loss: 12.5, Discard: 12.5, BurstLoss: 25, GapLoss: 6.25, Burst: 120, Gap: 3000, RTT: 45, EndDelay: 80,
		Signal: -20, Noise: -70, RERL: -1, R: 88, ExternalR: -1, MOSLQ: 4.1, MOSCQ: 4, JitterBuffer: 40, JitterMax: 80,
	}
	for _, tc := range []struct{ name, from, to, attribute string }{
		{"on ports of their own", "192.0.2.20:20001", "192.0.2.10:10001", "a=sendrecv"},
		{"multiplexed", calledMedia, callerMedia, "a=rtcp-mux"},
		{"from another port than the next", "192.0.2.20:20007", "192.0.2.10:10001", "a=sendrecv"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newTape(t)
			s := plainScene("xr")
			from, to := tc.from, tc.to
			s.offer, s.reply = sdpOf(callerMedia, tc.attribute), sdpOf(calledMedia, tc.attribute)
			sender := binary.BigEndian.AppendUint32([]byte{0x80, 200, 0, 6}, 0xa)
			w.udp(4*sec, "192.0.2.10:10001", "192.0.2.20:20001", append(sender, make([]byte, 20)...))
			w.call(s)
			w.voice(sec, 20*sec, callerMedia, calledMedia, 0xa)
			w.voice(sec, 20*sec, calledMedia, callerMedia, 0xb)
			w.udp(5*sec, from, to, metrics(0xb, 0xa, 0, 45))
			w.udp(10*sec, from, to, metrics(0xb, 0xa, 32, 41))
			c := hear(t, w.path(), daemon.ReadOptions{}).onlyCall(t)
			if got := flowOf(t, c, callerMedia, calledMedia).XR; got != want {
				t.Errorf("XR %+v\nwant %+v", got, want)
			}
			if got := flowOf(t, c, calledMedia, callerMedia).XR; got != (record.XR{}) {
				t.Errorf("XR of the other direction %+v", got)
			}
		})
	}
}

// vqReport is what an endpoint says of a call when it is over.
func vqReport(callID string) string {
	return body("application/vq-rtcpxr", "VQSessionReport: CallTerm\r\nCallID: "+callID+"\r\n"+
		"LocalID: <sip:1001@example.com>\r\nRemoteID: <sip:1002@example.com>\r\nOrigID: <sip:1001@example.com>\r\n"+
		"LocalAddr: IP=192.0.2.10 PORT=10000 SSRC=0xa\r\nRemoteAddr: IP=192.0.2.20 PORT=20000 SSRC=0xb\r\n"+
		"LocalMetrics:\r\nTimestamps:START=2026-01-05T10:00:01Z STOP=2026-01-05T10:01:00Z\r\n"+
		"SessionDesc:PT=0 PD=PCMU SR=8000\r\nJitterBuffer:JBA=3 JBR=2 JBN=40 JBM=80 JBX=120\r\n"+
		"PacketLoss:NLR=5.0 JDR=2.0\r\nBurstGapLoss:BLD=0.5 BD=60 GLD=2.0 GD=500 GMIN=16\r\n"+
		"Delay:RTD=200 ESD=140\r\nSignal:SL=-18 NL=-50 RERL=55\r\nQualityEst:RLQ=90 RCQ=85 EXTRI=90 MOSLQ=4.2 MOSCQ=4.3\r\n")
}

func TestQualityReports(t *testing.T) {
	w := newTape(t)
	w.call(plainScene("vq"))
	d := &talk{w: w, a: callerSIP, b: "198.51.100.9:5060", id: "report", from: "1001@example.com", to: "collector@example.com", tags: [2]string{"q", ""}}
	d.ask(61*sec, "PUBLISH", "Event: vq-rtcpxr", "Expires: 3600", vqReport("vq"))
	d.answer(61*sec+20*msec, "200 OK", "SIP-ETag: e", "Expires: 3600")
	w.idle(100 * sec)
	h := hear(t, w.path(), daemon.ReadOptions{})
	if c := h.onlyCall(t); c.CallID != "vq" || c.End != tapeAt(60*sec) {
		t.Errorf("the report changes the call: %+v", c)
	}
	at := netip.MustParseAddrPort
	same(t, "quality reports", h.quality, func(q *record.QualityReport) { q.ID = 0 }, record.QualityReport{
		Time: tapeAt(61 * sec), CallID: "vq", Kind: "session", Src: at(callerSIP),
		LocalID: "<sip:1001@example.com>", RemoteID: "<sip:1002@example.com>", Local: at(callerMedia), Remote: at(calledMedia), SSRC: 0xb,
		Codec: "PCMU", Start: tapeAt(sec), Stop: tapeAt(60 * sec),
		XR: record.XR{
			Reports: 1, Loss: 5, Discard: 2, BurstLoss: 0.5, GapLoss: 2, Burst: 60, Gap: 500, RTT: 200, EndDelay: 140,
			Signal: -18, Noise: -50, RERL: 55, R: 85, ExternalR: 90, MOSLQ: 4.2, MOSCQ: 4.3, JitterBuffer: 40, JitterMax: 80,
		},
	})
	if len(h.exchanges) != 1 || h.exchanges[0].Kind != record.Publication || h.exchanges[0].Event != "vq-rtcpxr" {
		t.Errorf("%d exchanges, want the publication", len(h.exchanges))
	}
}

// TestQualityReportAgain: a report that is sent again, with credentials or without,
// or seen on another hop, is one report.
func TestQualityReportAgain(t *testing.T) {
	for _, tc := range []struct {
		name string
		play func(d *talk)
	}{
		{"retransmission", func(d *talk) { d.again(500*msec, "Event: vq-rtcpxr", "Expires: 3600", vqReport("vq")) }},
		{"another hop", func(d *talk) {
			hop := *d
			hop.a, hop.b, hop.hops = d.b, "198.51.100.10:5060", 1
			hop.again(5*msec, "Event: vq-rtcpxr", "Expires: 3600", vqReport("vq"))
		}},
		{"challenge", func(d *talk) {
			d.answer(100*msec, "401 Unauthorized", challengeLine)
			d.ask(200*msec, "PUBLISH", "Event: vq-rtcpxr", "Expires: 3600", credentialsLine, vqReport("vq"))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newTape(t)
			d := &talk{w: w, a: callerSIP, b: "198.51.100.9:5060", id: "report", from: "1001@example.com", to: "collector@example.com", tags: [2]string{"q", ""}}
			d.ask(0, "PUBLISH", "Event: vq-rtcpxr", "Expires: 3600", vqReport("vq"))
			tc.play(d)
			d.answer(600*msec, "200 OK", "SIP-ETag: e", "Expires: 3600")
			w.idle(10 * sec)
			h := hear(t, w.path(), daemon.ReadOptions{})
			if len(h.quality) != 1 || len(h.exchanges) != 1 {
				t.Errorf("%d reports, %d publications, want one: %s", len(h.quality), len(h.exchanges), h.lines)
			}
		})
	}
}

func TestKeysInSDP(t *testing.T) {
	const one = "1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20|1:32"
	const two = "2 AES_CM_128_HMAC_SHA1_32 inline:NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpX1Zj"
	secure := func(at string, keys ...string) string {
		return strings.Replace(sdpOf(at, keys...), "RTP/AVP", "RTP/SAVP", 1)
	}
	w := newTape(t)
	s := plainScene("sdes")
	s.offer, s.reply = secure(callerMedia, "a=crypto:"+one, "a=crypto:"+two), secure(calledMedia, "a=crypto:"+one)
	w.call(s)
	w.voice(sec, 20*sec, callerMedia, calledMedia, 0xa)
	w.voice(sec, 20*sec, calledMedia, callerMedia, 0xb)
	c := hear(t, w.path(), daemon.ReadOptions{}).onlyCall(t)
	if c.Flags&record.SRTP == 0 || len(c.Media) != 2 || c.Media[0].Crypto != one+"\n"+two || c.Media[1].Crypto != one || !c.Media[0].SRTP {
		t.Errorf("flags %v, media %+v", c.Flags.Names(), c.Media)
	}
	if s := flowOf(t, c, callerMedia, calledMedia); !s.SRTP || s.Packets != 950 {
		t.Errorf("stream %+v", s)
	}
}

const moved = "192.0.2.99:12000"

// movedCall is a call whose caller moves its media to another host.
func movedCall(t *testing.T) *record.Call {
	t.Helper()
	w := newTape(t)
	d := w.call(plainScene("moved"))
	w.voice(sec, 20*sec, callerMedia, calledMedia, 0xa)
	w.voice(sec, 20*sec, calledMedia, callerMedia, 0xb)
	r := *d
	r.ask(20*sec, "INVITE", sdpOf(moved))
	r.answer(20*sec+100*msec, "200 OK", sdpOf(calledMedia))
	r.ask(20*sec+120*msec, "ACK")
	w.voice(20*sec+200*msec, 60*sec, moved, calledMedia, 0xc)
	w.voice(20*sec+200*msec, 60*sec, calledMedia, moved, 0xd)
	return hear(t, w.path(), daemon.ReadOptions{}).onlyCall(t)
}

func TestEpochs(t *testing.T) {
	c := movedCall(t)
	var media []string
	for _, m := range c.Media {
		media = append(media, fmt.Sprintf("%v %v epoch %d from %v", m.Side, m.Addr, m.Epoch, when(m.From)))
	}
	sameLines(t, "media", media, []string{
		"caller 192.0.2.10:10000 epoch 0 from 0s", "called 192.0.2.20:20000 epoch 0 from 1s", "caller 192.0.2.99:12000 epoch 1 from 20s",
	})
	for _, s := range []struct {
		from, to string
		side     record.Side
		packets  uint64
	}{
		{callerMedia, calledMedia, record.SideCaller, 950}, {calledMedia, callerMedia, record.SideCalled, 950},
		{moved, calledMedia, record.SideCaller, 1990}, {calledMedia, moved, record.SideCalled, 1990},
	} {
		got := flowOf(t, c, s.from, s.to)
		if got.From != s.side || got.Packets != s.packets || got.Flags != "" {
			t.Errorf("%s to %s: from %v, %d packets, flags %q; want %v, %d, none", s.from, s.to, got.From, got.Packets, got.Flags, s.side, s.packets)
		}
		if want := s.to == moved; got.Epoch != 0 != want && s.from != moved {
			t.Errorf("%s to %s: epoch %d", s.from, s.to, got.Epoch)
		}
	}
	if len(c.Streams) != 4 || c.Flags != 0 {
		t.Errorf("%d streams, flags %v", len(c.Streams), c.Flags.Names())
	}
}

// TestEpochOfMovedSender: what a host sends that only the re-INVITE named is of
// the epoch of that, though it goes where media went before.
func TestEpochOfMovedSender(t *testing.T) {
	if s := flowOf(t, movedCall(t), moved, calledMedia); s.Epoch != 1 {
		t.Errorf("epoch %d, want 1", s.Epoch)
	}
}
