package register

import (
	"cmp"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"ringside/dataplane/frame"
	"ringside/flow/call"
	"ringside/flow/record"
	"ringside/flow/sip"
)

var rewrite = flag.Bool("rewrite", false, "write what the scripts in testdata print back into them")

// TestScripts runs the scripts in testdata. Each file holds cases:
//
//	run NAME [LIMIT=VALUE …]
//	a line for each thing that happens
//	----
//	what was called back
//	(an empty line)
//
// A line is one of
//
//	CLOCK SRC>DST METHOD CSEQ [OPTION …]         a request
//	CLOCK SRC>DST STATUS METHOD CSEQ [OPTION …]  a response
//	advance CLOCK
//	closeall CLOCK
//
// CLOCK is in seconds; CLOCK@TIME gives the message another capture time.
// Addresses are A, B, C (10.0.0.1, .2, .3), P, Q (10.0.0.8, .9), and X6
// (2001:db8::6), with port 5060 or as in A:5062. Alice, with the tag a, registers
// at example.com, and sends to Bob. Options are
//
//	call=ID from=TAG to=TAG (- for none)   user=NAME (registers)
//	branch=X vias=N                        auth: has credentials
//	contact=VALUE (' stands for a quote, no blanks)
//	"Name: value"                          another header field
//	body=TEXT                              (_ stands for a blank) with type=TYPE
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts in testdata: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			for i, c := range splitCases(t, string(b)) {
				t.Run(c.name, func(t *testing.T) {
					got := runScript(t, c)
					if i > 0 {
						out.WriteString("\n")
					}
					fmt.Fprintf(&out, "%s%s\n%s----\n%s", c.comment, c.head, c.script, got)
					if !*rewrite && got != c.want {
						t.Errorf("%s\n--- got\n%s--- want\n%s", c.script, got, c.want)
					}
				})
			}
			if *rewrite {
				if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

type scriptCase struct{ comment, head, name, script, want string }

func splitCases(t *testing.T, s string) (cases []scriptCase) {
	var c scriptCase
	part := 0 // 1: script, 2: output
	flush := func() {
		if part != 0 {
			cases = append(cases, c)
		}
		c, part = scriptCase{}, 0
	}
	for line := range strings.Lines(s) {
		trimmed := strings.TrimRight(line, "\n")
		switch {
		case part == 0 && strings.HasPrefix(line, "run "):
			c.head, c.name = trimmed, strings.Fields(trimmed)[1]
			part = 1
		case part == 0 && strings.HasPrefix(line, "#"):
			c.comment += line
		case part == 1 && trimmed == "----":
			part = 2
		case part == 1:
			c.script += line
		case part == 2 && trimmed == "":
			flush()
		case part == 2:
			c.want += line
		case trimmed != "":
			t.Fatalf("line outside of a case: %q", line)
		}
	}
	flush()
	return cases
}

const epoch = int64(1_700_000_000_000_000_000)

// script is a table with what it called back.
type script struct {
	t     testing.TB
	table *Table
	out   strings.Builder
	last  int64 // clock of the last callback
	ids   map[int64]bool
}

func newScript(t testing.TB, l Limits) *script {
	s := &script{t: t, ids: make(map[int64]bool)}
	s.table = New(Options{
		Limits: l,
		Sensor: 7,
		Registration: func(r *record.Registration, clock int64) {
			s.back(clock, r.ID)
			s.registration(r)
		},
		Exchange: func(x *record.Exchange, clock int64) {
			s.back(clock, x.ID)
			s.exchange(x)
		},
		Event: func(e *record.Event, clock int64) {
			s.back(clock, e.ID)
			s.event(e)
		},
	})
	return s
}

// back checks what holds for every callback: the clocks never fall, and no two
// records have the same ID.
func (s *script) back(clock, id int64) {
	if clock < s.last {
		s.t.Errorf("called back with clock %s after %s", ago(clock), ago(s.last))
	}
	if id <= 0 {
		s.t.Errorf("record has the id %d", id)
	}
	if s.ids[id] {
		s.t.Errorf("a second record has the id %d", id)
	}
	s.ids[id] = true
	s.last = clock
	s.printf("%s ", ago(clock))
}

func (s *script) printf(format string, args ...any) { fmt.Fprintf(&s.out, format, args...) }

func runScript(t *testing.T, c scriptCase) string {
	s := newScript(t, limitsOf(t, strings.Fields(c.head)[2:]))
	for line := range strings.Lines(c.script) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			s.line(line)
		}
	}
	st := s.table.Stats()
	for _, f := range []struct {
		name string
		n    uint64
	}{
		{"bound", st.Bound}, {"attempts", st.Attempts}, {"exchanges", st.Exchanges}, {"peers", st.Peers},
		{"copies", st.Copies}, {"repeated", st.Repeated}, {"stray", st.Stray}, {"ignored", st.Ignored},
		{"fetches", st.Fetches}, {"outdated", st.Outdated}, {"flaps", st.Flaps}, {"contacts cut", st.ContactsCut},
		{"transactions evicted", st.TransactionsEvicted}, {"attempts evicted", st.AttemptsEvicted},
		{"attempts refused", st.AttemptsRefused}, {"bindings evicted", st.BindingsEvicted}, {"exchanges evicted", st.ExchangesEvicted},
	} {
		if f.n != 0 {
			s.printf("%d %s\n", f.n, f.name)
		}
	}
	check(t, s.table)
	return s.out.String()
}

