package e2e

import (
	"fmt"
	"testing"
	"time"

	"ringside/appliance/daemon"
	"ringside/flow/call"
	"ringside/flow/record"
	"ringside/flow/relate"
)

// legs are the two sides of a call through a B2BUA at 198.51.100.5. Nothing in
// their numbers says so.
func legs() (a, b scene) {
	a = scene{
		id: "leg-a", end: 60 * sec, a: "192.0.2.10:5060", b: "198.51.100.5:5060", from: "+493012345678", to: "+498999887766",
		mediaA: "192.0.2.10:10000", mediaB: "198.51.100.5:20000",
	}
	b = scene{
		id: "leg-b", at: 100 * msec, end: 60*sec + 30*msec, a: "198.51.100.6:5060", b: "203.0.113.20:5060", from: "trunk", to: "7001",
		mediaA: "198.51.100.6:30000", mediaB: "203.0.113.20:40000",
	}
	return a, b
}

const (
	uuidA = "ab30317f1a784dc48ff824d0d3715d86"
	uuidB = "47755a9de7794ba387653f2099600ef2"
	uuidC = "0123456789abcdef0123456789abcdef"
)

func TestLegs(t *testing.T) {
	for _, tc := range []struct {
		name string
		make func(a, b *scene)
		want record.Link // Reason, Key and Score; no reason: no link
	}{
		{"Session-ID", func(a, b *scene) {
			a.headers = []string{"Session-ID: " + uuidA + ";remote=" + uuidB}
			b.headers = []string{"Session-ID: " + uuidA + ";remote=" + uuidB}
		}, record.Link{Reason: record.LinkSessionID, Key: uuidB, Score: 100}},
		{"Session-ID of one side", func(a, b *scene) {
			a.headers = []string{"Session-ID: " + uuidA + ";remote=" + uuidB}
			b.headers = []string{"Session-ID: " + uuidA + ";remote=" + uuidC}
		}, record.Link{Reason: record.LinkSessionID, Key: uuidA, Score: 90}},
		{"X-CID", func(_, b *scene) { b.headers = []string{"X-CID: leg-a"} },
			record.Link{Reason: record.LinkXCallID, Key: "leg-a", Score: 100}},
		{"ICID", func(a, b *scene) {
			a.headers = []string{`P-Charging-Vector: icid-value="icid-4711";icid-generated-at=192.0.2.1`}
			b.headers = []string{`P-Charging-Vector: orig-ioi=home.example;icid-value=icid-4711`}
		}, record.Link{Reason: record.LinkICID, Key: "icid-4711", Score: 100}},
		{"configured header", func(a, b *scene) {
			a.headers, b.headers = []string{"X-Conversation: c-1"}, []string{"x-conversation: c-1"}
		}, record.Link{Reason: record.LinkHeader, Key: "c-1", Score: 100}},
		{"Session-ID before the others", func(a, b *scene) {
			a.headers = []string{"X-Conversation: c-1", "Session-ID: " + uuidA + ";remote=" + uuidB}
			b.headers = []string{"X-Conversation: c-1", "X-CID: leg-a", "Session-ID: " + uuidA + ";remote=" + uuidB}
		}, record.Link{Reason: record.LinkSessionID, Key: uuidB, Score: 100}},
		{"Replaces", func(_, b *scene) { b.headers = []string{"Replaces: leg-a;to-tag=b-leg-a;from-tag=a-leg-a"} },
			record.Link{Reason: record.LinkReplaces, Key: "leg-a", Score: 100}},
		// Called 24, caller 20, begun together 10, ended together 10, the address of the B2BUA 10.
		{"score", func(_, b *scene) { b.a, b.from, b.to = "198.51.100.5:5060", "+493012345678", "+498999887766" },
			record.Link{Reason: record.LinkScore, Key: "called caller start end address", Score: 74}},
		{"nothing in common", func(_, _ *scene) {}, record.Link{}},
		{"other values", func(a, b *scene) {
			a.headers = []string{"X-Conversation: c-1", "Session-ID: " + uuidA + ";remote=" + uuidB, "P-Charging-Vector: icid-value=1"}
			b.headers = []string{"X-Conversation: c-2", "Session-ID: " + uuidC + ";remote=00000000000000000000000000000000", "P-Charging-Vector: icid-value=2"}
		}, record.Link{}},
		{"one number alone", func(_, b *scene) { b.a, b.to = "198.51.100.5:5060", "+498999887766" }, record.Link{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newTape(t)
			a, b := legs()
			tc.make(&a, &b)
			w.call(a)
			w.call(b)
			w.idle(200 * sec)
			h := hear(t, w.path(), daemon.ReadOptions{Limits: call.Limits{LinkHeader: "X-Conversation"}})
			if len(h.calls) != 2 {
				t.Fatalf("%d calls, want 2: legs are never merged", len(h.calls))
			}
			want := tc.want
			if want.Reason == record.LinkUnknown {
				if len(h.links) > 0 {
					t.Errorf("linked: %+v", *h.links[0])
				}
				return
			}
			first, second := h.call(t, "leg-a"), h.call(t, "leg-b")
			want.First, want.Second, want.Start, want.Other = first.ID, second.ID, tapeAt(0), tapeAt(100*msec)
			same(t, "links", h.links, func(l *record.Link) {
				l.ID = 0
				if l.Key == uuidA && want.Key == uuidB {
					l.Key = want.Key // of two UUIDs either will do
				}
			}, want)
		})
	}
}

