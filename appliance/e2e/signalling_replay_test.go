package e2e

import (
	"slices"
	"testing"
	"time"

	"ringside/appliance/daemon"
	"ringside/dataplane/replay"
	"ringside/flow/record"
)

// How a TCP connection of a tape begins and ends.
type tcpEnds int

const (
	wholeConnection tcpEnds = iota
	notClosed
	inItsMidst // neither SYN nor FIN
)

// mixedTape has something of everything, all over at its end: a call with media,
// one on TCP, a registration, a text message.
func mixedTape(t *testing.T, ends tcpEnds) *tape {
	w := newTape(t)
	s := plainScene("call-udp")
	s.end = 10 * sec
	w.call(s)
	w.voice(sec, 10*sec, callerMedia, calledMedia, 0xa)
	w.voice(sec, 10*sec, calledMedia, callerMedia, 0xb)
	var tcp *tapeStream
	if ends == inItsMidst {
		tcp = &tapeStream{w: w, from: "192.0.2.30:40000", to: "192.0.2.40:5060", sent: [2]uint32{1000, 5000}}
	} else {
		tcp = w.dial(sec, "192.0.2.30:40000", "192.0.2.40:5060")
	}
	w.call(scene{
		id: "call-tcp", at: 2 * sec, end: 9 * sec, a: tcp.from, b: tcp.to, from: "3001", to: "3002",
		mediaA: "192.0.2.30:10000", mediaB: "192.0.2.40:20000", stream: tcp,
	})
	w.voice(3*sec, 9*sec, "192.0.2.30:10000", "192.0.2.40:20000", 0xc)
	if ends == wholeConnection {
		tcp.close(9500 * msec)
	}
	p := w.phone("1001", phoneAt, "r1")
	p.registers(sec, 600)
	p.registers(8*sec, 0)
	m := w.alice("m")
	m.ask(4*sec, "MESSAGE", body("text/plain", "Hello"))
	m.answer(4*sec+20*msec, "200 OK")
	w.idle(120 * sec)
	return w
}

func TestReplayAsRead(t *testing.T) {
	path := mixedTape(t, wholeConnection).path()
	plain := hear(t, path, daemon.ReadOptions{})
	if len(plain.calls) != 2 || len(plain.registrations) != 1 || len(plain.exchanges) != 1 {
		t.Fatalf("records:\n%s", plain.lines)
	}
	for name, o := range map[string]replay.Options{
		"as fast as possible": {}, "a million times as fast": {Scale: 1e-6}, "packets per second": {PPS: 1e6},
		"delays cut": {Scale: 1, MaxDelay: time.Microsecond},
	} {
		t.Run(name, func(t *testing.T) {
			if h := hear(t, path, daemon.ReadOptions{Replay: &o}); h.lines != plain.lines {
				t.Errorf("records\n%s\na plain read gives\n%s", h.lines, plain.lines)
			}
		})
	}
}

func TestReplayLoops(t *testing.T) {
	for _, tc := range []struct {
		name string
		ends tcpEnds
	}{{"whole connections", wholeConnection}, {"connections not closed", notClosed}, {"connections in their midst", inItsMidst}} {
		t.Run(tc.name, func(t *testing.T) {
			path := mixedTape(t, tc.ends).path()
			once := hear(t, path, daemon.ReadOptions{})
			h := hear(t, path, daemon.ReadOptions{Replay: &replay.Options{Loops: 3}})
			if len(h.calls) != 6 || len(h.registrations) != 3 || len(h.exchanges) != 3 || len(h.events) != 3*len(once.events) || len(h.orphans) != 0 {
				t.Fatalf("%d calls, %d registrations, %d exchanges, %d events, %d orphans; of one pass %d, %d, %d, %d, 0",
					len(h.calls), len(h.registrations), len(h.exchanges), len(h.events), len(h.orphans),
					len(once.calls), len(once.registrations), len(once.exchanges), len(once.events))
			}
			const pass = 121 * sec // the tape, and a second
			ids, ssrcs := make(map[string]bool), make(map[uint32]bool)
			for i, c := range h.calls {
				was := once.calls[i%2]
				ids[c.CallID] = true
				shift := int64(i/2) * int64(pass)
				if c.Start != was.Start+shift || c.Answer != was.Answer+shift || c.End != was.End+shift || c.Outcome != was.Outcome ||
					c.EndReason != was.EndReason || c.Transport != was.Transport || c.Flags != was.Flags || c.MessagesTotal != was.MessagesTotal {
					t.Errorf("call %d: %+v\nis not the one of the first pass: %+v", i, c, was)
				}
				for n := range c.Streams {
					ssrcs[c.Streams[n].SSRC] = true
					if n < len(was.Streams) && c.Streams[n].Counters != was.Streams[n].Counters {
						t.Errorf("call %d, stream %d: %+v, in the first pass %+v", i, n, c.Streams[n].Counters, was.Streams[n].Counters)
					}
				}
			}
			if len(ids) != 6 || len(ssrcs) != 9 {
				t.Errorf("%d Call-IDs, want 6; %d SSRCs, want 9", len(ids), len(ssrcs))
			}
			messages := make(map[string]bool)
			for i, x := range h.exchanges {
				messages[x.CallID] = true
				if x.Text != "Hello" || x.State != "ok" || x.Start != tapeAt(4*sec+time.Duration(i)*pass) {
					t.Errorf("message %d: %+v", i, x)
				}
			}
			for i, r := range h.registrations {
				ids[r.CallID] = true
				if r.State != record.Unregistered || r.Registers != 2 || r.Successes != 2 || r.Start != tapeAt(sec+time.Duration(i)*pass) {
					t.Errorf("registration %d: %+v", i, r)
				}
			}
			if len(messages) != 3 || len(ids) != 9 {
				t.Errorf("%d Call-IDs of messages, %d of calls and registrations", len(messages), len(ids))
			}
		})
	}
}

