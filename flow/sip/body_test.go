package sip

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func withBody(contentType, body string) []byte {
	if contentType != "" {
		contentType = "Content-Type: " + contentType + "\n"
	}
	return []byte("INVITE sip:b@h SIP/2.0\n" + head + contentType + "\n" + body)
}

func TestEachBody(t *testing.T) {
	const mixed = `preamble
--b1
Content-Type: text/plain

hello
--b1x
is no delimiter
--b1
content-type : application/SDP;charset=utf-8
Content-Disposition: session

v=0
m=audio 1 RTP/AVP 0

--b1--
epilogue
`
	nested := "--out\nContent-Type: multipart/alternative;boundary=\"in side\"\n\n--in side\nC: application/sdp\n\nv=0\n" +
		"--in side\n\nuntyped\n--in side--\n--out\nContent-Type: application/isup\n\n\x01\x00\x02\n--out--"
	deep := "--a\nContent-Type: multipart/mixed;boundary=b\n\n--b\nContent-Type: multipart/mixed;boundary=c\n\n--c\n\nx\n--c--\n--b--\n--a--\n"
	for _, c := range []struct {
		name, contentType, body string
		want                    []string
		sdp                     string
	}{
		{"plain", "application/sdp", "v=0\n", []string{"application/sdp: v=0\n"}, "v=0\n"},
		{"case and parameters", "Application/SDP ; x=y", "v=0", []string{"Application/SDP ; x=y: v=0"}, "v=0"},
		{"untyped SDP", "", "v=0\n", []string{": v=0\n"}, "v=0\n"},
		{"other", "application/sdpx", "v=0", []string{"application/sdpx: v=0"}, ""},
		{"none", "application/sdp", "", nil, ""},
		{"mixed", "multipart/mixed;boundary=b1", mixed, []string{
			"text/plain: hello\n--b1x\nis no delimiter",
			"application/SDP;charset=utf-8: v=0\nm=audio 1 RTP/AVP 0\n",
		}, "v=0\nm=audio 1 RTP/AVP 0\n"},
		{"nested", "Multipart/Mixed; x=\"boundary=no\"; Boundary = out", nested, []string{
			"application/sdp: v=0", ": untyped", "application/isup: \x01\x00\x02",
		}, "v=0"},
		{"nested too deep", "multipart/mixed;boundary=a", deep, []string{
			"multipart/mixed;boundary=c: --c\n\nx\n--c--",
		}, ""},
		{"last delimiter missing", "multipart/mixed;boundary=b1", "--b1\nContent-Type: application/sdp\n\nv=0\n", []string{
			"application/sdp: v=0\n"}, "v=0\n"},
		{"boundary not in the body", "multipart/mixed;boundary=b1", "v=0", []string{"multipart/mixed;boundary=b1: v=0"}, ""},
		{"no boundary", "multipart/mixed", "--b1\n\nv=0\n", []string{"multipart/mixed: --b1\n\nv=0\n"}, ""},
		{"only delimiters", "multipart/mixed;boundary=b1", "--b1\n--b1\n--b1--", nil, ""},
		{"cut in a part's header", "multipart/mixed;boundary=b1", "--b1\nContent-Type: application/sdp", nil, ""},
	} {
		for _, end := range []string{"\n", "\r\n"} {
			t.Run(fmt.Sprintf("%s %q", c.name, end), func(t *testing.T) {
				wire := func(s string) string { return strings.ReplaceAll(s, "\n", end) }
				m := mustParse(t, []byte(wire(string(withBody(c.contentType, c.body)))))
				var got []string
				m.EachBody(func(contentType, body []byte) bool {
					got = append(got, string(contentType)+": "+string(body))
					return true
				})
				want := slices.Clone(c.want)
				for i := range want {
					want[i] = wire(want[i])
				}
				if !slices.Equal(got, want) {
					t.Errorf("got  %q\nwant %q", got, want)
				}
				if sdp := string(m.SDP()); sdp != wire(c.sdp) {
					t.Errorf("SDP %q, want %q", sdp, wire(c.sdp))
				}
			})
		}
	}
}

func TestEachBodyStops(t *testing.T) {
	m := mustParse(t, withBody("multipart/mixed;boundary=b", "--b\n\n1\n--b\n\n2\n--b\n\n3\n--b--\n"))
	var got []string
	m.EachBody(func(_, body []byte) bool {
		got = append(got, string(body))
		return len(got) < 2
	})
	if want := []string{"1", "2"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEachHeader(t *testing.T) {
	m := mustParse(t, crlf("INVITE sip:b@h SIP/2.0\n"+head+"X-Long :\n a\n\tb  \njunk\nY:\n\nbody: no header\n"))
	var got []string
	m.EachHeader(func(name, value []byte) bool {
		got = append(got, string(name)+"="+string(Unfold(nil, value)))
		return true
	})
	want := []string{"Via=SIP/2.0/UDP h;branch=b", "From=<sip:a@h>;tag=1", "To=<sip:b@h>", "Call-ID=c", "CSeq=1 INVITE", "X-Long=a b", "Y="}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if int(m.Headers) != len(want) || m.Bad != 1 {
		t.Errorf("%d header fields and %d bad lines", m.Headers, m.Bad)
	}
	n := 0
	m.EachHeader(func(_, _ []byte) bool { n++; return n < 2 })
	if n != 2 {
		t.Errorf("went on after %d", n)
	}
}

func TestEachReason(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string
	}{
		{"", nil},
		{"Reason: Q.850;cause=16;text=\"Terminated\"\n", []string{"Q.850 16 Terminated"}},
		{"Reason: SIP ;cause=200 ;text=\"Call completed elsewhere\"\n", []string{"SIP 200 Call completed elsewhere"}},
		{"reason: SIP;cause=580;text=\"a, b\\\"c\", Q.850 ; cause = 31\nReason: X\nReason:\n ,, Z;text=t;cause=1;cause=2\n",
			[]string{`SIP 580 a, b\"c`, "Q.850 31 ", "X  ", "Z 1 t"}},
	} {
		m := mustParse(t, crlf("BYE sip:b@h SIP/2.0\n"+head+c.in+"\n"))
		var got []string
		m.EachReason(func(protocol, cause, text []byte) {
			got = append(got, fmt.Sprintf("%s %s %s", protocol, cause, text))
		})
		if !slices.Equal(got, c.want) {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
}

func TestText(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`plain`, "plain"},
		{`a \"b\" \\ c`, `a "b" \ c`},
		{`ends in \`, `ends in \`},
		{"Gr\xfc\xdfe", "Grüße"},
		{"Grüße", "Grüße"},
		{"a\r\n  b\n\tc", "a b c"},
		{"", ""},
	} {
		if got := Unquote([]byte(c.in)); got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
	m := &Message{Buf: []byte(`"a\b" c\d`)}
	if in, out := m.String(Span{1, 3}), m.String(Span{6, 3}); in != "ab" || out != `c\d` {
		t.Errorf("inside quotes %q, outside %q", in, out)
	}
}