func limitsOf(t *testing.T, args []string) (l Limits) {
	for _, f := range args {
		name, value, _ := strings.Cut(f, "=")
		var n int
		var d time.Duration
		var err error
		if n, err = strconv.Atoi(value); err != nil {
			d, err = time.ParseDuration(value)
		}
		switch name {
		case "bindings":
			l.MaxBindings = n
		case "exchanges":
			l.MaxExchanges = n
		case "peers":
			l.MaxPeers = n
		case "transactions":
			l.MaxTransactions = n
		case "del-delay":
			l.DelDelay = d
		case "exp-delta":
			l.ExpDelta = d
		case "ignore-port":
			l.IgnoreContactPort, err = true, nil
		default:
			err = fmt.Errorf("no limit %q", name)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func (s *script) line(line string) {
	f := words(line)
	switch f[0] {
	case "advance":
		s.table.Advance(clockOf(s.t, f[1]))
	case "closeall":
		s.table.CloseAll(clockOf(s.t, f[1]))
	default:
		m, meta := messageOf(s.t, f)
		s.table.Message(m, meta)
	}
}

// words splits at blanks outside of quotes.
func words(line string) (out []string) {
	quoted := false
	for _, f := range strings.FieldsFunc(line, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return r == ' ' && !quoted
	}) {
		out = append(out, strings.Trim(f, `"`))
	}
	return out
}

func clockOf(t testing.TB, s string) int64 {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatalf("clock %q: %v", s, err)
	}
	return epoch + int64(f*1e6+0.5)*1000
}

func ago(ns int64) string {
	return strconv.FormatFloat(float64((ns-epoch)/1000)/1e6, 'f', -1, 64)
}

var hosts = map[string]string{"A": "10.0.0.1", "B": "10.0.0.2", "C": "10.0.0.3", "P": "10.0.0.8", "Q": "10.0.0.9", "X6": "2001:db8::6"}

func hostOf(t testing.TB, name string) frame.Endpoint {
	name, port, _ := strings.Cut(name, ":")
	ip, ok := hosts[name]
	n, err := strconv.ParseUint(cmp.Or(port, "5060"), 10, 16)
	if !ok || err != nil {
		t.Fatalf("no address %q: %v", name, err)
	}
	return frame.Endpoint{Addr: frame.AddrFrom(netip.MustParseAddr(ip)), Port: uint16(n)}
}

// messageOf writes the SIP message that a line means, and parses it.
func messageOf(t testing.TB, f []string) (*sip.Message, *call.Meta) {
	meta := &call.Meta{VLAN: -1, Transport: record.UDP}
	clock, at, both := strings.Cut(f[0], "@")
	meta.Clock = clockOf(t, clock)
	meta.Time = meta.Clock
	if both {
		meta.Time = clockOf(t, at)
	}
	src, dst, _ := strings.Cut(f[1], ">")
	meta.Src, meta.Dst = hostOf(t, src), hostOf(t, dst)
	b := messageText(t, f[2:])
	m := new(sip.Message)
	if _, err := m.Parse(b); err != nil {
		t.Fatalf("%v: %v\n%s", f, err, b)
	}
	return m, meta
}

var reasons = map[int]string{100: "Trying", 200: "OK", 202: "Accepted", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 407: "Proxy Authentication Required", 423: "Interval Too Brief", 481: "No Subscription", 503: "Service Unavailable"}

func messageText(t testing.TB, f []string) []byte {
	status := 0
	if n, err := strconv.Atoi(f[0]); err == nil {
		status = n
		f = f[1:]
	}
	method, cseq := f[0], f[1]
	o := map[string]string{"call": "c1", "from": "a", "user": "alice", "vias": "1"}
	if status > 100 {
		o["to"] = "b"
	}
	var extra []string
	for _, opt := range f[2:] {
		name, value, ok := strings.Cut(opt, "=")
		switch {
		case strings.Contains(opt, ": "):
			extra = append(extra, strings.ReplaceAll(opt, "'", `"`))
		case ok:
			o[name] = strings.Trim(value, "-")
		case opt == "auth":
			extra = append(extra, `Authorization: Digest username="alice-auth", realm="r", nonce="n"`)
		default:
			t.Fatalf("option %q", opt)
		}
	}
	vias, err := strconv.Atoi(o["vias"])
	if err != nil {
		t.Fatal(err)
	}
	branch := cmp.Or(o["branch"], method+cseq+o["vias"]+o["from"])
	to := "bob@example.com"
	if method == "REGISTER" || method == "PUBLISH" {
		to = o["user"] + "@example.com"
	}
	var b strings.Builder
	if status == 0 {
		fmt.Fprintf(&b, "%s sip:example.com SIP/2.0\r\n", method)
	} else {
		fmt.Fprintf(&b, "SIP/2.0 %d %s\r\n", status, reasons[status])
	}
	for i := range vias {
		if i == 0 {
			fmt.Fprintf(&b, "Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK%s\r\n", branch)
		} else {
			fmt.Fprintf(&b, "Via: SIP/2.0/UDP 10.0.0.%d;branch=z9hG4bKlower%d\r\n", i, i)
		}
	}
	tag := func(v string) string {
		if v == "" {
			return ""
		}
		return ";tag=" + v
	}
	fmt.Fprintf(&b, "From: <sip:%s@example.com>%s\r\nTo: <sip:%s>%s\r\n", o["user"], tag(o["from"]), to, tag(o["to"]))
	fmt.Fprintf(&b, "Call-ID: %s\r\nCSeq: %s %s\r\n", o["call"], cseq, method)
	if status == 0 {
		b.WriteString("User-Agent: Phone/1\r\n")
	}
	if v := o["contact"]; v != "" {
		fmt.Fprintf(&b, "Contact: %s\r\n", strings.ReplaceAll(v, "'", `"`))
	}
	for _, h := range extra {
		fmt.Fprintf(&b, "%s\r\n", h)
	}
	body := strings.ReplaceAll(o["body"], "_", " ")
	if body != "" {
		fmt.Fprintf(&b, "Content-Type: %s\r\n", cmp.Or(o["type"], "text/plain"))
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	return []byte(b.String())
}

func (s *script) event(e *record.Event) {
	s.printf("%s at=%s %s>%s %s", e.Kind, ago(e.Time), host(e.Src), host(e.Dst), e.AOR)
	s.nonzero(map[string]string{"target": e.Target, "call": e.CallID, "method": e.Method, "text": e.Text, "agent": e.Agent}, "target", "call", "method", "text")
	if e.Status != 0 {
		s.printf(" status=%d", e.Status)
	}
	s.printf("\n")
}

func (s *script) nonzero(values map[string]string, order ...string) {
	for _, k := range order {
		if v := values[k]; v != "" {
			s.printf(" %s=%q", k, v)
		}
	}
}

func (s *script) registration(r *record.Registration) {
	s.printf("registration %s %s %s>%s\n ", r.AOR, r.State, host(r.Src), host(r.Dst))
	s.nonzero(map[string]string{"contact": r.Contact, "instance": r.Instance, "path": r.Path, "call": r.CallID, "agent": r.Agent, "auth": r.AuthUser}, "contact", "instance", "path", "call", "agent", "auth")
	s.printf("\n  start=%s last=%s end=%s", ago(r.Start), ago(r.Last), ago(r.End))
	if r.ExpiresAt != 0 {
		s.printf(" expires=%d at=%s", r.Expires, ago(r.ExpiresAt))
	}
	s.numbers(
		count{"registers", r.Registers}, count{"successes", r.Successes}, count{"challenges", r.Challenges},
		count{"failures", r.Failures}, count{"timeouts", r.Timeouts}, count{"retrans", r.Retrans}, count{"status", uint32(r.LastStatus)},
	)
	s.printf(" %q rtt=%g/%g/%g", r.LastReason, r.RTT, r.RTTMin, r.RTTMax)
	if r.NATed {
		s.printf(" nat")
	}
	s.printf("\n")
}

type count struct {
	name string
	n    uint32
}

func (s *script) numbers(list ...count) {
	for _, x := range list {
		if x.n != 0 {
			s.printf(" %s=%d", x.name, x.n)
		}
	}
}

func (s *script) exchange(x *record.Exchange) {
	s.printf("%s %s", x.Kind, x.State)
	s.nonzero(map[string]string{"note": x.Note, "event": x.Event, "call": x.CallID, "type": x.ContentType, "text": x.Text}, "note", "event", "call", "type", "text")
	s.printf("\n  %s %s %s -> %s %s %s", x.Caller.Number, cmp.Or(x.Caller.Tag, "-"), host(x.Caller.Addr), x.Called.Number, cmp.Or(x.Called.Tag, "-"), host(x.Called.Addr))
	s.nonzero(map[string]string{"a": x.Caller.Agent, "b": x.Called.Agent}, "a", "b")
	s.printf("\n  start=%s last=%s end=%s", ago(x.Start), ago(x.Last), ago(x.End))
	s.numbers(
		count{"expires", x.Expires}, count{"requests", x.Requests}, count{"answered", x.Answered}, count{"failures", x.Failures},
		count{"timeouts", x.Timeouts}, count{"notifies", x.Notifies}, count{"retrans", x.Retrans}, count{"changes", x.Changes},
		count{"status", uint32(x.LastStatus)}, count{"size", x.Size},
	)
	s.printf(" %q rtt=%g/%g/%g\n", x.LastReason, x.RTT, x.RTTMin, x.RTTMax)
}

func host(a netip.AddrPort) string {
	for name, ip := range hosts {
		if ip == a.Addr().String() {
			switch a.Port() {
			case 5060:
				return name
			case 0:
				return name + ":-"
			}
			return fmt.Sprintf("%s:%d", name, a.Port())
		}
	}
	return a.String()
}
