package flow

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"ringside/dataplane/frame"
	"ringside/dataplane/replay"
	"ringside/flow/call"
	"ringside/flow/record"
)

// TestMirrorOfTwoInterfaces: one interface sees what comes in, another what
// goes out, so the second copies all come on the other one. They are removed,
// and the factor is one that can be.
func TestMirrorOfTwoInterfaces(t *testing.T) {
	sc := talk().mirrored(300 * time.Microsecond)
	for i := range sc.packets {
		if sc.packets[i].Flags&frame.FlagVLAN != 0 {
			sc.packets[i].Iface = 1
		}
	}
	o := sc.with(t, Options{Dedup: DedupAuto}, 2000)
	if o.stats.RTPDuplicates < 300 || o.stats.SIPDuplicates < 2 { // all that came once it was known
		t.Errorf("%d and %d copies removed", o.stats.RTPDuplicates, o.stats.SIPDuplicates)
	}
	for _, m := range o.stats.Mirrors {
		if f := m.Factor(); f > 2 {
			t.Errorf("interface %d: factor %v", m.Iface, f)
		}
	}
	for _, e := range o.others {
		if e := e.(*record.Event); strings.Contains(e.Text, "Inf") {
			t.Errorf("event says %q", e.Text)
		}
	}
}

// TestMirrorWhateverTheBatches: a mirror is found in a function of the packets,
// not of how a pipe or a replay cuts them into batches.
func TestMirrorWhateverTheBatches(t *testing.T) {
	for _, size := range []int{1, 3, 2000} {
		o := talk().mirrored(300*time.Microsecond).with(t, Options{Dedup: DedupAuto}, size)
		if o.stats.RTPDuplicates == 0 {
			t.Errorf("batches of %d: no copy removed", size)
		}
	}
}

// passes is the input of a replay.
type passes struct{ *source }

func (passes) Close() error { return nil }

// TestReplayedMirror: records are those of a plain read, whatever the pace.
func TestReplayedMirror(t *testing.T) {
	sc := talk().mirrored(300 * time.Microsecond)
	plain := sc.with(t, Options{Dedup: DedupAuto}, 2000)
	var removed uint64
	frames := sc.source(2000)
	// Packets go with their frames: the replay cuts frames, a decoder reads them.
	var all []frame.Packet
	for _, b := range frames.batches {
		all = append(all, b.Packets...)
	}
	src, err := replay.New(func() (replay.Input, error) { return passes{frames}, nil }, replay.Options{PPS: 20000})
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range frames.batches {
		for n := range b.Frames {
			b.Frames[n].Seq = uint64(i*2000 + n)
		}
	}
	g := NewGroup(Options{Dedup: DedupAuto})
	if err := g.Run(context.Background(), func(ctx context.Context, _ int, s *Shard) error {
		return s.Run(ctx, src, bySeq{all})
	}); err != nil {
		t.Fatal(err)
	}
	removed = g.Stats().RTPDuplicates
	if removed != plain.stats.RTPDuplicates {
		t.Errorf("replayed: %d copies removed, read: %d", removed, plain.stats.RTPDuplicates)
	}
}

// bySeq gives the packets of the frames by their number.
type bySeq struct{ packets []frame.Packet }

func (d bySeq) Decode(b *frame.Batch) {
	b.Packets = b.Packets[:0]
	for _, f := range b.Frames {
		p := d.packets[f.Seq%uint64(len(d.packets))]
		p.Time, p.Clock, p.Seq, p.Loop = f.Time, f.Clock, f.Seq, f.Loop
		b.Packets = append(b.Packets, p)
	}
}
func (bySeq) Join(*frame.Fragment, *frame.Tunnel, *frame.Batch) {}

