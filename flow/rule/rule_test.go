package rule

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"ringside/flow/record"
	"ringside/flow/sip"
)

func parse(t testing.TB, text string) *Set {
	t.Helper()
	s, err := Parse(text)
	if err != nil {
		t.Fatalf("%s\nin:\n%s", err, text)
	}
	return s
}

// message is a SIP message with further header lines.
func message(t testing.TB, start, cseq string, headers ...string) *sip.Message {
	t.Helper()
	text := start + "\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:+4930123@example.com>;tag=1\r\n" +
		"To: <sip:112@Example.NET>\r\nCall-ID: 1\r\nCSeq: 1 " + cseq + "\r\n"
	for _, h := range headers {
		text += h + "\r\n"
	}
	m := new(sip.Message)
	if _, err := m.Parse([]byte(text + "\r\n")); err != nil {
		t.Fatal(err)
	}
	return m
}

var (
	caller = netip.MustParseAddr("10.1.2.3")
	called = netip.MustParseAddr("2001:db8::7")
)

// invite is the first message of a call: Monday, 2026-01-05, 10:00 UTC.
func invite(t testing.TB, headers ...string) Subject {
	t.Helper()
	x := SubjectOf(message(t, "INVITE sip:112@example.net SIP/2.0", "INVITE", headers...), caller, called)
	x.Time, x.Sensor, x.VLAN, x.Iface = 1767607200_000000000, 7, 100, 2
	return x
}

func response(t testing.TB, status string, headers ...string) Subject {
	t.Helper()
	x := SubjectOf(message(t, "SIP/2.0 "+status+" X", "INVITE", headers...), called, caller)
	x.Time, x.Sensor, x.VLAN, x.Iface = 1767607200_000000000, 7, 100, 2
	return x
}

// Each condition by itself, with the first message of a call.
func TestConditions(t *testing.T) {
	x := invite(t, "User-Agent: Phone 1.2 (friendly)", "X-Tenant: Acme  GmbH", "X-Tenant: second", "s: hello")
	x.Outcome = record.Busy
	for _, tc := range []struct {
		cond string
		want bool
	}{
		{"address 10.0.0.0/8", true},
		{"address 10.1.2.3", true},
		{"address 2001:db8::/32", true},
		{"address 192.0.2.0/24|::ffff:10.1.0.0/112", true},
		{"address 192.0.2.0/24", false},
		{"not address 192.0.2.0/24", true},
		{"caller-address 10.1.2.3", true},
		{"caller-address 2001:db8::7", false},
		{"called-address 2001:db8::7", true},
		{"number 112", true},
		{"number +4930*", true},
		{"number 930*", false},
		{"caller *0123", true},
		{"caller *3012*", true},
		{"caller 112", false},
		{"called 112|911*", true},
		{"called 11", false},
		{"called *", true},
		{`called ""`, false},
		{`called "112"`, true},
		{`called \112`, true},
		{`called \*`, false},
		{"domain example.net", true},
		{"domain EXAMPLE.COM", true},
		{"domain *.net", true},
		{"domain example", false},
		{"header X-Tenant exists", true},
		{"header x-tenant is acme*", true},
		{"header x-tenant is second", true},
		{"header X-Tenant is acme", false},
		{`header X-Tenant contains "  gmb"`, true},
		{"header X-Other exists", false},
		{"not header X-Other exists", true},
		{"header Subject is hello", true},
		{"agent phone*", true},
		{"agent *FRIENDLY*", true},
		{"agent phone", false},
		{"method INVITE", true},
		{"method REGISTER|MESSAGE", false},
		{"direction out", true},
		{"direction in|internal|transit", false},
		{"sensor 7", true},
		{"sensor 1-6|8", false},
		{"interface 2", true},
		{"vlan 100", true},
		{"vlan none", false},
		{"not vlan none", true},
		{"time Mon", true},
		{"time 10:00-10:01", true},
		{"time Tue-Sun|Mon 09:00-10:00", false},
		{"status 2xx", false},
		{"not status 2xx", false}, // nothing is known of it yet
		{"outcome busy|no-answer", true},
		{"outcome answered", false},
		{"not outcome answered", true},
		{"called 113 or caller *123", true},
		{"called 112, caller 1", false},
		{"called 112, called 113 or caller *123", true},
		{"mos < 4", false}, // not known
	} {
		t.Run(tc.cond, func(t *testing.T) {
			s := parse(t, "zone UTC\nlocal 10.0.0.0/8\nrule a: "+tc.cond+" -> rtp full")
			if p := s.Decide(&x); (p.Rule == 1) != tc.want || (p.Want[RTP] == Full) != tc.want {
				t.Errorf("decides %+v, want the rule: %v", p, tc.want)
			}
		})
	}
}

