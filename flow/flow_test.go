package flow

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ringside/dataplane/frame"
	"ringside/flow/record"
)

// script is a capture written down packet by packet. Times are from its start.
type script struct {
	packets []frame.Packet
	lost    map[int]uint32 // frames lost before the packet of that number
}

const epoch = int64(1_700_000_000_000_000_000)

var (
	alice = frame.AddrFrom4([]byte{10, 0, 0, 1})
	bob   = frame.AddrFrom4([]byte{10, 0, 0, 2})
)

func (sc *script) add(at time.Duration, src, dst frame.Endpoint, payload []byte) {
	sc.packets = append(sc.packets, frame.Packet{
		Time: epoch + int64(at), Src: src, Dst: dst, Payload: payload, Len: uint32(len(payload)),
		Proto: frame.ProtoUDP, TTL: 64,
	})
}

// sip adds a message of Alice (port 5060) to Bob, or back.
func (sc *script) sip(at time.Duration, fromAlice bool, first, callID, cseq, toTag, sdp string) {
	a, b := frame.Endpoint{Addr: alice, Port: 5060}, frame.Endpoint{Addr: bob, Port: 5060}
	if !fromAlice {
		a, b = b, a
	}
	var m strings.Builder
	fmt.Fprintf(&m, "%s\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK%s%s\r\nFrom: <sip:alice@a>;tag=a1\r\nTo: <sip:bob@b>", first, callID, cseq)
	if toTag != "" {
		fmt.Fprintf(&m, ";tag=%s", toTag)
	}
	fmt.Fprintf(&m, "\r\nCall-ID: %s\r\nCSeq: %s\r\n", callID, cseq)
	if sdp != "" {
		m.WriteString("Content-Type: application/sdp\r\n")
	}
	fmt.Fprintf(&m, "Content-Length: %d\r\n\r\n%s", len(sdp), sdp)
	sc.add(at, a, b, []byte(m.String()))
}

func media(addr string, port int, payloads, attributes string) string {
	return fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 %s\r\ns=-\r\nc=IN IP4 %[1]s\r\nt=0 0\r\nm=audio %d RTP/AVP %s\r\n%s",
		addr, port, payloads, attributes)
}

// rtp adds packets of 20 ms from one address to another.
func (sc *script) rtp(from, to time.Duration, src, dst frame.Endpoint, pt uint8, ssrc uint32, ticks uint32) {
	for i := range int((to - from) / (20 * time.Millisecond)) {
		b := make([]byte, 12+160)
		b[0], b[1] = 0x80, pt
		binary.BigEndian.PutUint16(b[2:], uint16(i))
		binary.BigEndian.PutUint32(b[4:], uint32(i)*ticks)
		binary.BigEndian.PutUint32(b[8:], ssrc)
		sc.add(from+time.Duration(i)*20*time.Millisecond, src, dst, b)
	}
}

func at2(a frame.Addr, port uint16) frame.Endpoint { return frame.Endpoint{Addr: a, Port: port} }

// source hands out a script to all workers, some packets at a time.
type source struct {
	mu      sync.Mutex
	batches []*frame.Batch
	mark    int64
}

func (s *source) Next() (*frame.Batch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.batches) == 0 {
		return nil, io.EOF
	}
	b := s.batches[0]
	s.batches = s.batches[1:]
	s.mark = b.Frames[len(b.Frames)-1].Clock + 1
	return b, nil
}

func (s *source) Mark() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mark
}

// source cuts the script into batches of size packets.
func (sc *script) source(size int) *source {
	slices.SortStableFunc(sc.packets, func(a, b frame.Packet) int { return int(a.Time - b.Time) })
	s, clock := &source{}, int64(0)
	for n := range sc.packets {
		if n%size == 0 {
			s.batches = append(s.batches, &frame.Batch{})
		}
		b := s.batches[len(s.batches)-1]
		p := sc.packets[n]
		clock = max(clock+1, p.Time)
		p.Clock, p.Seq = clock, uint64(n)
		b.Packets = append(b.Packets, p)
		b.Frames = append(b.Frames, frame.Frame{Time: p.Time, Clock: p.Clock, Lost: sc.lost[n]})
	}
	return s
}