// TestCopiesAtARate: copies that come 5 ms later, at 200,000 packets a second,
// are found by any number of workers alike.
func TestCopiesAtARate(t *testing.T) {
	var sc script
	for stream := range 2000 {
		for i := range 3 {
			at := time.Duration(i)*20*time.Millisecond + time.Duration(stream)*10*time.Microsecond
			b := make([]byte, 12+160)
			b[0] = 0x80
			binary.BigEndian.PutUint16(b[2:], uint16(i))
			binary.BigEndian.PutUint32(b[4:], uint32(i)*160)
			binary.BigEndian.PutUint32(b[8:], uint32(stream))
			sc.add(at, at2(alice, uint16(4000+stream%16*2)), at2(bob, uint16(6000+2*stream)), b)
		}
	}
	m := sc.mirrored(5 * time.Millisecond)
	var want uint64
	for _, workers := range []int{1, 2, 4} {
		o := m.with(t, Options{Workers: workers, Dedup: DedupOn}, 500)
		if workers == 1 {
			want = o.stats.RTPDuplicates
		}
		if o.stats.RTPDuplicates != 6000 || o.stats.RTPDuplicates != want {
			t.Errorf("%d workers: %d of 6000 copies found", workers, o.stats.RTPDuplicates)
		}
	}
}

const vqBody = "VQSessionReport: CallTerm\r\nCallID: c1\r\nLocalID: Alice <sip:alice@a>\r\nRemoteID: Bob <sip:bob@b>\r\n" +
	"LocalAddr: IP=10.0.0.1 PORT=4000 SSRC=0x1\r\nRemoteAddr: IP=10.0.0.2 PORT=6000 SSRC=0x2\r\nLocalMetrics:\r\nQualityEst: MOSLQ=4.1 MOSCQ=4.0\r\n"

// TestQualityReportOnTwoLegs: a NOTIFY with a quality report goes through a back-
// to-back agent that gives it another Call-ID. How many records there are does
// not depend on the workers.
func TestQualityReportOnTwoLegs(t *testing.T) {
	var sc script
	for n := range 8 {
		for leg := range 2 {
			at := time.Duration(n)*time.Second + time.Duration(leg)*time.Millisecond
			body := strings.Replace(vqBody, "CallID: c1", fmt.Sprint("CallID: c", n), 1)
			m := fmt.Sprintf("NOTIFY sip:q@b SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK%d-%d\r\nFrom: <sip:alice@a>;tag=a\r\n"+
				"To: <sip:q@b>;tag=b\r\nCall-ID: n%d-%d\r\nCSeq: 1 NOTIFY\r\nEvent: vq-rtcpxr\r\nContent-Type: application/vq-rtcpxr\r\n"+
				"Content-Length: %d\r\n\r\n%s", n, leg, n, leg, len(body), body)
			sc.add(at, at2(alice, 5060), at2(bob, 5060), []byte(m))
		}
	}
	sc.run(t)
}

// keyed makes a packet of a telephone-event.
func keyed(seq uint16, ts, ssrc uint32, digit uint8, end bool, duration uint16) []byte {
	b := make([]byte, 16)
	b[0], b[1] = 0x80, 101
	binary.BigEndian.PutUint16(b[2:], seq)
	binary.BigEndian.PutUint32(b[4:], ts)
	binary.BigEndian.PutUint32(b[8:], ssrc)
	b[12], b[13] = digit, 10
	if end {
		b[13] |= 0x80
	}
	binary.BigEndian.PutUint16(b[14:], duration)
	return b
}

// TestDigitOfTwoCalls: a stream belongs to two legs. One is over while a key is
// held down; its record says what was known then.
func TestDigitOfTwoCalls(t *testing.T) {
	sc := heldKey()
	o := sc.run(t)
	for _, c := range o.calls {
		if c.CallID == "c1" && (len(c.Digits) != 1 || c.Digits[0].Duration > 6000) {
			t.Errorf("digits of the first call: %+v, which knows of no more than 5.6 s", c.Digits)
		}
	}
}

// TestDigitRace is for the race detector: the first call's record is built while
// its digit goes on.
func TestDigitRace(t *testing.T) {
	for range 20 {
		heldKey().with(t, Options{Workers: 3, lanes: 1}, 1)
	}
}

