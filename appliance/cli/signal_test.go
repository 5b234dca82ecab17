package cli

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"ringside/appliance/daemon"
	"ringside/flow/record"
	"ringside/writer/store"
)

const rude = "\x1b[31m\a" // what a terminal must not see

func sampleRegistrations() []*record.Registration {
	phone, registrar := ep("192.0.2.10:5060"), ep("198.51.100.1:5060")
	return []*record.Registration{
		{ID: 1, AOR: "1001@example.com", User: "1001", Domain: "example.com", Contact: "sip:1001@192.0.2.10:5060", CallID: "r1", Agent: "Phone 1.2",
			Src: phone, Dst: registrar, Transport: record.UDP, VLAN: -1, Start: t0, Last: at(50 * time.Minute), End: at(time.Hour), Expires: 600,
			State: record.Registered, Registers: 12, Successes: 6, Challenges: 6, LastStatus: 200, LastReason: "OK", RTT: 12.34, RTTMin: 8, RTTMax: 40},
		{ID: 2, AOR: "alice@example.com", User: "alice", Domain: "example.com", Contact: "sip:alice@[2001:db8:1234:5678::10]:5060;transport=tls", Agent: "Softphone 9.9.1 (Desktop)",
			Src: ep("[2001:db8:1234:5678::10]:50600"), Dst: ep("[2001:db8::1]:5061"), Transport: record.TLS, VLAN: 12, Start: at(time.Minute), Last: at(time.Minute),
			End: at(6 * time.Minute), Expires: 300, State: record.Expired, Registers: 2, Successes: 1, Timeouts: 1, LastStatus: 200},
		{ID: 3, AOR: "admin" + rude + "@example.com", Agent: "friendly-scanner" + rude, Src: ep("203.0.113.66:5070"), Dst: registrar, Transport: record.UDP, VLAN: -1,
			Start: at(2 * time.Minute), Last: at(3 * time.Minute), End: at(3 * time.Minute), State: record.Rejected, Registers: 4000, Failures: 3999, Timeouts: 1, LastStatus: 403, LastReason: "Forbidden", RTT: 1},
	}
}

func sampleExchanges() []*record.Exchange {
	party := func(number, addr string) record.Party {
		return record.Party{Number: number, Domain: "example.com", Addr: ep(addr)}
	}
	a, b, p := party("1001", "192.0.2.10:5060"), party("1002", "192.0.2.11:5060"), party("", "198.51.100.1:5060")
	p.Domain, p.Agent = "198.51.100.1", "Gateway/9"+rude
	return []*record.Exchange{
		{ID: 1, Kind: record.TextMessage, CallID: "m1", Caller: a, Called: b, Start: t0, Last: t0, End: t0, State: "ok", Requests: 1, Answered: 1,
			LastStatus: 202, RTT: 30.5, RTTMax: 30.5, ContentType: "text/plain", Text: "Lunch?\r\nAt noon," + rude + " in the small room behind the kitchen", Size: 62},
		{ID: 2, Kind: record.TextMessage, CallID: "m2", Caller: b, Called: a, Start: at(time.Second), Last: at(time.Second), End: at(time.Second), State: "failed",
			Requests: 1, Failures: 1, LastStatus: 480, ContentType: "application/im-iscomposing+xml", Size: 220},
		{ID: 3, Kind: record.Subscription, CallID: "s1", Caller: a, Called: b, Start: t0, Last: at(time.Hour), End: at(time.Hour), State: "terminated", Note: "timeout", Event: "dialog",
			Expires: 3600, Requests: 2, Answered: 2, Notifies: 17, LastStatus: 200, RTT: 9},
		{ID: 4, Kind: record.Publication, CallID: "p1", Caller: a, Called: a, Start: at(time.Minute), Last: at(time.Minute), End: at(time.Hour), State: "ok", Event: "presence", Requests: 1, Answered: 1, LastStatus: 200},
		{ID: 5, Kind: record.Options, CallID: "o1", Caller: a, Called: p, Start: t0, Last: at(time.Hour), End: at(time.Hour), State: "up", Requests: 120, Answered: 119, Timeouts: 1, LastStatus: 200, RTT: 1.5, RTTMin: 1, RTTMax: 12},
		{ID: 6, Kind: record.Options, CallID: "o2", Caller: party("", "198.51.100.1:0"), Called: party("", "203.0.113.20:5062"), Start: at(time.Hour), Last: at(2 * time.Hour), End: at(2 * time.Hour), State: "down", Requests: 30, Answered: 10, Timeouts: 20, Changes: 3},
	}
}