type outcome struct {
	calls   []*record.Call
	orphans []*record.Stream
	others  []any // registrations, exchanges, events, links and quality reports, as they came
	stats   Stats
}

// run reads the script with several numbers of workers and sizes of batches,
// wants the same of all, and returns it.
func (sc *script) run(t *testing.T) outcome {
	t.Helper()
	var first outcome
	want := ""
	for _, workers := range []int{1, 2, 3} {
		for _, size := range []int{1, 7, 1000, math.MaxInt32} {
			var o outcome
			g := NewGroup(Options{
				Workers: workers, lanes: 1 + size%2, // as good as always full
				Call:   func(c *record.Call) { o.calls = append(o.calls, c) },
				Orphan: func(s *record.Stream) { o.orphans = append(o.orphans, s) },

				Registration: func(r *record.Registration) { o.others = append(o.others, r) },
				Exchange:     func(x *record.Exchange) { o.others = append(o.others, x) },
				Event:        func(e *record.Event) { o.others = append(o.others, e) },
				Link:         func(l *record.Link) { o.others = append(o.others, l) },
				Quality:      func(q *record.QualityReport) { o.others = append(o.others, q) },
			})
			src := sc.source(size)
			err := g.Run(context.Background(), func(ctx context.Context, _ int, s *Shard) error {
				return s.Run(ctx, src, predecoded{})
			})
			if err != nil {
				t.Fatal(err)
			}
			o.stats = g.Stats()
			kinds := uint64(0)
			for _, k := range o.stats.Kinds() {
				kinds += k.Count
			}
			fates := uint64(0)
			for _, k := range o.stats.Fates() {
				fates += k.Count
			}
			if kinds != uint64(len(sc.packets)) || fates != o.stats.RTP || o.stats.ActiveStreams != 0 {
				t.Fatalf("%d workers: the ledger does not balance: %+v", workers, o.stats)
			}
			got, err := json.Marshal([]any{o.calls, o.orphans, o.others})
			if err != nil {
				t.Fatal(err)
			}
			if want == "" {
				first, want = o, string(got)
			} else if string(got) != want {
				t.Fatalf("%d workers, batches of %d: %s\nwant %s", workers, size, got, want)
			}
		}
	}
	return first
}

func (sc *script) call(id string, start, length time.Duration, alicePort, bobPort int) {
	sc.sip(start, true, "INVITE sip:bob@b SIP/2.0", id, "1 INVITE", "", media("10.0.0.1", alicePort, "0", ""))
	sc.sip(start+time.Second, false, "SIP/2.0 200 OK", id, "1 INVITE", "b1", media("10.0.0.2", bobPort, "0", ""))
	sc.sip(start+1100*time.Millisecond, true, "ACK sip:bob@b SIP/2.0", id, "1 ACK", "b1", "")
	sc.sip(start+length, true, "BYE sip:bob@b SIP/2.0", id, "2 BYE", "b1", "")
	sc.sip(start+length+10*time.Millisecond, false, "SIP/2.0 200 OK", id, "2 BYE", "b1", "")
}

func one(t *testing.T, o outcome) *record.Call {
	t.Helper()
	if len(o.calls) != 1 {
		t.Fatalf("%d calls, want 1", len(o.calls))
	}
	return o.calls[0]
}

func has(c *record.Call, name string) bool { return slices.Contains(c.Flags.Names(), name) }

