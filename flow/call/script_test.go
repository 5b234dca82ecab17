package call

import (
	"cmp"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ringside/dataplane/frame"
	"ringside/flow/record"
	"ringside/flow/sip"
)

var rewrite = flag.Bool("rewrite", false, "write what the scripts in testdata print back into them")

// TestScripts runs the scripts in testdata. Each file holds cases:
//
//	run NAME [LIMIT=VALUE …]
//	a line for each thing that happens
//	----
//	what was called back, and the records
//	(an empty line)
//
// A line is one of
//
//	CLOCK SRC>DST METHOD CSEQ [OPTION …]         a request
//	CLOCK SRC>DST STATUS METHOD CSEQ [OPTION …]  a response
//	advance CLOCK
//	closeall CLOCK
//	alive LAST                                   MediaAlive of the last probe
//	stream SIDE FIRST LAST SRC>DST [FLAGS]       a stream of the call, handed over before Finish
//	digit SIDE TIME DIGIT                        a digit of a stream, likewise
//
// CLOCK is in seconds; CLOCK@TIME gives the message another capture time.
// Signalling addresses are A, B, C (10.0.0.1, .2, .3) and P, Q (10.0.0.8, .9), port
// 5060. Alice, with the tag a, calls Bob, with the tag b. Options are
//
//	call=ID from=TAG to=TAG (- for none)   rev: Bob sends the request
//	branch=X vias=N rseq=N                 sdp=ADDR:PORT[/MODE[/PROTO[/KEY]]] (several with +)
//	dtmf=DIGIT relay=SIGNAL/DURATION       a body with a digit
//	"Name: value"                          another header field (' stands for a quote)
//	tls wss                                the transport
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
	t       *testing.T
	table   *Table
	out     strings.Builder
	seq     uint64
	probed  Ref
	closed  []Ref
	names   map[Ref]int
	streams []record.Stream
	digits  []record.Digit
}

func newScript(t *testing.T, l Limits) *script {
	s := &script{t: t, names: make(map[Ref]int)}
	s.table = NewTable(Options{
		Limits: l,
		Sensor: 7,
		Publish: func(ref Ref, m *Media, clock int64) {
			s.printf("%s publish %s %s %s %s", ago(clock), s.name(ref), cmp.Or(m.Side.String(), "?"), m.Kind, m.At)
			if m.Mux || m.RTCP.Port != m.At.Port+1 {
				s.printf(" rtcp=%s", m.RTCP)
			}
			for _, p := range m.Payloads[:m.N] {
				s.printf(" %d:%s/%d", p.Type, p.Codec, p.Rate)
			}
			for i, e := range m.Candidates[:m.NCandidates] {
				s.printf(" candidate=%s/%s", e, m.CandidateTypes[i])
			}
			if m.Epoch != 0 {
				s.printf(" epoch=%d", m.Epoch)
			}
			s.printf("\n")
		},
		Ending: func(ref Ref, clock int64) { s.printf("%s ending %s\n", ago(clock), s.name(ref)) },
		Closed: func(ref Ref, clock int64) {
			s.printf("%s closed %s\n", ago(clock), s.name(ref))
			s.closed = append(s.closed, ref)
		},
		Probe: func(ref Ref, clock int64) {
			s.printf("%s probe %s\n", ago(clock), s.name(ref))
			s.probed = ref
		},
	})
	return s
}

func (s *script) printf(format string, args ...any) { fmt.Fprintf(&s.out, format, args...) }

// name numbers the calls in the order in which they were called back.
func (s *script) name(ref Ref) string {
	n, ok := s.names[ref]
	if !ok {
		n = len(s.names) + 1
		s.names[ref] = n
	}
	return fmt.Sprintf("#%d", n)
}