func sampleEvents() []*record.Event {
	return []*record.Event{
		{ID: 1, Time: t0, Kind: record.RegNew, Src: ep("192.0.2.10:5060"), Dst: ep("198.51.100.1:5060"), AOR: "1001@example.com", Target: "sip:1001@192.0.2.10:5060", CallID: "r1", Method: "REGISTER", Status: 200, Text: "OK", Agent: "Phone 1.2", Count: 1},
		{ID: 2, Time: at(time.Second), Kind: record.AuthRefused, Src: ep("203.0.113.66:5070"), Dst: ep("198.51.100.1:5060"), AOR: "admin" + rude + "@example.com", CallID: "x", Method: "REGISTER", Status: 403, Text: "Forbidden" + rude, Agent: "friendly-scanner", Count: 12345},
		{ID: 3, Time: at(time.Minute), Kind: record.PeerDown, Src: ep("198.51.100.1:5060"), Dst: ep("203.0.113.20:5062"), Target: "203.0.113.20:5062", Method: "OPTIONS", Count: 1},
	}
}

// linkedCall is answeredCall with everything that a call may have.
func linkedCall() *record.Call {
	const sec = time.Second
	c := answeredCall()
	c.Transport = record.TLS
	c.Tunnel = record.Tunnel{Kind: "vxlan", Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2"), ID: 4711}
	c.SessionID, c.XCallID, c.ICID = strings.Repeat("ab12", 8)+";"+strings.Repeat("cd34", 8), "leg-b@example.com"+rude, "icid-1"
	c.Flags |= record.Fax | record.Encrypted | record.Hairpin | record.OneDirection | record.SRTP
	for i := range c.Media {
		c.Media[i].SRTP = true
		c.Media[i].Crypto = "1 AES_CM_128_HMAC_SHA1_80 inline:TOPSECRETKEY\n2 AES_256_CM_HMAC_SHA1_80 inline:OTHERSECRET"
	}
	c.Media = append(c.Media, record.Media{Side: record.SideCaller, Kind: "image", Addr: ep("192.0.2.10:10002"), Codecs: "t38", Mode: "sendrecv", From: at(20 * sec), Epoch: 1})
	c.Streams[1].Epoch = 1
	c.Streams[0].XR = record.XR{Reports: 6, Loss: 0.4, Discard: 0.1, BurstLoss: 12.5, Burst: 120, RTT: 22, EndDelay: 61, Signal: -21, Noise: -70, RERL: -1, R: 88, ExternalR: -1, MOSLQ: 4.2, MOSCQ: 4.1, JitterBuffer: 40, JitterMax: 80}
	digit := func(d time.Duration, from record.Side, digit string, m record.DigitMethod) record.Digit {
		return record.Digit{Time: at(d), From: from, Digit: digit, Method: m, Duration: 120, Volume: 10}
	}
	c.Digits = []record.Digit{
		digit(5*sec, record.SideCaller, "9", record.DigitRTP), digit(6*sec, record.SideCaller, "8", record.DigitRTP),
		digit(7*sec, record.SideCaller, "7", record.DigitRTP), digit(8*sec, record.SideCalled, "#", record.DigitINFO),
	}
	return c
}

func sampleQuality(c *record.Call) []*record.QualityReport {
	s := &c.Streams[0]
	return []*record.QualityReport{
		{ID: 1, Time: at(62 * time.Second), CallID: c.CallID, Kind: "session", Src: ep("203.0.113.20:5062"), LocalID: "<sip:1002@example.net>" + rude, Local: s.Dst, Remote: s.Src, SSRC: s.SSRC,
			Codec: "PCMA", XR: record.XR{Reports: 1, Loss: 0.5, Discard: 1, R: 85, ExternalR: -1, MOSLQ: 4.1, MOSCQ: 4.0, RTT: 25, EndDelay: -1, Signal: -1, Noise: -1, RERL: -1}},
		{ID: 2, Time: at(63 * time.Second), CallID: c.CallID, Kind: "alert", XR: record.XR{Loss: 7.5, MOSLQ: -1, MOSCQ: -1, RTT: -1, EndDelay: -1}},
	}
}

func sampleLinks(c *record.Call) []*record.Link {
	return []*record.Link{
		{ID: 1, First: c.ID, Second: 7, Start: c.Start, Other: busyCall().Start, Reason: record.LinkSessionID, Key: c.SessionID, Score: 100},
		{ID: 2, First: 99, Second: c.ID, Start: 5, Other: c.Start, Reason: record.LinkScore, Score: 72},
	}
}

// signalStore is a store with a record of everything.
func signalStore(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "calls.db")
	s, err := newStoreSink(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range everything() {
		if err := s.take(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.take("nothing"); err == nil {
		t.Error("a string is stored")
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// everything is records of all types.
func everything() []any {
	c := linkedCall()
	out := []any{c, busyCall(), &record.Stream{SSRC: 5, First: t0, Last: t0}}
	for _, r := range sampleRegistrations() {
		out = append(out, r)
	}
	for _, e := range sampleExchanges() {
		out = append(out, e)
	}
	for _, e := range sampleEvents() {
		out = append(out, e)
	}
	for _, l := range sampleLinks(c) {
		out = append(out, l)
	}
	for _, q := range sampleQuality(c) {
		out = append(out, q)
	}
	return out
}

func TestListCommands(t *testing.T) {
	db := signalStore(t)
	for _, tc := range []struct{ name, args string }{
		{"registrations.txt", "registrations --utc --width 80"},
		{"registrations-wide.txt", "registrations --utc --oldest-first"},
		{"registrations-failed.txt", "registrations --utc --width 120 --failed --state rejected,expired"},
		{"events.txt", "events --utc --width 80"},
		{"events-wide.txt", "events --utc --ascii --kind auth-failed,reg-new"},
		{"messages.txt", "messages --utc --width 80"},
		{"messages-wide.txt", "messages --utc"},
		{"subscriptions.txt", "subscriptions --utc --width 80"},
		{"subscriptions-wide.txt", "subscriptions --utc --kind subscription"},
		{"peers.txt", "peers --utc --width 80"},
		{"peers-wide.txt", "peers --utc --state down"},
		{"messages-none.txt", "messages --number 4711"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv("LC_ALL", "C.UTF-8")
			args := append(strings.Fields(tc.args), "--db", db)
			code, out, errs := run(t, args...)
			if code != exitOK || errs != "" {
				t.Fatalf("exit %d, stderr %q", code, errs)
			}
			golden(t, tc.name, out)
			if strings.ContainsAny(out, "\x1b\a") {
				t.Error("control characters from the network reach the terminal")
			}
			if strings.Contains(tc.args, "--width 80") {
				fits(t, 80, out)
			}
		})
	}
}

// Each list exports what the store has, and pages, like "calls".
func TestListExports(t *testing.T) {
	db := signalStore(t)
	registrations, exchanges, events := sampleRegistrations(), sampleExchanges(), sampleEvents()
	for _, tc := range []struct {
		args  string
		kind  string
		count int
		first any // of the JSON
		into  func() any
		csv   map[string]string // of the first row
	}{
		{"registrations --oldest-first", "registration", 3, registrations[0], func() any { return new(record.Registration) },
			map[string]string{"aor": "1001@example.com", "start": "2026-01-05T10:00:00Z", "state": "registered", "registers": "12", "rtt_ms": "12.340", "registrar": "198.51.100.1:5060", "transport": "udp"}},
		{"events --oldest-first", "event", 3, events[0], func() any { return new(record.Event) },
			map[string]string{"kind": "reg-new", "time": "2026-01-05T10:00:00Z", "aor": "1001@example.com", "count": "1", "status": "200"}},
		{"messages --oldest-first", "exchange", 2, exchanges[0], func() any { return new(record.Exchange) },
			map[string]string{"kind": "message", "caller": "1001", "text": "Lunch?\nAt noon," + rude + " in the small room behind the kitchen", "size": "62", "status": "202"}},
		{"subscriptions --oldest-first", "exchange", 2, exchanges[2], func() any { return new(record.Exchange) },
			map[string]string{"kind": "subscription", "event": "dialog", "notifies": "17", "expires_s": "3600"}},
		{"peers --oldest-first", "exchange", 2, exchanges[4], func() any { return new(record.Exchange) },
			map[string]string{"kind": "options", "state": "up", "timeouts": "1", "caller_addr": "192.0.2.10:5060"}},
	} {
		name := strings.Fields(tc.args)[0]
		t.Run(name, func(t *testing.T) {
			args := append(strings.Fields(tc.args), "--db", db)
			code, out, errs := run(t, append(args, "--json", "--limit", "1")...)
			if code != exitOK || !strings.HasPrefix(errs, "more: --cursor ") {
				t.Fatalf("exit %d, stderr %q, want a cursor", code, errs)
			}
			var typed struct{ Type string }
			got := tc.into()
			if err := json.Unmarshal([]byte(out), &typed); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(out), got); err != nil {
				t.Fatal(err)
			}
			if typed.Type != tc.kind || !reflect.DeepEqual(got, tc.first) {
				t.Errorf("type %q, record %+v\nwant %q, %+v", typed.Type, got, tc.kind, tc.first)
			}
			cursor := strings.TrimSpace(strings.TrimPrefix(errs, "more: --cursor "))
			if _, rest, _ := run(t, append(args, "--json", "--cursor", cursor)...); strings.Count(rest, "\n") != tc.count-1 {
				t.Errorf("after the first of %d: %q", tc.count, rest)
			}
			if _, n, _ := run(t, append(args, "--count")...); n != fmt.Sprintln(tc.count) {
				t.Errorf("count %q, want %d", n, tc.count)
			}
			_, table, _ := run(t, append(args, "--csv")...)
			rows, err := csv.NewReader(strings.NewReader(table)).ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			if len(rows) != tc.count+1 {
				t.Fatalf("%d rows, want a header and %d", len(rows), tc.count)
			}
			for i, column := range rows[0] {
				if want, ok := tc.csv[column]; ok && rows[1][i] != want {
					t.Errorf("column %s is %q, want %q", column, rows[1][i], want)
				}
				delete(tc.csv, column)
			}
			if len(tc.csv) > 0 {
				t.Errorf("no columns %v", tc.csv)
			}
		})
	}
}

func TestListErrors(t *testing.T) {
	for _, tc := range []struct{ args, says string }{
		{"registrations", "no store named"},
		{"registrations --db x --state gone", `state "gone": not one of registered`},
		{"registrations --db x --addr host", `parse address "host"`},
		{"events --db x --kind call", `event "call": not one of call-start`},
		{"events --db x --kind", "flag needs an argument"},
		{"messages --db x --state up", `state "up": not one of ok, failed, timeout, pending`},
		{"subscriptions --db x --kind options", "write subscription or publication"},
		{"peers --db x --state idle", "not one of up, down, pending"},
		{"peers --db x --json --csv", "list peers: choose one of"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			code, _, errs := run(t, strings.Fields(tc.args)...)
			if code != exitUsage || !strings.Contains(errs, tc.says) {
				t.Errorf("exit %d, stderr %q, want %q in it", code, errs, tc.says)
			}
		})
	}
}

func TestLinkedCallPage(t *testing.T) {
	c := linkedCall()
	other := busyCall()
	page := callPage{call: c, reports: nil}
	for _, q := range sampleQuality(c) {
		page.reports = append(page.reports, *q)
	}
	for i, l := range sampleLinks(c) {
		linked := store.LinkedCall{Link: *l, OtherID: 99}
		if i == 0 {
			linked.OtherID, linked.Call = other.ID, &store.Row{Call: *other}
		}
		page.links = append(page.links, linked)
	}
	shown := page
	shown.digits = true
	for _, tc := range []struct {
		name string
		look look
		page callPage
	}{
		{"call-linked.txt", wide, page},
		{"call-linked-ascii.txt", plain, page},
		{"call-linked-digits.txt", look{width: 120, zone: time.UTC}, shown},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := writeCall(&b, tc.look, tc.page); err != nil {
				t.Fatal(err)
			}
			golden(t, tc.name, b.String())
			fits(t, tc.look.width, b.String())
			if strings.ContainsAny(b.String(), "\x1b\a") {
				t.Error("control characters from the network reach the terminal")
			}
			if strings.Contains(b.String(), "SECRET") {
				t.Error("the page shows a key")
			}
		})
	}
}

