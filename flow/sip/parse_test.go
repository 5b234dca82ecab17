package sip

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// summary is what identifies a message, on one line.
func summary(m *Message) string {
	what := m.Method.String()
	if m.Response {
		what = fmt.Sprint(m.Status)
	} else if m.Method == MethodUnknown {
		what = m.String(m.MethodName)
	}
	return fmt.Sprintf("%s %d %s | %s | %s", what, m.CSeq, m.Get(m.CSeqMethod), party(m, &m.From), party(m, &m.To))
}

func party(m *Message, a *Address) string {
	s := fmt.Sprintf("%s@%s;%s", m.Get(a.User), m.Get(a.Host), m.Get(a.Tag))
	if a.Host.IsZero() {
		s = fmt.Sprintf("%s;%s", m.Get(a.URI), m.Get(a.Tag))
	}
	if !a.Display.IsZero() {
		s = fmt.Sprintf("%q %s", m.String(a.Display), s)
	}
	return s
}

func mustParse(t testing.TB, b []byte) *Message {
	t.Helper()
	m := new(Message)
	if _, err := m.Parse(b); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestParseInvite(t *testing.T) {
	m := mustParse(t, invite)
	for _, c := range []struct {
		name string
		got  Span
		want string
	}{
		{"method", m.MethodName, "INVITE"},
		{"request URI", m.RequestURI.URI, "sip:+4930123456@sbc.example.net:5060;transport=udp"},
		{"its scheme", m.RequestURI.Scheme, "sip"},
		{"its user", m.RequestURI.User, "+4930123456"},
		{"its host", m.RequestURI.Host, "sbc.example.net"},
		{"Via", m.Via, "SIP/2.0/UDP 192.0.2.17:5060;branch=z9hG4bK-524287-1---8f2a;rport"},
		{"branch", m.Branch, "z9hG4bK-524287-1---8f2a"},
		{"Contact", m.Contact.URI, "sip:alice@192.0.2.17:5060;ob"},
		{"To", m.To.URI, "sip:+4930123456@sbc.example.net"},
		{"To tag", m.To.Tag, ""},
		{"From", m.From.URI, "sip:alice@example.net"},
		{"From tag", m.From.Tag, "9fxced76sl"},
		{"From display", m.From.Display, "Alice Example"},
		{"Call-ID", m.CallID, "3848276298220188511@192.0.2.17"},
		{"CSeq method", m.CSeqMethod, "INVITE"},
		{"User-Agent", m.UserAgent, "Example Phone 4.2.1"},
		{"PAI", m.PAI.User, "+49301111"},
		{"Content-Type", m.ContentType, "application/sdp"},
	} {
		if got := m.String(c.got); got != c.want {
			t.Errorf("%s is %q, want %q", c.name, got, c.want)
		}
	}
	if m.Response || m.Method != INVITE || m.CSeq != 21 || m.Status != 0 || m.Vias != 1 ||
		m.Headers != 14 || m.Flags != 0 || m.RequestURI.Port != 5060 || m.Contact.Port != 5060 ||
		m.Expires != -1 || int(m.ContentLen) != len(m.Get(m.Body)) {
		t.Errorf("%s, flags %b, %d header fields, Content-Length %d, body %d", summary(m), m.Flags, m.Headers, m.ContentLen, m.Body.Len)
	}
	if !bytes.HasPrefix(m.SDP(), []byte("v=0\r\n")) {
		t.Errorf("SDP %q", m.SDP())
	}
}

func TestParseResponse(t *testing.T) {
	m := mustParse(t, crlf(`SIP/2.0 486 Busy Here, later
v: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1;received=192.0.2.7, SIP/2.0/TCP 192.0.2.2;branch=z9hG4bK2
Via: SIP/2.0/UDP 192.0.2.3;branch=z9hG4bK3
f: <sip:a@example.net>;tag=1
t: "Bob \"B\" Example" <sip:b@example.net:5070>;Tag = "2"
i: 1@x
CSeq: 7 PRACK
Server: Example
Expires: 60
RSeq: 988789
Reason: Q.850;cause=17;text="User busy"
Session-ID: 47755a9de7794ba387653f2099600ef2;remote=0
l: 0

`))
	if !m.Response || m.Status != 486 || m.Method != PRACK || m.CSeq != 7 || m.Vias != 3 ||
		m.Expires != 60 || m.RSeq != 988789 || m.ContentLen != 0 || m.To.Port != 5070 {
		t.Errorf("%s, flags %b, %d header fields, Content-Length %d, body %d", summary(m), m.Flags, m.Headers, m.ContentLen, m.Body.Len)
	}
	for _, c := range []struct {
		got  Span
		want string
	}{
		{m.Reason, "Busy Here, later"},
		{m.Branch, "z9hG4bK1"},
		{m.Via, "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1;received=192.0.2.7"},
		{m.To.Tag, "2"},
		{m.To.Display, `Bob "B" Example`},
		{m.Server, "Example"},
		{m.ReasonHeader, `Q.850;cause=17;text="User busy"`},
		{m.SessionID, "47755a9de7794ba387653f2099600ef2;remote=0"},
	} {
		if got := m.String(c.got); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// head is a message without start line that has all it needs.
const head = "Via: SIP/2.0/UDP h;branch=b\nFrom: <sip:a@h>;tag=1\nTo: <sip:b@h>\nCall-ID: c\nCSeq: 1 INVITE\n"

func TestFraming(t *testing.T) {
	const start = "INVITE sip:b@h SIP/2.0\n"
	for _, c := range []struct {
		name, in string
		n        int // of in, -1: all
		body     string
		flags    uint8
	}{
		{"no Content-Length", start + head + "\nbody", -1, "body", 0},
		{"exact", start + head + "Content-Length: 4\n\nbody", -1, "body", 0},
		{"blanks", start + head + "Content-Length :\t 4 \n\nbody", -1, "body", 0},
		{"compact", start + head + "l:4\n\nbody", -1, "body", 0},
		{"more follows", start + head + "Content-Length: 4\n\nbody\n\nACK sip:", -11, "body", FlagTrailing},
		{"cut", start + head + "Content-Length: 9\n\nbody", -1, "body", FlagCut},
		{"immense", start + head + "Content-Length: 99999999999999999999999\n\nbody", -1, "body", FlagCut},
		{"negative", start + head + "Content-Length: -4\n\nbody", -1, "body", 0},
		{"empty", start + head + "Content-Length:\n\nbody", -1, "body", 0},
		{"twice the same", start + head + "l: 4\nContent-Length: 4\n\nbody", -1, "body", 0},
		{"twice", start + head + "l: 2\nContent-Length: 4\n\nbody", -3, "bo", FlagTrailing | FlagRepeated},
		{"no empty line", start + head, -1, "", FlagOpen},
		{"cut in a header", start + head + "Content-Length: 4", -1, "", FlagOpen},
		{"line ends before", "\n\n" + start + head + "l: 0\n\n", -1, "", 0},
	} {
		for _, end := range []string{"\n", "\r\n"} {
			t.Run(fmt.Sprintf("%s %q", c.name, end), func(t *testing.T) {
				in := strings.ReplaceAll(c.in, "\n", end)
				rest := 0
				if c.n < -1 {
					rest = len(strings.ReplaceAll(c.in[len(c.in)+c.n+1:], "\n", end))
				}
				m := new(Message)
				n, err := m.Parse([]byte(in))
				if err != nil {
					t.Fatal(err)
				}
				if n != len(in)-rest {
					t.Errorf("took %d of %d", n, len(in))
				}
				if got := string(m.Get(m.Body)); got != c.body {
					t.Errorf("body %q", got)
				}
				if m.Flags != c.flags {
					t.Errorf("flags %b, want %b", m.Flags, c.flags)
				}
			})
		}
	}
}

func TestReasons(t *testing.T) {
	const invite, ok = "INVITE sip:b@h SIP/2.0\n", "SIP/2.0 200 OK\n"
	without := func(name string) string {
		var keep []string
		for line := range strings.Lines(head) {
			if !strings.HasPrefix(line, name+":") {
				keep = append(keep, line)
			}
		}
		return invite + strings.Join(keep, "") + "\n"
	}
	for _, c := range []struct {
		in   string
		want error
	}{
		{"", Empty},
		{"\r\n\r\n", Empty},
		{"\x00\x00\x00\x00", NotSIP},
		{"INVITE sip:b@h SIP/2.0", NotSIP}, // where the line is cut, what it ends in is not known
		{"SIP/2.0 200 OK", BadStartLine},
		{"GET / HTTP/1.1\r\nHost: h\r\n\r\n", NotSIP},
		{"OPTIONS rtsp://h RTSP/1.0\r\nCSeq: 1\r\n\r\n", NotSIP},
		{"INVITE sip:b@h\n" + head + "\n", NotSIP},
		{"INVITE SIP/2.0\n" + head + "\n", BadStartLine},
		{" sip:b@h SIP/2.0\n" + head + "\n", BadStartLine},
		{"INV{}ITE sip:b@h SIP/2.0\n" + head + "\n", BadStartLine},
		{"INVITE sip:b@h SIP/3.0\n" + head + "\n", BadVersion},
		{"SIP/1.0 200 OK\n" + head + "\n", BadVersion},
		{"SIP/2.0\n" + head + "\n", BadStartLine},
		{"SIP/2.0 OK\n" + head + "\n", BadStartLine},
		{"SIP/2.0 200OK\n" + head + "\n", BadStartLine},
		{"SIP/2.0 99 OK\n" + head + "\n", BadStatus},
		{"SIP/2.0 700 OK\n" + head + "\n", BadStatus},
		{"SIP/2.0 2000 OK\n" + head + "\n", BadStatus},
		{without("Call-ID"), NoCallID},
		{without("CSeq"), NoCSeq},
		{without("From"), NoFrom},
		{without("To"), NoTo},
		{without("Via"), nil}, // no record needs it
		{without("CSeq") + "", NoCSeq},
		{ok + "Call-ID:\n" + head + "\n", nil}, // an empty one is none
		{ok + "From: <>\n" + head + "\n", NoFrom},
		{ok + "CSeq: 1\n" + head + "\n", BadCSeq},
		{ok + "CSeq: x INVITE\n" + head + "\n", BadCSeq},
		{ok + "CSeq: -1 INVITE\n" + head + "\n", BadCSeq},
		{ok + "CSeq: 4294967296 INVITE\n" + head + "\n", BadCSeq},
		{ok + "CSeq: 4294967295 INVITE\n" + head + "\n", nil},
		{ok + head + "X: " + strings.Repeat("x", MaxHeaderBytes) + "\n\n", HeaderTooLong},
		{ok + head + strings.Repeat("X: y\n", MaxHeaders) + "\n", TooManyHeaders},
		{ok + head + strings.Repeat("X: y\n", MaxHeaders-5) + "\n", nil},
	} {
		var m Message
		n, err := m.Parse([]byte(c.in))
		if err != c.want {
			t.Errorf("%.60q: %v, want %v", c.in, err, c.want)
		}
		whole := err == nil || err == Empty || errors.Is(err, NoCallID) || err == NoCSeq || err == BadCSeq || err == NoFrom || err == NoTo
		if want := len(c.in); whole && n != want || !whole && n != 0 {
			t.Errorf("%.60q: took %d of %d with %v", c.in, n, want, err)
		}
	}
	seen := map[string]bool{}
	for r := range NumReasons {
		if s := Reason(r).String(); seen[s] {
			t.Errorf("two reasons are called %s", s)
		} else {
			seen[s] = true
		}
	}
}

// What real devices send, and what becomes of it.
func TestTolerance(t *testing.T) {
	const start = "INVITE sip:b@h SIP/2.0\n"
	for _, c := range []struct{ name, in, want string }{
		{"plain", start + head, `INVITE 1 INVITE | a@h;1 | b@h;`},
		{"lower-case version", "INVITE sip:b@h sip/2.0\n" + head, `INVITE 1 INVITE | a@h;1 | b@h;`},
		{"junk after the version", "INVITE sip:b@h SIP/2.0 x\n" + head, `INVITE 1 INVITE | a@h;1 | b@h;`},
		{"blanks in the URI", "INVITE  sip:b@h; x=\"SIP\" \t SIP/2.0 \n" + head, `INVITE 1 INVITE | a@h;1 | b@h;`},
		{"upper-case names", start + strings.ToUpper(head), `INVITE 1 INVITE | A@H;1 | B@H;`},
		{"blank before colon, tabs", start + "FROM\t :\t<sip:a@h>\t;\ttag\t=\t1\t\nTo :b@h\nI : c\nCseq :\t1\tINVITE\t\n",
			`INVITE 1 INVITE | a@h;1 | b@h;`},
		{"folded", start + "From:\n \"A\n  B\"\n\t<sip:a@h>\n ;\n tag\n =\n 1\nTo: b@h\nCall-ID:\n c\nCSeq: 1\n INVITE\n",
			`INVITE 1 INVITE | "A B" a@h;1 | b@h;`},
		{"junk lines", start + "junk\n:nameless\n" + head, `INVITE 1 INVITE | a@h;1 | b@h;`},
		{"folded junk before the first header", start + " folded\n" + head, `INVITE 1 INVITE | a@h;1 | b@h;`},
		{"method mismatch", "BYE sip:b@h SIP/2.0\n" + head, `BYE 1 INVITE | a@h;1 | b@h;`},
		{"first of two counts", start + head + "From: <sip:z@h>;tag=9\nCall-ID: d\n", `INVITE 1 INVITE | a@h;1 | b@h;`},
		{"Latin-1 display", start + "From: J\xfcrgen <sip:a@h>;tag=1\n" + head, `INVITE 1 INVITE | "Jürgen" a@h;1 | b@h;`},
		{"UTF-8 display", start + "From: \"Jürgen\"<sip:a@h>;tag=1\n" + head, `INVITE 1 INVITE | "Jürgen" a@h;1 | b@h;`},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := mustParse(t, crlf(c.in+"\n"))
			if got := summary(m); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestFlags(t *testing.T) {
	for _, c := range []struct {
		more  string
		flags uint8
	}{
		{"", 0},
		{"Call-ID: c\n", 0},
		{"i: d\n", FlagRepeated},
		{"CSeq: 2 INVITE\n", FlagRepeated},
		{"From: <sip:a@h>;tag=2\n", FlagRepeated},
		{"Via: other\nContact: <sip:c@h>\nContact: <sip:d@h>\n", 0},
	} {
		m := mustParse(t, crlf("INVITE sip:b@h SIP/2.0\n"+head+c.more+"\n"))
		if m.Flags != c.flags {
			t.Errorf("%q: flags %b, want %b", c.more, m.Flags, c.flags)
		}
	}
	if m := mustParse(t, crlf("BYE sip:b@h SIP/2.0\n"+head+"\n")); m.Flags != FlagMethod {
		t.Errorf("flags %b, want FlagMethod", m.Flags)
	}
}

func TestLooks(t *testing.T) {
	for _, c := range []struct {
		in   string
		want bool
	}{
		{string(invite), true},
		{"\r\n\r\n" + string(invite), true},
		{"SIP/2.0 200 OK\r\n", true},
		{"sip/2.0 200 OK\r\n", true},
		{"BYE tel:+4930 SIP/2.0\n", true},
		{"INVITE <sip:a@b> SIP/2.0\r\n", true},
		{"INVITE sip:a@b; lr SIP/2.0 \r\n", true},
		{"FOO!bar sip:a@b SIP/2.0\r\n", true},
		{"INVITE sip:a@b SIP/2.0", false},
		{"INVITE sip:a@b SIP/7.0\r\n", false},
		{"INVITE sip:a@b\r\nX: SIP/2.0\r\n", false},
		{"INVITE a@b SIP/2.0\r\n", false},
		{"SIP/1.0 200 OK\r\n", false},
		{"SIP/2.0/UDP 192.0.2.1\r\n", false},
		{"SIP/2.0", false},
		{"Sending INVITE sip:a@b SIP/2.0\r\n", false},
		{"GET /a HTTP/1.1\r\nX: y\r\n\r\n", false},
		{"GET http://h/ SIP HTTP/1.1\r\n\r\n", false},
		{"HTTP/1.1 200 OK\r\n", false},
		{"OPTIONS rtsp://h/x RTSP/1.0\r\nCSeq: 1\r\n\r\n", false},
		{"NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n\r\n", false},
		{"some random text that goes on\r\nand on\r\n", false},
		{"", false},
		{"\r\n\r\n", false},
		{"\x80\x08aaaaaaaaaaaaaaaaaaaaaaaaa SIP/2.0\r\n", false},
		{"A", false},
	} {
		if got := Looks([]byte(c.in)); got != c.want {
			t.Errorf("%.50q: %v", c.in, got)
		}
	}
}

func TestMethods(t *testing.T) {
	for i := range NumMethods {
		m := Method(i)
		want := m
		if got := ParseMethod([]byte(m.String())); got != want {
			t.Errorf("%s reads as %s", m, got)
		}
	}
	for _, s := range []string{"", "invite", "INVITES", "XINVITE", "unknown"} {
		if got := ParseMethod([]byte(s)); got != MethodUnknown {
			t.Errorf("%q reads as %s", s, got)
		}
	}
	if s := Method(200).String(); s != "unknown" {
		t.Errorf("Method(200) is %s", s)
	}
}