// TestUnrelatedCalls: calls of a busy minute that begin and end together, to
// different numbers, are not linked, and neither are hundreds with one header.
func TestUnrelatedCalls(t *testing.T) {
	w := newTape(t)
	for i := range 40 {
		w.call(scene{
			id: fmt.Sprint("call-", i), at: time.Duration(i) * 100 * msec, end: 60 * sec,
			a: fmt.Sprintf("192.0.2.%d:5060", 10+i), b: "198.51.100.5:5060",
			from: fmt.Sprint("+4930555", 1000+37*i), to: fmt.Sprint("+4989666", 2000+41*i), headers: []string{"P-Charging-Vector: icid-value=same"},
		})
	}
	w.idle(200 * sec)
	h := hear(t, w.path(), daemon.ReadOptions{})
	for _, l := range h.links {
		if l.Reason != record.LinkICID {
			t.Errorf("linked: %+v", l)
		}
	}
	// Up to 16 calls may share a value; it says nothing with more.
	if most := 16 * 15 / 2; len(h.calls) != 40 || len(h.links) > most || h.report.Flow.Links.Crowded == 0 {
		t.Errorf("%d calls, %d links, at most %d are wanted; %+v", len(h.calls), len(h.links), most, h.report.Flow.Links)
	}
	h = hear(t, w.path(), daemon.ReadOptions{Links: relate.Options{MinScore: 101}})
	for _, l := range h.links {
		if l.Reason == record.LinkScore {
			t.Errorf("linked by score, which is off: %+v", l)
		}
	}
}