// The call command shows what other tables have of a call, and hides what is
// nobody's business.
func TestCallCommandOfLinkedCall(t *testing.T) {
	t.Setenv("LC_ALL", "C.UTF-8")
	db := signalStore(t)
	id := linkedCall().CallID
	_, page, _ := run(t, "call", "--db", db, id)
	for _, want := range []string{"Linked calls: 2", "session-id", "id 99, not stored", "4 digits", "--digits shows them", "Reports of endpoints: 2",
		"SDES key kept (AES_CM_128_HMAC_SHA1_80 AES_256_CM_HMAC_SHA1_80)", "vxlan 4711", "T.38 from +20.000 s", "re-offer 1"} {
		if !strings.Contains(strings.Join(strings.Fields(page), " "), want) { // wherever lines are broken
			t.Errorf("the page does not say %q:\n%s", want, page)
		}
	}
	_, digits, _ := run(t, "call", "--db", db, "--digits", id)
	if !strings.Contains(digits, "+5.000 s, 9, rtp, 120 ms") || strings.Contains(page, ", 9, rtp") {
		t.Errorf("digits with --digits:\n%s\nwithout:\n%s", digits, page)
	}
	_, lines, _ := run(t, "call", "--db", db, "--json", id)
	var types []string
	for l := range strings.Lines(lines) {
		var v struct {
			Type string `json:"type"`
		}
		if err := json.Unmarshal([]byte(l), &v); err != nil {
			t.Fatal(err)
		}
		types = append(types, v.Type)
	}
	if want := []string{"", "link", "link", "quality", "quality"}; !reflect.DeepEqual(types, want) {
		t.Errorf("JSON lines of types %q, want %q", types, want)
	}
	_, with, _ := run(t, "call", "--db", db, "--json", "--keys", id)
	_, list, _ := run(t, "calls", "--db", db, "--json")
	_, listWith, _ := run(t, "calls", "--db", db, "--json", "--keys")
	for text, want := range map[string]bool{lines: false, list: false, with: true, listWith: true} {
		if strings.Contains(text, "TOPSECRETKEY") != want {
			t.Errorf("keys in the JSON: %v, want %v", !want, want)
		}
	}
}

