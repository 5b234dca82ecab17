package call

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unsafe"

	"ringside/dataplane/frame"
	"ringside/flow/record"
	"ringside/flow/rtp"
	"ringside/flow/sip"
)

func TestParseTimeouts(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Timeouts
		err  string
	}{
		{in: ""},
		{in: "inv_established=7200s", want: Timeouts{InvEstablished: 2 * time.Hour}},
		{in: " inv_1st = 10s, inv_bye_repl: 1m ,", want: Timeouts{Inv1st: 10 * time.Second, InvByeRepl: time.Minute}},
		{in: "inv_early_dlg=1s,inv_neg=2s,inv_bye_seen=3s,inv_canceled=4s", want: Timeouts{
			InvEarlyDlg: time.Second, InvNeg: 2 * time.Second, InvByeSeen: 3 * time.Second, InvCanceled: 4 * time.Second}},
		{in: "inv_neg", err: "write STATE=DURATION"},
		{in: "inv_neg=30", err: "is no duration"},
		{in: "inv_neg=-3s", err: "not more than 0"},
		{in: "non_inv_1st=30s", err: "the states are inv_1st, inv_early_dlg, inv_neg,"},
	} {
		t.Run(c.in, func(t *testing.T) {
			got, err := ParseTimeouts(c.in)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got error %v, want one with %q", err, c.err)
				}
				return
			}
			if err != nil || got != c.want {
				t.Fatalf("got %+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	l := Limits{MaxMessages: 3, Timeouts: Timeouts{InvNeg: time.Second}}.withDefaults()
	want := defaults
	want.MaxMessages = 8
	want.Timeouts.InvNeg = time.Second
	if l != want {
		t.Errorf("got %+v, want %+v", l, want)
	}
	if defaults.Timeouts.InvNeg != 30*time.Second {
		t.Error("the defaults were written to")
	}
}

// parse reads a message that is written with bare line feeds.
func parse(t testing.TB, s string) *sip.Message {
	m := new(sip.Message)
	if _, err := m.Parse([]byte(strings.ReplaceAll(s, "\n", "\r\n"))); err != nil {
		t.Fatalf("%v\n%s", err, s)
	}
	return m
}

const inviteHead = `INVITE sip:bob;x=1@example.com SIP/2.0
Via: SIP/2.0/TCP h;branch=z9hG4bK1
From: "Al \"the\" Ice" <sip:alice@[2001:db8::1]:5070>;tag=a
To: <tel:+4912345>
Call-ID: id
CSeq: 1 INVITE
`

func TestPublishedMedia(t *testing.T) {
	type published struct {
		side       record.Side
		kind       string
		at, rtcp   string
		mux, srtp  bool
		ptime      uint16
		payloads   []rtp.Payload
		candidates []string
	}
	for _, c := range []struct {
		name, body string
		want       []published
		codecs     []string
		bad        uint64
	}{
		{
			name: "audio and video in a multipart body",
			body: `Content-Type: multipart/mixed;boundary=cut

--cut
Content-Type: text/plain

hello
--cut
Content-Type: application/sdp

v=0
c=IN IP4 192.0.2.1
m=audio 4000 RTP/AVP 9 111 101
a=rtpmap:111 opus/48000/2
a=rtpmap:101 telephone-event/8000
a=ptime:30
a=rtcp:4711 IN IP4 192.0.2.9
m=video 4002 RTP/SAVPF 96
c=IN IP6 2001:db8::5
a=rtpmap:96 H264/90000
a=rtcp-mux
m=audio 0 RTP/AVP 0
--cut--
`,
			want: []published{
				{record.SideCaller, "audio", "192.0.2.1:4000", "192.0.2.9:4711", false, false, 30,
					[]rtp.Payload{{Type: 9, Codec: rtp.G722, Rate: 8000}, {Type: 111, Codec: rtp.Opus, Rate: 48000}, {Type: 101, Codec: rtp.TelephoneEvent, Rate: 8000}}, nil},
				{record.SideCaller, "video", "[2001:db8::5]:4002", "[2001:db8::5]:4002", true, true, 0, []rtp.Payload{{Type: 96, Codec: rtp.H264, Rate: 90000}}, nil},
			},
			codecs: []string{"G722 opus telephone-event", "H264"},
		},
		{
			name: "candidates, and a format that nobody knows",
			body: `Content-Type: application/sdp

v=0
c=IN IP4 192.0.2.1
m=audio 4000 UDP/TLS/RTP/SAVPF 77
a=candidate:1 1 UDP 1 10.0.0.1 5000 typ host
a=candidate:1 2 UDP 1 10.0.0.1 5001 typ host
a=candidate:2 1 TCP 1 10.0.0.1 9 typ host
a=candidate:3 1 UDP 1 203.0.113.7 6000 typ srflx raddr 10.0.0.1 rport 5000
`,
			want: []published{{record.SideCaller, "audio", "192.0.2.1:4000", "192.0.2.1:4001", false, true, 0,
				[]rtp.Payload{{Type: 77}}, []string{"10.0.0.1:5000 host", "203.0.113.7:6000 srflx"}}},
			codecs: []string{"77"},
		},
		{
			name: "on hold, on TCP, or at a name",
			body: `Content-Type: application/sdp

v=0
m=audio 4000 RTP/AVP 0
c=IN IP4 0.0.0.0
m=message 7000 TCP/MSRP *
c=IN IP4 192.0.2.1
m=audio 4004 RTP/AVP 0
c=IN IP4 phone.example.com
`,
		},
		{name: "no session description", body: "Content-Type: application/sdp\n\nnothing of that kind\n", bad: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []published
			var closed Ref
			table := NewTable(Options{
				Publish: func(_ Ref, m *Media, clock int64) {
					p := published{m.Side, m.Kind.String(), m.At.String(), m.RTCP.String(), m.Mux, m.SRTP, m.Ptime, nil, nil}
					p.payloads = append(p.payloads, m.Payloads[:m.N]...)
					for i, e := range m.Candidates[:m.NCandidates] {
						p.candidates = append(p.candidates, e.String()+" "+m.CandidateTypes[i].String())
					}
					got = append(got, p)
				},
				Closed: func(ref Ref, _ int64) { closed = ref },
			})
			table.Message(parse(t, inviteHead+c.body), &Meta{Time: epoch, Clock: epoch, Transport: record.TCP, VLAN: 42, DSCP: 26, Cut: true})
			table.CloseAll(epoch)
			if g, w := fmt.Sprint(got), fmt.Sprint(c.want); g != w {
				t.Errorf("published\n%s\nwant\n%s", g, w)
			}
			r := table.Finish(closed)
			var codecs []string
			for _, m := range r.Media {
				codecs = append(codecs, m.Codecs)
			}
			if g, w := fmt.Sprint(codecs), fmt.Sprint(c.codecs); g != w {
				t.Errorf("codecs %s, want %s", g, w)
			}
			if s := table.Stats(); s.BadSDP != c.bad {
				t.Errorf("%d bad session descriptions, want %d", s.BadSDP, c.bad)
			}
			if r.Transport != record.TCP || r.VLAN != 42 || r.DSCP != 26 || r.Flags&record.SIPCut == 0 {
				t.Errorf("got %q VLAN %d DSCP %d %v", r.Transport, r.VLAN, r.DSCP, r.Flags.Names())
			}
			if p := r.Caller; p.Name != `Al "the" Ice` || p.Number != "alice" || p.Domain != "2001:db8::1" {
				t.Errorf("caller %+v", p)
			}
			if r.Called.Number != "+4912345" || r.RequestDomain != "example.com" {
				t.Errorf("called %+v, request to %q at %q", r.Called, r.RequestUser, r.RequestDomain)
			}
		})
	}
}

// TestRecordID fixes the value: it names a call in stores that are already
// written.
func TestRecordID(t *testing.T) {
	const want = 0x6817281ca6311ae2
	if got := recordID([]byte("a84b4c76e66710@pc33.atlanta.com"), []byte("1928301774"), epoch); got != want {
		t.Errorf("got %#x, want %#x", got, want)
	}
	if recordID([]byte("ab"), []byte("c"), 1) == recordID([]byte("a"), []byte("bc"), 1) {
		t.Error("Call-ID and tag run into each other")
	}
}

// TestRefs: a name of a call is good for nothing once its record was taken.
func TestRefs(t *testing.T) {
	s := newScript(t, Limits{})
	s.line("0 A>B INVITE 1 call=x")
	s.line("1 A>B INVITE 1 call=y")
	var open Ref
	for _, c := range s.table.slots {
		if open == 0 {
			open = c.ref()
		}
	}
	if s.table.Finish(open) != nil || s.table.AddStream(open, &record.Stream{}) || s.table.AddDigits(open, nil) {
		t.Error("a call that goes on was finished, or took a stream or digits")
	}
	s.line("closeall 2")
	old := s.closed[0]
	if !s.table.AddStream(old, &record.Stream{}) || s.table.Finish(old) == nil {
		t.Fatal("no record of a closed call")
	}
	if s.table.Finish(old) != nil || s.table.AddStream(old, &record.Stream{}) || s.table.AddDigits(old, nil) {
		t.Error("a record was built twice")
	}
	s.line("3 A>B INVITE 1 call=z")
	s.table.MediaAlive(old, 0)
	if s.table.Finish(old) != nil || s.table.Finish(0) != nil || s.table.Finish(99) != nil {
		t.Error("an old name reaches the slot's next call, or no call has a record")
	}
}

// TestSize keeps the state of a usual call small.
func TestSize(t *testing.T) {
	s := newScript(t, Limits{})
	for i, line := range []string{
		"A>B INVITE 1 sdp=10.1.0.1:4000", "B>A 100 INVITE 1", "B>A 180 INVITE 1", "B>A 200 INVITE 1 sdp=10.1.0.2:6000",
		"A>B ACK 1", "A>B INFO 2", "B>A 200 INFO 2", "A>B BYE 3",
	} {
		s.line(fmt.Sprintf("%d %s \"User-Agent: A Phone With A Name/1.2.3-45\" \"Contact: <sip:someone@10.20.30.40:5060;transport=udp>\"", i, line))
	}
	c := s.table.slots[0]
	size := unsafe.Sizeof(*c) + uintptr(cap(c.bytes)) +
		uintptr(cap(c.endpoints))*unsafe.Sizeof(frame.Endpoint{}) + uintptr(cap(c.messages))*unsafe.Sizeof(message{}) +
		uintptr(cap(c.legs))*unsafe.Sizeof(leg{}) + uintptr(cap(c.media))*unsafe.Sizeof(media{}) +
		uintptr(cap(c.branches))*unsafe.Sizeof(branch{})
	t.Logf("a call of %d messages takes %d bytes (struct %d, text %d, message %d)", c.total, size, unsafe.Sizeof(*c), cap(c.bytes), unsafe.Sizeof(message{}))
	if size > 4096 {
		t.Errorf("a call of %d messages takes %d bytes, more than 4096", c.total, size)
	}
}

// TestBounds: nothing that a peer sends makes a call grow without end.
func TestBounds(t *testing.T) {
	s := newScript(t, Limits{MaxMessages: 50})
	s.table.options.Publish = nil
	for i := range 2000 {
		ports := fmt.Sprintf("10.1.%d.%d:4000", i/200, i%200)
		s.line(fmt.Sprintf("%d A>B INVITE %d branch=x%d sdp=%s \"User-Agent: %s%d\"", i, i+1, i, ports, strings.Repeat("x", 400), i))
		s.line(fmt.Sprintf("%d B>A 180 INVITE %d branch=x%d to=t%d", i, i+1, i, i))
	}
	for i := range 2000 {
		s.line(fmt.Sprintf("2000 A>B INFO %d relay=5/100", 3000+i))
	}
	c := s.table.slots[0]
	if len(c.dialled) != maxDigits {
		t.Errorf("%d digits", len(c.dialled))
	}
	if len(c.messages) != 50 || len(c.legs) > maxLegs || len(c.media) > maxMedia || len(c.bytes) > maxText || len(c.branches) > maxBranches {
		t.Errorf("%d messages, %d legs, %d media, %d bytes, %d branches", len(c.messages), len(c.legs), len(c.media), len(c.bytes), len(c.branches))
	}
	long := strings.Repeat("i", 3000)
	s.line("3000 A>B INVITE 1 call=" + long)
	s.line("3001 B>A 486 INVITE 1 call=" + long)
	s.line("3002 A>B INVITE 1 call=" + long + "j")
	s.line("closeall 3003")
	if len(s.closed) != 3 {
		t.Fatalf("%d calls, want 3", len(s.closed))
	}
	s.table.AddDigits(s.closed[0], make([]record.Digit, 300))
	if r := s.table.Finish(s.closed[0]); len(r.Digits) != maxDigits || r.Digits[maxDigits-1].Time != 0 {
		t.Errorf("%d digits, not the first ones", len(r.Digits))
	}
	if r := s.table.Finish(s.closed[1]); len(r.CallID) != maxCallID || r.MessagesTotal != 2 {
		t.Errorf("Call-ID of %d bytes, %d messages", len(r.CallID), r.MessagesTotal)
	}
}

func TestLateIDs(t *testing.T) {
	l := lateIDs{until: make(map[uint64]int64), limit: 10}
	for i := range uint64(1000) {
		l.add(i+1, int64(i), 32)
	}
	if len(l.until) != 10 || len(l.queue)-l.gone != 10 || len(l.queue) > 30 {
		t.Errorf("%d known, %d queued, %d gone", len(l.until), len(l.queue), l.gone)
	}
	if !l.has(1000, 999+32) || l.has(1000, 999+33) {
		t.Error("the last one is not remembered for 32")
	}
	l.add(1000, 1010, 32) // once more, before the first time is over
	l.add(1, 1032, 32)    // the first time is over
	if !l.has(1000, 1042) {
		t.Error("the later time was forgotten with the earlier one")
	}
	l.add(1, 5000, 32)
	if len(l.until) != 1 {
		t.Errorf("%d known after all have expired but one", len(l.until))
	}
}

// TestTimers holds the heap against a naive list.
func TestTimers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var h timers
	var open []*call
	for step := range 20000 {
		switch n := r.IntN(10); {
		case n < 3:
			c := &call{birth: uint64(step)}
			h.add(c, r.Int64N(1000))
			open = append(open, c)
		case n < 7 && len(open) > 0:
			c := open[r.IntN(len(open))]
			h.set(c, r.Int64N(1000))
		case n < 8 && len(open) > 0:
			i := r.IntN(len(open))
			h.remove(open[i])
			open = append(open[:i], open[i+1:]...)
		default:
			clock := r.Int64N(1000)
			var want *call
			for _, c := range open {
				if c.deadline <= clock && (want == nil || c.deadline < want.deadline || c.deadline == want.deadline && c.birth < want.birth) {
					want = c
				}
			}
			if got := h.due(clock); got != want {
				t.Fatalf("step %d: at %d %v is due, want %v", step, clock, got, want)
			}
		}
	}
}