func heldKey() *script {
	sc := &script{}
	sdp := func(addr string, port int) string {
		return media(addr, port, "0 101", "a=rtpmap:101 telephone-event/8000\r\n")
	}
	for _, id := range []string{"c1", "c2"} {
		length := 2 * time.Second
		if id == "c2" {
			length = 40 * time.Second
		}
		sc.sip(0, true, "INVITE sip:bob@b SIP/2.0", id, "1 INVITE", "", sdp("10.0.0.1", 4000))
		sc.sip(time.Second, false, "SIP/2.0 200 OK", id, "1 INVITE", "b1", sdp("10.0.0.2", 6000))
		sc.sip(1100*time.Millisecond, true, "ACK sip:bob@b SIP/2.0", id, "1 ACK", "b1", "")
		sc.sip(length, true, "BYE sip:bob@b SIP/2.0", id, "2 BYE", "b1", "")
		sc.sip(length+10*time.Millisecond, false, "SIP/2.0 200 OK", id, "2 BYE", "b1", "")
	}
	for i := range 150 { // 1.5 s to 9 s: c1 is closed at about 7 s
		sc.add(1500*time.Millisecond+time.Duration(i)*50*time.Millisecond, at2(alice, 4000), at2(bob, 6000),
			keyed(uint16(i), 1000, 7, 5, false, uint16((i+1)*400)))
	}
	return sc
}

// TestGuessAgainstSDP: what the SDP of a call says of the sender counts more
// than a guess about the receiver.
func TestGuessAgainstSDP(t *testing.T) {
	var sc script
	nat := frame.AddrFrom4([]byte{203, 0, 113, 7})
	invite := func(id, private string, port int, server int) {
		body := media(private, port, "0", "")
		m := func(first, tag, sdp string) []byte {
			return []byte(fmt.Sprintf("%s\r\nVia: SIP/2.0/UDP 203.0.113.7;branch=z9hG4bK%s\r\nFrom: <sip:alice@a>;tag=a1\r\nTo: <sip:bob@b>%s\r\n"+
				"Call-ID: %s\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", first, id, tag, id, len(sdp), sdp))
		}
		sc.add(0, at2(nat, 5060), at2(bob, 5060), m("INVITE sip:bob@b SIP/2.0", "", body))
		sc.add(time.Second, at2(bob, 5060), at2(nat, 5060), m("SIP/2.0 200 OK", ";tag=b1", media("10.0.0.2", server, "0", "")))
	}
	invite("c1", "192.168.1.5", 4000, 6000)
	invite("c2", "192.168.1.6", 5000, 6002)
	// The NAT gave the second phone's media the port that the first one names.
	sc.rtp(2*time.Second, 4*time.Second, at2(bob, 6002), at2(nat, 4000), 0, 1, 160)
	o := sc.run(t)
	for _, c := range o.calls {
		if want := map[string]int{"c1": 0, "c2": 1}[c.CallID]; len(c.Streams) != want {
			t.Errorf("%s has %d streams, want %d", c.CallID, len(c.Streams), want)
		}
	}
}

// TestBothSidesOfMany: three calls name one address of a mixer; with both sides
// asked for, each stream has the call that names its other end.
func TestBothSidesOfMany(t *testing.T) {
	var sc script
	for n := range 3 {
		at := time.Duration(n) * time.Second
		id := fmt.Sprint("c", n)
		sc.sip(at, true, "INVITE sip:bob@b SIP/2.0", id, "1 INVITE", "", media("10.0.0.1", 4000+2*n, "0", ""))
		sc.sip(at+100*time.Millisecond, false, "SIP/2.0 200 OK", id, "1 INVITE", "b1", media("10.0.0.2", 6000, "0", ""))
		sc.rtp(5*time.Second, 8*time.Second, at2(alice, uint16(4000+2*n)), at2(bob, 6000), 0, uint32(n+1), 160)
	}
	o := sc.with(t, Options{BothSides: true}, 100)
	for _, c := range o.calls {
		if len(c.Streams) != 1 {
			t.Errorf("%s has %d streams", c.CallID, len(c.Streams))
		}
	}
	if o.stats.Orphans != 0 {
		t.Errorf("%d orphans", o.stats.Orphans)
	}
}

