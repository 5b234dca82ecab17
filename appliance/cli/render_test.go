package cli

import (
	"bytes"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ringside/flow/record"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (run with -update and look at the diff); got:\n%s", name, got)
	}
}

// fits fails for lines that are longer than the terminal.
func fits(t *testing.T, width int, text string) {
	t.Helper()
	for _, l := range strings.Split(text, "\n") {
		if cells(l) > width {
			t.Errorf("line of %d columns in a terminal of %d: %q", cells(l), width, l)
		}
	}
}

var (
	wide  = look{width: 80, zone: time.UTC}
	plain = look{width: 80, ascii: true, zone: time.UTC}
)

const t0 = int64(1767607200_000000000) // 2026-01-05 10:00:00 UTC

func at(d time.Duration) int64 { return t0 + int64(d) }

func ep(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// answeredCall is a call through a proxy with a lost ACK, as a user might see it.
func answeredCall() *record.Call {
	const sec, msec = time.Second, time.Millisecond
	a, p, b := ep("192.0.2.10:5060"), ep("198.51.100.1:5060"), ep("203.0.113.20:5062")
	m := func(d time.Duration, src, dst netip.AddrPort, method string, status uint16, reason string, cseq uint32, sdp, again bool) record.Message {
		return record.Message{Time: at(d), Src: src, Dst: dst, Method: method, Status: status, Reason: reason, CSeq: cseq, SDP: sdp, Retrans: again}
	}
	stream := func(from record.Side, src, dst string, ssrc uint32, lost uint64, mos float64) record.Stream {
		return record.Stream{
			CallID: "a84b4c76e66710@pc33.example.com", Src: ep(src), Dst: ep(dst), SSRC: ssrc, From: from,
			Codec: "PCMA", Payload: 8, Rate: 8000, Ptime: 20, First: at(2100 * msec), Last: at(62100 * msec), VLAN: 100,
			Counters: record.Counters{
				Packets: 3001 - lost, Received: 3001 - lost, Bytes: 160 * (3001 - lost), Expected: 3001, Lost: lost,
				Reordered: 2, LossRunMax: 3, Jitter: 0.8, JitterAvg: 1.25, JitterMax: 7.5, DeltaMax: 61, SkewPPM: -12,
				LateF1: lost + 3, LateF2: lost, LateAdapt: lost,
			},
			Compat: record.Compat{MosF1: 4.31, MosF1Min: 3.9, MosF2: 4.5, MosF2Min: 4.5, MosAdapt: 4.5, MosAdaptMin: 4.5, LossPerc: 0.4},
			MOS:    record.MOS{CQ: mos - 0.03, LQ: mos, Min: mos - 0.4, R: 90, Method: "G.107", Confidence: "published", N: 3001 - lost},
			RTCP:   record.RTCP{Reports: 12, Lost: 9, FracAvg: 0.2, FracMax: 1.5, JitterAvg: 1.1, JitterMax: 4, RTT: 22.5, RTTMax: 40},
		}
	}
	return &record.Call{
		ID: 4611686018427387904, CallID: "a84b4c76e66710@pc33.example.com", Sensor: 1,
		Start: t0, Trying: at(12 * msec), Ring: at(250 * msec), Answer: at(2 * sec), ByeAt: at(62 * sec), End: at(62 * sec), Last: at(62*sec + 30*msec),
		Outcome: record.Answered, EndReason: record.EndBye, HungUp: record.SideCaller,
		Caller:      record.Party{Number: "+4930123456", Domain: "example.com", Name: "Alice Ängström", Tag: "1928301774", Addr: a, Agent: "Phone 1.2"},
		Called:      record.Party{Number: "1002", Domain: "example.net", Tag: "a6c85cf", Addr: p, Agent: "Gateway/9"},
		RequestUser: "1002", RequestDomain: "proxy.example.net", LastStatus: 200, LastReason: "OK",
		Q850Cause: 16, Q850Text: "Normal call clearing", Invites: 1, Retransmissions: 2, MaxRetransInv: 1, AuthUser: "alice",
		VLAN: 100, DSCP: 26, Transport: record.UDP, Flags: record.EarlyMedia | record.NATed | record.Incomplete,
		Messages: []record.Message{
			m(0, a, p, "INVITE", 0, "", 1, true, false),
			m(500*msec, a, p, "INVITE", 0, "", 1, true, true),
			m(12*msec, p, a, "INVITE", 100, "Trying", 1, false, false),
			m(15*msec, p, b, "INVITE", 0, "", 1, true, false),
			m(240*msec, b, p, "INVITE", 183, "Session Progress with a very long reason phrase", 1, true, false),
			m(250*msec, p, a, "INVITE", 180, "Ringing", 1, false, false),
			m(2*sec, b, p, "INVITE", 200, "OK", 1, true, false),
			m(2001*msec, p, a, "INVITE", 200, "OK", 1, true, false),
			m(2501*msec, p, a, "INVITE", 200, "OK", 1, true, true),
			m(2510*msec, a, b, "ACK", 0, "", 1, false, false),
			m(62*sec, a, b, "BYE", 0, "", 2, false, false),
			m(62030*msec, b, a, "BYE", 200, "OK", 2, false, false),
		},
		MessagesTotal: 12,
		Legs:          []record.Leg{{Tag: "a6c85cf", First: at(240 * msec), Answer: at(2 * sec), Status: 200}, {Tag: "zz9", First: at(260 * msec), Status: 183}},
		Streams: []record.Stream{
			stream(record.SideCaller, "192.0.2.10:10000", "203.0.113.20:20000", 0x1234abcd, 12, 4.36),
			stream(record.SideCalled, "203.0.113.20:20000", "192.0.2.10:10000", 0xfeed, 0, 4.41),
		},
		Media: []record.Media{
			{Side: record.SideCaller, Kind: "audio", Addr: ep("192.0.2.10:10000"), Codecs: "PCMA PCMU telephone-event", Ptime: 20, Mode: "sendrecv", From: t0},
			{Side: record.SideCalled, Kind: "audio", Addr: ep("203.0.113.20:20000"), Codecs: "PCMA", Mode: "sendrecv", From: at(2 * sec)},
		},
	}
}

// busyCall was turned away, over IPv6, by someone with bad manners.
func busyCall() *record.Call {
	a, b := ep("[2001:db8:1234:5678::10]:5060"), ep("[2001:db8:abcd:ef01:2345:6789:abcd:ef01]:5060")
	return &record.Call{
		ID: 7, CallID: "busy\x1b[31m@[2001:db8::1]", Start: at(time.Hour), End: at(time.Hour + 90*time.Millisecond), Last: at(time.Hour + 91*time.Millisecond),
		Outcome: record.Busy, EndReason: record.EndRejected,
		Caller: record.Party{Number: "1001", Domain: "example.com", Name: "tab\tbell\a", Addr: a}, Called: record.Party{Number: "1003", Domain: "example.com", Addr: b},
		RequestUser: "1003", RequestDomain: "example.com", LastStatus: 486, LastReason: "Busy Here", VLAN: -1, Transport: record.TCP, Invites: 1,
		Messages: []record.Message{
			{Time: at(time.Hour), Src: a, Dst: b, Method: "INVITE", CSeq: 1, SDP: true},
			{Time: at(time.Hour + 90*time.Millisecond), Src: b, Dst: a, Method: "INVITE", Status: 486, Reason: "Busy Here", CSeq: 1},
			{Time: at(time.Hour + 91*time.Millisecond), Src: a, Dst: b, Method: "ACK", CSeq: 1},
		},
		MessagesTotal: 340,
	}
}

func TestCallPage(t *testing.T) {
	for _, tc := range []struct {
		name string
		look look
		call *record.Call
	}{
		{"call.txt", wide, answeredCall()},
		{"call-ascii.txt", plain, answeredCall()},
		{"call-120.txt", look{width: 120, zone: time.UTC}, answeredCall()},
		{"call-busy-ipv6.txt", wide, busyCall()},
		{"call-empty.txt", wide, &record.Call{VLAN: -1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := writeCall(&b, tc.look, callPage{call: tc.call}); err != nil {
				t.Fatal(err)
			}
			golden(t, tc.name, b.String())
			fits(t, tc.look.width, b.String())
			if strings.ContainsAny(b.String(), "\x1b\a") {
				t.Error("control characters from the network reach the terminal")
			}
			if tc.look.ascii {
				for _, r := range strings.ReplaceAll(b.String(), answeredCall().Caller.Name, "") {
					if r > 0x7e {
						t.Errorf("%q in an ASCII page", r)
					}
				}
			}
		})
	}
}

// A ladder gets narrower lifelines, then letters, then becomes a list.
func TestLadderOfManyEndpoints(t *testing.T) {
	for _, tc := range []struct {
		name string
		ends int
	}{{"ladder-2.txt", 2}, {"ladder-4.txt", 4}, {"ladder-9.txt", 9}} {
		t.Run(tc.name, func(t *testing.T) {
			var msgs []record.Message
			end := func(i int) netip.AddrPort {
				return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 168, 100, byte(100 + i)}), 5060)
			}
			for i := range tc.ends - 1 {
				msgs = append(msgs, record.Message{Time: at(time.Duration(i) * time.Second), Src: end(i), Dst: end(i + 1), Method: "INVITE", CSeq: 1, SDP: true})
			}
			msgs = append(msgs,
				record.Message{Time: at(100 * time.Second), Src: end(tc.ends - 1), Dst: end(0), Method: "INVITE", Status: 407, Reason: "Proxy Authentication Required", CSeq: 1},
				record.Message{Time: at(101 * time.Second), Src: end(0), Dst: end(0), Method: "OPTIONS", CSeq: 9})
			var b bytes.Buffer
			if err := writeLadder(&b, wide, msgs); err != nil {
				t.Fatal(err)
			}
			golden(t, tc.name, b.String())
			fits(t, wide.width, b.String())
		})
	}
}