// TestAlone: what becomes of a call does not depend on the other calls of the
// table, nor on how the time in between is cut by Advance.
func TestAlone(t *testing.T) {
	const calls = 60
	r := rand.New(rand.NewPCG(3, 4))
	var all []string // lines in the order of their clocks
	for clock := 0; clock < 400; clock += r.IntN(3) {
		all = append(all, randomLine(r, clock, fmt.Sprintf("c%d", r.IntN(calls))))
	}
	run := func(only string, advance bool) map[string]string {
		s := newScript(t, Limits{})
		for _, line := range all {
			if only == "" || strings.Contains(line, "call="+only+" ") {
				if advance {
					s.line("advance " + fmt.Sprint(float64(clockOf(t, strings.Fields(line)[0])-epoch)/1e9-0.001))
				}
				s.line(line)
			}
		}
		s.line("closeall 420")
		records := make(map[string]string)
		for _, ref := range s.closed {
			rec := s.table.Finish(ref)
			b, err := json.Marshal(rec)
			if err != nil {
				t.Fatal(err)
			}
			records[rec.CallID] += string(b) + "\n"
		}
		return records
	}
	together := run("", false)
	if len(together) < calls/2 {
		t.Fatalf("only %d calls", len(together))
	}
	for i := range calls {
		id := fmt.Sprintf("c%d", i)
		if alone := run(id, i%2 == 0)[id]; alone != together[id] {
			t.Errorf("call %s\nalone    %s\ntogether %s", id, alone, together[id])
		}
	}
}

