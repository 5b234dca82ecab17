package flow

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"ringside/dataplane/frame"
	"ringside/flow/call"
)

// TestManyPayloads: the last of as many payload types as SDP may have.
func TestManyPayloads(t *testing.T) {
	var types, lines strings.Builder
	for pt := 96; pt < 120; pt++ {
		fmt.Fprintf(&types, "%d ", pt)
		fmt.Fprintf(&lines, "a=rtpmap:%d AMR-WB/16000\r\n", pt)
	}
	sdp := func(addr string, port int) string { return media(addr, port, types.String(), lines.String()) }
	var sc script
	sc.sip(0, true, "INVITE sip:bob@b SIP/2.0", "c1", "1 INVITE", "", sdp("10.0.0.1", 4000))
	sc.sip(time.Second, false, "SIP/2.0 200 OK", "c1", "1 INVITE", "b1", sdp("10.0.0.2", 6000))
	sc.rtp(time.Second, 5*time.Second, at2(alice, 4000), at2(bob, 6000), 119, 1, 320)
	if s := &one(t, sc.run(t)).Streams[0]; s.Codec != "AMR-WB" || s.Rate != 16000 {
		t.Errorf("%+v", s)
	}
}

// TestPayloadChangesBack: a payload type gets another meaning, and its old one
// again.
func TestPayloadChangesBack(t *testing.T) {
	var sc script
	for n, codec := range []string{"AMR-WB/16000", "iLBC/8000", "AMR-WB/16000"} {
		at, cseq := time.Duration(n)*time.Second, fmt.Sprint(n+1, " INVITE")
		tag := []string{"", "b1", "b1"}[n]
		line := "a=rtpmap:96 " + codec + "\r\n"
		sc.sip(at, true, "INVITE sip:bob@b SIP/2.0", "c1", cseq, tag, media("10.0.0.1", 4000, "96", line))
		sc.sip(at+100*time.Millisecond, false, "SIP/2.0 200 OK", "c1", cseq, "b1", media("10.0.0.2", 6000, "96", line))
	}
	sc.rtp(5*time.Second, 8*time.Second, at2(alice, 4000), at2(bob, 6000), 96, 1, 320)
	if s := &one(t, sc.run(t)).Streams[0]; s.Codec != "AMR-WB" {
		t.Errorf("%+v", s)
	}
}

// TestBundle: audio and video on one port (RFC 9143).
func TestBundle(t *testing.T) {
	var sc script
	sdp := func(addr string, port int) string {
		return media(addr, port, "111", "a=rtpmap:111 opus/48000/2\r\n") +
			fmt.Sprintf("m=video %d RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n", port)
	}
	sc.sip(0, true, "INVITE sip:bob@b SIP/2.0", "c1", "1 INVITE", "", sdp("10.0.0.1", 4000))
	sc.sip(time.Second, false, "SIP/2.0 200 OK", "c1", "1 INVITE", "b1", sdp("10.0.0.2", 6000))
	sc.rtp(time.Second, 5*time.Second, at2(alice, 4000), at2(bob, 6000), 111, 1, 960)
	sc.rtp(time.Second, 5*time.Second, at2(alice, 4000), at2(bob, 6000), 96, 2, 1800)
	c := one(t, sc.run(t))
	if len(c.Streams) != 2 || c.Streams[0].Codec != "opus" || c.Streams[1].Codec != "VP8" {
		t.Errorf("%+v", c.Streams)
	}
}

// TestCandidates: ICE took other addresses than those of the c= lines.
func TestCandidates(t *testing.T) {
	var sc script
	sdp := func(addr string, port int, host string) string {
		return media(addr, port, "0", fmt.Sprintf("a=candidate:1 1 UDP 2130706431 %s %d typ host\r\n", host, port+100))
	}
	sc.sip(0, true, "INVITE sip:bob@b SIP/2.0", "c1", "1 INVITE", "", sdp("192.0.2.1", 4000, "10.0.0.1"))
	sc.sip(time.Second, false, "SIP/2.0 200 OK", "c1", "1 INVITE", "b1", sdp("192.0.2.2", 6000, "10.0.0.2"))
	sc.rtp(time.Second, 5*time.Second, at2(alice, 4100), at2(bob, 6100), 0, 1, 160)
	o := sc.run(t)
	if c := one(t, o); len(c.Streams) != 1 || c.Streams[0].Flags != "" || len(o.orphans) != 0 {
		t.Errorf("%+v, %d orphans", c.Streams, len(o.orphans))
	}
}

// TestMissedBye: the BYE of a call was not captured, and its port serves the
// next one, which has its streams for itself.
func TestMissedBye(t *testing.T) {
	carol := frame.AddrFrom4([]byte{10, 0, 0, 3})
	var sc script
	dial := func(at time.Duration, id, to string) {
		sc.sip(at, true, "INVITE sip:bob@b SIP/2.0", id, "1 INVITE", "", media("10.0.0.1", 4000, "0", ""))
		sc.sip(at+time.Second, false, "SIP/2.0 200 OK", id, "1 INVITE", "b1", media(to, 6000, "0", ""))
	}
	dial(0, "old", "10.0.0.2")
	sc.rtp(time.Second, 5*time.Second, at2(alice, 4000), at2(bob, 6000), 0, 1, 160)
	dial(5*time.Minute, "new", "10.0.0.3")
	sc.rtp(5*time.Minute+time.Second, 6*time.Minute, at2(alice, 4000), at2(carol, 6000), 0, 2, 160)
	sc.rtp(5*time.Minute+time.Second, 6*time.Minute, at2(carol, 6000), at2(alice, 4000), 0, 3, 160)
	o := sc.run(t)
	for _, c := range o.calls {
		if want := map[string]int{"old": 1, "new": 2}[c.CallID]; len(c.Streams) != want || has(c, "shared-media") {
			t.Errorf("%s: %d streams, %v", c.CallID, len(c.Streams), c.Flags.Names())
		}
	}
}