// TestReplayLoopsOfStanding: what lasts beyond the capture goes on in the next
// pass: it is the same phone that registers.
func TestReplayLoopsOfStanding(t *testing.T) {
	w := newTape(t)
	w.phone("1001", phoneAt, "r1").registers(0, 600)
	w.peer().asks(sec, true)
	w.idle(10 * sec)
	h := hear(t, w.path(), daemon.ReadOptions{Replay: &replay.Options{Loops: 3}})
	if len(h.registrations) != 1 || len(h.exchanges) != 1 {
		t.Fatalf("records:\n%s", h.lines)
	}
	if r := h.registrations[0]; r.Registers != 3 || r.Successes != 3 || r.Retrans != 0 || r.State != record.Registered || r.Last != tapeAt(22*sec) {
		t.Errorf("registration %+v", r)
	}
	if x := h.exchanges[0]; x.Requests != 3 || x.Answered != 3 || x.Retrans != 0 || x.State != "up" {
		t.Errorf("peer %+v", x)
	}
}

// TestReplayLoopsOfLegs: legs are linked to those of their own pass.
func TestReplayLoopsOfLegs(t *testing.T) {
	for _, tc := range []struct {
		name, a, b string
	}{
		{"X-CID", "", "X-CID: leg-a"},
		{"Session-ID", "Session-ID: " + uuidA + ";remote=" + uuidB, "Session-ID: " + uuidA + ";remote=" + uuidB},
		{"Replaces", "", "Replaces: leg-a;to-tag=b-leg-a;from-tag=a-leg-a"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newTape(t)
			a, b := legs()
			if tc.a != "" {
				a.headers = []string{tc.a}
			}
			b.headers = []string{tc.b}
			w.call(a)
			w.call(b)
			w.idle(200 * sec)
			h := hear(t, w.path(), daemon.ReadOptions{Replay: &replay.Options{Loops: 3}})
			if len(h.calls) != 6 || len(h.links) != 3 {
				t.Fatalf("%d calls, %d links, want 6 and 3", len(h.calls), len(h.links))
			}
			for _, l := range h.links {
				if time.Duration(l.Other-l.Start) != 100*msec {
					t.Errorf("linked are calls %v apart", time.Duration(l.Other-l.Start))
				}
			}
		})
	}
}

// TestReplayLoopsOfReports: what an endpoint reports of a call is of the call of
// its own pass.
func TestReplayLoopsOfReports(t *testing.T) {
	w := newTape(t)
	s := plainScene("vq")
	s.end = 10 * sec
	w.call(s)
	d := &talk{w: w, a: callerSIP, b: "198.51.100.9:5060", id: "report", from: "1001@example.com", to: "collector@example.com", tags: [2]string{"q", ""}}
	d.ask(11*sec, "PUBLISH", "Event: vq-rtcpxr", "Expires: 60", vqReport("vq"))
	d.answer(11*sec+20*msec, "200 OK", "SIP-ETag: e", "Expires: 60")
	w.idle(200 * sec)
	h := hear(t, w.path(), daemon.ReadOptions{Replay: &replay.Options{Loops: 3}})
	if len(h.calls) != 3 || len(h.quality) != 3 {
		t.Fatalf("%d calls, %d reports, want 3 of both", len(h.calls), len(h.quality))
	}
	for i, q := range h.quality {
		if q.CallID != h.calls[i].CallID {
			t.Errorf("report %d is of call %q, want %q", i, q.CallID, h.calls[i].CallID)
		}
	}
}

// TestReplayEndTimeout: with time behind the last packet states time out; else
// they end with the capture.
func TestReplayEndTimeout(t *testing.T) {
	w := newTape(t)
	d := &talk{w: w, a: callerSIP, b: calledSIP, id: "c", from: "1@example.com", to: "2@example.com", tags: [2]string{"a", ""}}
	d.ask(0, "INVITE", sdpOf(callerMedia))
	d.answer(50*msec, "100 Trying")
	w.phone("1001", phoneAt, "r1").registers(sec, 600)
	m := w.alice("m")
	m.tags[1] = ""
	m.ask(2*sec, "MESSAGE", body("text/plain", "Hello"))
	w.peer().asks(3*sec, false)
	path := w.path()

	h := hear(t, path, daemon.ReadOptions{Replay: &replay.Options{}})
	if c := h.onlyCall(t); c.EndReason != record.EndOfCapture {
		t.Errorf("the call ended by %v", c.EndReason)
	}
	states := func(h *heard) (out []string) {
		for _, r := range h.registrations {
			out = append(out, r.State.String())
		}
		for _, x := range h.exchanges {
			out = append(out, x.Kind.String()+" "+x.State)
		}
		slices.Sort(out)
		return out
	}
	sameLines(t, "states at the end of the capture", states(h), []string{"message pending", "options pending", "registered"})
	h = hear(t, path, daemon.ReadOptions{Replay: &replay.Options{EndTimeout: 2 * time.Hour}})
	if c := h.onlyCall(t); c.EndReason != record.EndTimeout || c.Outcome != record.NoAnswer {
		t.Errorf("the call ended by %v, %v", c.EndReason, c.Outcome)
	}
	sameLines(t, "states two hours later", states(h), []string{"expired", "message timeout", "options down"})
	sameLines(t, "events", h.eventLines(record.RegExpired, record.OtherTimeout), []string{
		"32s other-timeout alice@example.com", "33s other-timeout ping@example.com", "10m1.02s reg-expired 1001@example.com 200",
	})
}