func runScript(t *testing.T, c scriptCase) string {
	var l Limits
	for _, f := range strings.Fields(c.head)[2:] {
		name, value, _ := strings.Cut(f, "=")
		n, err := strconv.Atoi(value)
		switch name {
		case "calls":
			l.MaxCalls = n
		case "messages":
			l.MaxMessages = n
		case "link":
			l.LinkHeader, err = value, nil
		default:
			l.Timeouts, err = ParseTimeouts(f)
		}
		if err != nil {
			t.Fatalf("%s: %v", c.head, err)
		}
	}
	s := newScript(t, l)
	for line := range strings.Lines(c.script) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			s.line(line)
		}
	}
	for i, ref := range s.closed {
		if i == 0 {
			for _, x := range s.streams {
				s.table.AddStream(ref, &x)
			}
			s.table.AddDigits(ref, s.digits)
		}
		r := s.table.Finish(ref)
		if r == nil {
			t.Fatalf("Finish of %s gives no record", s.name(ref))
		}
		s.print(s.name(ref), r)
	}
	st := s.table.Stats()
	for _, f := range []struct {
		name string
		n    uint64
	}{{"open", st.Open}, {"unfinished", st.Unfinished}, {"evicted", st.Evicted}, {"outside", st.Outside}, {"stray", st.Stray}, {"refused", st.Refused}, {"bad-sdp", st.BadSDP}} {
		if f.n != 0 {
			s.printf("%d %s\n", f.n, f.name)
		}
	}
	if st.Messages != st.InCalls+st.Outside+st.Stray+st.Refused {
		t.Errorf("messages do not add up: %+v", st)
	}
	return s.out.String()
}

func (s *script) line(line string) {
	f := fields(line)
	switch f[0] {
	case "advance":
		s.table.Advance(clockOf(s.t, f[1]))
	case "closeall":
		s.table.CloseAll(clockOf(s.t, f[1]))
	case "alive":
		s.table.MediaAlive(s.probed, clockOf(s.t, f[1]))
	case "stream":
		s.streams = append(s.streams, streamOf(s.t, f))
	case "digit":
		d := record.Digit{Time: clockOf(s.t, f[2]), Digit: f[3], Method: record.DigitRTP}
		if err := d.From.UnmarshalText([]byte(f[1])); err != nil {
			s.t.Fatal(err)
		}
		s.digits = append(s.digits, d)
	default:
		m, meta := messageOf(s.t, f)
		meta.Seq = s.seq
		s.seq++
		outside := s.table.stats.Outside
		if ours := s.table.Message(m, meta); ours != (s.table.stats.Outside == outside) {
			s.t.Errorf("%s: of a call: %v", line, ours)
		}
	}
}

// fields splits at blanks outside of quotes.
func fields(line string) (out []string) {
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

func clockOf(t *testing.T, s string) int64 {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatalf("clock %q: %v", s, err)
	}
	return epoch + int64(f*1e6+0.5)*1000
}

func ago(ns int64) string {
	return strconv.FormatFloat(float64(ns-epoch)/1e9, 'f', -1, 64)
}

func streamOf(t *testing.T, f []string) record.Stream {
	s := record.Stream{First: clockOf(t, f[2]), Last: clockOf(t, f[3])}
	if err := s.From.UnmarshalText([]byte(strings.Trim(f[1], "?"))); err != nil {
		t.Fatal(err)
	}
	src, dst, _ := strings.Cut(f[4], ">")
	s.Src, s.Dst = netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	s.Packets = 50
	if len(f) > 5 {
		s.Flags = f[5]
	}
	return s
}

var hosts = map[string]string{"A": "10.0.0.1", "B": "10.0.0.2", "C": "10.0.0.3", "P": "10.0.0.8", "Q": "10.0.0.9"}

func hostOf(t *testing.T, name string) frame.Endpoint {
	ip, ok := hosts[name]
	if !ok {
		t.Fatalf("no address %q", name)
	}
	a := netip.MustParseAddrPort(ip + ":5060")
	return frame.Endpoint{Addr: frame.AddrFrom(a.Addr()), Port: a.Port()}
}

// messageOf writes the SIP message that a line means, and parses it.
func messageOf(t *testing.T, f []string) (*sip.Message, *Meta) {
	meta := &Meta{VLAN: -1, Transport: record.UDP}
	clock, at, both := strings.Cut(f[0], "@")
	meta.Clock = clockOf(t, clock)
	meta.Time = meta.Clock
	if both {
		meta.Time = clockOf(t, at)
	}
	src, dst, _ := strings.Cut(f[1], ">")
	meta.Src, meta.Dst = hostOf(t, src), hostOf(t, dst)
	for _, opt := range f {
		switch opt {
		case "tls":
			meta.Transport = record.TLS
		case "wss":
			meta.Transport = record.WSS
		}
	}
	b := messageText(t, f[2:])
	m := new(sip.Message)
	if _, err := m.Parse(b); err != nil {
		t.Fatalf("%v: %v\n%s", f, err, b)
	}
	return m, meta
}