// What is not known neither holds nor fails.
func TestUnknown(t *testing.T) {
	empty := Subject{Iface: -1, VLAN: -1}
	for _, cond := range []string{"address 10.0.0.0/8", "called-address 10.0.0.0/8", "header X exists", "agent a*", "method INVITE",
		"direction in", "interface 1", "time Mon", "status 486", "outcome busy"} {
		for _, not := range []string{"", "not "} {
			s := parse(t, "zone UTC\nlocal 10.0.0.0/8\nrule a: "+not+cond+" -> rtp full")
			if p := s.Decide(&empty); p.Rule != 0 {
				t.Errorf("%s%s decides about a call that nothing is known of", not, cond)
			}
		}
	}
}

func TestStatus(t *testing.T) {
	for _, tc := range []struct {
		cond, status string
		want         bool
	}{
		{"status 486", "486", true},
		{"status 4xx", "486", true},
		{"status 400-499", "404", true},
		{"status 4xx", "503", false},
		{"not status 2xx", "180", false},
		{"not status 2xx", "401", false},
		{"not status 2xx", "486", true},
		{"status 4xx", "401", false}, // a challenge
		{"status 401|407", "407", true},
		{"status 183", "183", true},
	} {
		t.Run(tc.cond+" "+tc.status, func(t *testing.T) {
			x := response(t, tc.status)
			if p := parse(t, "rule a: "+tc.cond+" -> rtp full").Decide(&x); (p.Rule == 1) != tc.want {
				t.Errorf("decides: %v, want %v", p.Rule == 1, tc.want)
			}
		})
	}
}

// A response to BYE tells nothing of the call's status, and the parties of a
// response are those of its request.
func TestSubjectOf(t *testing.T) {
	x := response(t, "200")
	if x.Status != 200 || x.CallerAddr != caller || x.CalledAddr != called || string(x.Method) != "INVITE" {
		t.Errorf("response: %+v", x)
	}
	bye := SubjectOf(message(t, "SIP/2.0 200 OK", "BYE", "Server: b"), called, caller)
	if bye.Status != 0 || len(bye.Method) != 0 || string(bye.Agent) != "b" {
		t.Errorf("response to BYE: %+v", bye)
	}
}

func TestHours(t *testing.T) {
	for _, tc := range []struct {
		cond, at string // in Berlin
		want     bool
	}{
		{"Mon-Fri 08:00-18:00", "2026-01-05 08:00", true},
		{"Mon-Fri 08:00-18:00", "2026-01-05 17:59", true},
		{"Mon-Fri 08:00-18:00", "2026-01-05 18:00", false},
		{"Mon-Fri 08:00-18:00", "2026-01-04 12:00", false},
		{"Sat-Mon", "2026-01-04 12:00", true},
		{"Sat-Mon", "2026-01-06 12:00", false},
		{"Mon 22:00-06:00", "2026-01-05 23:00", true},
		{"Mon 22:00-06:00", "2026-01-06 05:59", true},
		{"Mon 22:00-06:00", "2026-01-05 05:59", false},
		{"Sun 22:00-06:00", "2026-01-05 05:59", true},
		{"22:00-24:00", "2026-01-05 23:59", true},
		{"22:00-24:00", "2026-01-05 00:00", false},
		{"07:30-08:00", "2026-07-06 07:30", true}, // summer time
	} {
		t.Run(tc.cond+" "+tc.at, func(t *testing.T) {
			zone, err := time.LoadLocation("Europe/Berlin")
			if err != nil {
				t.Fatal(err)
			}
			at, err := time.ParseInLocation("2006-01-02 15:04", tc.at, zone)
			if err != nil {
				t.Fatal(err)
			}
			x := Subject{Time: at.UnixNano()}
			if p := parse(t, "zone Europe/Berlin\nrule a: time "+tc.cond+" -> rtp full").Decide(&x); (p.Rule == 1) != tc.want {
				t.Errorf("decides: %v, want %v", p.Rule == 1, tc.want)
			}
		})
	}
}