// TestSourcesOfTheirOwnEnd: workers with sources of their own, of which one ends
// earlier than the other, report the streams of calls that the other owns.
func TestSourcesOfTheirOwnEnd(t *testing.T) {
	var short, long script
	for n := range 6 {
		id := fmt.Sprint("c", n)
		long.sip(0, true, "INVITE sip:bob@b SIP/2.0", id, "1 INVITE", "", media("10.0.0.1", 4000+2*n, "0", ""))
		long.sip(time.Second, false, "SIP/2.0 200 OK", id, "1 INVITE", "b1", media("10.0.0.2", 6000+2*n, "0", ""))
		short.rtp(2*time.Second, 3*time.Second, at2(alice, uint16(4000+2*n)), at2(bob, uint16(6000+2*n)), 0, 1, 160)
	}
	long.add(20*time.Second, at2(alice, 1), at2(bob, 1), []byte("end"))
	sources := []*source{short.source(10), long.source(10)}
	n := 0
	g := NewGroup(Options{Workers: 2, Call: func(c *record.Call) { n += len(c.Streams) }})
	err := g.Run(context.Background(), func(ctx context.Context, i int, s *Shard) error {
		return s.Run(ctx, sources[i], predecoded{})
	})
	st := g.Stats()
	if err != nil || n != 6 || st.InCalls+st.Orphan+st.Unconfirmed != st.RTP {
		t.Errorf("%v: %d streams of 6; %d of %d packets have a fate", err, n, st.InCalls+st.Orphan+st.Unconfirmed, st.RTP)
	}
}

// TestEmptyPass: the input of a later pass holds nothing (standard input, say).
// The mark does not fall.
func TestEmptyPass(t *testing.T) {
	var sc script
	sc.call("c1", 0, 60*time.Second, 4000, 6000)
	sc.rtp(2*time.Second, 4*time.Second, at2(alice, 4000), at2(bob, 6000), 0, 1, 160)
	sc.packets = sc.packets[:len(sc.packets)-2] // the BYE stays away: the call ends with the capture
	first := true
	src, err := replay.New(func() (replay.Input, error) {
		if first {
			first = false
			return passes{sc.source(50)}, nil
		}
		return passes{&source{}}, nil
	}, replay.Options{Loops: 2})
	if err != nil {
		t.Fatal(err)
	}
	before := src.Mark()
	for {
		b, err := src.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if b != nil {
			b.Release()
		}
		if m := src.Mark(); m < before {
			t.Fatalf("the mark fell from %d to %d", before, m)
		} else {
			before = m
		}
	}
	if m := src.Mark(); m < before {
		t.Errorf("at the end the mark fell from %d to %d", before, m)
	}
}

// TestEventIDs: two events are two, also where the capture's time stands still.
func TestEventIDs(t *testing.T) {
	var sc script
	for i := range 2 {
		sc.add(0, at2(alice, 5060), at2(bob, 5060), []byte(fmt.Sprintf("INVITE sip:bob@b SIP/2.0\r\nX: %d\r\n\r\n", i)))
	}
	o := sc.run(t)
	ids := make(map[int64]bool)
	for _, x := range o.others {
		if e, ok := x.(*record.Event); ok {
			t.Logf("%+v", e)
			if ids[e.ID] {
				t.Errorf("two events have the ID %d", e.ID)
			}
			ids[e.ID] = true
		}
	}
}

// TestMirroredError: the second copy of a message that is not understood is not
// another one.
func TestMirroredError(t *testing.T) {
	var sc script
	sc.add(0, at2(alice, 5060), at2(bob, 5060), []byte("INVITE sip:bob@b SIP/2.0\r\nX: 1\r\n\r\n"))
	o := sc.mirrored(300*time.Microsecond).with(t, Options{Dedup: DedupOn}, 100)
	if n := len(o.others); n != 1 {
		t.Errorf("%d events", n)
	}
}

// TestPartialCallStarts: the middle of a call that was up before the capture
// began is no attempt.
func TestPartialCallIsNoAttempt(t *testing.T) {
	var sc script
	sc.sip(0, true, "INFO sip:bob@b SIP/2.0", "c1", "7 INFO", "b1", "")
	sc.sip(10*time.Millisecond, false, "SIP/2.0 200 OK", "c1", "7 INFO", "b1", "")
	sc.sip(time.Second, true, "BYE sip:bob@b SIP/2.0", "c1", "8 BYE", "b1", "")
	sc.sip(1010*time.Millisecond, false, "SIP/2.0 200 OK", "c1", "8 BYE", "b1", "")
	o := sc.run(t)
	for _, c := range o.calls {
		t.Logf("%v %v", c.Outcome, c.Flags.Names())
	}
	for _, x := range o.others {
		if e, ok := x.(*record.Event); ok && e.Kind == record.CallAttempt {
			t.Errorf("event %v for a call of which only the end was captured", e.Kind)
		}
	}
}