func messageText(t *testing.T, f []string) []byte {
	status := 0
	if n, err := strconv.Atoi(f[0]); err == nil {
		status = n
		f = f[1:]
	}
	method, cseq := f[0], f[1]
	o := map[string]string{"call": "c1", "from": "a", "to": "b", "vias": "1"}
	if status == 100 || status == 0 && (method == "INVITE" || method == "CANCEL") {
		o["to"] = ""
	}
	var extra []string
	rev := false
	for _, opt := range f[2:] {
		name, value, ok := strings.Cut(opt, "=")
		switch {
		case strings.Contains(opt, ": "):
			extra = append(extra, strings.ReplaceAll(opt, "'", `"`))
		case ok:
			o[name] = strings.Trim(value, "-")
		case opt == "rev":
			rev = true
		case opt == "tls", opt == "wss":
		default:
			t.Fatalf("no option %q", opt)
		}
	}
	from, to := "alice", "bob"
	if rev {
		from, to = to, from
		o["from"], o["to"] = cmp.Or(o["to"], "b"), o["from"]
	}
	if o["branch"] == "" {
		kind := method
		if method == "CANCEL" {
			kind = "INVITE"
		}
		o["branch"] = fmt.Sprintf("%s-%s-%s-%s", kind, cseq, o["from"], o["vias"])
	}
	var b strings.Builder
	if status == 0 {
		fmt.Fprintf(&b, "%s sip:%s@example.com SIP/2.0\r\n", method, to)
	} else {
		fmt.Fprintf(&b, "SIP/2.0 %d %s\r\n", status, phrases[status])
	}
	vias, _ := strconv.Atoi(o["vias"])
	fmt.Fprintf(&b, "Via: SIP/2.0/UDP h%d;branch=z9hG4bK%s\r\n", vias, o["branch"])
	for i := 1; i < vias; i++ {
		fmt.Fprintf(&b, "Via: SIP/2.0/UDP h%d;branch=z9hG4bKdown\r\n", i)
	}
	fmt.Fprintf(&b, "From: \"%s\" <sip:%s@a.example.com>%s\r\n", strings.ToUpper(from), from, tag(o["from"]))
	fmt.Fprintf(&b, "To: <sip:%s@b.example.com>%s\r\n", to, tag(o["to"]))
	fmt.Fprintf(&b, "Call-ID: %s\r\nCSeq: %s %s\r\n", o["call"], cseq, method)
	if o["rseq"] != "" {
		fmt.Fprintf(&b, "RSeq: %s\r\n", o["rseq"])
	}
	for _, x := range extra {
		fmt.Fprintf(&b, "%s\r\n", x)
	}
	body := sdpText(t, o["sdp"])
	switch {
	case body != "":
		b.WriteString("Content-Type: application/sdp\r\n")
	case o["dtmf"] != "":
		b.WriteString("Content-Type: application/dtmf\r\n")
		body = o["dtmf"]
	case o["relay"] != "":
		b.WriteString("Content-Type: Application/DTMF-Relay;x=y\r\n")
		signal, duration, _ := strings.Cut(o["relay"], "/")
		body = "Signal= " + signal + "\r\nDuration=" + duration + "\r\n"
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	return []byte(b.String())
}

func tag(s string) string {
	if s == "" {
		return ""
	}
	return ";tag=" + s
}

// sdpText writes a session description; + separates its media.
func sdpText(t *testing.T, s string) string {
	if s == "" {
		return ""
	}
	var b strings.Builder
	b.WriteString("v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nt=0 0\r\n")
	for part := range strings.SplitSeq(s, "+") {
		f := strings.Split(part, "/")
		host, port, ok := strings.Cut(f[0], ":")
		if !ok {
			t.Fatalf("sdp %q has no port", part)
		}
		proto, formats := "RTP/AVP", "8 0 101"
		if len(f) > 2 {
			proto = strings.ReplaceAll(f[2], "-", "/")
		}
		kind := "audio"
		if proto == "udptl" {
			kind, formats = "image", "t38"
		}
		fmt.Fprintf(&b, "m=%s %s %s %s\r\nc=IN IP4 %s\r\n", kind, port, proto, formats, host)
		if kind == "audio" {
			b.WriteString("a=rtpmap:101 telephone-event/8000\r\n")
		}
		if len(f) > 1 && f[1] != "" {
			fmt.Fprintf(&b, "a=%s\r\n", f[1])
		}
		if len(f) > 3 {
			fmt.Fprintf(&b, "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:%s\r\na=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:%s|2^20\r\n", f[3], f[3])
		}
	}
	return b.String()
}

var phrases = map[int]string{
	100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 183: "Session Progress", 200: "OK", 202: "Accepted",
	302: "Moved Temporarily", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 407: "Proxy Authentication Required",
	408: "Request Timeout", 480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist", 486: "Busy Here",
	487: "Request Terminated", 488: "Not Acceptable Here", 491: "Request Pending", 500: "Server Error", 503: "Service Unavailable", 603: "Decline",
}

// print writes what a record says, in lines that a diff shows well.
func (s *script) print(name string, r *record.Call) {
	s.printf("record %s %s %s %s", name, r.CallID, r.Outcome, r.EndReason)
	if r.HungUp != record.SideUnknown {
		s.printf(" by %s", r.HungUp)
	}
	if names := r.Flags.Names(); len(names) > 0 {
		s.printf(" [%s]", strings.Join(names, " "))
	}
	s.printf("\n ")
	for _, x := range []struct {
		name string
		at   int64
	}{{"start", r.Start}, {"trying", r.Trying}, {"ring", r.Ring}, {"answer", r.Answer}, {"bye", r.ByeAt}, {"end", r.End}, {"last", r.Last}} {
		if x.at != 0 {
			s.printf(" %s=%s", x.name, ago(x.at))
		}
	}
	s.printf("\n  %s %s %s -> %s %s %s\n ", r.Caller.Number, r.Caller.Tag, hop(r.Caller.Addr), r.Called.Number, cmp.Or(r.Called.Tag, "-"), hop(r.Called.Addr))
	for _, x := range []struct {
		name string
		n    uint32
	}{
		{"status", uint32(r.LastStatus)}, {"provisional", uint32(r.LastProvisional)}, {"sip-cause", uint32(r.SIPCause)}, {"q850", uint32(r.Q850Cause)},
		{"messages", r.MessagesTotal}, {"invites", r.Invites}, {"reinvites", r.Reinvites}, {"retrans", r.Retransmissions},
		{"retrans-invite", r.MaxRetransInv}, {"challenges", r.Challenges}, {"holds", r.Holds}, {"forks", r.Forks}, {"redirects", r.Redirects},
		{"refers", r.Refers}, {"infos", r.Infos}, {"pracks", r.Pracks}, {"updates", r.Updates},
	} {
		if x.n != 0 {
			s.printf(" %s=%d", x.name, x.n)
		}
	}
	for _, x := range []struct{ name, text string }{
		{"auth-user", r.AuthUser}, {"sip-text", r.SIPText}, {"q850-text", r.Q850Text},
		{"session-id", r.SessionID}, {"x-cid", r.XCallID}, {"icid", r.ICID}, {"link", r.LinkHeader}, {"replaces", r.Replaces},
		{"caller-agent", r.Caller.Agent}, {"called-agent", r.Called.Agent}, {"caller-contact", r.Caller.Contact}, {"called-contact", r.Called.Contact},
	} {
		if x.text != "" {
			s.printf(" %s=%q", x.name, x.text)
		}
	}
	s.printf("\n")
	for _, l := range r.Legs {
		s.printf("  leg %s first=%s", l.Tag, ago(l.First))
		if l.Answer != 0 {
			s.printf(" answer=%s", ago(l.Answer))
		}
		s.printf(" status=%d\n", l.Status)
	}
	for _, m := range r.Media {
		s.printf("  media %s %s %s %s %q from=%s", cmp.Or(m.Side.String(), "?"), m.Kind, m.Addr, m.Mode, m.Codecs, ago(m.From))
		if m.Epoch != 0 {
			s.printf(" epoch=%d", m.Epoch)
		}
		if m.Crypto != "" {
			s.printf(" crypto=%q", m.Crypto)
		}
		s.printf("\n")
	}
	for _, d := range r.Digits {
		s.printf("  digit %s %s %s at=%s", cmp.Or(d.From.String(), "?"), d.Digit, d.Method, ago(d.Time))
		if d.Duration != 0 {
			s.printf(" %dms", d.Duration)
		}
		s.printf("\n")
	}
	if !slices.IsSortedFunc(r.Streams, compareStreams) {
		s.t.Errorf("streams are not in order: %+v", r.Streams)
	}
}

func hop(a netip.AddrPort) string {
	for name, ip := range hosts {
		if ip == a.Addr().String() {
			return name
		}
	}
	return a.String()
}