const example = `# what we keep
zone Europe/Berlin
rule optout: header X-Privacy is full -> sip full, rtp none
rule bad: mos < 3.5 or loss > 5% -> rtp full, lookback 30s
rule failed: status 5xx, caller +49* -> rtp header, lookback 10s
rule worse: jitter > 50ms, called 112 -> rtp full
rule emergency: called 112|911* -> rtp header
default -> sip full, rtp none, register full
`

// The first rule that holds decides; one above may take over later, one below
// may not, and nothing becomes less.
func TestPolicy(t *testing.T) {
	s := parse(t, example)
	x := invite(t)
	p := s.Decide(&x)
	if s.Name(p) != "emergency" || p.Want != [Classes]Level{Full, Header, Full} || p.Watch != 3 || p.LookBack != 0 {
		t.Fatalf("INVITE: %s %+v", s.Name(p), p)
	}
	if q, fired := s.Fires(p, Quality{MOS: 4, Loss: 1, Jitter: 50}); fired || q != p {
		t.Errorf("a good call fires: %+v", q)
	}
	worse, fired := s.Fires(p, Quality{MOS: 4, Jitter: 51})
	if !fired || s.Name(worse) != "worse" || worse.Want[RTP] != Full || worse.Watch != 1 {
		t.Errorf("jitter: %v %+v", fired, worse)
	}
	failed := response(t, "503")
	p = s.Again(p, &failed)
	if s.Name(p) != "failed" || p.Want[RTP] != Header || p.LookBack != 10*time.Second || p.Watch != 1 {
		t.Fatalf("503: %s %+v", s.Name(p), p)
	}
	if q, fired := s.Fires(p, Quality{Jitter: 100}); fired {
		t.Errorf("a rule below fires: %+v", q)
	}
	p, fired = s.Fires(p, Quality{MOS: 3.4})
	if !fired || s.Name(p) != "bad" || p.Want[RTP] != Full || p.LookBack != 30*time.Second || p.Watch != 0 {
		t.Fatalf("bad: %v %s %+v", fired, s.Name(p), p)
	}
	if q := s.Again(p, &x); q != p {
		t.Errorf("a further message changes it: %+v", q)
	}
	late := invite(t, "X-Privacy: full")
	if q := s.Again(p, &late); s.Name(q) != "optout" || q.Want[RTP] != Full {
		t.Errorf("it became less: %s %+v", s.Name(q), q)
	}
	// What the first message rules out stays out, though a response has no such header.
	p = s.Decide(&late)
	if q := s.Again(p, &failed); q != p || q.Want[RTP] != None || q.Watch != 0 {
		t.Errorf("opted out, and yet: %+v", q)
	}
	if s.MayWant(RTP) != Full || s.MayWant(Register) != Full || s.LookBack() != 30*time.Second {
		t.Errorf("at most: rtp %s, look-back %s", s.MayWant(RTP), s.LookBack())
	}
	if n := unsafe.Sizeof(p); n > 32 {
		t.Errorf("a policy has %d bytes", n)
	}
}

// Of rules that capture was not set up for, one is named that asks for more itself.
func TestBeyond(t *testing.T) {
	start := parse(t, "rule bad: mos < 3 -> rtp header, lookback 10s\ndefault -> rtp none\n")
	for _, tc := range []struct{ name, text, rule, why string }{
		{"the same", start.String(), "", ""},
		{"less", "default -> rtp none\n", "", ""},
		{"other conditions", "rule a: number 1 -> rtp header\nrule b: loss > 5% -> rtp header, lookback 5s\n", "", ""},
		{"RTP", "rule a: number 1 -> rtp header\nrule b: number 2 -> rtp full\nrule c: number 3 -> rtp full\n", "b", "b wants more of RTP (full) than any rule did at the start (header)"},
		{"back", "rule a: mos < 3 -> rtp header, lookback 10s\nrule b: mos < 2 -> rtp header, lookback 20s\n", "b", "b looks back further (20s) than any rule did at the start (10s)"},
		{"the default", "rule a: number 1 -> sip none\ndefault -> rtp full\n", "default", "default wants more of RTP (full) than any rule did at the start (header)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, why := parse(t, tc.text).Beyond(start)
			if why != tc.why || (r == nil) != (why == "") || r != nil && r.Name != tc.rule {
				t.Errorf("%+v, %q; want %s, %q", r, why, tc.rule, tc.why)
			}
		})
	}
}