func TestCallWithMedia(t *testing.T) {
	var sc script
	sc.call("c1", 0, 5*time.Second, 4000, 6000)
	sc.rtp(time.Second, 5*time.Second, at2(alice, 4000), at2(bob, 6000), 0, 1, 160)
	sc.rtp(time.Second, 5*time.Second, at2(bob, 6000), at2(alice, 4000), 0, 2, 160)
	c := one(t, sc.run(t))
	if len(c.Streams) != 2 || c.Flags != 0 {
		t.Fatalf("%d streams, flags %v", len(c.Streams), c.Flags.Names())
	}
	for i, from := range []record.Side{record.SideCaller, record.SideCalled} {
		s := &c.Streams[i]
		if s.From != from || s.Packets != 200 || s.Lost != 0 || s.Codec != "PCMU" || s.Flags != "" {
			t.Errorf("stream %d: %+v", i, s)
		}
	}
}

// TestEarlyMediaIsAdopted: RTP whose payload type nothing explains comes two
// seconds before the SDP that names it.
func TestEarlyMediaIsAdopted(t *testing.T) {
	var sc script
	sc.rtp(0, 6*time.Second, at2(alice, 4000), at2(bob, 6000), 96, 1, 320)
	id := "c1"
	sc.sip(time.Second, true, "INVITE sip:bob@b SIP/2.0", id, "1 INVITE", "", "")
	sc.sip(2*time.Second, false, "SIP/2.0 200 OK", id, "1 INVITE", "b1", media("10.0.0.2", 6000, "96", "a=rtpmap:96 AMR-WB/16000\r\n"))
	sc.sip(2100*time.Millisecond, true, "ACK sip:bob@b SIP/2.0", id, "1 ACK", "b1", media("10.0.0.1", 4000, "96", "a=rtpmap:96 AMR-WB/16000\r\n"))
	sc.sip(6*time.Second, true, "BYE sip:bob@b SIP/2.0", id, "2 BYE", "b1", "")
	o := sc.run(t)
	c := one(t, o)
	if len(c.Streams) != 1 || len(o.orphans) != 0 {
		t.Fatalf("%d streams, %d orphans", len(c.Streams), len(o.orphans))
	}
	if s := &c.Streams[0]; s.Packets != 300 || s.Codec != "AMR-WB" || s.Rate != 16000 || s.Flags != "early" || s.JitterMax > 0.001 {
		t.Errorf("%+v", s)
	}
	if !has(c, "late-sdp") || !has(c, "early-media") {
		t.Errorf("flags %v", c.Flags.Names())
	}
}

// TestPortReuse: the next call has the same addresses, and its media is its own.
func TestPortReuse(t *testing.T) {
	var sc script
	for i, start := range []time.Duration{0, 8 * time.Second, 60 * time.Second} {
		sc.call(fmt.Sprint("c", i), start, 5*time.Second, 4000, 6000)
		sc.rtp(start+time.Second, start+5200*time.Millisecond, at2(alice, 4000), at2(bob, 6000), 0, uint32(i+1), 160)
	}
	o := sc.run(t)
	if len(o.calls) != 3 || len(o.orphans) != 0 {
		t.Fatalf("%d calls, %d orphans", len(o.calls), len(o.orphans))
	}
	for i, c := range o.calls {
		if len(c.Streams) != 1 || c.Streams[0].SSRC != uint32(i+1) || c.Streams[0].Packets != 210 {
			t.Errorf("call %d: %+v", i, c.Streams)
		}
		if has(c, "port-reuse") != (i == 1) {
			t.Errorf("call %d: flags %v", i, c.Flags.Names())
		}
	}
}

// TestLegsShareMedia: two calls name the same addresses; the stream is in both.
func TestLegsShareMedia(t *testing.T) {
	var sc script
	sc.call("leg1", 0, 5*time.Second, 4000, 6000)
	sc.call("leg2", 100*time.Millisecond, 4800*time.Millisecond, 4000, 6000)
	sc.rtp(1500*time.Millisecond, 4500*time.Millisecond, at2(alice, 4000), at2(bob, 6000), 0, 7, 160)
	o := sc.run(t)
	if len(o.calls) != 2 {
		t.Fatalf("%d calls", len(o.calls))
	}
	for _, c := range o.calls {
		if len(c.Streams) != 1 || c.Streams[0].Packets != 150 || !has(c, "shared-media") {
			t.Errorf("%s: %+v, %v", c.CallID, c.Streams, c.Flags.Names())
		}
	}
}