func TestSteps(t *testing.T) {
	got := steps(answeredCall().Messages)
	if len(got) != 10 {
		t.Fatalf("%d steps of 12 messages with 2 retransmissions, want 10", len(got))
	}
	if got[0].times != 2 || got[6].times != 2 {
		t.Errorf("INVITE ×%d, 200 ×%d, want ×2 both", got[0].times, got[6].times)
	}
}

func TestSummary(t *testing.T) {
	var full tally
	for i := range 7 {
		c := answeredCall()
		c.CallID = strings.Repeat("x", i) + c.CallID
		c.Streams[0].MOS.LQ = 4.4 - 0.4*float64(i)
		c.Streams[0].Lost = uint64(30 * i)
		full.call(c)
	}
	full.call(busyCall())
	full.orphan(&record.Stream{First: t0, Last: at(time.Minute)})
	r := report{
		bytes: 1234567890, frames: 1234567, balanced: true,
		ledger: []row{{"decode", "arp", 560}, {"packet", "sip", 7}, {"packet", "rtp", 1234000}},
		rtp:    1234000, fates: []row{{"rtp", "in-calls", 1230000}, {"rtp", "no-call", 4000}},
		unreadable: []row{{"sip", "no-call-id", 7}},
		notes:      []row{{"decode", "cut by the snap length", 12}},
		damage:     []damage{{"b.pcap.zst", 98765432, "packet record of 4,294,967,295 bytes"}},
	}
	wrong := report{bytes: 24, frames: 5, balanced: true, ledger: []row{{"decode", "arp", 3}}}
	within := report{bytes: 24, frames: 3, ledger: []row{{"decode", "arp", 3}}}
	for _, tc := range []struct {
		name   string
		tally  *tally
		report report
		says   string
	}{
		{"summary.txt", &full, r, "  balances\n"},
		{"summary-empty.txt", new(tally), report{balanced: true}, "  of no known call                               0\n"},
		{"summary-wrong.txt", new(tally), wrong, "DOES NOT BALANCE: -2 against the 5 read\n"},
		{"summary-within.txt", new(tally), within, "DOES NOT BALANCE between decoder and shards\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := writeSummary(&b, wide, tc.tally, &tc.report); err != nil {
				t.Fatal(err)
			}
			golden(t, tc.name, b.String())
			fits(t, 80, b.String())
			if !strings.HasSuffix(b.String(), tc.says) {
				t.Errorf("the ledger does not say %q", tc.says)
			}
		})
	}
}