func TestEmptySet(t *testing.T) {
	s := parse(t, "# nothing\n\n")
	x := invite(t)
	if p := s.Decide(&x); p != (Policy{Want: [Classes]Level{Full, None, Full}}) || s.Name(p) != "default" {
		t.Errorf("%+v", p)
	}
	if s.MayWant(RTP) != None || s.LookBack() != 0 {
		t.Errorf("nothing wants RTP, but %s", s.MayWant(RTP))
	}
}

func TestEverything(t *testing.T) {
	x := invite(t)
	if p := Everything().Decide(&x); p.Want != [Classes]Level{Full, Full, Full} {
		t.Errorf("%+v", p)
	}
	if s := parse(t, Everything().String()).String(); s != "default -> sip full, rtp full, register full\n" {
		t.Errorf("as text: %s", s)
	}
}

// One set serves many goroutines.
func TestConcurrent(t *testing.T) {
	s := parse(t, example)
	x := invite(t)
	want := s.Decide(&x)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			y := x
			for range 1000 {
				if p := s.Decide(&y); p != want {
					t.Errorf("decides %+v", p)
					return
				}
			}
		})
	}
	wg.Wait()
}

// Deciding costs no memory, whatever is asked.
func TestNoAllocation(t *testing.T) {
	s := parse(t, "zone Europe/Berlin\nlocal 10.0.0.0/8\n"+
		"rule a: address 192.0.2.0/24 or domain *.org or agent *x* or header X-Tenant contains z or not header From exists -> rtp full\n"+
		"rule b: time Sun, direction in, method BYE, sensor 1, vlan 1, interface 1, number *99* -> rtp full\n"+
		"rule c: loss > 1%, called 1* -> rtp full\n"+
		"rule d: status 2xx, outcome busy -> rtp full")
	x := invite(t, "User-Agent: Phone", "X-Tenant: acme")
	y := response(t, "200")
	var p Policy
	if n := testing.AllocsPerRun(100, func() {
		p = s.Decide(&x)
		p = s.Again(p, &y)
		p, _ = s.Fires(p, Quality{Loss: 2})
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if s.Name(p) != "c" {
		t.Errorf("decided by %s", s.Name(p))
	}
	if n := testing.AllocsPerRun(100, func() {
		z := SubjectOf(x.Message, caller, called)
		p = s.Decide(&z)
	}); n != 0 {
		t.Errorf("%v allocations with the subject made", n)
	}
}

func TestTry(t *testing.T) {
	s := parse(t, example)
	ap := func(a string) netip.AddrPort { return netip.MustParseAddrPort(a) }
	call := func(change func(*record.Call)) *record.Call {
		c := &record.Call{
			Start: 1767607200_000000000, VLAN: -1, Outcome: record.Answered, LastStatus: 200,
			Caller:   record.Party{Number: "+491", Addr: ap("10.0.0.1:5060")},
			Called:   record.Party{Number: "1001", Addr: ap("10.0.0.2:5060")},
			Messages: []record.Message{{Method: "INVITE"}, {Method: "INVITE", Status: 200}},
		}
		change(c)
		return c
	}
	stream := func(mos float64, lost uint64) func(*record.Call) {
		return func(c *record.Call) {
			c.Streams = []record.Stream{{Counters: record.Counters{Expected: 100, Lost: lost}, MOS: record.MOS{LQ: mos + 1, Min: mos}}}
		}
	}
	for _, tc := range []struct {
		name, rule string
		rtp        Level
		change     func(*record.Call)
	}{
		{"plain", "default", None, func(*record.Call) {}},
		{"number", "emergency", Header, func(c *record.Call) { c.Called.Number = "9113" }},
		{"status", "failed", Header, func(c *record.Call) { c.LastStatus, c.Messages = 503, nil }},
		{"an earlier status", "failed", Header, func(c *record.Call) { c.Messages[1].Status = 503 }},
		{"worst interval", "bad", Full, stream(3.1, 0)},
		{"loss", "bad", Full, stream(4, 6)},
		{"good", "default", None, stream(4, 5)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := s.Try(call(tc.change))
			if s.Name(d.Policy) != tc.rule || d.Want[RTP] != tc.rtp {
				t.Errorf("decided by %s, rtp %s", s.Name(d.Policy), d.Want[RTP])
			}
			if len(d.Unknown) != 1 || d.Unknown[0] != "rule optout: header x-privacy is full" {
				t.Errorf("unknown: %q", d.Unknown)
			}
		})
	}
	// Something else rules the rule out: its header is of no interest.
	s = parse(t, "rule a: header X exists, called 5 -> rtp full\nrule b: header X exists or called 1001 -> rtp full")
	if d := s.Try(call(func(*record.Call) {})); d.Rule != 2 || len(d.Unknown) != 0 {
		t.Errorf("%+v", d)
	}
}

func TestMeaning(t *testing.T) {
	s := parse(t, example)
	for i, want := range []string{
		"if the header x-privacy is full: store signalling whole, RTP not at all, registrations whole",
		"if the MOS of a stream turns lower than 3.5, or the packet loss of a stream turns higher than 5%: store signalling whole, RTP whole, registrations whole; with the 30s before the rule came true",
		"if a status that the caller gets is 5xx, and the number of the caller is +49*: store signalling whole, RTP headers only, registrations whole; with the 10s before the rule came true",
	} {
		if got := s.Rules()[i].Meaning(); got != want {
			t.Errorf("means %q, want %q", got, want)
		}
	}
	if got := s.Default().Meaning(); got != "in all other cases: store signalling whole, RTP not at all, registrations whole" {
		t.Errorf("default means %q", got)
	}
}

func TestWarnings(t *testing.T) {
	s := parse(t, "rule a: caller 1 -> rtp full, lookback 5s\nrule b: loss > 1% -> sip full\nrule c: -> rtp none\nrule d: called 1 -> rtp full")
	got := strings.Join(s.Warnings(), "\n")
	for _, want := range []string{"line 1: rule a is true", "line 2: rule b stores what", "line 4: rule d is never asked: rule c"} {
		if !strings.Contains(got, want) {
			t.Errorf("no warning %q in:\n%s", want, got)
		}
	}
	if n := len(s.Warnings()); n != 3 {
		t.Errorf("%d warnings:\n%s", n, got)
	}
	for text, want := range map[string]string{
		"rule a: outcome busy -> rtp full":                                 "line 1: rule a comes true when the call is over",
		"rule a: outcome busy, agent x -> rtp full, lookback 1m":           "line 1: rule a never comes true",
		"rule a: header X-T is a or agent x, status 5xx -> rtp full":       "line 1: rule a comes true only by a response",
		"rule a: called-address 10.0.0.1 -> rtp full, lookback 1m":         "line 1: rule a is true from the first",
		"rule a: outcome busy, status 486 -> rtp full, lookback 1m":        "",
		"rule a: outcome busy or status 486, caller 1 -> rtp full":         "",
		"rule a: agent x or caller 1, status 4xx -> rtp full, lookback 1m": "",
	} {
		got := strings.Join(parse(t, text).Warnings(), "\n")
		if want == "" && got != "" || !strings.HasPrefix(got, want) {
			t.Errorf("%s: warns %q, want %q", text, got, want)
		}
	}
	if w := parse(t, example).Warnings(); len(w) != 0 {
		t.Errorf("the example warns: %q", w)
	}
}

// What the first message of a call costs, when none of the rules decides.
func BenchmarkDecide(b *testing.B) {
	x := invite(b, "User-Agent: Phone")
	for _, tc := range []struct{ name, text string }{
		{"example", example},
		{"1000 numbers", many(1000, "called 4930123456*|4940*")},
		{"1000 prefixes", many(1000, "address 192.0.2.0/24")},
		{"100 headers", many(100, "header X-Tenant is acme")},
	} {
		b.Run(tc.name, func(b *testing.B) {
			s := parse(b, tc.text)
			b.ReportAllocs()
			for b.Loop() {
				s.Decide(&x)
			}
		})
	}
}