// TestChallengeIsNoReuse: the first leg was challenged and tried again. That
// ended nothing, so the second leg shares its addresses; it does not reuse them.
func TestChallengeIsNoReuse(t *testing.T) {
	var sc script
	sc.sip(0, true, "INVITE sip:bob@b SIP/2.0", "leg1", "1 INVITE", "", media("10.0.0.1", 4000, "0", ""))
	sc.sip(10*time.Millisecond, false, "SIP/2.0 407 Who", "leg1", "1 INVITE", "x", "")
	sc.sip(20*time.Millisecond, true, "INVITE sip:bob@b SIP/2.0", "leg1", "2 INVITE", "", media("10.0.0.1", 4000, "0", ""))
	sc.call("leg2", 30*time.Millisecond, 5*time.Second, 4000, 6000)
	for _, c := range sc.run(t).calls {
		if has(c, "port-reuse") {
			t.Errorf("%s: %v", c.CallID, c.Flags.Names())
		}
	}
}

// TestNamedIsBounded: one call that names addresses for ever, the same after
// each failure, or others.
func TestNamedIsBounded(t *testing.T) {
	for _, ports := range []int{1, 50_000} {
		g := NewGroup(Options{})
		s := g.shards[0]
		for i := range 20_000 {
			clock := int64(i) * 1e9
			s.seq++
			s.publish(1, &call.Media{At: at(uint16(4000 + i%ports)), Mux: true}, clock)
			s.ending(1, clock+5e8)
			s.forget(clock)
			s.orders[0].flush()
			s.takeOrders()
			s.orderIn = s.orderIn[:0]
		}
		if n, m := len(s.named[1]), g.dir.entries.Load(); n > maxNamed || m > maxNamed+2 {
			t.Errorf("%d ports: %d addresses of the call, %d in the directory", ports, n, m)
		}
	}
}

// TestNoiseInCall: somebody sends random numbers as RTP and RTCP to the media
// port of a call. What is done for each must not grow with their number.
func TestNoiseInCall(t *testing.T) {
	var sc script
	sc.call("c1", 0, 5*time.Second, 4000, 6000)
	const n = 2000
	for i := range n {
		b := make([]byte, 32)
		b[0], b[1] = 0x80, byte(i%2*201)
		binary.BigEndian.PutUint16(b[2:], 7)
		binary.BigEndian.PutUint32(b[8:], uint32(i))
		if i%2 == 1 {
			b[0] = 0x81
		}
		sc.add(2*time.Second+time.Duration(i)*time.Microsecond, at2(bob, 6000), at2(alice, 4000), b)
	}
	if c := one(t, sc.run(t)); len(c.Streams) != n/2 {
		t.Errorf("%d streams", len(c.Streams))
	}
}

// TestNoiseGoesFirst: what has not proved to be RTP does not wait for a call as
// long as a stream does.
func TestNoiseGoesFirst(t *testing.T) {
	table := func(packets time.Duration) uint64 {
		var sc script
		sc.rtp(0, packets, at2(alice, 4000), at2(bob, 6000), 0, 1, 160)
		sc.sip(20*time.Second, true, "INVITE sip:bob@b SIP/2.0", "c1", "1 INVITE", "", media("10.0.0.1", 4000, "0", ""))
		sc.add(30*time.Second, at2(alice, 1), at2(bob, 1), []byte("end"))
		return sc.run(t).stats.InCalls
	}
	if n := table(time.Second); n != 50 {
		t.Errorf("%d packets of a stream", n)
	}
	if n := table(20 * time.Millisecond); n != 0 {
		t.Errorf("%d packets of noise", n)
	}
}

// TestShortCallAfterItsMedia: the SDP that names an early stream comes half a
// second before the call is over.
func TestShortCallAfterItsMedia(t *testing.T) {
	var sc script
	sc.rtp(0, 5*time.Second, at2(alice, 4000), at2(bob, 6000), 0, 1, 160)
	sc.sip(time.Second, true, "INVITE sip:bob@b SIP/2.0", "c1", "1 INVITE", "", "")
	sc.sip(4400*time.Millisecond, false, "SIP/2.0 183 Session Progress", "c1", "1 INVITE", "b1", media("10.0.0.2", 6000, "0", ""))
	sc.sip(4900*time.Millisecond, false, "SIP/2.0 503 Service Unavailable", "c1", "1 INVITE", "b1", "")
	o := sc.run(t)
	if c := one(t, o); len(c.Streams) != 1 || c.Streams[0].Packets != 250 || len(o.orphans) != 0 {
		t.Errorf("streams %+v, %d orphans", c.Streams, len(o.orphans))
	}
}