// randomLine is a message that may well make sense.
func randomLine(r *rand.Rand, clock int, id string) string {
	pick := func(s ...string) string { return s[r.IntN(len(s))] }
	line := pick("A>B", "B>A", "A>P", "P>B")
	if r.IntN(2) == 0 {
		line += " " + pick("100", "180", "183", "200", "200", "302", "401", "481", "486", "487", "603")
	}
	line += " " + pick("INVITE", "INVITE", "INVITE", "ACK", "BYE", "BYE", "CANCEL", "PRACK", "UPDATE", "INFO", "REFER", "OPTIONS")
	line += fmt.Sprintf(" %d call=%s ", 1+r.IntN(3), id)
	line += pick("", "", "to=b", "to=c", "from=z", "rev", "rev to=c", "vias=2", "vias=2 to=b", "branch=q")
	line += pick("", "", " sdp=10.1.0.1:4000", " sdp=10.1.0.2:6000/sendonly", " sdp=0.0.0.0:1", " sdp=10.1.0.3:0",
		" sdp=10.1.0.2:6004//udptl", " sdp=10.1.0.1:4000//RTP-SAVP/k", " relay=5/100", ` "X-CID: x" "P-Charging-Vector: icid-value=1"`, " tls")
	return fmt.Sprintf("%d.%03d %s", clock, r.IntN(1000), line)
}