// TestEvictedByTheLastMessage: a message on TCP is cut short by the end of the
// capture. Its call is the one too many; the other's media is reported.
func TestEvictedByTheLastMessage(t *testing.T) {
	var sc script
	sc.sip(0, true, "INVITE sip:bob@b SIP/2.0", "c1", "1 INVITE", "", media("10.0.0.1", 4000, "0", ""))
	sc.sip(time.Second, false, "SIP/2.0 200 OK", "c1", "1 INVITE", "b1", media("10.0.0.2", 6000, "0", ""))
	sc.rtp(2*time.Second, 4*time.Second, at2(alice, 4000), at2(bob, 6000), 0, 1, 160)
	sc.sip(3*time.Second, true, "INVITE sip:bob@b SIP/2.0", "c2", "1 INVITE", "", media("10.0.0.1", 4010, "0", ""))
	p := &sc.packets[len(sc.packets)-1]
	p.Proto, p.Control, p.SeqNo = frame.ProtoTCP, frame.TCPPsh, 1
	p.Payload = p.Payload[:len(p.Payload)-20]
	p.Len = uint32(len(p.Payload))
	o := sc.with(t, Options{Limits: call.Limits{MaxCalls: 1}}, 100)
	st := o.stats
	if len(o.calls) != 2 || len(o.calls[0].Streams)+len(o.calls[1].Streams) != 1 || st.InCalls+st.Orphan+st.Unconfirmed != st.RTP {
		t.Errorf("%d calls, %d of %d packets have a fate", len(o.calls), st.InCalls+st.Orphan+st.Unconfirmed, st.RTP)
	}
}

// TestOptionsPairs: a second copy counts once.
func TestOptionsPairs(t *testing.T) {
	var sc script
	sc.sip(0, true, "OPTIONS sip:bob@b SIP/2.0", "o1", "1 OPTIONS", "", "")
	o := sc.mirrored(300*time.Microsecond).with(t, Options{Dedup: DedupOn}, 100)
	if n := o.stats.Duplicates.Rows[0].Count; n != o.stats.SIPDuplicates {
		t.Errorf("%d copies by their paths, %d messages", n, o.stats.SIPDuplicates)
	}
}

// TestPathPairsOfShards: which pairs are named does not depend on the workers.
func TestPathPairsOfShards(t *testing.T) {
	var sc script
	for n := range 12 {
		sc.rtp(0, time.Second, at2(alice, uint16(4000+2*n)), at2(bob, uint16(6000+2*n)), 0, uint32(n+1), 160)
	}
	m := sc.mirrored(300 * time.Microsecond)
	for i := range m.packets {
		if p := &m.packets[i]; p.Flags&frame.FlagVLAN != 0 {
			p.VLAN = p.Src.Port
		}
	}
	one, three := m.with(t, Options{Dedup: DedupOn}, 100), m.with(t, Options{Dedup: DedupOn, Workers: 3}, 100)
	if one.stats.Duplicates != three.stats.Duplicates {
		t.Errorf("%+v\n%+v", one.stats.Duplicates, three.stats.Duplicates)
	}
}

// TestCensusOfWorkers: when an interface is taken for a mirror does not depend
// on the workers.
func TestCensusOfWorkers(t *testing.T) {
	for _, size := range []int{1, 3, 40} {
		want := ""
		for _, workers := range []int{1, 2, 3, 1, 2, 3} {
			o := talk().mirrored(300*time.Microsecond).with(t, Options{Workers: workers, Dedup: DedupAuto}, size)
			got := fmt.Sprintf("%d RTP, %d SIP, %+v", o.stats.RTPDuplicates, o.stats.SIPDuplicates, o.stats.Mirrors)
			if want == "" {
				want = got
			} else if got != want {
				t.Errorf("batches of %d: %d workers removed %s, one %s", size, workers, got, want)
			}
		}
	}
}