// A JSON export of a read has a line for every record, each of its type.
func TestReadExportsEverything(t *testing.T) {
	for _, keys := range []bool{false, true} {
		var b bytes.Buffer
		s := newJSON(keepOpen{&b}, keys)
		c := linkedCall()
		for _, r := range append(everything(), c) {
			if err := s.take(r); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.take("nothing"); err == nil {
			t.Error("a string has a form in JSON")
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
		got := map[string]int{}
		for l := range strings.Lines(b.String()) {
			var v struct {
				Type   string `json:"type"`
				Orphan bool   `json:"orphan"`
			}
			if err := json.Unmarshal([]byte(l), &v); err != nil {
				t.Fatal(err)
			}
			if v.Orphan {
				v.Type = "orphan"
			}
			got[v.Type]++
		}
		want := map[string]int{"": 3, "orphan": 1, "registration": 3, "exchange": 6, "event": 3, "link": 2, "quality": 2}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("lines %v, want %v", got, want)
		}
		if strings.Contains(b.String(), "TOPSECRETKEY") != keys {
			t.Errorf("with keys %v: the opposite", keys)
		}
		if c.Media[0].Crypto == "" {
			t.Error("the export takes the key out of the record, which others have too")
		}
	}
}

func TestSignalSummary(t *testing.T) {
	var sum tally
	for _, r := range everything() {
		sum.take(r)
	}
	r := report{
		frames: 3, balanced: true, ledger: []row{{"decode", "arp", 3}},
		duplicates: []row{{"", "sip", 12}, {"", "rtp", 34567}},
		mirrors:    []mirror{{0, 1.98, at(time.Minute)}, {1, 1.001, 0}, {2, 2, 0}},
		unreadTLS:  77,
	}
	var b bytes.Buffer
	if err := writeSummary(&b, wide, &sum, &r); err != nil {
		t.Fatal(err)
	}
	golden(t, "summary-signals.txt", b.String())
	fits(t, 80, b.String())
	if strings.ContainsAny(b.String(), "\x1b\a") {
		t.Error("control characters from the network reach the terminal")
	}
	var backwards tally
	all := everything()
	for i := range all {
		backwards.take(all[len(all)-1-i])
	}
	var again bytes.Buffer
	if err := writeSummary(&again, wide, &backwards, &r); err != nil {
		t.Fatal(err)
	}
	if again.String() != b.String() {
		t.Errorf("the order of the records changes the summary:\n%s", again.String())
	}
}

// The ledger of a capture with fragments has a sum for them.
func TestLedgerOfFragments(t *testing.T) {
	from := daemon.Report{Frames: 100, Packets: 72, Ledger: []daemon.LedgerRow{
		{Stage: daemon.StageDecode, Reason: "arp", Count: 10},
		{Stage: daemon.StageFragment, Reason: "used", Count: 21}, {Stage: daemon.StageFragment, Reason: "timed-out", Count: 2},
		{Stage: daemon.StageDatagram, Reason: "packet", Count: 4}, {Stage: daemon.StageDatagram, Reason: "fragment", Count: 1}, {Stage: daemon.StageDatagram, Reason: "truncated-ip", Count: 3},
		{Stage: daemon.StageKind, Reason: "sip", Count: 72},
	}}
	r := report{frames: from.Frames, balanced: true}
	r.ledgerOf(&from)
	var b strings.Builder
	ledgerSummary(&b, &r)
	golden(t, "ledger-fragments.txt", b.String())
	fits(t, 80, b.String())

	lost := from
	lost.Ledger = slices.Clone(from.Ledger)
	lost.Ledger[1].Count = 20 // a fragment that nobody accounts for
	r = report{frames: lost.Frames, balanced: true}
	r.ledgerOf(&lost)
	b.Reset()
	if ledgerSummary(&b, &r); !strings.Contains(b.String(), "DOES NOT BALANCE: -1 against the 23 read") {
		t.Errorf("a fragment is missing, and the ledger says\n%s", b.String())
	}
}

// A flood of names takes no more memory than its bound, and is counted.
func TestMostIsBounded(t *testing.T) {
	var m most[int]
	for i := range mostKeys + 1000 {
		m.add(i, 1)
	}
	m.add(3, 5)
	m.add(4, 0)
	if len(m.counts) != mostKeys || m.others != 1000 {
		t.Errorf("%d keys, %d others, want %d and 1000", len(m.counts), m.others, mostKeys)
	}
	top := m.top(2, func(i int) string { return fmt.Sprintf("%06d", i) })
	if want := []row{{"", "000003", 6}, {"", "000000", 1}}; !reflect.DeepEqual(top, want) {
		t.Errorf("top %v, want %v", top, want)
	}
}

// Times without a zone are in the zone of the times that are shown, wherever
// --utc stands.
func TestTimesInZone(t *testing.T) {
	local := time.Local
	time.Local = time.FixedZone("east", 5*3600)
	defer func() { time.Local = local }()
	db := signalStore(t) // events at 10:00:00, 10:00:01 and 10:01:00 UTC
	for _, tc := range []struct{ flags, want string }{
		{"--from 2026-01-05T10:01:00 --utc", "1\n"},
		{"--utc --to 2026-01-05T10:00:01", "1\n"},
		{"--from 2026-01-05T15:01:00", "1\n"},
		{"--from 2026-01-05T10:01:00", "3\n"},
		{"--utc --from 2026-01-05T15:01:00+05:00", "1\n"},
	} {
		t.Run(tc.flags, func(t *testing.T) {
			if code, n, errs := run(t, append(strings.Fields("events --count "+tc.flags), "--db", db)...); code != exitOK || n != tc.want {
				t.Errorf("exit %d, %q, want %q; %s", code, n, tc.want, errs)
			}
		})
	}
}