// TestOneWayMirror: of a mirror port that delivers one direction only each call
// says so, and after ten calls in a row an event.
func TestOneWayMirror(t *testing.T) {
	w := newTape(t)
	for i := range 12 {
		at := time.Duration(i) * 10 * sec
		d := &talk{
			w: w, a: "192.0.2.10:5060", b: "198.51.100.5:5060", id: fmt.Sprint("c", i), from: "1@example.com", to: "2@example.com",
			tags: [2]string{fmt.Sprint("a", i), ""},
		}
		d.ask(at, "INVITE", sdpOf("192.0.2.10:10000"))
		d.tags[1] = "b"
		d.ask(at+sec, "ACK")
		w.voice(at+sec, at+2*sec, "192.0.2.10:10000", "198.51.100.5:20000", uint32(100+i))
		d.ask(at+3*sec, "BYE")
	}
	// A pair of hosts of which both directions are seen.
	w.call(scene{id: "both", at: 5 * sec, end: 20 * sec, a: "192.0.2.11:5060", b: "198.51.100.5:5060", from: "3", to: "4"})
	w.idle(300 * sec)
	h := hear(t, w.path(), daemon.ReadOptions{})
	if len(h.calls) != 13 {
		t.Fatalf("%d calls", len(h.calls))
	}
	for _, c := range h.calls {
		want := c.CallID != "both"
		if got := c.Flags&record.OneDirection != 0; got != want || want && c.Flags&(record.OneWay|record.NoRTP) != 0 {
			t.Errorf("call %s: flags %v, one-direction wanted: %v", c.CallID, c.Flags.Names(), want)
		}
	}
	var events []*record.Event
	for _, e := range h.events {
		if e.Kind == record.MirrorOneWay {
			events = append(events, e)
		}
	}
	if len(events) != 1 {
		t.Fatalf("%d events of a mirror, want 1", len(events))
	}
	if e := events[0]; e.CallID != "c9" || e.Time != h.call(t, "c9").End || e.Src.String() != "192.0.2.10:5060" || e.Dst.String() != "198.51.100.5:5060" || e.Text == "" {
		t.Errorf("event %+v, want one about call c9", e)
	}
}

func TestCallEvents(t *testing.T) {
	w := newTape(t)
	w.call(scene{id: "answered", end: 10 * sec, a: callerSIP, b: calledSIP, from: "1", to: "2"})
	dial := func(id, user string) *talk {
		return &talk{w: w, a: callerSIP, b: calledSIP, id: id, from: user + "@example.com", to: "2@example.com", tags: [2]string{"a-" + id, ""}}
	}
	busy := dial("busy", "3")
	busy.ask(20*sec, "INVITE")
	busy.answer(20*sec+50*msec, "486 Busy Here")
	busy.ask(20*sec+60*msec, "ACK")
	thief := dial("thief", "4")
	thief.ask(30*sec, "INVITE")
	thief.answer(30*sec+50*msec, "407 Proxy Authentication Required", `Proxy-Authenticate: Digest realm="example.com", nonce="n1"`)
	thief.ask(30*sec+60*msec, "ACK")
	thief.ask(31*sec, "INVITE", `Proxy-Authorization: Digest username="4", realm="example.com", nonce="n1", uri="sip:2@example.com", response="0"`)
	thief.answer(31*sec+50*msec, "403 Forbidden")
	thief.ask(31*sec+60*msec, "ACK")
	for i := range 1000 { // no Call-ID
		w.udp(40*sec+time.Duration(i)*msec, "203.0.113.66:5060", calledSIP, []byte("INVITE sip:2@example.com SIP/2.0\r\nFrom: <sip:x@y>;tag=1\r\nTo: <sip:2@y>\r\nCSeq: 1 INVITE\r\n\r\n"))
	}
	w.idle(200 * sec)
	h := hear(t, w.path(), daemon.ReadOptions{})
	sameLines(t, "events", h.eventLines(record.CallStart, record.CallEnd, record.CallAttempt, record.AuthRefused), []string{
		"1s call-start 1@example.com 200", "10s call-end 1@example.com 200",
		"20.05s call-attempt 3@example.com 486",
		"31.05s auth-failed 4@example.com 403", "31.05s call-attempt 4@example.com 403",
	})
	broken, count := h.eventLines(record.ParseError), uint64(0)
	for _, e := range h.events {
		if e.Kind == record.ParseError {
			count += e.Count
			if e.Src.String() != "203.0.113.66:5060" || e.Text == "" {
				t.Errorf("event %+v", e)
			}
		}
	}
	if len(broken) != 21 || count != 120 || len(h.calls) != 3 {
		t.Errorf("%d events of broken messages that stand for %d, %d calls; want 21, 120 and 3", len(broken), count, len(h.calls))
	}
}