// TestLongCall: without a BYE, media keeps a call alive beyond its timer, and
// only media does.
func TestLongCall(t *testing.T) {
	for _, tt := range []struct {
		name  string
		until time.Duration // of the RTP
		want  record.EndReason
	}{
		{"media goes on", 160 * time.Minute, record.EndOfCapture},
		{"media stopped early", 10 * time.Minute, record.EndTimeout},
		{"media stopped after an hour", 90 * time.Minute, record.EndTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var sc script
			sc.sip(0, true, "INVITE sip:bob@b SIP/2.0", "c1", "1 INVITE", "", media("10.0.0.1", 4000, "0", ""))
			sc.sip(time.Second, false, "SIP/2.0 200 OK", "c1", "1 INVITE", "b1", media("10.0.0.2", 6000, "0", ""))
			for at := time.Second; at < tt.until; at += time.Minute {
				sc.rtp(at, at+40*time.Millisecond, at2(alice, 4000), at2(bob, 6000), 0, 1, 160)
			}
			sc.add(160*time.Minute, at2(alice, 1), at2(bob, 1), []byte("end"))
			c := one(t, sc.run(t))
			if c.EndReason != tt.want {
				t.Errorf("ended by %v, want %v", c.EndReason, tt.want)
			}
		})
	}
}

// TestIncomplete: a call and its streams say that the capture lost packets
// while they lasted, and another call does not.
func TestIncomplete(t *testing.T) {
	var sc script
	for i, start := range []time.Duration{0, 20 * time.Second} {
		sc.call(fmt.Sprint("c", i), start, 5*time.Second, 4000+100*i, 6000)
		sc.rtp(start+time.Second, start+5*time.Second, at2(alice, uint16(4000+100*i)), at2(bob, 6000), 0, uint32(i+1), 160)
	}
	sc.lost = map[int]uint32{50: 3}
	o := sc.run(t)
	if len(o.calls) != 2 || o.stats.CaptureLost != 3 {
		t.Fatalf("%d calls, %d lost", len(o.calls), o.stats.CaptureLost)
	}
	for i, c := range o.calls {
		if has(c, "incomplete") != (i == 0) || (c.Streams[0].Flags == "incomplete") != (i == 0) {
			t.Errorf("call %d: %v, %q", i, c.Flags.Names(), c.Streams[0].Flags)
		}
	}
}

// TestOrphans: streams without a call are reported once they fall silent, and
// what only looks like RTP is counted.
func TestOrphans(t *testing.T) {
	var sc script
	sc.rtp(0, 2*time.Second, at2(alice, 4000), at2(bob, 6000), 8, 1, 160)
	sc.rtp(90*time.Second, 92*time.Second, at2(alice, 4000), at2(bob, 6000), 8, 1, 160)
	sc.add(time.Second, at2(alice, 4444), at2(bob, 5555), append([]byte{0x80, 0x12}, make([]byte, 20)...))
	sc.add(200*time.Second, at2(alice, 53), at2(bob, 5555), append([]byte{0x80, 0x12}, make([]byte, 20)...))
	o := sc.run(t)
	if len(o.orphans) != 2 || o.orphans[0].Packets != 100 || o.orphans[1].Packets != 100 {
		t.Errorf("orphans: %+v", o.orphans)
	}
	if o.stats.Unconfirmed != 1 || o.stats.UDPOther != 1 {
		t.Errorf("%+v", o.stats)
	}
}

// predecoded is the decoder of a source whose batches hold packets already.
type predecoded struct{}

func (predecoded) Decode(*frame.Batch)                               {}
func (predecoded) Join(*frame.Fragment, *frame.Tunnel, *frame.Batch) {}