// The summary must not depend on the order in which calls arrive.
func TestTallyOrder(t *testing.T) {
	var calls []*record.Call
	for i := range 20 {
		c := answeredCall()
		c.CallID = string(rune('a' + i))
		c.Streams[0].MOS.LQ = 2 + float64(i%4)/2
		calls = append(calls, c)
	}
	render := func(order func(int) int) string {
		var sum tally
		for i := range calls {
			sum.call(calls[order(i)])
		}
		var b bytes.Buffer
		if err := writeSummary(&b, wide, &sum, &report{}); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	want := render(func(i int) int { return i })
	if got := render(func(i int) int { return len(calls) - 1 - i }); got != want {
		t.Errorf("reversed order gives\n%s\nwant\n%s", got, want)
	}
	if got := render(func(i int) int { return i * 7 % len(calls) }); got != want {
		t.Errorf("shuffled order gives\n%s\nwant\n%s", got, want)
	}
}

func TestProgressLine(t *testing.T) {
	for _, tc := range []struct {
		name string
		look look
		p    progress
		want string
	}{
		{"half", plain, progress{file: "/var/x/a.pcap", read: 1 << 30, total: 2 << 30, frames: 6e6, calls: 1234, activeCalls: 56, sinceStarted: 5 * time.Second},
			"[##########..........]  50 %  2.0 GiB  0:05 left  1.20 M packets/s  1,234 call~"},
		{"stdin", plain, progress{read: 5 << 20, frames: 50000, calls: 1, sinceStarted: time.Second},
			"5.0 MiB  50 k packets/s  1 call  0 open"},
		{"start", plain, progress{total: 100}, "[....................]   0 %  100 bytes  0 packets/s  0 calls  0 open"},
		{"grown", plain, progress{read: 200, total: 100, frames: 1, sinceStarted: time.Second},
			"[####################]  100 %  100 bytes  1 packets/s  0 calls  0 open"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := progressLine(tc.look, tc.p)
			if got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
			fits(t, tc.look.width-1, got)
		})
	}
}
